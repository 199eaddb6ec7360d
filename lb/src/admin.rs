//! The private listener: `/live`, `/ready` and `/metrics`.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession, server::ShutdownWatch};
use tracing::error;

use crate::{metrics::Metrics, pool::Pool};

/// The admin application.
pub struct Admin {
    pools: Vec<Arc<Pool>>,
    metrics: Arc<Metrics>,
    draining: ShutdownWatch,
}

impl Admin {
    /// `draining` turns true when the balancer begins to stop.
    pub fn new(pools: Vec<Arc<Pool>>, metrics: Arc<Metrics>, draining: ShutdownWatch) -> Self {
        Self {
            pools,
            metrics,
            draining,
        }
    }

    /// Ready to be sent traffic: every pool can answer, and we are not leaving.
    fn ready(&self) -> (StatusCode, String) {
        let reason = if *self.draining.borrow() {
            "draining\n"
        } else if !self.pools.iter().all(|pool| pool.has_untried(&[])) {
            "no healthy backend\n"
        } else {
            return (StatusCode::OK, "ready\n".to_owned());
        };
        (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
    }

    fn metrics(&self) -> (StatusCode, String) {
        match self.metrics.render() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => {
                error!(%error, "metrics cannot be rendered");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "metrics cannot be rendered, see the log\n".to_owned(),
                )
            }
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (status, body) = match session.req_header().uri.path() {
            "/live" => (StatusCode::OK, "live\n".to_owned()),
            "/ready" => self.ready(),
            "/metrics" => self.metrics(),
            _ => (
                StatusCode::NOT_FOUND,
                "/live, /ready or /metrics\n".to_owned(),
            ),
        };
        Response::builder()
            .status(status)
            .header(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::CACHE_CONTROL, "no-store")
            .body(body.into_bytes())
            .expect("a status and fixed header names make a valid response")
    }
}
