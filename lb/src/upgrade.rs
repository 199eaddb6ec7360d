//! A new process takes the place of a running one without refusing a connection: it is handed the listening sockets
//! over a unix socket, gets ready, and says so; then the old one drains and leaves.
//!
//! Both accept from the same queue of the kernel, so no connection is in between. If the new process fails before it is
//! ready, the old one goes on as if nothing had happened.

use std::{
    collections::BTreeMap,
    fs, io,
    io::{IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::{self, SocketAddr},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize};
use tokio::time;
use tracing::{info, warn};

use crate::pool::{Order, Pool, State};

mod successor;

pub(crate) use successor::{Handover, hand_over};

/// Of what is said over the socket. Another one is not understood; what was added within one has a default.
const PROTOCOL: u32 = 1;

/// More sockets than anybody listens on; the kernel lets 253 pass at a time.
const MOST_SOCKETS: usize = 128;

/// A running balancer answers at once. One that does not is stuck, and a start must not hang on it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a new process looks whether it is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long an order waits for its backend.
const LATE: Duration = Duration::from_secs(10 * 60);

/// What the new process says when it is ready.
const GO: u8 = b'!';

/// What comes with the sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    protocol: u32,
    pid: u32,
    /// Names of the sockets, in their order; that of the admin listener comes last and has none.
    listeners: Vec<String>,
    /// Whether every pool could answer.
    ready: bool,
    /// Pools and addresses of the backends that get requests.
    #[serde(default)]
    healthy: Vec<(String, SocketAddr)>,
    #[serde(default)]
    orders: Vec<Ordered>,
}

/// An order of an operator that still holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ordered {
    pub(crate) pool: String,
    pub(crate) addr: SocketAddr,
    pub(crate) order: Order,
}

/// The process whose place this one takes.
#[derive(Debug)]
pub struct Predecessor {
    line: UnixStream,
    pid: u32,
    sockets: Vec<(String, net::TcpListener)>,
    admin: Option<net::TcpListener>,
    ready: bool,
    healthy: Vec<(String, SocketAddr)>,
    orders: Vec<Ordered>,
}

impl Predecessor {
    /// Whoever answers on this unix socket; nobody if none runs.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        let Ok(mut line) = UnixStream::connect(path) else {
            return Ok(None);
        };
        let met = || format!("cannot take over from the process on {}", path.display());
        line.set_read_timeout(Some(PATIENCE)).with_context(met)?;
        let (letter, fds) = receive(&mut line).with_context(met)?;
        if letter.protocol != PROTOCOL || fds.len() != letter.listeners.len() + 1 {
            bail!(
                "{}: it speaks another version; stop it, then start this one",
                met()
            );
        }
        let mut sockets: Vec<_> = fds.into_iter().map(net::TcpListener::from).collect();
        let admin = sockets.pop();
        info!(
            predecessor = letter.pid,
            "taking over from process {}", letter.pid
        );
        Ok(Some(Self {
            line,
            pid: letter.pid,
            sockets: letter.listeners.into_iter().zip(sockets).collect(),
            admin,
            ready: letter.ready,
            healthy: letter.healthy,
            orders: letter.orders,
        }))
    }

    /// Its socket for this address; for any port, that of this name.
    pub(crate) fn public(&mut self, name: &str, addr: SocketAddr) -> Option<net::TcpListener> {
        let is = |(its_name, socket): &(String, net::TcpListener)| match addr.port() {
            0 => its_name == name,
            _ => socket.local_addr().is_ok_and(|its| its == addr),
        };
        let index = self.sockets.iter().position(is)?;
        Some(self.sockets.swap_remove(index).1)
    }

    /// Its socket for operators, if it is on this address or any port will do.
    pub(crate) fn admin(&mut self, addr: SocketAddr) -> Option<net::TcpListener> {
        let right = |socket: &net::TcpListener| {
            addr.port() == 0 || socket.local_addr().is_ok_and(|its| its == addr)
        };
        self.admin.take().filter(right)
    }

    /// From now on this process is at work, and the old one may leave.
    pub(crate) fn relieve(mut self) {
        if let Err(error) = self.line.write_all(&[GO]) {
            let pid = self.pid;
            warn!(%error, "process {pid} cannot be told to leave, stop it: {error}");
        }
    }
}

/// Lets a new process find out what the old one knows: the orders of operators, and who is ready. Returns the orders whose
/// backends are not there yet. It takes no request
/// before, unless the old one could not answer either. For single backends it waits as long as a first probe may take:
/// the first to be ready shall not get what all of them had.
pub(crate) async fn catch_up(
    old: &Predecessor,
    pools: &BTreeMap<String, Arc<Pool>>,
    limit: Duration,
) -> Result<Vec<Ordered>> {
    let mut orders = old.orders.clone();
    let at_work = |(pool, addr): &(String, SocketAddr)| {
        let backends = pools.get(pool).map(|pool| pool.backends());
        let mut backends = backends.unwrap_or_default().into_iter();
        backends.any(|backend| backend.addr() == *addr && backend.state() != State::Warming)
    };
    let first_probe = pools.values().map(|pool| {
        let settings = pool.settings();
        settings.discovery.timeout + settings.checks.timeout
    });
    let whole_until = Instant::now() + first_probe.max().unwrap_or_default();
    let ready = time::timeout(limit, async {
        loop {
            give(&mut orders, pools);
            let whole = Instant::now() >= whole_until || old.healthy.iter().all(at_work);
            if whole && pools.values().all(|pool| pool.has_untried(&[])) {
                return;
            }
            time::sleep(LOOK_AGAIN).await;
        }
    });
    if ready.await.is_err() && old.ready {
        let (pid, secs) = (old.pid, limit.as_secs());
        bail!("no backend got ready in {secs} s (LB_GRACE_SECS): process {pid} goes on");
    }
    Ok(orders)
}

/// Gives the rest of the orders to backends that are not on the list yet, as a name could not be looked up at once.
pub(crate) async fn catch_up_late(mut orders: Vec<Ordered>, pools: BTreeMap<String, Arc<Pool>>) {
    let given = time::timeout(LATE, async {
        while !orders.is_empty() {
            give(&mut orders, &pools);
            time::sleep(LOOK_AGAIN).await;
        }
    });
    if given.await.is_err() {
        for Ordered { pool, addr, .. } in &orders {
            warn!("an order for backend {addr} of pool {pool} is forgotten: it did not come back");
        }
    }
}

/// Gives each order whose backend is there, and leaves the others.
fn give(orders: &mut Vec<Ordered>, pools: &BTreeMap<String, Arc<Pool>>) {
    orders.retain(|ordered| {
        let pool = pools.get(&ordered.pool);
        let done = pool.and_then(|pool| pool.order(ordered.addr, ordered.order, Instant::now()));
        done.is_none()
    });
}

/// A unix socket at this path that nobody else may use, in the place of whatever was there.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    // Of a process with the same number that did not come to its end.
    let _ = fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
    fs::rename(&draft, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn send(line: &mut UnixStream, letter: &Letter, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(letter)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if fds.len() > MOST_SOCKETS || !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many listeners"));
    }
    let length = length.to_be_bytes();
    // Four bytes always fit a socket to which nothing was written before.
    sendmsg(
        line.as_fd(),
        &[IoSlice::new(&length)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    line.write_all(&text)
}

fn receive(line: &mut UnixStream) -> Result<(Letter, Vec<OwnedFd>)> {
    let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut length = [0; 4];
    let received = recvmsg(
        line.as_fd(),
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    line.read_exact(&mut length[received.bytes..])?;
    let mut text = Vec::new();
    line.take(u32::from_be_bytes(length).into())
        .read_to_end(&mut text)?;
    Ok((serde_json::from_slice(&text)?, fds))
}
