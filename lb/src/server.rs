//! Accepts connections, runs a Pingora application on each, and drains.
//!
//! Pingora's own `Server` cannot drain promptly: it sleeps its whole grace period even when nothing is left to do.
//! Its applications do not need it, so this small loop takes its place.

use std::{
    io::{self, ErrorKind},
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
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time,
};
use tracing::{debug, error, warn};

use crate::{
    addresses::{Addresses, Held},
    config,
    downstream::{Downstream, TOO_MANY, pace_of},
    episode::Episode,
    http2,
    metrics::{Metrics, Refusal},
    proxy_header,
    tls::Tls,
    wire::Wire,
};

/// When a drain begins, idle connections stay open this long: a request that is already on its way is answered
/// with `Connection: close`, where closing at once would lose it. A client that has been idle for long may send one
/// just when this is over; one that is busy does not, unless it stalls for as long.
pub(crate) const IDLE_LINGER: Duration = Duration::from_secs(1);

/// Pause after a failed accept; without file descriptors it would fail again at once, in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What listeners share: the settings that hold now, and room for so many connections of all together.
pub(crate) struct House {
    pub(crate) clients: Arc<ArcSwap<config::Clients>>,
    addresses: Arc<Addresses>,
    pub(crate) metrics: Arc<Metrics>,
    room: Arc<Semaphore>,
    most: usize,
    // Whether its connections are counted.
    public: bool,
}

/// The door: lets in so many at a time, and complains once per trouble.
struct Door {
    listener: TcpListener,
    house: Arc<House>,
    full: Episode,
    broken: Episode,
}

/// What is before the first request of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// Connections of trusted proxies begin with the address of their client.
    pub(crate) proxied: bool,
    /// HTTP/2 is spoken on it as well as HTTP/1.
    pub(crate) http2: bool,
    /// They are encrypted.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// A connection that is ready for requests.
struct Admitted {
    wire: Wire,
    client: SocketAddr,
    /// Its place among those of its address.
    held: Option<Held>,
    http2: bool,
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
    manner: Manner,
    mut stop: ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let stopping = stop.clone();
    let mut connections = JoinSet::new();
    let mut door = Door::new(listener, Arc::clone(&house));
    let talk = |guest: Guest| {
        let (app, house, mut stopping) = (Arc::clone(&app), Arc::clone(&house), stopping.clone());
        let manner = manner.clone();
        async move {
            let (_room, tcp, peer) = guest;
            // Whoever has not begun to speak when a drain begins has nothing to lose.
            let admitted = tokio::select! {
                biased;
                admitted = house.admit(tcp, peer, &manner) => admitted,
                () = lingering(&mut stopping) => return,
            };
            let Ok(Admitted {
                wire,
                client,
                held: _held,
                http2,
            }) = admitted
            else {
                return;
            };
            let _open = house.public.then(|| house.metrics.accepted());
            let downstream = Downstream::new(wire, client, Arc::clone(&house.metrics));
            if http2 {
                http2::converse(app, downstream, &house, stopping).await;
            } else {
                converse(app, downstream, &house, stopping).await;
            }
        }
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
        addresses: Arc<Addresses>,
        metrics: Arc<Metrics>,
        most: usize,
        listeners: usize,
        public: bool,
    ) -> Arc<Self> {
        let most = most.max(listeners).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            clients,
            addresses,
            metrics,
            room: Arc::new(Semaphore::new(most)),
            most,
            public,
        })
    }

    /// One of the places, if there is one.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// The connection once it is ready for requests. An error is the end of it.
    async fn admit(
        &self,
        mut tcp: TcpStream,
        peer: SocketAddr,
        manner: &Manner,
    ) -> io::Result<Admitted> {
        let rules = self.clients.load_full();
        let client = if manner.proxied && rules.trusts(peer.ip()) {
            named(&mut tcp, peer, rules.head_timeout).await?
        } else {
            peer
        };
        let mut held = None;
        if !rules.trusts(client.ip()) {
            held = self.addresses.connect(client.ip(), &rules);
            if held.is_none() {
                self.metrics.refused(Refusal::Connections);
                if manner.tls.is_none() {
                    turn_away(&mut tcp).await;
                }
                return Err(ErrorKind::QuotaExceeded.into());
            }
        }
        // Replies are buffered and flushed on purpose; waiting for more to send would only add delay. It can only fail
        // on a connection that is already dead.
        let _ = tcp.set_nodelay(true);
        let mut http2 = false;
        let wire = match &manner.tls {
            None => {
                http2 = manner.http2 && http2::is_spoken(&tcp, &rules).await?;
                Wire::Plain(tcp)
            }
            Some(tls) => in_time(rules.head_timeout, tls.accept(tcp))
                .await
                .inspect_err(|error| debug!(%peer, %error, "no TLS with a client: {error}"))?,
        };
        http2 |= wire.chose_http2();
        Ok(Admitted {
            wire,
            client,
            held,
            http2,
        })
    }
}

/// The client that a trusted proxy names, or the proxy itself.
async fn named(
    tcp: &mut TcpStream,
    peer: SocketAddr,
    patience: Duration,
) -> io::Result<SocketAddr> {
    let named = in_time(patience, proxy_header::read(tcp)).await;
    let named = named.inspect_err(
        |error| debug!(%peer, %error, "a trusted proxy did not name its client: {error}"),
    );
    Ok(named?.unwrap_or(peer))
}

pub(crate) async fn in_time<T>(
    patience: Duration,
    done: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let done = time::timeout(patience, done).await;
    done.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
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

/// Says so and hangs up, without waiting for anything: whoever connects too often must not cost more for it. What has
/// come so far is read, because closing with unread bytes would overtake our answer.
async fn turn_away(tcp: &mut TcpStream) {
    // The buffer of a new connection has room for it.
    let _ = tcp.write_all(TOO_MANY).await;
    let _ = tcp.try_read(&mut [0; 4096]);
}

/// A moment after the drain began.
async fn lingering(stop: &mut ShutdownWatch) {
    stopped(stop).await;
    time::sleep(IDLE_LINGER).await;
}

/// Also completes when whoever could say so is gone.
pub(crate) async fn stopped(stop: &mut ShutdownWatch) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn all_ended(connections: &mut JoinSet<()>) {
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

pub(crate) fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection ended in a panic");
    }
}

/// One HTTP/1 connection: request after request, until either side has had enough.
async fn converse<A>(app: Arc<A>, downstream: Downstream, house: &House, stopping: ShutdownWatch)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut next = Some(ReusedHttpStream::new(Box::new(downstream), None));
    let mut requests = 0;
    while let Some((stream, settings)) = next.map(ReusedHttpStream::consume) {
        let rules = house.clients.load();
        if let Some(mut pace) = pace_of(&stream) {
            pace.restart(&rules);
        }
        let mut session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
        requests += 1;
        let left = rules.max_requests_per_connection.saturating_sub(requests);
        session.set_keepalive_reuses_remaining(Some(u32::try_from(left).unwrap_or(u32::MAX)));
        // Each time anew: Pingora forgets the timeout after the first request of a connection.
        session.set_keepalive(Some(rules.keepalive.as_secs()));
        session.set_read_timeout(Some(rules.read_timeout));
        session.set_write_timeout(Some(rules.write_timeout));
        session.set_pipelining_enabled(true);
        drop(rules);
        next = app.process_new_http(session, &stopping).await;
    }
}
