//! Whose turn a request is, how it connects to its backend, and how long it waits there.

use http::{Method, header};
use pingora::{http::RequestHeader, proxy::Session, upstreams::peer::HttpPeer};

use super::{Ctx, Proxy};
use crate::{
    config::Timeouts,
    pool::Backend,
    selection::{self, Algorithm},
};

impl Proxy {
    /// What `hash` looks at: a header, or the address of the client.
    pub(super) fn key(&self, session: &Session, ctx: &Ctx) -> u64 {
        let settings = self.pool.settings();
        if settings.algorithm != Algorithm::Hash {
            return 0;
        }
        let header = settings.hash_header.as_ref();
        let value = header.and_then(|name| session.req_header().headers.get(name));
        if let Some(value) = value {
            return selection::hash(value.as_bytes());
        }
        let client = ctx.origin.client.map(|client| client.to_string());
        selection::hash(client.unwrap_or_default().as_bytes())
    }
}

/// The connection to this backend for a request.
pub(super) fn of(backend: &Backend, patience: &Timeouts, request: &RequestHeader) -> HttpPeer {
    let mut peer = HttpPeer::new(backend.addr(), false, String::new());
    let read = if is_stream(request) {
        patience.stream
    } else {
        patience.read
    };
    peer.options.connection_timeout = Some(patience.connect);
    peer.options.total_connection_timeout = Some(patience.connect);
    peer.options.read_timeout = Some(read);
    peer.options.write_timeout = Some(patience.write);
    peer.options.idle_timeout = Some(patience.idle);
    // Another machine behind the same address must not get the connections of the last one.
    peer.group_key = backend.generation();
    peer
}

/// Whether the reply is one that may be silent for long and is none the worse for it: a `WebSocket` or events. Both are asked
/// for by GET; whoever asks for something else by these names has no more patience than others.
fn is_stream(request: &RequestHeader) -> bool {
    let is = |name, value: &str| {
        let found = request.headers.get(name);
        found.is_some_and(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let socket = || {
        is(header::UPGRADE, "websocket") && request.headers.contains_key(header::SEC_WEBSOCKET_KEY)
    };
    request.method == Method::GET && (is(header::ACCEPT, "text/event-stream") || socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_for_a_stream_by_get_is_given_its_patience() {
        let asks = |method: &str, headers: &[(&'static str, &str)]| {
            let mut request = RequestHeader::build(method, b"/", None).unwrap();
            for (name, value) in headers {
                request.append_header(*name, *value).unwrap();
            }
            is_stream(&request)
        };
        let events = ("accept", "text/event-stream");
        let (socket, key) = (("upgrade", "WebSocket"), ("sec-websocket-key", "x"));
        assert!(asks("GET", &[events]) && asks("GET", &[socket, key]));
        assert!(!asks("POST", &[events]) && !asks("POST", &[socket, key]));
        assert!(!asks("GET", &[socket]) && !asks("GET", &[("upgrade", "x"), key]));
    }
}
