//! Servers whose latency and errors are known, on a free port of the loopback interface.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
}

/// Serves until the test is over. The handler gets the number of the request, from 0 in the order of arrival.
pub(crate) async fn serve<H, F>(handler: H) -> (SocketAddr, Arc<Seen>)
where
    H: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let seen = Arc::new(Seen::default());
    let counts = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counts.connections.fetch_add(1, Ordering::Relaxed);
            let (handler, counts) = (handler.clone(), Arc::clone(&counts));
            let service = service_fn(move |_| {
                let reply = handler(counts.requests.fetch_add(1, Ordering::Relaxed));
                async { Ok::<_, Infallible>(reply.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

/// Answers each connection's first request with these bytes, then closes it.
pub(crate) async fn serve_bytes(reply: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, reply));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, reply: &'static [u8]) {
    // The whole request, or closing would reset the connection under the reply.
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    stream.write_all(reply).await.expect("the client reads");
}

/// A reply with this status, a body of five bytes, and the name of a backend.
pub(crate) fn reply(status: u16, served_by: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("X-Served-By", served_by)
        .body(Full::from("hello"))
        .expect("the parts are sound")
}
