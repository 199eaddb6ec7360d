//! HTTP/2 in front: the rules that hold for HTTP/1 hold for each of many requests on one connection.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{
    Reason,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method, Request, StatusCode};
use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::{JoinHandle, JoinSet},
    time,
};

use crate::{
    cached::Headers,
    common::{Action, Backend, Balancer, PATIENCE, eventually, raw},
    hostile::connect,
    process::Process,
};

const HTTP2: [&str; 2] = ["--http2", "true"];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const KEPT_TEXT: Headers = &[
    ("cache-control", "public, max-age=31536000, immutable"),
    ("content-type", "text/plain"),
];

/// One HTTP/2 connection. `ended` completes with it, and says how.
pub(crate) struct Visitor {
    requests: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

impl Visitor {
    async fn to(addr: SocketAddr) -> Self {
        Self::over(connect(addr).await).await
    }

    pub(crate) async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (requests, connection) = h2::client::handshake(io).await.unwrap();
        let ended = tokio::spawn(connection);
        Self { requests, ended }
    }

    /// Sends the head, and this body if there is one.
    async fn send(&mut self, head: http::request::Builder, body: Option<&[u8]>) -> ResponseFuture {
        let mut ready = self.requests.clone().ready().await.unwrap();
        let head = head.body(()).unwrap();
        let (reply, mut stream) = ready.send_request(head, body.is_none()).unwrap();
        if let Some(body) = body {
            stream
                .send_data(Bytes::copy_from_slice(body), true)
                .unwrap();
        }
        reply
    }

    pub(crate) async fn get(&mut self, path: &str) -> Got {
        got(self.send(head(path), None).await).await
    }
}

fn head(path: &str) -> http::request::Builder {
    Request::get(format!("http://quiz.example{path}"))
}

pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

async fn got(reply: ResponseFuture) -> Got {
    let read = async {
        let (head, mut stream) = reply.await.expect("an answer").into_parts();
        let mut body = Vec::new();
        while let Some(part) = stream.data().await {
            let part = part.expect("a whole reply");
            stream.flow_control().release_capacity(part.len()).unwrap();
            body.extend(part);
        }
        Got {
            status: head.status,
            headers: head.headers,
            body,
        }
    };
    time::timeout(PATIENCE, read).await.expect("in time")
}

/// The answers to two requests that wait at this backend.
async fn both(backend: &Backend, one: ResponseFuture, two: ResponseFuture) -> [Got; 2] {
    let answers = tokio::spawn(async { [got(one).await, got(two).await] });
    eventually("both are answered", async || {
        backend.release();
        answers.is_finished()
    })
    .await;
    answers.await.unwrap()
}

fn refused(reason: &str) -> String {
    format!(r#"lb_clients_refused_total{{reason="{reason}"}}"#)
}

#[tokio::test]
async fn requests_side_by_side_reach_backends_as_if_they_had_come_alone() {
    let backend = Backend::with(|_| Action::Wait).await;
    let balancer = Balancer::before(&[&backend], &HTTP2).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    let one = head("/1?a=b")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-forwarded-for", "6.6.6.6");
    let one = visitor.send(one, None).await;
    let two = Request::post("http://quiz.example/2");
    let two = visitor.send(two, Some(b"an answer")).await;
    eventually("both are there", async || backend.arrived() == 2).await;
    for reply in both(&backend, one, two).await {
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["x-served-by"], backend.addr.to_string());
        assert!(reply.headers.contains_key("server-timing"));
        assert_eq!(reply.body, backend.addr.to_string().as_bytes());
    }
    let mut seen = backend.seen();
    seen.sort_by_key(|seen| seen.target.clone());
    assert_eq!((&*seen[0].target, &*seen[1].target), ("/1?a=b", "/2"));
    let headers = &seen[0].headers;
    assert_eq!(headers["host"], "quiz.example");
    assert_eq!(headers["cookie"], "a=1; b=2");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-host"], "quiz.example");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(seen[1].body_bytes, 9);
    assert_eq!(balancer.metric("lb_connections_total").await, 1);
}

#[tokio::test]
async fn http1_is_spoken_beside_it_and_without_the_setting_only_that() {
    let backend = Backend::start().await;
    let both = Balancer::before(&[&backend], &HTTP2).await;
    assert_eq!(both.get("/").await.status(), 200);
    let without = Balancer::before(&[&backend], &[]).await;
    assert_eq!(without.get("/").await.status(), 200);
    let said = raw(without.addr, PREFACE).await;
    assert!(!said.contains("http/1.1 200"), "{said}");
    assert_eq!(backend.arrived(), 2);
}

#[tokio::test]
async fn a_slow_body_is_ended_with_a_page_and_its_neighbour_is_served() {
    let backend = Backend::start().await;
    let flags = ["--body-grace", "1", "--min-body-bytes-per-sec", "1000"];
    let balancer = Balancer::before(&[&backend], &[&HTTP2[..], &flags].concat()).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    let slow = Request::post("http://quiz.example/").body(()).unwrap();
    let (reply, mut stream) = visitor.requests.send_request(slow, false).unwrap();
    let drip = tokio::spawn(async move {
        while stream.send_data(Bytes::from_static(b"x"), false).is_ok() {
            time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(visitor.get("/").await.status, 200);
    let reply = got(reply).await;
    assert_eq!(reply.status, 408);
    assert!(reply.headers.contains_key("x-request-id"));
    assert_eq!(balancer.metric(&refused("slow_body")).await, 1);
    time::timeout(PATIENCE, drip).await.unwrap().unwrap();
    assert_eq!(visitor.get("/").await.status, 200);
}

#[tokio::test]
async fn limits_of_size_hold_for_each_request() {
    let backend = Backend::start().await;
    let flags = ["--max-body-bytes", "1000", "--max-head-bytes", "2000"];
    let flags = [&HTTP2[..], &flags, &["--max-headers", "20"]].concat();
    let balancer = Balancer::before(&[&backend], &flags).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    let post = || Request::post("http://quiz.example/");
    let body = visitor.send(post(), Some(&[0; 3000])).await;
    assert_eq!(got(body).await.status, 413);
    let announced = visitor.send(post().header("content-length", "3000"), Some(&[0; 3000]));
    assert_eq!(got(announced.await).await.status, 413);
    let large = visitor.send(head("/").header("x-large", "x".repeat(1990)), None);
    assert_eq!(got(large.await).await.status, 431);
    let huge = visitor.send(head("/").header("x-huge", "x".repeat(5000)), None);
    assert_eq!(got(huge.await).await.status, 431);
    let many = (0..21).fold(head("/"), |head, nth| head.header(format!("x-{nth}"), "1"));
    assert_eq!(got(visitor.send(many, None).await).await.status, 431);
    assert_eq!(visitor.get("/").await.status, 200);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn an_address_has_so_many_requests_at_a_time_on_one_connection_too() {
    let backend = Backend::with(|_| Action::Wait).await;
    let flags = [&HTTP2[..], &["--max-in-flight-per-address", "2"]].concat();
    let balancer = Balancer::before(&[&backend], &flags).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    let one = visitor.send(head("/"), None).await;
    let two = visitor.send(head("/"), None).await;
    eventually("two are there", async || backend.arrived() == 2).await;
    let three = visitor.get("/").await;
    assert_eq!(three.status, 429);
    assert_eq!(three.headers["retry-after"], "1");
    for reply in both(&backend, one, two).await {
        assert_eq!(reply.status, 200);
    }
    assert_eq!(balancer.metric(&refused("in_flight")).await, 1);
}

#[tokio::test]
async fn what_would_be_another_request_over_http1_is_refused() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &HTTP2).await;
    let post = || Request::post("http://quiz.example/");
    for wrong in [
        post().header("transfer-encoding", "chunked"),
        post().header("connection", "x-forwarded-for"),
        post().header("content-length", "1"),
        post()
            .header("content-length", "5")
            .header("content-length", "6"),
        post().header("host", "evil.example"),
        Request::builder()
            .method(Method::CONNECT)
            .uri("quiz.example:80"),
    ] {
        let shown = format!("{wrong:?}");
        let mut visitor = Visitor::to(balancer.addr).await;
        let head = wrong.body(()).unwrap();
        let Ok((reply, mut stream)) = visitor.requests.send_request(head, false) else {
            continue;
        };
        let _ = stream.send_data(Bytes::from_static(b"GET /"), true);
        let reply = time::timeout(PATIENCE, reply).await.expect("an end");
        assert!(
            reply.is_err() || reply.is_ok_and(|reply| reply.status().is_client_error()),
            "{shown}"
        );
    }
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
}

#[tokio::test]
async fn a_request_whose_backend_freezes_is_answered_by_another() {
    let (alive, behind) = (
        Backend::start().await,
        Backend::with(|_| Action::Wait).await,
    );
    let freezing = Process::start("127.0.0.1:0", &behind.addr.to_string(), &[]).await;
    freezing.wait_until_ready().await;
    let backends = format!("{},{}", alive.addr, freezing.addr);
    let patient = [
        "--upstream-read-timeout",
        "3600000",
        "--probe-timeout",
        "100",
    ];
    let stingy = ["--retry-budget-percent", "0", "--retry-budget-per-sec", "0"];
    let flags = [&HTTP2[..], &patient, &stingy].concat();
    let balancer = Balancer::start(&backends, &flags).await;
    balancer.wait_for_state(alive.addr, "healthy").await;
    balancer.wait_for_state(freezing.addr, "healthy").await;
    let mut visitor = Visitor::to(balancer.addr).await;
    let mut visits = JoinSet::new();
    for _ in 0..10 {
        visits.spawn(got(visitor.send(head("/"), None).await));
    }
    eventually("half are in flight", async || behind.arrived() == 5).await;
    freezing.signal(Signal::STOP);
    for reply in visits.join_all().await {
        assert_eq!(reply.status, 200);
    }
    assert_eq!((alive.arrived(), behind.arrived()), (10, 5));
    freezing.signal(Signal::CONT);
}

#[tokio::test]
async fn a_drain_says_goaway_and_finishes_what_is_in_flight() {
    let backend = Backend::with(|_| Action::Wait).await;
    let flags = [&HTTP2[..], &["--grace", "3600"]].concat();
    let mut balancer = Balancer::before(&[&backend], &flags).await;
    let (idle, mut busy) = (
        Visitor::to(balancer.addr).await,
        Visitor::to(balancer.addr).await,
    );
    // A client that never answers, and whose connection is as good as dead.
    let mut deaf = connect(balancer.addr).await;
    deaf.write_all(PREFACE).await.unwrap();
    deaf.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    deaf.read_u8().await.unwrap();
    let reply = busy.send(head("/"), None).await;
    eventually("it is in flight", async || backend.arrived() == 1).await;
    balancer.stop();
    let ended = time::timeout(PATIENCE, idle.ended).await;
    ended
        .expect("no wait for the grace period")
        .unwrap()
        .unwrap();
    eventually("no new requests are taken", async || {
        busy.requests.clone().ready().await.is_err()
            || busy.send(head("/"), None).await.await.is_err()
    })
    .await;
    backend.release();
    assert_eq!(got(reply).await.status, 200);
    drop(busy.requests);
    busy.ended.await.unwrap().unwrap();
    balancer.ended().await;
    assert_eq!(backend.arrived(), 1);
}

#[tokio::test]
async fn a_client_that_calls_off_request_after_request_is_hung_up_on() {
    let backend = Backend::with(|_| Action::Hang).await;
    let flags = [&HTTP2[..], &["--http2-max-resets", "20"]].concat();
    let balancer = Balancer::before(&[&backend], &flags).await;
    let visitor = Visitor::to(balancer.addr).await;
    let mut sent = 0;
    let flood = async {
        while let Ok(mut ready) = visitor.requests.clone().ready().await {
            let head = head("/").body(()).unwrap();
            let Ok((_, mut stream)) = ready.send_request(head, true) else {
                break;
            };
            sent += 1;
            // Each is with its backend, as an attacker would have it.
            eventually("it is there", async || {
                backend.arrived() >= sent || visitor.ended.is_finished()
            })
            .await;
            stream.send_reset(Reason::CANCEL);
        }
    };
    time::timeout(PATIENCE, flood).await.expect("an end");
    assert!((21..=25).contains(&sent), "{sent}");
    let ended = visitor.ended.await.unwrap();
    assert_eq!(ended.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
    assert_eq!(balancer.metric(&refused("resets")).await, 1);
    eventually("nobody works on them", async || {
        balancer.metric("lb_requests_in_flight").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_connection_has_so_many_requests_at_a_time_and_in_all() {
    let backend = Backend::start().await;
    let flags = [
        "--http2-max-streams",
        "3",
        "--max-requests-per-connection",
        "5",
    ];
    let balancer = Balancer::before(&[&backend], &[&HTTP2[..], &flags].concat()).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    for _ in 0..5 {
        assert_eq!(visitor.get("/").await.status, 200);
        assert_eq!(visitor.requests.current_max_send_streams(), 3);
    }
    let ended = time::timeout(PATIENCE, visitor.ended).await;
    ended.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn requests_side_by_side_take_places_of_connections() {
    let backend = Backend::with(|_| Action::Wait).await;
    // One for the next client, one for this one, and one more.
    let flags = [&HTTP2[..], &["--max-connections", "3"]].concat();
    let balancer = Balancer::before(&[&backend], &flags).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    let mut replies = JoinSet::new();
    for _ in 0..6 {
        let head = Request::get(format!("http://{}/", balancer.addr));
        let reply = visitor.send(head, None).await;
        replies.spawn(async { reply.await.unwrap().status() });
    }
    for _ in 0..4 {
        assert_eq!(replies.join_next().await.unwrap().unwrap(), 503);
    }
    assert_eq!(backend.arrived(), 2);
    let full = r#"lb_turned_away_total{pool="quiz",reason="full"}"#;
    assert_eq!(balancer.metric(full).await, 4);
    for _ in 0..2 {
        backend.release();
        assert_eq!(replies.join_next().await.unwrap().unwrap(), 200);
    }
    let head = Request::get(format!("http://{}/", balancer.addr));
    let reply = visitor.send(head, None).await;
    eventually("there is a place again", async || backend.arrived() == 3).await;
    backend.release();
    assert_eq!(reply.await.unwrap().status(), 200);
}

#[tokio::test]
async fn whoever_says_nothing_or_half_a_preface_is_hung_up_on() {
    let backend = Backend::start().await;
    let flags = ["--client-keepalive", "1", "--head-timeout", "1"];
    let balancer = Balancer::before(&[&backend], &[&HTTP2[..], &flags].concat()).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let half_a_head = [&[0, 0, 9, 1, 0, 0, 0, 0, 1][..], b"half"].concat();
    let begun = [PREFACE, &settings].concat();
    for start in [
        Vec::new(),
        PREFACE[..10].to_vec(),
        PREFACE.to_vec(),
        begun.clone(),
        [begun, half_a_head].concat(),
    ] {
        let mut tcp = connect(balancer.addr).await;
        tcp.write_all(&start).await.unwrap();
        let mut said = Vec::new();
        let ended = time::timeout(PATIENCE, tcp.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{start:?}");
    }
    assert_eq!(backend.arrived(), 0);
}

#[tokio::test]
async fn replies_are_kept_and_compressed_as_ever() {
    let text = "all work and no play ".repeat(500);
    let said = text.clone();
    let backend = Backend::with(move |_| Action::Say(KEPT_TEXT, said.clone())).await;
    let balancer = Balancer::before(&[&backend], &HTTP2).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    for found in ["miss", "hit"] {
        let request = head("/static/a").header("accept-encoding", "zstd");
        let reply = got(visitor.send(request, None).await).await;
        assert_eq!(reply.headers["x-cache"], found);
        assert_eq!(reply.headers["content-encoding"], "zstd");
        assert_eq!(zstd::decode_all(&reply.body[..]).unwrap(), text.as_bytes());
    }
    assert_eq!(visitor.get("/static/a").await.body, text.as_bytes());
    assert_eq!(backend.arrived(), 1);
}

#[tokio::test]
async fn a_large_upload_and_a_large_reply_pass_windows_of_any_size() {
    let text = "x".repeat(1_000_000);
    let backend = Backend::with(move |_| Action::Say(&[], text.clone())).await;
    let balancer = Balancer::before(&[&backend], &HTTP2).await;
    let mut visitor = Visitor::to(balancer.addr).await;
    let post = Request::post("http://quiz.example/");
    let reply = got(visitor.send(post, Some(&vec![0; 3_000_000])).await).await;
    assert_eq!(
        (reply.status, reply.body.len()),
        (StatusCode::OK, 1_000_000)
    );
    assert_eq!(backend.seen()[0].body_bytes, 3_000_000);
}

#[tokio::test]
async fn a_trusted_proxy_may_name_the_client_before_the_preface() {
    let backend = Backend::start().await;
    let proxied = ["--trusted-proxies", "127.0.0.1", "--proxy-protocol", "true"];
    let balancer = Balancer::before(&[&backend], &[&HTTP2[..], &proxied].concat()).await;
    let mut tcp = connect(balancer.addr).await;
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n";
    tcp.write_all(line).await.unwrap();
    assert_eq!(Visitor::over(tcp).await.get("/").await.status, 200);
    assert_eq!(backend.seen()[0].headers["x-forwarded-for"], "192.0.2.7");
}
