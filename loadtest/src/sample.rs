//! What became of one request, and when.

use std::time::Duration;

/// A start later than this after the intended one is a late start. Waking a thread and a task takes a millisecond on
/// a busy machine; ten of them are a queue.
pub const LATE_AFTER_MS: u64 = 10;

/// One request of the schedule. Times count from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub intended_start: Duration,
    /// When a worker took it up.
    pub started: Duration,
    /// When the last byte of the reply was read, or the request given up.
    pub finished: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Read to the end, whatever its status.
    Reply(Reply),
    Failed(Failure),
    /// No connection was free within the timeout, so it was never sent.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// The backend that the balancer names in `X-Served-By`.
    pub served_by: Option<String>,
    pub body_bytes: u64,
}

/// Why a request that was sent, or was meant to be, got no complete reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection to any address of the target, and this was known in time.
    Connect,
    /// Not connected, or not answered to the end, in time.
    Timeout,
    /// The connection ended, or made no sense, before the head of a reply.
    NoReply,
    /// The connection ended, or made no sense, inside the body of a reply.
    Body,
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
