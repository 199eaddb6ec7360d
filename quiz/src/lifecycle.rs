//! Where the process is in its life, and what that means for requests: starting, serving, draining.

use std::sync::atomic::{AtomicU8, Ordering};

use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::error::Error;

/// Phase of the process; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The database has not been reached, migrated and seeded yet.
    Starting,
    /// Everything works.
    Serving,
    /// The end was asked for: still serving, but no longer ready.
    Draining,
}

/// The current phase, shared by all requests.
#[derive(Debug)]
pub struct Lifecycle(AtomicU8);

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Phase::Starting as u8))
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Moves forward to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

/// Layer of the pages: none before the schema is there, so that no page meets a missing table.
pub async fn refuse_while_starting(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    if app.lifecycle.phase() == Phase::Starting {
        return Err(Error::Unavailable(anyhow::anyhow!("still starting")));
    }
    Ok(next.run(request).await)
}

/// Layer of every reply: while draining, clients are asked to take their next request to another connection.
pub async fn close_while_draining(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if app.lifecycle.phase() == Phase::Draining {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_process_never_serves_again() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.phase(), Phase::Starting);
        lifecycle.enter(Phase::Draining);
        lifecycle.enter(Phase::Serving);
        assert_eq!(lifecycle.phase(), Phase::Draining);
    }
}
