//! `/live`, `/ready`, `/metrics`, `/status` and its page: answered from memory, whatever state the other nodes are in.
//! `POST /scrub` starts a scrub, `POST /verify` compares the nodes. Nobody is asked who they are: this listener is for the machine itself.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{StatusCode, header};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::metrics::Metrics;
use crate::node::Node;
use crate::peer::{Peer, now_millis};
use crate::quorum::quorum_of;
use crate::{page, status, verify};

#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) node: Arc<Node>,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled once the node is shutting down.
    pub(crate) draining: CancellationToken,
    /// Held by who compares the nodes.
    pub(crate) comparing: Arc<Semaphore>,
}

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/scrub", post(scrub))
        .route("/verify", post(compare))
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .layer(from_fn(no_page_of_others))
        .with_state(admin)
}

/// Refuses what a page of another site has a browser on this machine send. Browsers say so themselves.
async fn no_page_of_others(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not for web pages\n").into_response();
    }
    next.run(request).await
}

async fn status(State(admin): State<Admin>) -> Response {
    Json(status::of_all(&admin.node).await).into_response()
}

async fn page(State(admin): State<Admin>) -> Html<String> {
    Html(page::html(&status::of_all(&admin.node).await, now_millis()))
}

/// Starts a scrub of this node.
async fn scrub(State(admin): State<Admin>) -> Response {
    admin.node.scrub().start();
    (StatusCode::ACCEPTED, Json(admin.node.scrub().state())).into_response()
}

/// Ready when this node votes, a quorum with it answered the last heartbeat, and it is not shutting down.
async fn ready(State(admin): State<Admin>) -> Response {
    if admin.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    if !admin.node.votes() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not voting yet\n").into_response();
    }
    let voting = |peer: &&Arc<Peer>| admin.node.counts_on(peer);
    let up = 1 + admin.node.peers().iter().filter(voting).count();
    if up < quorum_of(1 + admin.node.peers().len()) {
        return (StatusCode::SERVICE_UNAVAILABLE, "no quorum\n").into_response();
    }
    "ready\n".into_response()
}

/// Compares the three nodes. Answers when it is done, and does one at a time.
async fn compare(State(admin): State<Admin>) -> Response {
    let Ok(_alone) = admin.comparing.try_acquire() else {
        return (StatusCode::CONFLICT, "a comparison is under way\n").into_response();
    };
    Json(verify::verify(&admin.node).await).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.render(&admin.node) {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (kind, text).into_response()
        }
        Err(error) => {
            error!(%error, "cannot render metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
