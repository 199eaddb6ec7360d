//! What is written down of a request when it is over.

use std::{mem, sync::Arc, time::Duration};

use http::header::{HOST, USER_AGENT};
use pingora::{Error, proxy::Session};
use tracing::debug;

use super::{Ctx, Proxy, cached};
use crate::{
    access_log::{self, Line},
    metrics::CACHE,
};

/// Times of a request on its way.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// In the line for a place.
    pub(super) waited: Duration,
    /// Until the head of the reply was there.
    pub(super) head: Option<Duration>,
}

impl Proxy {
    /// Counts the request and writes its line. The status that the client got, if it got a whole reply.
    pub(super) fn account(
        &self,
        session: &Session,
        e: Option<&Error>,
        ctx: &mut Ctx,
    ) -> Option<u16> {
        let whole = e.is_none() || ctx.answered_here;
        let status = session
            .response_written()
            .map(|reply| reply.status.as_u16())
            .filter(|_| whole);
        // Its place is free from now on.
        let serving = mem::take(&mut ctx.serving);
        let backend = serving.map(|serving| Arc::clone(serving.backend().name()));
        let backend = if cached::answered(session) {
            Some(CACHE.into())
        } else {
            backend
        };
        let took = ctx.started.elapsed();
        // No visitor asked for what Pingora fetches again for the cache.
        let asked_for = session.subrequest_ctx.is_none();
        if asked_for {
            let (pool, backend) = (self.pool.name(), backend.as_deref());
            self.metrics.ended(pool, backend, status, took);
        }
        if let Some(lookup) = cached::lookup(session).filter(|_| asked_for) {
            self.metrics.cache().looked_up(lookup);
        }
        debug!(
            request_id = ctx.id,
            method = %session.req_header().method,
            path = session.req_header().uri.path(),
            status,
            backend = backend.as_deref(),
            tries = ctx.tried.len(),
            duration_ms = took.as_millis(),
            "request"
        );
        if asked_for && let Some(sample) = self.access.wants(status) {
            self.write_line(session, ctx, (status, backend, took), sample);
        }
        status
    }

    fn write_line(
        &self,
        session: &Session,
        ctx: &Ctx,
        (status, backend, took): (Option<u16>, Option<Arc<str>>, Duration),
        sample: usize,
    ) {
        let head = session.req_header();
        let text = |name| {
            let value: Option<&http::HeaderValue> = head.headers.get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or("")
        };
        let millis = |time: Duration| (time.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let outcome = match (status, ctx.answered_here) {
            (None, _) => "aborted",
            (Some(_), true) => "balancer",
            (Some(_), false) if cached::answered(session) => CACHE,
            (Some(_), false) => "backend",
        };
        self.access.write(&Line {
            time: access_log::now(),
            request_id: &ctx.id,
            pool: self.pool.name(),
            client: ctx.origin.client,
            method: head.method.as_str(),
            host: access_log::short(text(HOST)),
            path: access_log::short(head.uri.path()),
            status,
            outcome,
            backend: backend
                .map(|backend| backend.to_string())
                .or_else(|| ctx.tried.last().map(ToString::to_string)),
            retries: ctx.tried.len().saturating_sub(1),
            waited_ms: millis(ctx.times.waited),
            head_ms: ctx.times.head.map(millis),
            duration_ms: millis(took),
            received_bytes: session.body_bytes_read(),
            sent_bytes: session.body_bytes_sent(),
            user_agent: access_log::short(text(USER_AGENT)),
            sample,
        });
    }
}
