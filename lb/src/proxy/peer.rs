//! How a request connects to its backend, and how long it waits there.

use http::{HeaderMap, header};
use pingora::upstreams::peer::HttpPeer;

use crate::{config::Timeouts, pool::Backend};

/// The connection to this backend for a request with these headers.
pub(super) fn of(backend: &Backend, patience: &Timeouts, request: &HeaderMap) -> HttpPeer {
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

/// Whether the reply is one that may be silent for long and is none the worse for it: a `WebSocket` or events.
fn is_stream(request: &HeaderMap) -> bool {
    let accept = request.get(header::ACCEPT);
    let events = accept.is_some_and(|accept| accept.as_bytes() == b"text/event-stream");
    events || request.contains_key(header::UPGRADE)
}
