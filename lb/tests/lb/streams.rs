//! What passes piece by piece, and what is made smaller on the way.

use std::{future::Future, io::Read, net::SocketAddr};

use flate2::read::GzDecoder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time,
};

use crate::{
    common::{Balancer, PATIENCE, address, client, eventually, listen},
    hostile::connect,
};

/// A server for one test. It answers probes; what it does with other requests, `serve` says, which gets the connection
/// and the head of the request. Stops when dropped.
struct Server {
    addr: SocketAddr,
    _running: JoinSet<()>,
}

impl Server {
    async fn start<F>(serve: fn(TcpStream, String) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = listen().await;
        let addr = address(&listener);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut tcp, _) = listener.accept().await.expect("there are descriptors");
                connections.spawn(async move {
                    while let Some(head) = head(&mut tcp).await {
                        if !head.starts_with("GET /ready ") {
                            return serve(tcp, head).await;
                        }
                        say(&mut tcp, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    }
                });
            }
        });
        Self {
            addr,
            _running: running,
        }
    }
}

/// Reads up to the end of a head; nothing when the other side has closed.
async fn head(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).expect("a head is text"))
}

async fn say(tcp: &mut TcpStream, text: &str) {
    tcp.write_all(text.as_bytes()).await.expect("it is open");
}

/// Reads until this has come.
async fn read_until(tcp: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    let all = time::timeout(PATIENCE, async {
        while !read.ends_with(end) {
            read.push(tcp.read_u8().await.expect("it is open").into());
        }
    });
    let ended = all.await;
    assert!(ended.is_ok(), "never: {end:?} after {read:?}");
    read
}

async fn before(server: &Server, flags: &[&str]) -> Balancer {
    let balancer = Balancer::start(&server.addr.to_string(), flags).await;
    balancer.wait_for_state(server.addr, "healthy").await;
    balancer
}

/// Sends an event, and the next one once a byte has come on the connection that the query names.
async fn events(mut tcp: TcpStream, head: String) {
    let port = head.split(['=', ' ']).nth(2).expect("GET /?port=N");
    let mut told = TcpStream::connect(format!("127.0.0.1:{port}"))
        .await
        .expect("the test listens");
    say(
        &mut tcp,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    for number in 1..=3 {
        let event = format!("data: {number}\n\n");
        say(&mut tcp, &format!("{:x}\r\n{event}\r\n", event.len())).await;
        told.read_u8().await.expect("the test says go on");
    }
    say(&mut tcp, "0\r\n\r\n").await;
}

#[tokio::test]
async fn an_event_arrives_before_the_next_is_sent() {
    let server = Server::start(events).await;
    let balancer = before(&server, &["--upstream-read-timeout", "300"]).await;
    let listener = listen().await;
    let port = address(&listener).port();
    let mut tcp = connect(balancer.addr).await;
    let request = format!(
        "GET /?port={port} HTTP/1.1\r\nHost: quiz\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n\r\n"
    );
    say(&mut tcp, &request).await;
    let (mut go_on, _) = listener.accept().await.unwrap();
    for number in 1..=3 {
        let read = read_until(&mut tcp, &format!("data: {number}\n\n")).await;
        assert!(!read.contains("content-encoding"), "{read}");
        // Longer than a backend may otherwise be silent.
        time::sleep(time::Duration::from_millis(600)).await;
        go_on.write_u8(0).await.unwrap();
    }
    read_until(&mut tcp, "0\r\n\r\n").await;
}

async fn echo(mut tcp: TcpStream, head: String) {
    let head = head.to_ascii_lowercase();
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
    say(
        &mut tcp,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    )
    .await;
    let mut byte = [0];
    while tcp.read_exact(&mut byte).await.is_ok() {
        tcp.write_all(&byte).await.expect("it is open");
    }
}

#[tokio::test]
async fn a_websocket_echoes_piece_by_piece_however_long_it_pauses() {
    let server = Server::start(echo).await;
    // None of the limits for requests may end what is no request any more.
    let flags = ["--upstream-read-timeout", "300", "--head-timeout", "1"];
    let flags = [
        &flags[..],
        &["--body-grace", "1", "--client-read-timeout", "1"],
    ]
    .concat();
    let balancer = before(&server, &flags).await;
    let mut tcp = connect(balancer.addr).await;
    let request = "GET /socket HTTP/1.1\r\nHost: quiz\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    say(&mut tcp, request).await;
    let reply = read_until(&mut tcp, "\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 101 "), "{reply}");
    for piece in ["one", "two", "three"] {
        say(&mut tcp, piece).await;
        assert_eq!(read_until(&mut tcp, piece).await, piece);
        time::sleep(time::Duration::from_millis(1300)).await;
    }
}

async fn forbid(mut tcp: TcpStream, _head: String) {
    say(
        &mut tcp,
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    )
    .await;
}

#[tokio::test]
async fn an_upgrade_that_is_refused_leaves_a_connection_for_requests() {
    let server = Server::start(forbid).await;
    let balancer = before(&server, &[]).await;
    let mut tcp = connect(balancer.addr).await;
    let upgrade = "GET /socket HTTP/1.1\r\nHost: quiz\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for request in [upgrade, "GET / HTTP/1.1\r\nHost: quiz\r\n\r\n"] {
        say(&mut tcp, request).await;
        let reply = read_until(&mut tcp, "no").await;
        assert!(reply.starts_with("HTTP/1.1 403 "), "{reply}");
    }
}

/// More than all buffers on the way hold together.
const LONG: usize = 64 * 1024 * 1024;

/// Reads no body.
async fn stare(tcp: TcpStream, _head: String) {
    std::future::pending::<()>().await;
    drop(tcp);
}

#[tokio::test]
async fn a_backend_that_takes_no_more_of_a_body_is_given_up() {
    let server = Server::start(stare).await;
    // A reply may be on its way all the same: it is waited for as ever.
    let flags = [
        "--upstream-read-timeout",
        "300",
        "--upstream-write-timeout",
        "300",
        "--max-body-bytes",
        "100000000",
    ];
    let balancer = before(&server, &flags).await;
    let (mut replies, mut upload) = connect(balancer.addr).await.into_split();
    let uploading = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: {LONG}\r\n\r\n");
        upload.write_all(head.as_bytes()).await.expect("it is open");
        // The balancer may hang up on what nobody wants any more.
        let _ = upload.write_all(&vec![7; LONG]).await;
    });
    let mut status = [0; 12];
    let read = time::timeout(PATIENCE, replies.read_exact(&mut status)).await;
    read.expect("it is answered").expect("without a reset");
    assert_eq!(&status, b"HTTP/1.1 504");
    uploading.abort();
}

async fn pour(mut tcp: TcpStream, _head: String) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n");
    say(&mut tcp, &head).await;
    // The balancer hangs up.
    let _ = tcp.write_all(&vec![7; LONG]).await;
}

#[tokio::test]
async fn a_client_that_takes_no_more_of_a_reply_is_given_up() {
    let server = Server::start(pour).await;
    let balancer = before(&server, &["--client-write-timeout", "1"]).await;
    let mut tcp = connect(balancer.addr).await;
    say(&mut tcp, "GET / HTTP/1.1\r\nHost: quiz\r\n\r\n").await;
    let aborted = format!(
        r#"lb_requests_total{{backend="{}",class="aborted",pool="quiz"}}"#,
        server.addr
    );
    eventually("its request has ended", async || {
        balancer.metric(&aborted).await == 1
    })
    .await;
    eventually("nobody works on it", async || {
        balancer.metric("lb_requests_in_flight").await == 0
    })
    .await;
    drop(tcp);
}

const PAGE: usize = 50_000;

async fn page(mut tcp: TcpStream, head: String) {
    let kind = if head.starts_with("GET /picture ") {
        "image/png"
    } else {
        "text/html"
    };
    let length = if head.starts_with("GET /small ") {
        100
    } else {
        PAGE
    };
    let encoding = if head.starts_with("GET /compressed ") {
        "Content-Encoding: br\r\n"
    } else {
        ""
    };
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: \"1\"\r\n{encoding}Connection: close\r\nContent-Length: {length}\r\n\r\n{}",
        "quiz ".repeat(length / 5)
    );
    say(&mut tcp, &reply).await;
}

async fn get(balancer: &Balancer, path: &str, accept: &str) -> reqwest::Response {
    let request = client().get(balancer.url(path));
    let reply = request.header("accept-encoding", accept).send().await;
    reply.expect("the balancer answers")
}

fn unpacked(encoding: &str, packed: &[u8]) -> Vec<u8> {
    let mut page = Vec::new();
    let unpacked = match encoding {
        "zstd" => zstd::stream::copy_decode(packed, &mut page),
        "br" => brotli::Decompressor::new(packed, 4096)
            .read_to_end(&mut page)
            .map(|_| ()),
        "gzip" => GzDecoder::new(packed).read_to_end(&mut page).map(|_| ()),
        other => panic!("nobody wanted {other}"),
    };
    unpacked.expect("it is whole");
    page
}

#[tokio::test]
async fn pages_are_compressed_for_those_who_want_it() {
    let server = Server::start(page).await;
    let balancer = before(&server, &[]).await;
    for (accept, encoding) in [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
    ] {
        let reply = get(&balancer, "/", accept).await;
        let head = reply.headers().clone();
        assert_eq!(head["content-encoding"], encoding, "{accept}");
        assert_eq!(head["vary"], "accept-encoding");
        assert_eq!(head["etag"], "W/\"1\"");
        assert!(!head.contains_key("content-length"));
        let packed = reply.bytes().await.unwrap();
        assert!(packed.len() < PAGE / 10, "{}", packed.len());
        let page = unpacked(encoding, &packed);
        assert_eq!(page, "quiz ".repeat(PAGE / 5).as_bytes(), "{encoding}");
    }
}

#[tokio::test]
async fn whatever_would_not_shrink_or_was_not_wanted_stays_as_it_is() {
    let server = Server::start(page).await;
    let balancer = before(&server, &[]).await;
    for (path, accept, encoding, length) in [
        ("/", "identity", None, PAGE),
        ("/", "gzip;q=0", None, PAGE),
        ("/small", "gzip", None, 100),
        ("/picture", "gzip", None, PAGE),
        ("/compressed", "gzip, br", Some("br"), PAGE),
    ] {
        let reply = get(&balancer, path, accept).await;
        let head = reply.headers().clone();
        let found = head
            .get("content-encoding")
            .map(|value| value.to_str().unwrap());
        assert_eq!(found, encoding, "{path}");
        assert_eq!(head["etag"], "\"1\"", "{path}");
        assert_eq!(head["content-length"], length.to_string().as_str());
        assert_eq!(reply.bytes().await.unwrap().len(), length, "{path}");
    }
    let plain = get(&balancer, "/", "identity").await;
    assert_eq!(plain.headers()["vary"], "accept-encoding");
}

#[tokio::test]
async fn compression_can_be_switched_off() {
    let server = Server::start(page).await;
    let off = [
        "--gzip-level",
        "0",
        "--brotli-level",
        "0",
        "--zstd-level",
        "0",
    ];
    let balancer = before(&server, &off).await;
    let reply = get(&balancer, "/", "gzip, br, zstd").await;
    assert!(!reply.headers().contains_key("content-encoding"));
    assert!(!reply.headers().contains_key("vary"));
}

#[tokio::test]
async fn a_reply_says_how_long_it_took_and_where() {
    let server = Server::start(page).await;
    let balancer = before(&server, &[]).await;
    let reply = get(&balancer, "/", "identity").await;
    let timing = reply.headers()["server-timing"]
        .to_str()
        .unwrap()
        .to_owned();
    let parts: Vec<_> = timing.split(", ").collect();
    for (part, name) in parts.iter().zip(["lb;dur=", "backend;dur="]) {
        let millis: Option<f64> = part.strip_prefix(name).and_then(|ms| ms.parse().ok());
        assert!(millis.is_some_and(|ms| ms < 30_000.0), "{timing}");
    }
    assert_eq!(parts.len(), 2, "{timing}");
}
