//! The rules before come back unless somebody confirms the new ones.
//!
//! Who waits is a process of its own, [`keep_or_revert`], in a process group of its own: when the new rules cut the
//! terminal off, it lives on and sees its input end.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;

use crate::apply::Before;
use crate::nft;

/// What confirms.
const KEEP: &[u8] = b"keep";

/// Exit status of the process that waits, and of `apply`, when the rules before are back.
pub const REVERTED: u8 = 4;

/// Whether the new rules stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Kept,
    Reverted,
}

/// The process that waits. It knows the rules before from its start on, so that they come back whenever this one dies.
pub struct Guard {
    waiting: Child,
    told: ChildStdin,
    before: Before,
    seconds: u32,
}

impl Guard {
    /// Has a process bring `before` back after so many seconds, unless it is told to keep what is in force then.
    ///
    /// # Errors
    /// It cannot be started or talked to.
    pub fn start(before: &Before, seconds: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut waiting = Command::new(program)
            .args(["keep-or-revert", "--seconds", &seconds.to_string()])
            .args(["--bytes", &before.0.len().to_string()])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting the process that brings the old rules back")?;
        let mut told = waiting.stdin.take().context("its input was piped")?;
        told.write_all(before.0.as_bytes())?;
        Ok(Self {
            waiting,
            told,
            before: before.clone(),
            seconds,
        })
    }

    /// Nothing was changed, so there is nothing to bring back.
    ///
    /// # Errors
    /// It cannot be told any more.
    pub fn dismiss(mut self) -> io::Result<()> {
        self.told.write_all(KEEP)?;
        self.waiting.wait().map(drop)
    }

    /// Asks on standard output, and waits for a line on standard input.
    ///
    /// # Errors
    /// The rules before have to be brought back and cannot be.
    pub fn ask(mut self) -> anyhow::Result<Decision> {
        let seconds = self.seconds;
        println!(
            "The new rules are in force. Open a new connection to see whether you still can, then press Enter here to \
             keep them. In {seconds} s the old ones come back."
        );
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
            let ending = self.waiting.wait().ok().and_then(|status| status.code());
            ended.send(Event::Ended(ending)).ok();
        });
        loop {
            match events.recv().context("waiting for a decision")? {
                // It may be too late, which its end will tell.
                Event::Entered => drop(self.told.write_all(KEEP)),
                Event::Ended(Some(0)) => return Ok(Decision::Kept),
                Event::Ended(Some(code)) if code == i32::from(REVERTED) => {
                    return Ok(Decision::Reverted);
                }
                // It did not do its work.
                Event::Ended(_) => {
                    nft::load(&self.before.0)?;
                    return Ok(Decision::Reverted);
                }
            }
        }
    }
}

enum Event {
    Entered,
    /// With this exit status, or by a signal.
    Ended(Option<i32>),
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
