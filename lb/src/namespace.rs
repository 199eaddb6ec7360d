//! Keeps the balancer behind its firewall when both share a network namespace that the firewall brings.
//!
//! Containers join the namespace of another one when they are started. A firewall that is started anew has a new
//! namespace; the balancer stays in the old one, which has no rules of anybody's keeping and no way to anywhere. So
//! `quiz-firewall watch` writes into a file (`FIREWALL_NAMESPACE_FILE`) in which namespace its rules are in force, and the
//! balancer (`process.namespace_file`) accepts nobody before that is its own, and ends when it is another one: whoever starts
//! it again puts it in the right one.

use std::{fmt, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use tokio::time::{self, Instant};
use tracing::warn;

/// Between two looks at the file: a visitor waits about as long for a failover.
const POLL: Duration = Duration::from_millis(500);
/// Between two lines in the log that say what is waited for.
const REMIND: Duration = Duration::from_secs(10);

/// The file, and the namespace that this process is in.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: PathBuf,
    own: String,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing, and why.
    Nothing(String),
    /// The rules are in force here.
    Here,
    /// They are in force in this other namespace.
    Elsewhere(String),
}

/// The firewall is in another namespace.
#[derive(Clone, Debug)]
pub struct Stranded {
    file: PathBuf,
    other: String,
    own: String,
}

impl Namespace {
    /// That of this process.
    pub fn of_this_process(file: PathBuf) -> Result<Self> {
        let own = fs::read_link("/proc/self/ns/net")
            .context("process.namespace_file (LB_NAMESPACE_FILE) needs /proc/self/ns/net")?;
        let own = own.to_string_lossy().into_owned();
        Ok(Self { file, own })
    }

    /// Waits, without end, until the firewall's rules are in force here.
    pub async fn guarded(&self) -> Result<(), Stranded> {
        let mut said: Option<Instant> = None;
        loop {
            match self.look().await {
                Word::Here => return Ok(()),
                Word::Elsewhere(other) => return Err(self.stranded(other)),
                Word::Nothing(why) => {
                    if said.is_none_or(|said| said.elapsed() >= REMIND) {
                        let file = self.file.display();
                        warn!(
                            "waiting for the firewall to name {} in {file}: {why}",
                            self.own
                        );
                        said = Some(Instant::now());
                    }
                }
            }
            time::sleep(POLL).await;
        }
    }

    /// Resolves once the firewall is in another namespace. A file that is gone says nothing: the firewall may be about to
    /// come back.
    pub async fn left(&self) -> Stranded {
        loop {
            if let Word::Elsewhere(other) = self.look().await {
                return self.stranded(other);
            }
            time::sleep(POLL).await;
        }
    }

    async fn look(&self) -> Word {
        match tokio::fs::read_to_string(&self.file).await {
            Ok(text) => judge(&text, &self.own),
            Err(error) => Word::Nothing(error.to_string()),
        }
    }

    fn stranded(&self, other: String) -> Stranded {
        Stranded {
            file: self.file.clone(),
            other,
            own: self.own.clone(),
        }
    }
}

impl fmt::Display for Stranded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, other, own) = (self.file.display(), &self.other, &self.own);
        write!(
            f,
            "the firewall is in the network namespace {other}, says {file}, and this balancer in {own}, which nobody guards: \
             ending, to be started again in that of the firewall"
        )
    }
}

/// What a file with this text says to whom is in the namespace `own`.
fn judge(text: &str, own: &str) -> Word {
    match text.trim() {
        "" => Word::Nothing("it is empty".to_owned()),
        name if name == own => Word::Here,
        other => Word::Elsewhere(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_name_is_here_and_an_empty_file_says_nothing() {
        let own = "net:[4026532281]";
        assert_eq!(judge("net:[4026532281]\n", own), Word::Here);
        let other = Word::Elsewhere("net:[402653228]".to_owned());
        assert_eq!(judge("net:[402653228]\n", own), other);
        assert!(matches!(judge("\n", own), Word::Nothing(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_goes_away_is_no_reason_to_leave_and_another_name_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("namespace");
        let namespace = Namespace::of_this_process(file.clone()).unwrap();
        fs::write(&file, &namespace.own).unwrap();
        assert!(namespace.guarded().await.is_ok());
        fs::remove_file(&file).unwrap();
        let mut left = std::pin::pin!(namespace.left());
        let soon = time::timeout(POLL * 3, &mut left).await;
        assert!(soon.is_err(), "it left");
        fs::write(&file, "net:[1]\n").unwrap();
        let why = left.await.to_string();
        assert!(
            why.contains("net:[1]") && why.contains(&namespace.own),
            "{why}"
        );
    }
}
