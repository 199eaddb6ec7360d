//! What became of one request, and when.

use std::time::Duration;

/// A start later than this after the intended one is a late start. Waking a thread and a task takes a millisecond on
/// a busy machine; ten of them are a queue.
pub const LATE_AFTER_MS: u64 = 10;

/// One request. Times count from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it was for, as `home` or `check`.
    pub step: &'static str,
    pub intended_start: Duration,
    /// When a virtual user took it up.
    pub started: Duration,
    /// When the last byte of the reply was read, or the request given up.
    pub finished: Duration,
    pub outcome: Outcome,
    /// The backend that the balancer names in `X-Served-By`, when there was a reply.
    pub served_by: Option<String>,
    pub body_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A complete reply, as it was expected.
    Succeeded,
    Failed(Failure),
    /// No virtual user was free within the timeout, so it was never sent.
    Dropped,
}

/// Why a request that was sent, or was meant to be, did not get the reply it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No port or no file was left on this machine for a connection.
    Local,
    /// No connection to any address of the target, and this was known in time.
    Connect,
    /// Not connected, or not answered to the end, in time.
    Timeout,
    /// The connection ended, or made no sense, before the head of a reply.
    NoReply,
    /// The connection ended, or made no sense, inside the body of a reply.
    Body,
    /// A complete reply with a status from 400 to 499 where another was expected.
    Status4xx(String),
    /// A complete reply with a status from 500 where another was expected.
    Status5xx(String),
    /// A complete reply that was not the one expected, in words.
    Check(String),
}

impl Failure {
    /// In words, for the first one of each step.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::Local => "no port or file was left on this machine",
            Self::Connect => "no connection",
            Self::Timeout => "no complete reply within the timeout",
            Self::NoReply => "the connection ended before a reply",
            Self::Body => "the connection ended inside a reply",
            Self::Status4xx(words) | Self::Status5xx(words) | Self::Check(words) => words,
        }
    }
}

impl Sample {
    /// What a visitor who meant to start on time had to wait.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.finished.saturating_sub(self.intended_start)
    }

    /// What the server took once it was asked.
    #[must_use]
    pub fn service_time(&self) -> Duration {
        self.finished.saturating_sub(self.started)
    }

    #[must_use]
    pub fn started_late(&self) -> bool {
        self.outcome != Outcome::Dropped
            && self.started.saturating_sub(self.intended_start)
                > Duration::from_millis(LATE_AFTER_MS)
    }
}
