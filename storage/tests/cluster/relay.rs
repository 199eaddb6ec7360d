//! A line between two nodes that ends where a test says.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A relay to `target` that ends a connection when `cut` says so of what is sent over it.
pub(crate) fn relay(
    target: String,
    cut: impl Fn(&[u8]) -> bool + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, target.clone(), cut.clone()));
        }
    });
    address
}

/// Whether `path` is in what was sent.
pub(crate) fn says(sent: &[u8], path: &str) -> bool {
    sent.windows(path.len())
        .any(|bytes| bytes == path.as_bytes())
}

async fn carry(client: TcpStream, target: String, cut: impl Fn(&[u8]) -> bool) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let sent = &buffer[..read];
            if cut(sent) || to_server.write_all(sent).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
