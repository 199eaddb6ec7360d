//! Runs `nft`, and is the only module that does. It judges a ruleset as root of a namespace that is
//! made for the question and vanishes with the answer; [`load`] alone changes the rules of this machine.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::compile::TABLE;
use crate::render;
use crate::ruleset::{Counted, Family};

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

/// How the kernel lists our table once it has loaded `ruleset`; `None` where no namespace can be made to try.
///
/// # Errors
/// nft refuses the ruleset.
pub fn tried(ruleset: &str) -> anyhow::Result<Option<String>> {
    let path = search_path();
    match judge_with(&path, ruleset)? {
        Judgement::Accepted => {}
        Judgement::Refused(words) => bail!("nft refuses the ruleset:\n{words}"),
        Judgement::Unavailable(_) => return Ok(None),
    }
    let script = format!("nft -f - && nft -s -t list table inet {TABLE}");
    let listed = in_namespace(&path, &["sh", "-c", &script], ruleset)?;
    if !listed.status.success() {
        bail!(
            "the kernel does not take the ruleset:\n{}",
            words_of(&listed)
        );
    }
    Ok(Some(text_of(&listed)))
}

/// How the kernel lists our table now, with what has been counted if `state`; `None` when there is none.
///
/// # Errors
/// nft cannot be run or may not look, as when this is not root.
pub fn in_force(state: bool) -> anyhow::Result<Option<String>> {
    let tables = nft(&["list", "tables", "inet"], "")?;
    if !text_of(&tables)
        .lines()
        .any(|line| line == format!("table inet {TABLE}"))
    {
        return Ok(None);
    }
    // Without what sets hold, which changes all the time.
    let how: &[&str] = if state { &["-t"] } else { &["-s", "-t"] };
    let listed = nft(&[how, &["list", "table", "inet", TABLE]].concat(), "")?;
    Ok(Some(text_of(&listed)))
}

/// Has the kernel take an nft text, all of it or nothing.
///
/// # Errors
/// It is refused, in nft's words; the rules before it stay in force.
pub fn load(text: &str) -> anyhow::Result<()> {
    nft(&["-f", "-"], text).context("the rules in force were not changed")?;
    Ok(())
}

/// Takes our table away, if there is one.
///
/// # Errors
/// As of [`load`].
pub fn remove() -> anyhow::Result<()> {
    load(&render::removal(TABLE))
}

/// What has been counted, in the order of the table.
///
/// # Errors
/// As of [`in_force`]; the table is not there.
pub fn counted() -> anyhow::Result<Vec<Counted>> {
    let entries = listed(&["counters", "table", "inet", TABLE])?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| entry.counter)
        .collect())
}

/// What was dropped of one sender: as nothing allowed it, or beyond a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// IPv4 address, or the first of an IPv6 network of 64 bits.
    pub address: IpAddr,
    pub packets: u64,
    pub bytes: u64,
}

/// The senders of whom most was dropped in the last minutes, those of most packets first.
///
/// # Errors
/// As of [`counted`].
pub fn dropped_senders() -> anyhow::Result<Vec<Sender>> {
    let mut senders = Vec::new();
    let table = in_force(false)?.unwrap_or_default();
    for family in Family::ALL {
        if !table.contains(&format!("set {} {{", render::dropped_set(family))) {
            continue; // somebody has taken it away, which is drift and no reason to say nothing else
        }
        let entries = listed(&["set", "inet", TABLE, render::dropped_set(family)])?;
        let sets = entries.into_iter().filter_map(|entry| entry.set);
        let noted = sets
            .flat_map(|set| set.elem)
            .filter_map(|Element { elem }| {
                let Amount { packets, bytes } = elem.counter?;
                Some(Sender {
                    address: elem.val,
                    packets,
                    bytes,
                })
            });
        senders.extend(noted);
    }
    senders.sort_by_key(|sender| (std::cmp::Reverse(sender.packets), sender.address));
    Ok(senders)
}

/// One entry of nft's JSON, as far as it is of interest.
#[derive(Deserialize)]
struct Entry {
    counter: Option<Counted>,
    set: Option<Set>,
}

#[derive(Deserialize)]
struct Set {
    #[serde(default)]
    elem: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    elem: Noted,
}

#[derive(Deserialize)]
struct Noted {
    val: IpAddr,
    counter: Option<Amount>,
}

#[derive(Deserialize)]
struct Amount {
    packets: u64,
    bytes: u64,
}

fn listed(what: &[&str]) -> anyhow::Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Entry>,
    }
    let listed = nft(&[&["-j", "list"], what].concat(), "")?;
    let listing: Listing =
        serde_json::from_slice(&listed.stdout).context("reading nft's answer")?;
    Ok(listing.nftables)
}

/// Runs nft on this machine's rules.
fn nft(arguments: &[&str], input: &str) -> anyhow::Result<Output> {
    let output = run(
        Command::new("nft")
            .args(arguments)
            .env("PATH", search_path()),
        input,
    )
    .context("running nft")?;
    if !output.status.success() {
        let words = words_of(&output);
        let hint = if words.contains("Operation not permitted") {
            " (run it as root)"
        } else {
            ""
        };
        bail!("nft says{hint}: {words}");
    }
    Ok(output)
}

fn in_namespace(path: &OsStr, command: &[&str], input: &str) -> io::Result<Output> {
    let mut unshare = Command::new("unshare");
    // Root needs no user namespace, which a machine may forbid.
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        unshare.arg("--map-root-user");
    }
    unshare.arg("--net").args(command);
    run(unshare.env("PATH", path), input)
}

fn run(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command
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

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
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
