//! The rules before come back unless somebody confirms the new ones.
//!
//! Who waits is a process of its own, [`keep_or_revert`], in a process group of its own: when the new rules cut the
//! terminal off, it lives on and sees its input end.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;

use crate::apply::Before;
use crate::nft;

/// What confirms.
const KEEP: &[u8] = b"keep";

/// Whether the new rules stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Kept,
    Reverted,
}

/// Asks on standard output, and waits for a line on standard input for `seconds`.
///
/// # Errors
/// The process that waits cannot be started or talked to.
pub fn ask(before: &Before, seconds: u32) -> anyhow::Result<Decision> {
    let mut waiting = start(before, seconds)?;
    println!(
        "The new rules are in force. Open a new connection to see whether you still can, then press Enter here to keep \
         them. In {seconds} s the old ones come back."
    );
    let mut to_waiting = waiting.stdin.take().context("its input was piped")?;
    let (entered, events) = mpsc::channel();
    let ended = entered.clone();
    std::thread::spawn(move || {
        let mut line = String::new();
        // The end of the input is no confirmation.
        if io::stdin()
            .lock()
            .read_line(&mut line)
            .is_ok_and(|read| read > 0)
        {
            entered.send(Event::Entered).ok();
        }
    });
    std::thread::spawn(move || {
        let kept = waiting.wait().is_ok_and(|status| status.success());
        ended.send(Event::Ended { kept }).ok();
    });
    loop {
        match events.recv().context("waiting for a decision")? {
            // It may be too late, which its end will tell.
            Event::Entered => drop(to_waiting.write_all(KEEP)),
            Event::Ended { kept: true } => return Ok(Decision::Kept),
            Event::Ended { kept: false } => return Ok(Decision::Reverted),
        }
    }
}

enum Event {
    Entered,
    Ended { kept: bool },
}

fn start(before: &Before, seconds: u32) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut waiting = Command::new(program)
        .args(["keep-or-revert", "--seconds", &seconds.to_string()])
        .args(["--bytes", &before.0.len().to_string()])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("starting the process that brings the old rules back")?;
    let stdin = waiting.stdin.as_mut().context("its input was piped")?;
    stdin.write_all(before.0.as_bytes())?;
    Ok(waiting)
}

/// Reads `bytes` of nft text from standard input, then waits for the word to keep; loads the text when it does not come
/// within `seconds`, or the input ends.
///
/// # Errors
/// The text cannot be read or loaded.
pub fn keep_or_revert(bytes: usize, seconds: u32) -> anyhow::Result<Decision> {
    let mut before = vec![0; bytes];
    io::stdin()
        .lock()
        .read_exact(&mut before)
        .context("reading the rules before")?;
    let before = String::from_utf8(before).context("reading the rules before")?;
    let (sender, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut word = [0; KEEP.len()];
        let read = io::stdin().lock().read_exact(&mut word);
        sender.send(read.is_ok() && word == KEEP).ok();
    });
    let keep = told.recv_timeout(Duration::from_secs(seconds.into()));
    if keep == Ok(true) {
        return Ok(Decision::Kept);
    }
    nft::load(&before)?;
    Ok(Decision::Reverted)
}
