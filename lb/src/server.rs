//! Accepts connections, runs a Pingora application on each, and drains.
//!
//! Pingora's own `Server` cannot drain promptly: it sleeps its whole grace period even when nothing is left to do.
//! Its applications do not need it, so this small loop takes its place.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use pingora::{
    apps::{HttpServerApp, ReusedHttpStream},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time,
};
use tracing::{debug, error, warn};

use crate::{config, downstream::Downstream, episode::Episode};

/// When a drain begins, idle connections stay open this long: a request that is already on its way is answered
/// with `Connection: close`, where closing at once would lose it.
const IDLE_LINGER: Duration = Duration::from_millis(250);

/// Pause after a failed accept; without file descriptors it would fail again at once, in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What listeners share: the settings that hold now, and room for so many connections of all together.
#[derive(Debug)]
pub(crate) struct House {
    clients: Arc<ArcSwap<config::Clients>>,
    room: Arc<Semaphore>,
    most: usize,
}

/// The door: lets in so many at a time, and complains once per trouble.
struct Door {
    listener: TcpListener,
    house: Arc<House>,
    full: Episode,
    broken: Episode,
}

/// A connection, and its place among those that may be open.
type Guest = (OwnedSemaphorePermit, TcpStream, SocketAddr);

/// Serves `app` on as many connections at a time as the house has room for, until `stop` turns true, then
/// drains and returns once the last connection is closed.
///
/// Connections still open when the future is dropped are cut.
pub(crate) async fn serve<A>(
    listener: TcpListener,
    house: Arc<House>,
    app: Arc<A>,
    mut stop: ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let stopping = stop.clone();
    let mut connections = JoinSet::new();
    let mut door = Door::new(listener, Arc::clone(&house));
    let talk = |guest: Guest| {
        converse(
            Arc::clone(&app),
            guest,
            Arc::clone(&house.clients),
            stopping.clone(),
        )
    };
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(ended) = connections.join_next() => report(ended),
            guest = door.next() => { connections.spawn(talk(guest)); }
        }
    }
    for guest in door.close() {
        connections.spawn(talk(guest));
    }
    // Whoever is idle gets a moment, then is hung up on; whoever is busy may finish.
    let _ = time::timeout(IDLE_LINGER, all_ended(&mut connections)).await;
    app.http_cleanup().await;
    all_ended(&mut connections).await;
}

impl House {
    /// Room for `most`. Each listener holds a place for its next client, so there are never fewer than `listeners`.
    pub(crate) fn new(
        clients: Arc<ArcSwap<config::Clients>>,
        most: usize,
        listeners: usize,
    ) -> Arc<Self> {
        let most = most.max(listeners).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            clients,
            room: Arc::new(Semaphore::new(most)),
            most,
        })
    }
}

impl Door {
    fn new(listener: TcpListener, house: Arc<House>) -> Self {
        Self {
            listener,
            house,
            full: Episode::default(),
            broken: Episode::default(),
        }
    }

    /// Waits for room first: until then further clients wait in the kernel's backlog and cost no descriptor.
    /// Whoever is not let in because the future is dropped keeps waiting there.
    async fn next(&mut self) -> Guest {
        if self.house.room.available_permits() == 0 && self.full.begins(Instant::now()) {
            let most = self.house.most;
            warn!(
                most,
                "all {most} connections are taken, further clients wait"
            );
        }
        let room = Arc::clone(&self.house.room).acquire_owned().await;
        let room = room.expect("nobody closes this semaphore");
        loop {
            match self.listener.accept().await {
                Ok((tcp, peer)) => return (room, tcp, peer),
                Err(error) => {
                    if self.broken.begins(Instant::now()) {
                        error!(%error, "cannot accept connections: {error}");
                    } else {
                        debug!(%error, "still cannot accept connections: {error}");
                    }
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the listener, and hands out the connections the kernel had completed and for which there is room:
    /// their clients believe to be in.
    fn close(self) -> Vec<Guest> {
        let mut waiting = Vec::new();
        // A tokio listener may miss what arrived a moment ago; a plain non-blocking one sees all of it.
        let Ok(listener) = self.listener.into_std() else {
            return waiting;
        };
        while let Ok(room) = Arc::clone(&self.house.room).try_acquire_owned() {
            let Ok((tcp, peer)) = listener.accept() else {
                break;
            };
            let tcp: io::Result<TcpStream> = tcp
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(tcp));
            waiting.extend(tcp.ok().map(|tcp| (room, tcp, peer)));
        }
        waiting
    }
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

/// One connection: request after request, until either side has had enough. Its place is free when it is closed.
async fn converse<A>(
    app: Arc<A>,
    (_room, tcp, peer): Guest,
    clients: Arc<ArcSwap<config::Clients>>,
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
        let patience = clients.load();
        // Each time anew: Pingora forgets the timeout after the first request of a connection.
        session.set_keepalive(Some(patience.keepalive.as_secs()));
        session.set_read_timeout(Some(patience.read_timeout));
        session.set_write_timeout(Some(patience.write_timeout));
        session.set_pipelining_enabled(true);
        next = app.process_new_http(session, &stopping).await;
    }
}
