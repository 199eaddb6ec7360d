//! Background loop: asks every backend `GET /ready` and tells the pool what it said.
//!
//! Backends are probed in parallel and independently: one that hangs delays nobody's next probe.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use pingora::{
    ErrorType::ConnectRefused, connectors::http::v1::Connector, http::RequestHeader,
    upstreams::peer::HttpPeer,
};
use tokio::{task::JoinSet, time};
use tracing::{info, warn};

use crate::{
    config::Config,
    pool::{Backend, News, Pool, Probe, State},
};

/// Path that tells whether a front-end wants requests.
const READY_PATH: &[u8] = b"/ready";

/// The prober.
pub struct Health {
    pool: Arc<Pool>,
    connector: Arc<Connector>,
    interval: Duration,
    timeout: Duration,
}

impl Health {
    /// Prepares the loop.
    pub fn new(pool: Arc<Pool>, config: &Config) -> Self {
        let connector = Arc::new(Connector::new(None));
        Self {
            pool,
            connector,
            interval: config.probe_interval,
            timeout: config.probe_timeout,
        }
    }

    /// Probes for ever.
    pub async fn run(self) {
        let mut tick = time::interval(self.interval);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut probes = JoinSet::new();
        loop {
            tick.tick().await;
            while probes.try_join_next().is_some() {}
            for backend in self.pool.backends() {
                if backend.probe_begins() {
                    let (pool, connector) = (Arc::clone(&self.pool), Arc::clone(&self.connector));
                    let limit = self.timeout;
                    probes.spawn(async move {
                        let (probe, reason) = probe(&connector, backend.addr(), limit).await;
                        backend.probe_ended();
                        conclude(&pool, &backend, probe, &reason);
                    });
                }
            }
        }
    }
}

/// Tells the pool, and logs what is news.
pub(crate) fn conclude(pool: &Pool, backend: &Backend, probe: Probe, reason: &str) {
    let addr = backend.addr();
    match (pool.record(backend, probe), probe) {
        (Some(News::Became(State::Healthy)), _) => {
            info!(backend.addr = %addr, "backend {addr} is healthy")
        }
        (Some(News::Became(_)), Probe::Draining) => {
            info!(backend.addr = %addr, "backend {addr} drains, no new requests")
        }
        (Some(News::Became(_)), _) => {
            warn!(backend.addr = %addr, reason, "backend {addr} is unhealthy: {reason}")
        }
        (Some(News::NeverReady), _) => {
            warn!(backend.addr = %addr, reason, "backend {addr} is not ready so far: {reason}")
        }
        (None, _) => {}
    }
}

/// One probe and, in words for the log, what it saw.
async fn probe(connector: &Connector, addr: SocketAddr, limit: Duration) -> (Probe, String) {
    match time::timeout(limit, ask(connector, addr)).await {
        Ok(Ok(StatusCode::OK)) => (Probe::Ready, String::new()),
        Ok(Ok(status)) => {
            let reason = format!("/ready answered {}", status.as_u16());
            match status {
                StatusCode::SERVICE_UNAVAILABLE => (Probe::Draining, reason),
                _ => (Probe::Failed, reason),
            }
        }
        Ok(Err(error)) if *error.etype() == ConnectRefused => {
            (Probe::Refused, "it refused the connection".to_owned())
        }
        Ok(Err(error)) => (
            Probe::Failed,
            format!("/ready failed: {}", error.etype().as_str()),
        ),
        Err(_) => (
            Probe::Failed,
            format!("/ready gave no answer in {} ms", limit.as_millis()),
        ),
    }
}

/// A fresh connection each time: a probe must also find out whether the backend still accepts.
async fn ask(connector: &Connector, addr: SocketAddr) -> pingora::Result<StatusCode> {
    let peer = HttpPeer::new(addr, false, String::new());
    let (mut session, _) = connector.get_http_session(&peer).await?;
    let mut request = Box::new(RequestHeader::build("GET", READY_PATH, Some(3))?);
    request.insert_header("Host", addr.to_string())?;
    request.insert_header("User-Agent", "quiz-lb")?;
    request.insert_header("Connection", "close")?;
    session.write_request_header(request).await?;
    session.finish_body().await?;
    session.read_response().await?;
    Ok(session.get_status().unwrap_or(StatusCode::BAD_GATEWAY))
}
