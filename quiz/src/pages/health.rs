//! `/live`, `/ready`, `/metrics`: is the process alive, may it get traffic, what has it done.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use crate::app::App;
use crate::db;
use crate::error::Error;
use crate::lifecycle::Phase;

/// An answer is good for this long: many balancers may ask, the database is asked once.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer of the parts that a page needs.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Instant, Parts)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    database: bool,
    storage: bool,
}

/// Always 200: a process that can answer need not be restarted, whatever else is broken.
pub async fn live() -> Response {
    plain(StatusCode::OK, "live\n")
}

/// 200 when pages can be served: started, not draining, database and store answering.
pub async fn ready(State(app): State<App>) -> Response {
    match app.lifecycle.phase() {
        Phase::Starting => return plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Draining => return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Phase::Serving => {}
    }
    match parts(&app).await {
        Parts {
            database: true,
            storage: true,
        } => plain(StatusCode::OK, "ready\n"),
        Parts {
            database: false, ..
        } => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "database does not answer\n",
        ),
        Parts { storage: false, .. } => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "storage does not answer\n")
        }
    }
}

/// The counters, in the text format of Prometheus.
pub async fn metrics(State(app): State<App>) -> Result<Response, Error> {
    let text = app.metrics.render(&app.db).map_err(Error::Internal)?;
    Ok(([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// Asks both parts, or repeats a fresh answer. The lock makes callers who come together share one question.
async fn parts(app: &App) -> Parts {
    let mut last = app.readiness.0.lock().await;
    if let Some((asked, parts)) = *last
        && asked.elapsed() < FRESH
    {
        return parts;
    }
    let limit = app.config.ready_timeout;
    let (database, storage) = tokio::join!(
        tokio::time::timeout(limit, db::ping(&app.db)),
        tokio::time::timeout(limit, app.images.ready()),
    );
    let parts = Parts {
        database: matches!(database, Ok(Ok(()))),
        storage: matches!(storage, Ok(Ok(()))),
    };
    if last.is_none_or(|(_, before)| before != parts) {
        tracing::info!(parts.database, parts.storage, "readiness changed");
        if let Ok(Err(error)) = storage {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the image store is not ready");
        }
    }
    *last = Some((Instant::now(), parts));
    parts
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], text).into_response()
}
