//! Accepts connections, runs a Pingora application on each, and drains.
//!
//! Pingora's own `Server` cannot drain promptly: it sleeps its whole grace period even when nothing is left to do.
//! Its applications do not need it, so this small loop takes its place.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use pingora::{
    apps::{HttpServerApp, ReusedHttpStream},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time,
};
use tracing::error;

use crate::{config::Config, downstream::Downstream};

/// When a drain begins, idle connections stay open this long: a request that is already on its way is answered
/// with `Connection: close`, where closing at once would lose it.
const IDLE_LINGER: Duration = Duration::from_millis(250);

/// Pause after a failed accept; without file descriptors it would fail again at once, in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How patient we are with clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    keepalive: Duration,
    read: Duration,
    write: Duration,
}

impl From<&Config> for Patience {
    fn from(config: &Config) -> Self {
        Self {
            keepalive: config.client_keepalive,
            read: config.client_read_timeout,
            write: config.client_write_timeout,
        }
    }
}

/// Serves `app` until `stop` turns true, then drains and returns once the last connection is closed.
///
/// Connections still open when the future is dropped are cut.
pub(crate) async fn serve<A>(
    listener: TcpListener,
    app: Arc<A>,
    patience: Patience,
    mut stop: ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let stopping = stop.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    connections.spawn(converse(Arc::clone(&app), tcp, peer, patience, stopping.clone()));
                }
                Err(error) => {
                    error!(%error, "cannot accept connections");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    for (tcp, peer) in backlog(listener) {
        connections.spawn(converse(
            Arc::clone(&app),
            tcp,
            peer,
            patience,
            stopping.clone(),
        ));
    }
    // Whoever is idle gets a moment, then is hung up on; whoever is busy may finish.
    let _ = time::timeout(IDLE_LINGER, all_ended(&mut connections)).await;
    app.http_cleanup().await;
    all_ended(&mut connections).await;
}

/// Closes the listener, and hands out the connections the kernel had completed: their clients believe to be in.
fn backlog(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut waiting = Vec::new();
    // A tokio listener may miss what arrived a moment ago; a plain non-blocking one sees all of it.
    if let Ok(listener) = listener.into_std() {
        while let Ok((tcp, peer)) = listener.accept() {
            let tcp: io::Result<TcpStream> = tcp
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(tcp));
            waiting.extend(tcp.ok().map(|tcp| (tcp, peer)));
        }
    }
    waiting
}

/// Also completes when whoever could say so is gone.
async fn stopped(stop: &mut ShutdownWatch) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn all_ended(connections: &mut JoinSet<()>) {
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection ended in a panic");
    }
}

/// One connection: request after request, until either side has had enough.
async fn converse<A>(
    app: Arc<A>,
    tcp: TcpStream,
    peer: SocketAddr,
    patience: Patience,
    stopping: ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    // Replies are buffered and flushed on purpose; waiting for more to send would only add delay. It can only fail
    // on a connection that is already dead.
    let _ = tcp.set_nodelay(true);
    let mut next = Some(ReusedHttpStream::new(
        Box::new(Downstream::new(tcp, peer)),
        None,
    ));
    while let Some((stream, settings)) = next.map(ReusedHttpStream::consume) {
        let mut session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
        // Each time anew: Pingora forgets the timeout after the first request of a connection.
        session.set_keepalive(Some(patience.keepalive.as_secs()));
        session.set_read_timeout(Some(patience.read));
        session.set_write_timeout(Some(patience.write));
        session.set_pipelining_enabled(true);
        next = app.process_new_http(session, &stopping).await;
    }
}
