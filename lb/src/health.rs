//! Background loop: asks every backend `GET /ready` and tells the pool what it said.
//!
//! Backends are probed in parallel and independently: one that hangs delays nobody's next probe.

use std::{
    error,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use pingora::{
    ErrorType::ConnectRefused, connectors::http::v1::Connector, http::RequestHeader,
    upstreams::peer::HttpPeer,
};
use rustix::io::Errno;
use tokio::{task::JoinSet, time};
use tracing::{debug, info, warn};

use crate::{
    episode::Episode,
    pool::{Backend, News, Pool, Probe, State},
};

/// Path that tells whether a front-end wants requests.
const READY_PATH: &[u8] = b"/ready";

/// How exactly ejections end.
const TICK: Duration = Duration::from_millis(100);

/// The prober.
pub struct Health {
    pool: Arc<Pool>,
    connector: Connector,
    trouble: Mutex<Episode>,
}

/// What a probe saw and, in words for the log, why; or the reason of our own for which it saw nothing.
type Seen = Result<(Probe, String), Errno>;

impl Health {
    /// Prepares the loop.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            connector: Connector::new(None),
            trouble: Mutex::default(),
        }
    }

    /// Probes for ever.
    pub async fn run(self) {
        let health = Arc::new(self);
        let mut revision = health.pool.revision();
        let mut probes = JoinSet::new();
        loop {
            while probes.try_join_next().is_some() {}
            for backend in health.pool.backends() {
                if backend.probe_begins() {
                    let health = Arc::clone(&health);
                    probes.spawn(async move { health.check(&backend).await });
                }
            }
            let interval = health.pool.settings().checks.interval;
            // Other settings begin to hold at once, not after what is left of an hour.
            let _ = time::timeout(interval, revision.changed()).await;
        }
    }

    /// No backend is judged by what goes wrong on our side, or one shortage here would empty the whole pool.
    async fn check(&self, backend: &Backend) {
        let limit = self.pool.settings().checks.timeout;
        let seen = probe(&self.connector, backend.addr(), limit).await;
        backend.probe_ended();
        match seen {
            Ok((probe, reason)) => conclude(&self.pool, backend, probe, &reason),
            Err(error) => {
                let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                if trouble.begins(Instant::now()) {
                    warn!(%error, "cannot probe backends, their states stay as they are: {error}");
                } else {
                    debug!(backend.addr = %backend.addr(), %error, "still cannot probe: {error}");
                }
            }
        }
    }
}

/// Ends ejections when their time is over, for ever.
pub async fn end_ejections(pool: Arc<Pool>) {
    let mut tick = time::interval(TICK);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        let now = tick.tick().await.into_std();
        for (addr, news) in pool.tick(now) {
            tell(&pool, addr, Some(news), "its ejection is over");
        }
    }
}

/// Tells the pool of a probe, and the log what is news.
pub(crate) fn conclude(pool: &Pool, backend: &Backend, probe: Probe, reason: &str) {
    let news = pool.record(backend, probe, Instant::now());
    tell(pool, backend.addr(), news, reason);
}

/// Tells the log what is news.
pub(crate) fn tell(pool: &Pool, addr: SocketAddr, news: Option<News>, reason: &str) {
    let Some(news) = news else { return };
    pool.remember(addr, reason);
    match news {
        News::Became(State::Healthy) => info!(backend.addr = %addr, "backend {addr} is healthy"),
        News::Became(State::Disabled) => {
            info!(backend.addr = %addr, "backend {addr} is disabled: {reason}")
        }
        News::Became(State::Draining) => {
            info!(backend.addr = %addr, "backend {addr} drains, no new requests")
        }
        News::Became(state) => {
            let state = state.name();
            warn!(backend.addr = %addr, reason, "backend {addr} is {state}: {reason}")
        }
        News::NeverReady => {
            warn!(backend.addr = %addr, reason, "backend {addr} is not ready so far: {reason}")
        }
    }
    if pool.panics() {
        warn!(
            pool = pool.name(),
            "no backend of pool {} is healthy: trying those that might be",
            pool.name()
        );
    }
}

async fn probe(connector: &Connector, addr: SocketAddr, limit: Duration) -> Seen {
    let failed = |reason| Ok((Probe::Failed, reason));
    match time::timeout(limit, ask(connector, addr)).await {
        Ok(Ok(StatusCode::OK)) => Ok((Probe::Ready, String::new())),
        Ok(Ok(status)) => {
            let reason = format!("/ready answered {}", status.as_u16());
            match status {
                StatusCode::SERVICE_UNAVAILABLE => Ok((Probe::Draining, reason)),
                _ => failed(reason),
            }
        }
        Ok(Err(error)) => match (our_own(&error), error.etype()) {
            (Some(ours), _) => Err(ours),
            (None, ConnectRefused) => Ok((Probe::Refused, "it refused the connection".to_owned())),
            (None, other) => failed(format!("/ready failed: {}", other.as_str())),
        },
        Err(_) => failed(format!("/ready gave no answer in {} ms", limit.as_millis())),
    }
}

/// The reason of an error that says nothing about the other side: descriptors, memory or ports have run out here.
pub(crate) fn our_own(error: &pingora::Error) -> Option<Errno> {
    let mut cause: &(dyn error::Error + 'static) = error.root_cause();
    while let Some(next) = cause.source() {
        cause = next;
    }
    let errno = Errno::from_io_error(cause.downcast_ref()?)?;
    let ours = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ];
    ours.contains(&errno).then_some(errno)
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

#[cfg(test)]
mod tests {
    use std::io;

    use pingora::{Error, ErrorType};

    use super::*;

    #[test]
    fn what_runs_out_here_is_not_the_backends_fault() {
        let met = |errno: Errno| {
            let cause = io::Error::from_raw_os_error(errno.raw_os_error());
            let error = Error::because(ErrorType::SocketError, "inner", cause);
            our_own(&Error::because(ErrorType::InternalError, "outer", error))
        };
        for ours in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
        ] {
            assert_eq!(met(ours), Some(ours));
        }
        for theirs in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::CONNRESET] {
            assert_eq!(met(theirs), None);
        }
        assert_eq!(our_own(&Error::new(ErrorType::ConnectTimedout)), None);
    }
}
