//! A line between two nodes that ends, or changes what is said, where a test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A relay to `target` that ends a connection when `cut` says so of what is sent over it.
pub(crate) fn relay(
    target: String,
    cut: impl Fn(&[u8]) -> bool + Clone + Send + Sync + 'static,
) -> SocketAddr {
    serve(target, move |way, sent| way == Way::Back || !cut(sent))
}

/// A relay to `target` that puts `new` in the place of `old`, which is as long, one way, while `on` is set.
pub(crate) fn alter(
    target: String,
    altered: Way,
    old: &'static str,
    new: &'static str,
    on: &'static AtomicBool,
) -> SocketAddr {
    serve(target, move |way, sent| {
        if way == altered && on.load(Ordering::Relaxed) {
            let mut places = sent.windows(old.len());
            if let Some(at) = places.position(|bytes| bytes == old.as_bytes()) {
                sent[at..][..new.len()].copy_from_slice(new.as_bytes());
            }
        }
        true
    })
}

/// Where bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    Back,
}

/// Hands on what `pass` lets pass, as that leaves it, and ends a connection with anything else.
fn serve(
    target: String,
    pass: impl Fn(Way, &mut [u8]) -> bool + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(connect(client, target.clone(), pass.clone()));
        }
    });
    address
}

/// Whether `path` is in what was sent.
pub(crate) fn says(sent: &[u8], path: &str) -> bool {
    sent.windows(path.len())
        .any(|bytes| bytes == path.as_bytes())
}

async fn connect(client: TcpStream, target: String, pass: impl Fn(Way, &mut [u8]) -> bool) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = carry(from_client, to_server, |sent| pass(Way::There, sent)) => {}
        () = carry(from_server, to_client, |sent| pass(Way::Back, sent)) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, pass: impl Fn(&mut [u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let sent = &mut buffer[..read];
        if !pass(sent) || to.write_all(sent).await.is_err() {
            return;
        }
    }
}
