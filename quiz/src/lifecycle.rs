//! Where the process is in its life, and what that means for requests: starting, serving, draining.

use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;
use tokio::time;

use crate::app::App;
use crate::error::Error;

/// Phase of the process; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
pub struct Lifecycle(watch::Sender<Phase>);

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Moves forward to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let forward = phase > *now;
            *now = phase.max(*now);
            forward
        });
    }

    /// Resolves when the process has started.
    async fn started(&self) {
        let mut phase = self.0.subscribe();
        // It cannot fail: the sender is `self`.
        let _ = phase.wait_for(|phase| *phase > Phase::Starting).await;
    }
}

/// Layer of the pages: none before the schema is there, so that no page meets a missing table.
///
/// A front-end that was killed and started again at once may get requests before the balancer has noticed. They wait
/// for the moment that a start takes, as long as a page may wait for the database (`QUIZ_DB_ACQUIRE_TIMEOUT_MS`).
pub async fn wait_while_starting(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let patience = app.config.db_acquire_timeout;
    if time::timeout(patience, app.lifecycle.started())
        .await
        .is_err()
    {
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
