//! A relay on the way from one node to another that can be told to misbehave.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Connections are reset.
    Refused,
    /// Connections are taken and nothing gets through. What is sent arrives once the line is open again, late, as it
    /// would when lost packets are sent again.
    Silent,
    /// The same with the replies alone: what is asked is done and nobody hears of it.
    Mute,
    Slow(Duration),
    /// Many connections are reset in the middle of what they carry.
    Breaking,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// A relay; it ends when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    line: watch::Sender<Line>,
    _connections: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = watch::Sender::new(Line::Open);
        let state = line.subscribe();
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut all = JoinSet::new();
            loop {
                let client = listener.accept().await.unwrap().0;
                all.spawn(relay(client, target, state.clone()));
                while all.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            line,
            _connections: connections,
        }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>) {
    let refused = *line.borrow() == Line::Refused;
    let server = match refused {
        true => None,
        false => TcpStream::connect(target).await.ok(),
    };
    let Some(mut server) = server else {
        client.set_zero_linger().ok();
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = pump(from_client, to_server, line.clone(), Way::There);
        let back = pump(from_server, to_client, line.clone(), Way::Back);
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => ended.is_ok(),
            _ = line.wait_for(|line| *line == Line::Refused) => false,
        }
    };
    if !ended {
        client.set_zero_linger().ok();
        server.set_zero_linger().ok();
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: watch::Receiver<Line>,
    way: Way,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let now = *line.borrow();
        if let Line::Slow(pause) = now {
            sleep(pause).await;
        }
        let held = |line: &Line| *line == Line::Silent || (*line == Line::Mute && way == Way::Back);
        let passes = line.wait_for(|line| !held(line)).await;
        passes.map_err(|_| io::ErrorKind::NotConnected)?;
        if read == 0 {
            return to.shutdown().await;
        }
        if now == Line::Breaking && rand::random_bool(0.2) {
            to.write_all(&buffer[..rand::random_range(0..read)]).await?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
