//! Lets `nft` judge a ruleset. The only module that touches the system, and it cannot change it: nft runs as root of
//! a user and network namespace that is made for the question and vanishes with the answer.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Where distributions put tools. Those for administrators are not on everybody's `PATH`.
const SYSTEM_FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// What became of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Accepted,
    /// nft's own words.
    Refused(String),
    /// Nothing was judged, and why.
    Unavailable(String),
}

/// Asks `nft -c -f -` about a ruleset.
///
/// # Errors
/// When a process that was started cannot be talked to.
pub fn judge(ruleset: &str) -> io::Result<Judgement> {
    judge_with(&search_path(), ruleset)
}

fn judge_with(path: &OsStr, ruleset: &str) -> io::Result<Judgement> {
    // A look at the empty namespace first: when this fails, the reason is the machine and not the ruleset.
    let probe = match in_namespace(path, &["nft", "list", "tables"], "") {
        Ok(probe) => probe,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Judgement::Unavailable(
                "`unshare` (util-linux) is not installed".to_owned(),
            ));
        }
        Err(error) => return Err(error),
    };
    if !probe.status.success() {
        return Ok(Judgement::Unavailable(words_of(&probe)));
    }
    let answer = in_namespace(path, &["nft", "-c", "-f", "-"], ruleset)?;
    Ok(if answer.status.success() {
        Judgement::Accepted
    } else {
        Judgement::Refused(words_of(&answer))
    })
}

fn in_namespace(path: &OsStr, command: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .args(command)
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped above");
    // nft stops reading at its first complaint, and that complaint is what we are after.
    match stdin.write_all(input.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => drop(stdin),
    }
    child.wait_with_output()
}

/// `PATH` with the system's folders after it, and without what stands for the current folder or one below it: an empty
/// entry does, and whoever could put an `nft` there would be root of our namespace.
///
/// # Panics
/// Never: a folder that was split off `PATH` can be joined again.
#[must_use]
pub fn search_path() -> OsString {
    search_path_after(&std::env::var_os("PATH").unwrap_or_default())
}

fn search_path_after(path: &OsStr) -> OsString {
    let ours = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    let systems = SYSTEM_FOLDERS.into_iter().map(PathBuf::from);
    std::env::join_paths(ours.chain(systems)).expect("they were split at every colon")
}

fn words_of(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if words.is_empty() {
        format!("it ended with {}", output.status)
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_folders_are_searched_and_the_system_comes_last() {
        let system = SYSTEM_FOLDERS.join(":");
        for (path, searched) in [
            ("", system.clone()),
            (":", system.clone()),
            (".:bin:", system.clone()),
            (
                "/opt/bin::/opt/sbin",
                format!("/opt/bin:/opt/sbin:{system}"),
            ),
        ] {
            assert_eq!(
                search_path_after(path.as_ref()),
                searched.as_str(),
                "{path:?}"
            );
        }
    }

    #[test]
    fn without_unshare_nothing_is_judged() {
        let judgement = judge_with("/nonexistent".as_ref(), "").expect("nothing was started");
        let Judgement::Unavailable(reason) = judgement else {
            panic!("{judgement:?}");
        };
        assert!(reason.contains("not installed"), "{reason}");
    }
}
