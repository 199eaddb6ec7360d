//! The proxy itself: Pingora's phases in the order in which a request meets them.

use std::{net::SocketAddr, os::fd::RawFd, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, header::CONNECTION};
use pingora::{
    Error, ErrorSource,
    ErrorType::{ConnectRefused, HTTPStatus, ReadTimedout},
    Result,
    cache::{CacheKey, CacheMeta, RespCacheable, key::HashBinary},
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    server::ShutdownWatch,
    upstreams::peer::HttpPeer,
};
use tracing::{debug, warn};

use crate::{
    access_log::AccessLog,
    addresses::{Addresses, Held},
    cache::{self, Cache},
    compression::body,
    config,
    downstream::pace_in,
    forward::{self, Origin},
    framing, health,
    http2::Visit,
    metrics::{Active, Metrics},
    pace::Stage,
    pool::{InFlight, News, NoPlace, Pool, Probe, State},
    queue::GaveUp,
    retry::{self, Attempt, Phase},
};

mod account;
mod admission;
mod answer;
mod cached;
mod peer;
mod reply;
mod standby;

use account::Times;
use answer::{linger, refuse, status_of};

/// The balancer's side of every request. `draining` turns true when the balancer begins to stop.
pub struct Proxy {
    pub(crate) clients: Arc<ArcSwap<config::Clients>>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access: Arc<AccessLog>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) draining: ShutdownWatch,
    /// Its listener talks TLS.
    pub(crate) https: bool,
}

/// What one request carries through the phases.
pub struct Ctx {
    id: String,
    origin: Origin,
    counted: Option<Held>,
    started: Instant,
    tried: Vec<SocketAddr>,
    timed_out: Option<usize>,
    answered: bool,
    serving: Option<InFlight>,
    sent: Instant,
    answered_here: bool,
    times: Times,
    _active: Active,
}

impl Proxy {
    /// Asks `retry.rs`, and counts a yes.
    fn retry(&self, session: &Session, ctx: &Ctx, phase: Phase, name: &str) -> bool {
        let again = retry::allowed(&Attempt {
            method: &session.req_header().method,
            tries: ctx.tried.len(),
            max_tries: self.pool.settings().retries.max_tries,
            has_untried: self.pool.has_untried(&ctx.tried),
            timed_out: ctx.timed_out,
            answered: ctx.answered,
            phase,
        });
        // What was never sent, or sent to a backend that is out of the pool, adds nothing to the work of the pool.
        let repeats_work = matches!(name, "proxy" | "status");
        if again && repeats_work && !self.pool.may_retry(Instant::now()) {
            self.metrics.out_of_budget(self.pool.name());
            return false;
        }
        if again {
            self.metrics.retried(self.pool.name(), name);
        }
        again
    }

    /// Takes a reply for the failure of its backend, if another one may be asked.
    fn reject(&self, session: &Session, status: StatusCode, ctx: &mut Ctx) -> Result<()> {
        let phase = Phase::Answered {
            body_kept: !session.retry_buffer_truncated(),
        };
        let statuses = &self.pool.settings().retries.statuses;
        if !statuses.contains(status.as_u16()) || !self.retry(session, ctx, phase, "status") {
            return Ok(());
        }
        ctx.answered = true;
        let mut e = Error::explain(HTTPStatus(status.as_u16()), "a backend failed").into_up();
        e.set_retry(true);
        Err(e)
    }

    /// Holds a failed request against its backend.
    fn backend_failed(&self, ctx: &Ctx, reason: &str) {
        if let Some(serving) = &ctx.serving {
            let (backend, now) = (serving.backend(), Instant::now());
            let news = self.pool.failed(backend, now, now - ctx.sent);
            if news == Some(News::Became(State::Ejected)) {
                self.metrics.ejected(self.pool.name(), backend.addr());
            }
            health::tell(&self.pool, backend.addr(), news, reason);
        }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx {
            id: format!("{:032x}", rand::random::<u128>()),
            origin: Origin::default(),
            counted: None,
            started: Instant::now(),
            tried: Vec::new(),
            timed_out: None,
            answered: false,
            serving: None,
            sent: Instant::now(),
            answered_here: false,
            times: Times::default(),
            _active: self.metrics.begin(),
        }
    }

    /// It compresses what `reply.rs` says, and otherwise nothing.
    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(body::Builder));
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        self.admit(session, ctx)
    }

    /// A body without a length can only be counted as it comes.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        end_of_stream: bool,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        if end_of_stream && let Some(mut pace) = pace_in(session.as_downstream()) {
            pace.expect(Stage::Anything);
        }
        if session.body_bytes_read() > self.clients.load().max_body_bytes && !session.was_upgraded()
        {
            return refuse(413, "request body over the limit");
        }
        Ok(())
    }

    fn request_cache_filter(&self, session: &mut Session, _ctx: &mut Ctx) -> Result<()> {
        if self.cache.admits(session.req_header()) {
            self.cache.enable(&mut session.cache);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, ctx: &mut Ctx) -> Result<CacheKey> {
        let request = session.req_header();
        Ok(cache::key(self.pool.name(), &ctx.origin, request))
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        _ctx: &mut Ctx,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        cache::variance(meta, request)
    }

    fn should_serve_stale(
        &self,
        _session: &mut Session,
        ctx: &mut Ctx,
        error: Option<&Error>,
    ) -> bool {
        self.sends_stale(ctx, error)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        // The failed try ends before the next one begins.
        ctx.serving = None;
        if Visit::of(session.as_downstream()).is_some_and(|visit| !visit.has_place()) {
            self.metrics.turned_away(self.pool.name(), GaveUp::Full);
            let why = "no place for one more request of its connection";
            return Err(Error::explain(HTTPStatus(503), why).into_in());
        }
        let key = self.key(session, ctx);
        let asked = Instant::now();
        let place = self.pool.take(&ctx.tried, key).await;
        ctx.sent = Instant::now();
        ctx.times.waited += ctx.sent - asked;
        let place = place.map_err(|why| {
            let why = match why {
                NoPlace::NoBackend => "no healthy backend",
                NoPlace::Busy(gave_up) => {
                    self.metrics.turned_away(self.pool.name(), gave_up);
                    "all backends are busy"
                }
            };
            Error::explain(HTTPStatus(503), why).into_in()
        })?;
        let serving = ctx.serving.insert(place);
        ctx.tried.push(serving.backend().addr());
        standby::arrange(&self.pool, session, serving, ctx.tried.len());
        let backend = serving.backend();
        let patience = &self.pool.settings().timeouts;
        let peer = peer::of(backend, patience, session.req_header());
        Ok(Box::new(peer))
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Ctx,
        mut e: Box<Error>,
    ) -> Box<Error> {
        debug!(request_id = ctx.id, %peer, error = %e, "no connection to a backend");
        if let (ConnectRefused, Some(serving)) = (e.etype(), &ctx.serving) {
            let reason = "it refused the connection";
            health::conclude(&self.pool, serving.backend(), Probe::Refused, reason);
        } else if health::our_own(&e).is_none() {
            self.backend_failed(ctx, "no connection");
        }
        e.set_retry(self.retry(session, ctx, Phase::Connecting, "connect"));
        e
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if let Some(serving) = &ctx.serving {
            let backend = serving.backend().name();
            self.metrics.connected(self.pool.name(), backend, reused);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        framing::to_origin_form(request);
        forward::vouch(request, &ctx.origin, &ctx.id)
    }

    /// The head of the reply as the backend sent it.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        reply: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let Some(serving) = &ctx.serving else {
            return Ok(());
        };
        let now = Instant::now();
        if !reply.status.is_server_error() {
            serving.backend().replied(now, closes(reply));
        }
        if reply.status.is_server_error() {
            self.backend_failed(ctx, reply.status.as_str());
            return self.reject(session, reply.status, ctx);
        } else if !reply.status.is_informational() {
            serving.backend().succeeded(now, now - ctx.sent);
        }
        Ok(())
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        reply: &ResponseHeader,
        _ctx: &mut Ctx,
    ) -> Result<RespCacheable> {
        Ok(self.cache.judge(session.req_header(), reply))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        reply: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.prepare(session, reply, ctx)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Ctx,
        client_reused: bool,
    ) -> Box<Error> {
        debug!(request_id = ctx.id, %peer, reused = client_reused, error = %e, "lost a backend");
        // Already held against the backend, and `reject` asked whether there is a next try.
        if let (HTTPStatus(_), ErrorSource::Upstream) = (e.etype(), e.esource()) {
            return e;
        }
        let called_back = ctx.serving.as_mut().is_some_and(InFlight::stay);
        if called_back {
            e = Error::explain(ReadTimedout, "its backend was lost").into_up();
        }
        let upstream_failed = *e.esource() == ErrorSource::Upstream;
        // While a client is slow to send, the silence of its backend is no fault.
        let awaited = *e.etype() != ReadTimedout || session.is_body_done();
        if upstream_failed && awaited {
            self.backend_failed(ctx, e.etype().as_str());
        }
        if upstream_failed && *e.etype() == ReadTimedout && !called_back {
            ctx.timed_out.get_or_insert(ctx.tried.len());
        }
        let phase = Phase::Proxying {
            upstream_failed,
            reply_begun: session.response_written().is_some(),
            body_kept: !session.retry_buffer_truncated(),
        };
        let name = if called_back { "recall" } else { "proxy" };
        e.set_retry(self.retry(session, ctx, phase, name));
        e
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        let late = pace_in(session.as_downstream()).is_some_and(|pace| pace.is_late());
        let status = if late { 408 } else { status_of(e) };
        let backend = ctx.tried.last().map(ToString::to_string);
        if status >= 500 {
            let tries = ctx.tried.len();
            warn!(request_id = ctx.id, backend, tries, status, error = %e, "cannot proxy a request: {status}");
        } else {
            debug!(request_id = ctx.id, backend, status, error = %e, "request refused or client gone");
        }
        let begun = session
            .response_written()
            .is_some_and(|reply| !reply.status.is_informational());
        if status != 0 && !begun {
            ctx.serving = None;
            match answer::send(session, status, &ctx.id).await {
                Ok(()) => ctx.answered_here = true,
                Err(error) => {
                    debug!(request_id = ctx.id, %error, "the client did not take the answer")
                }
            }
        }
        FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Ctx) {
        let status = self.account(session, e, ctx);
        // The rest of a body on one of many streams is called off without harm to the answer.
        let alone = session.as_downstream().as_http1().is_some();
        if status.is_some() && alone && !session.was_upgraded() && !session.is_body_done() {
            // Rare, and so large that it would be moved for every request.
            Box::pin(linger(session)).await;
        }
    }

    /// Errors are logged in `fail_to_proxy`, with the request id; Pingora's own lines would only repeat them.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    /// Retries are counted; a line for each would flood the log just when a backend dies.
    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Ctx,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Whether a reply ends its connection.
fn closes(reply: &ResponseHeader) -> bool {
    let values = reply.headers.get_all(CONNECTION).iter();
    let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}
