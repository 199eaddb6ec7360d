//! What is changed on the way, and what is refused.

use crate::common::{Action, Backend, Balancer, PATIENCE, client, raw};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

async fn behind(
    behaviour: impl Fn(usize) -> Action + Send + Sync + 'static,
    flags: &[&str],
) -> (Backend, Balancer) {
    let backend = Backend::with(behaviour).await;
    let balancer = Balancer::before(&[&backend], flags).await;
    (backend, balancer)
}

#[tokio::test]
async fn what_strangers_say_about_themselves_is_replaced() {
    let (backend, balancer) = behind(|_| Action::Reply, &[]).await;
    let claims = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "forwarded",
        "x-served-by",
    ];
    let mut request = client()
        .get(balancer.url("/"))
        .header("x-request-id", "theirs");
    for claim in claims {
        request = request.header(claim, "6.6.6.6");
    }
    let reply = request.send().await.unwrap();
    let seen = backend.seen().remove(0).headers;
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], balancer.addr.to_string().as_str());
    assert_eq!(seen["host"], balancer.addr.to_string().as_str());
    let forwarded = format!("for=127.0.0.1;proto=http;host=\"{}\"", balancer.addr);
    assert_eq!(seen["forwarded"], forwarded.as_str());
    assert!(
        ["x-real-ip", "x-served-by"]
            .iter()
            .all(|name| !seen.contains_key(*name))
    );
    assert_eq!(seen["x-request-id"], reply.headers()["x-request-id"]);
    assert_eq!(seen["x-request-id"].len(), 32);
    assert!(
        seen.values()
            .all(|value| value != "6.6.6.6" && value != "theirs")
    );
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_and_every_reply_names_its_backend() {
    let (backend, balancer) = behind(|_| Action::Lie, &[]).await;
    let (first, second) = (balancer.get("/").await, balancer.get("/").await);
    assert_ne!(
        first.headers()["x-request-id"],
        second.headers()["x-request-id"]
    );
    assert_eq!(
        first
            .headers()
            .get_all("x-served-by")
            .iter()
            .collect::<Vec<_>>(),
        [&backend.addr.to_string()]
    );
    assert_eq!(
        first.headers()["x-request-id"],
        backend.seen()[0].headers["x-request-id"]
    );
}

#[tokio::test]
async fn a_connection_header_cannot_nominate_ours_away() {
    let (backend, balancer) = behind(|_| Action::Reply, &[]).await;
    let nominate = |name: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: quiz\r\nX-Mine: 1\r\nConnection: close, X-Mine, {name}\r\n\r\n"
        )
        .into_bytes()
    };
    let ours = raw(balancer.addr, &nominate("X-Request-Id")).await;
    assert!(ours.starts_with("http/1.1 200 "), "{ours}");
    let seen = backend.seen().remove(0).headers;
    assert!(
        seen.contains_key("x-request-id") && !seen.contains_key("x-mine"),
        "{seen:?}"
    );
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");

    let protected = raw(balancer.addr, &nominate("X-Forwarded-For")).await;
    assert!(
        protected.starts_with("http/1.1 400 ") && protected.contains("x-request-id: "),
        "{protected}"
    );
    assert_eq!(backend.arrived(), 1);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_is_read() {
    let (backend, balancer) = behind(|_| Action::Reply, &["--max-body-bytes", "1000"]).await;
    let reply = raw(
        balancer.addr,
        b"POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 1001\r\n\r\nfew",
    )
    .await;
    assert!(
        reply.starts_with("http/1.1 413 ") && reply.contains("connection: close"),
        "{reply}"
    );
    assert_eq!(backend.arrived(), 0);
    let allowed = client()
        .post(balancer.url("/"))
        .body(vec![b'x'; 1000])
        .send()
        .await
        .unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(backend.seen()[0].body_bytes, 1000);
}

#[tokio::test]
async fn a_client_that_sends_on_regardless_still_gets_the_413() {
    let (_backend, balancer) = behind(|_| Action::Reply, &["--max-body-bytes", "1000"]).await;
    let body = vec![b'x'; 8 * 1024 * 1024];
    let head = format!(
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // All of it is written before anything is read: without lingering the answer would be lost to a reset.
    let reply = raw(balancer.addr, &[head.as_bytes(), &body].concat()).await;
    assert!(reply.starts_with("http/1.1 413 "), "{reply}");
}

#[tokio::test]
async fn a_refusal_by_the_backend_reaches_a_client_that_is_still_sending() {
    let (_backend, balancer) = behind(|_| Action::Refuse, &[]).await;
    let mut tcp = TcpStream::connect(balancer.addr).await.unwrap();
    tcp.write_all(b"POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 100000\r\n\r\nfirst")
        .await
        .unwrap();
    let mut status = [0; 12];
    time::timeout(PATIENCE, tcp.read_exact(&mut status))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    tcp.write_all(&vec![b'x'; 100_000 - 5]).await.unwrap();
    let mut rest = String::new();
    time::timeout(PATIENCE, tcp.read_to_string(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(
        rest.contains("x-served-by: ") && rest.ends_with("too large for the backend"),
        "{rest}"
    );
}

#[tokio::test]
async fn a_body_without_a_length_is_counted() {
    let (backend, balancer) = behind(|_| Action::Reply, &["--max-body-bytes", "1000"]).await;
    let chunked = |bytes: usize| {
        let head = "POST / HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes)).into_bytes()
    };
    let allowed = raw(balancer.addr, &chunked(1000)).await;
    assert!(allowed.starts_with("http/1.1 200 "), "{allowed}");
    let refused = raw(balancer.addr, &chunked(1001)).await;
    assert!(refused.starts_with("http/1.1 413 "), "{refused}");
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn a_head_over_the_limits_is_refused() {
    let (backend, balancer) = behind(|_| Action::Reply, &[]).await;
    let fat = format!(
        "GET / HTTP/1.1\r\nHost: quiz\r\nCookie: {}\r\n\r\n",
        "x".repeat(32 * 1024)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: quiz\r\n{}\r\n",
        "X-A: 1\r\n".repeat(100)
    );
    for head in [fat, many] {
        let reply = raw(balancer.addr, head.as_bytes()).await;
        assert!(
            reply.starts_with("http/1.1 431 ") && reply.contains("x-request-id: "),
            "{reply}"
        );
    }
    assert_eq!(backend.arrived(), 0);
    let most = format!(
        "GET / HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n{}\r\n",
        "X-A: 1\r\n".repeat(98)
    );
    assert!(
        raw(balancer.addr, most.as_bytes())
            .await
            .starts_with("http/1.1 200 ")
    );
}

#[tokio::test]
async fn the_largest_limits_that_can_be_set_hold_and_beyond_is_a_bare_400() {
    let limits = ["--max-headers", "256", "--max-head-bytes", "1048576"];
    // Without a backend, whatever passes the limits is answered 503.
    let balancer = Balancer::start("dns:nobody.invalid:1", &limits).await;
    let lines = |count: usize| {
        let more = "X-A: 1\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: quiz\r\n{more}\r\n")
    };
    let start = "GET / HTTP/1.1\r\nHost: quiz\r\nCookie: ";
    let filler = "x".repeat(1_048_576 - start.len() - 4);
    let largest = format!("{start}{filler}\r\n\r\n");
    for head in [lines(256), largest] {
        let reply = raw(balancer.addr, head.as_bytes()).await;
        assert!(reply.starts_with("http/1.1 503 "), "{reply}");
    }
    let reply = raw(balancer.addr, lines(257).as_bytes()).await;
    assert!(
        reply.starts_with("http/1.1 400 ") && !reply.contains("x-request-id"),
        "{reply}"
    );
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_one_after_the_other() {
    let (backend, balancer) = behind(|_| Action::Reply, &[]).await;
    let two = b"GET /1 HTTP/1.1\r\nHost: quiz\r\n\r\nGET /2 HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n";
    let replies = raw(balancer.addr, two).await;
    assert_eq!(replies.matches("http/1.1 200 ").count(), 2, "{replies}");
    let paths: Vec<_> = backend.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/1", "/2"]);
}

#[tokio::test]
async fn metrics_count_by_backend_and_outcome() {
    let (backend, balancer) = behind(|_| Action::Reply, &["--max-body-bytes", "1000"]).await;
    for _ in 0..3 {
        balancer.get("/").await;
    }
    client()
        .post(balancer.url("/"))
        .body(vec![b'x'; 1001])
        .send()
        .await
        .unwrap();
    let addr = backend.addr;
    let of_backend = format!(r#"lb_requests_total{{backend="{addr}",class="2xx",pool="quiz"}}"#);
    assert_eq!(balancer.metric(&of_backend).await, 3);
    assert_eq!(
        balancer
            .metric(r#"lb_requests_total{backend="none",class="4xx",pool="quiz"}"#)
            .await,
        1
    );
    assert_eq!(
        balancer
            .metric(&format!(
                r#"lb_request_duration_seconds_count{{backend="{addr}",class="2xx",pool="quiz"}}"#
            ))
            .await,
        3
    );
    assert_eq!(
        balancer
            .metric(&format!(
                r#"lb_backend_requests_in_flight{{backend="{addr}",pool="quiz"}}"#
            ))
            .await,
        0
    );
    assert_eq!(balancer.admin_get("/ready").await.0, 200);
    assert_eq!(balancer.admin_get("/live").await.0, 200);
    assert_eq!(balancer.admin_get("/nothing").await.0, 404);
}
