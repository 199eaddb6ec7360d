//! Which requests are let in: whose they are, and whether that client asks for too much.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::{Result, protocols::l4::socket::SocketAddr as PeerAddr, proxy::Session};

use super::{Ctx, Proxy, answer::refuse};
use crate::{
    addresses::TooMany, downstream::pace_in, forward::Origin, framing, metrics::Refusal,
    pace::Stage,
};

impl Proxy {
    /// The head is there; what follows is its body.
    pub(super) fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        // Pingora fetches again what the cache has: the visitor's own request was let in, and the connection is his.
        if session.subrequest_ctx.is_some() {
            ctx.origin.https = self.https;
            return Ok(());
        }
        let bodiless = session.as_downstream_mut().is_body_empty();
        if let Some(mut pace) = pace_in(session.as_downstream()) {
            pace.expect(if bodiless {
                Stage::Anything
            } else {
                Stage::Body
            });
        }
        let peer = client(session);
        let trusted = peer.is_some_and(|peer| self.clients.load().trusts(peer));
        ctx.origin = Origin::of(session.req_header(), peer, trusted, |ip| {
            self.clients.load().trusts(ip)
        });
        ctx.origin.https |= self.https;
        if let Some(id) = ctx.origin.id.take() {
            ctx.id = id;
        }
        self.check_limits(session)?;
        let raw = session.as_downstream().to_h1_raw();
        if let Err(why) = framing::check(&raw, session.req_header()) {
            return refuse(400, why);
        }
        // Chunks leave room for readings of their own. Nothing that a smuggler puts behind them is read.
        if session.req_header().headers.contains_key(TRANSFER_ENCODING) {
            session.set_keepalive(None);
        }
        self.count(ctx)
    }

    fn check_limits(&self, session: &Session) -> Result<()> {
        let head = session.req_header();
        let clients = self.clients.load();
        if session.as_downstream().to_h1_raw().len() > clients.max_head_bytes
            || head.headers.len() > clients.max_headers
        {
            return refuse(431, "request head over the limit");
        }
        let length = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        let length = length.and_then(|value| value.split(',').next()?.trim().parse::<u64>().ok());
        if length.is_some_and(|length| length > clients.max_body_bytes as u64) {
            return refuse(413, "request body over the limit");
        }
        Ok(())
    }

    /// Counts the request for its address, if that may have one more. Trusted proxies are not counted themselves.
    fn count(&self, ctx: &mut Ctx) -> Result<()> {
        let rules = self.clients.load();
        let Some(client) = ctx.origin.client.filter(|client| !rules.trusts(*client)) else {
            return Ok(());
        };
        match self.addresses.request(client, &rules, ctx.started) {
            Ok(held) => ctx.counted = Some(held),
            Err(why) => {
                self.metrics.refused(match why {
                    TooMany::InFlight => Refusal::InFlight,
                    TooMany::Rate => Refusal::Rate,
                });
                return refuse(429, "too many requests of one address");
            }
        }
        Ok(())
    }
}

fn client(session: &Session) -> Option<IpAddr> {
    let address = session.client_addr().and_then(PeerAddr::as_inet);
    address.map(SocketAddr::ip)
}
