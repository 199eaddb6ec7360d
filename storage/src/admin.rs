//! `/live`, `/ready`, `/metrics`: answered from memory, whatever state the other nodes are in.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::metrics::Metrics;
use crate::node::Node;
use crate::peer::Peer;
use crate::quorum::QUORUM;

#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) node: Arc<Node>,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled once the node is shutting down.
    pub(crate) draining: CancellationToken,
}

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// Ready when a quorum that votes answered the last heartbeat and the node is not shutting down.
async fn ready(State(admin): State<Admin>) -> Response {
    if admin.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    let voting =
        |peer: &&Arc<Peer>| peer.is_up() && peer.pong().borrow().is_some_and(|pong| pong.votes);
    let up = usize::from(admin.node.votes()) + admin.node.peers().iter().filter(voting).count();
    if up < QUORUM {
        return (StatusCode::SERVICE_UNAVAILABLE, "no quorum\n").into_response();
    }
    "ready\n".into_response()
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
