//! HTTP/2 in front: many requests side by side on one connection, each handed to Pingora as soon as its head is there.
//!
//! Pingora has such a loop of its own, but not for a connection that it did not accept, and it counts neither requests nor
//! those that are called off.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use h2::Reason;
use pingora::{
    apps::HttpServerApp,
    protocols::{
        Digest, GetSocketDigest,
        http::{
            ServerSession,
            v2::server::{self, H2Accept, H2Options, HttpSession},
        },
    },
    server::ShutdownWatch,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time,
};
use tracing::debug;

use crate::{
    config::Clients,
    downstream::Downstream,
    metrics::Refusal,
    server::{House, IDLE_LINGER, in_time, report, stopped},
};

mod stream;

use stream::Stream;
pub(crate) use stream::Visit;

/// How a client begins that knows beforehand.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause before looking again whether the rest of it has come; it nearly always comes at once.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);

/// So much of each reply may wait for the client to take it. Replies come through the balancer in pieces of this size.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What a line of a head counts beside its bytes (RFC 9113, 6.5.2).
const LINE_OVERHEAD: usize = 32;

/// Whether the client begins with HTTP/2. Leaves what it has sent where it is.
pub(crate) async fn is_spoken(tcp: &TcpStream, rules: &Clients) -> io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    // Until something comes, it is an idle connection like any other.
    let mut come = in_time(rules.keepalive, tcp.peek(&mut start)).await?;
    let whole = async {
        while (1..PREFACE.len()).contains(&come) && PREFACE.starts_with(&start[..come]) {
            time::sleep(PREFACE_PAUSE).await;
            let before = come;
            come = tcp.peek(&mut start).await?;
            // The client has closed its side, and no more will come.
            if come < before {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(start == *PREFACE)
    };
    in_time(rules.head_timeout, whole).await
}

/// One HTTP/2 connection, until either side has had enough.
pub(crate) async fn converse<A>(
    app: Arc<A>,
    downstream: Downstream,
    house: &House,
    mut stopping: ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let rules = house.clients.load_full();
    let digest = Arc::new(Digest {
        socket_digest: downstream.get_socket_digest(),
        ..Digest::default()
    });
    let shaken = server::handshake(Box::new(downstream.shared()), Some(options(&rules)));
    let Ok(Ok(mut connection)) = time::timeout(rules.head_timeout, shaken).await else {
        return;
    };
    // Dropped with the connection, and its requests with them.
    let mut streams = JoinSet::new();
    let own = Arc::new(Semaphore::new(1));
    let faults = Arc::new(AtomicUsize::new(0));
    let mut left = rules.max_requests_per_connection;
    let mut leaving = false;
    loop {
        if faults.load(Ordering::Relaxed) > rules.http2.max_resets {
            house.metrics.refused(Refusal::Resets);
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            faults.store(0, Ordering::Relaxed);
            leaving = true;
        }
        let patience = if leaving {
            IDLE_LINGER
        } else {
            rules.keepalive
        };
        tokio::select! {
            biased;
            () = stopped(&mut stopping), if !leaving => {
                connection.graceful_shutdown();
                leaving = true;
            }
            Some(ended) = streams.join_next() => report(ended),
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => {
                match accepted {
                    Ok(Some(H2Accept::Session(session))) => {
                        left = left.saturating_sub(1);
                        let metrics = Arc::clone(&house.metrics);
                        let (faults, place) = (Arc::clone(&faults), place(&own, house));
                        let stream = Stream::new(session, &rules, metrics, faults, place);
                        let (app, stopping) = (Arc::clone(&app), stopping.clone());
                        streams.spawn(async move {
                            let session = ServerSession::new_custom(Box::new(stream));
                            app.process_new_http(session, &stopping).await;
                        });
                        if left == 0 && !leaving {
                            connection.graceful_shutdown();
                            leaving = true;
                        }
                    }
                    // It was answered or reset.
                    Ok(Some(H2Accept::Rejected)) => {
                        faults.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(None) => return,
                    Err(error) => {
                        debug!(%error, "an HTTP/2 connection ended: {error}");
                        return;
                    }
                }
            }
            () = time::sleep(patience), if streams.is_empty() => return,
        }
    }
}

/// Each request may need a connection to a backend. One at a time has the place of its connection, which is `own`; one
/// beside it needs a place as a new connection does, or there would not be descriptors for all.
fn place(own: &Arc<Semaphore>, house: &House) -> Option<OwnedSemaphorePermit> {
    let own = Arc::clone(own).try_acquire_owned().ok();
    own.or_else(|| house.room())
}

/// What the client may take. Built on Pingora's limits, which it forgets once somebody has options of their own.
fn options(rules: &Clients) -> H2Options {
    let head = rules.max_head_bytes + LINE_OVERHEAD * rules.max_headers;
    let http2 = &rules.http2;
    let mut options = server::default_h2_options();
    options
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_concurrent_streams(u32::try_from(http2.max_streams).unwrap_or(u32::MAX))
        .initial_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    options
}
