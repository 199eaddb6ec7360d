//! What becomes of the head of a reply on its way to the visitor.

use std::time::Instant;

use http::{HeaderName, StatusCode, header::VARY};
use pingora::{Result, http::ResponseHeader, proxy::Session};

use super::{Ctx, Proxy, cached};
use crate::{
    compression::{self, Choice, body::Compressor},
    forward,
};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

impl Proxy {
    /// Signs it, says how long it took, and has its body compressed if that is worth it.
    pub(super) fn prepare(
        &self,
        session: &mut Session,
        reply: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if *self.draining.borrow() {
            session.set_keepalive(None);
        }
        match cached::lookup(session) {
            Some(lookup) => reply.insert_header(X_CACHE, lookup.name())?,
            None => drop(reply.remove_header(&X_CACHE)),
        }
        // The visitor gets this reply and no other.
        let backend = ctx.serving.as_mut().map(|serving| {
            serving.stay();
            serving.backend().signature().clone()
        });
        forward::sign(reply, &ctx.id, backend)?;
        if reply.status == StatusCode::SWITCHING_PROTOCOLS {
            let patience = self.pool.settings().timeouts.stream;
            session.set_read_timeout(Some(patience));
        }
        if reply.status.is_informational() {
            return Ok(());
        }
        ctx.times.head = Some(ctx.started.elapsed());
        reply.append_header(SERVER_TIMING, timing(ctx, Instant::now()))?;
        self.compress(session, reply)
    }

    fn compress(&self, session: &mut Session, reply: &mut ResponseHeader) -> Result<()> {
        let rules = self.clients.load();
        let choice = compression::choose(session.req_header(), reply, &rules.compression);
        if choice != Choice::Never {
            reply.append_header(VARY, "accept-encoding")?;
        }
        if let Choice::With(algorithm, level) = choice
            && let Some(compressor) = session.downstream_modules_ctx.get_mut::<Compressor>()
        {
            compressor.compress(algorithm, level);
        }
        Ok(())
    }
}

/// Milliseconds from the request head to the reply head: of that, what the last backend took, and all else.
fn timing(ctx: &Ctx, now: Instant) -> String {
    // Whole numbers cost a fraction of what fractions cost to write.
    let millis = |from: Instant, to: Instant| {
        let tenths = to.duration_since(from).as_micros() as u64 / 100;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    if ctx.serving.is_none() {
        return format!("lb;dur={}", millis(ctx.started, now));
    }
    let (before, waited) = (millis(ctx.started, ctx.sent), millis(ctx.sent, now));
    format!("lb;dur={before}, backend;dur={waited}")
}
