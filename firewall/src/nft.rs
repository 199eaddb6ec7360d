//! Lets `nft` judge a ruleset. The only module that touches the system, and it cannot change it: nft runs as root of
//! a user and network namespace that is made for the question and vanishes with the answer.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// Where distributions put administrators' tools, which is not on everybody's `PATH`.
const SYSTEM_FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

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
    // A look at the empty namespace first: when this fails, the reason is the machine and not the ruleset.
    let probe = match in_namespace(&["nft", "list", "tables"], "") {
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
    let answer = in_namespace(&["nft", "-c", "-f", "-"], ruleset)?;
    Ok(if answer.status.success() {
        Judgement::Accepted
    } else {
        Judgement::Refused(words_of(&answer))
    })
}

fn in_namespace(command: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .args(command)
        .env("PATH", search_path())
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

fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":");
    path.push(SYSTEM_FOLDERS);
    path
}

fn words_of(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if words.is_empty() {
        format!("it ended with {}", output.status)
    } else {
        words
    }
}
