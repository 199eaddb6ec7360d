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

/// The new rules are in force, so the time runs.
const LOADED: &[u8; 4] = b"load";
/// They are confirmed.
const KEEP: &[u8; 4] = b"keep";
/// What somebody types to confirm.
const CONFIRMATION: &str = "keep";

/// An nft that loads rules goes on when who started it is killed, and takes milliseconds.
const SETTLE: Duration = Duration::from_secs(1);

/// Exit status of the process that waits, and of `apply`, when the rules before are back.
pub const REVERTED: u8 = 5;

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
    /// Has a process bring `before` back so many seconds after the new rules are loaded, unless it is told to keep them.
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

    /// Loading failed: has it bring the rules before back, whatever is in force, and waits for that.
    pub fn give_up(mut self) {
        drop(self.told);
        // It says itself what it cannot do.
        self.waiting.wait().ok();
    }

    /// Asks on standard output, and waits for the word on standard input.
    ///
    /// # Errors
    /// The rules before have to be brought back and cannot be.
    pub fn ask(mut self) -> anyhow::Result<Decision> {
        // If nobody listens, its end will tell.
        self.told.write_all(LOADED).ok();
        let seconds = self.seconds;
        let asked = writeln!(
            io::stdout(),
            "The new rules are in force. Open a new connection to see whether you still can, then type `{CONFIRMATION}` \
             here to keep them. In {seconds} s the old ones come back."
        );
        asked.ok(); // who cannot read it will not confirm
        let (entered, events) = mpsc::channel();
        let ended = entered.clone();
        std::thread::spawn(move || {
            let lines = io::stdin().lock().lines().map_while(Result::ok);
            // The end of the input is no confirmation.
            if lines.into_iter().any(|line| line.trim() == CONFIRMATION) {
                entered.send(Event::Confirmed).ok();
            }
        });
        std::thread::spawn(move || {
            let ending = self.waiting.wait().ok().and_then(|status| status.code());
            ended.send(Event::Ended(ending)).ok();
        });
        loop {
            match events.recv().context("waiting for a decision")? {
                // It may be too late, which its end will tell.
                Event::Confirmed => drop(self.told.write_all(KEEP)),
                Event::Ended(Some(0)) => return Ok(Decision::Kept),
                Event::Ended(Some(code)) if code == i32::from(REVERTED) => {
                    return Ok(Decision::Reverted);
                }
                // It did not do its work.
                Event::Ended(_) => {
                    self.before.bring_back()?;
                    return Ok(Decision::Reverted);
                }
            }
        }
    }
}

enum Event {
    Confirmed,
    /// With this exit status, or by a signal.
    Ended(Option<i32>),
}

/// Reads `bytes` of nft text from standard input, then waits to be told that the new rules are loaded and that they are to
/// be kept. Loads the text when the second does not come within `seconds` of the first, or the input ends.
///
/// # Errors
/// The text cannot be read or loaded.
pub fn keep_or_revert(bytes: usize, seconds: u32) -> anyhow::Result<Decision> {
    let mut before = vec![0; bytes];
    let read = io::stdin().lock().read_exact(&mut before);
    read.context("reading the rules before")?;
    let before = Before(String::from_utf8(before).context("reading the rules before")?);
    let (sender, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut word = [0; 4];
        while io::stdin().lock().read_exact(&mut word).is_ok() && sender.send(word).is_ok() {}
    });
    if told.recv().as_ref() != Ok(LOADED) {
        std::thread::sleep(SETTLE);
    } else if told
        .recv_timeout(Duration::from_secs(seconds.into()))
        .as_ref()
        == Ok(KEEP)
    {
        return Ok(Decision::Kept);
    }
    before.bring_back()?;
    Ok(Decision::Reverted)
}
