//! The private listener: the status page, `/state.json`, orders to backends, `/metrics`, `/live` and `/ready`.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use http::{Method, Response, StatusCode};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession, server::ShutdownWatch};
use tracing::error;

use crate::{cache::Cache, config::Token, metrics::Metrics, pool::Pool};

mod orders;
mod page;
mod reply;
mod session;
pub mod state;

use reply::Reply;
use session::Sessions;

/// The admin application.
pub struct Admin {
    pools: Vec<Arc<Pool>>,
    metrics: Arc<Metrics>,
    cache: Arc<Cache>,
    draining: ShutdownWatch,
    token: Option<Token>,
    sessions: Sessions,
    begun: Instant,
}

impl Admin {
    /// `draining` turns true when the balancer begins to stop. Whoever knows the token may order.
    pub fn new(
        pools: Vec<Arc<Pool>>,
        metrics: Arc<Metrics>,
        cache: Arc<Cache>,
        draining: ShutdownWatch,
        token: Option<Token>,
    ) -> Self {
        Self {
            pools,
            metrics,
            cache,
            draining,
            token,
            sessions: Sessions::default(),
            begun: Instant::now(),
        }
    }

    async fn reply(&self, session: &mut ServerSession) -> Reply {
        let head = session.req_header();
        let path = head.uri.path().to_owned();
        if head.method == Method::POST {
            return self.post(session, &path).await;
        }
        match path.as_str() {
            "/" => self.page(session),
            "/status.css" => Reply::new(StatusCode::OK, "text/css", page::STYLE.to_owned()),
            "/status.js" => Reply::new(StatusCode::OK, "text/javascript", page::MODULE.to_owned()),
            "/state.json" => Reply::json(&self.state()),
            "/live" => Reply::text(StatusCode::OK, "live\n"),
            "/ready" => self.ready(),
            "/metrics" => self.metrics(),
            _ => Reply::text(
                StatusCode::NOT_FOUND,
                "/, /state.json, /metrics, /live or /ready\n",
            ),
        }
    }

    /// Ready to be sent traffic: every pool can answer, and we are not leaving.
    fn ready(&self) -> Reply {
        let reason = if *self.draining.borrow() {
            "draining\n"
        } else if !self.pools.iter().all(|pool| pool.has_untried(&[])) {
            "no healthy backend\n"
        } else {
            return Reply::text(StatusCode::OK, "ready\n");
        };
        Reply::text(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    fn metrics(&self) -> Reply {
        match self.metrics.render() {
            Ok(text) => Reply::text(StatusCode::OK, &text),
            Err(error) => {
                error!(%error, "metrics cannot be rendered");
                Reply::text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "metrics cannot be rendered, see the log\n",
                )
            }
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        self.reply(session).await.into_response()
    }
}
