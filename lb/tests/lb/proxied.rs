//! Behind a proxy of our own, whose word counts.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

use crate::{
    common::{Backend, Balancer, PATIENCE, client, raw},
    hostile::connect,
};

const TRUST: [&str; 2] = ["--trusted-proxies", "127.0.0.0/8,::1"];
const PROXIED: [&str; 4] = ["--trusted-proxies", "127.0.0.1", "--proxy-protocol", "true"];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n";

/// A header of version 2 for 192.0.2.8, and the beginning of a request.
fn version_2() -> Vec<u8> {
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    let addresses = [192, 0, 2, 8, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
    [&start[..], &addresses, REQUEST].concat()
}

#[tokio::test]
async fn what_a_trusted_proxy_says_about_its_client_counts() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &TRUST).await;
    let reply = client()
        .get(balancer.url("/"))
        .header("x-forwarded-for", "6.6.6.6, 192.0.2.7, 127.0.0.9")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "quiz.example")
        .header("x-request-id", "edge-0123456789")
        .header("x-real-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.headers()["x-request-id"], "edge-0123456789");
    let seen = backend.seen().remove(0).headers;
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "quiz.example"),
        ("x-request-id", "edge-0123456789"),
        (
            "forwarded",
            "for=192.0.2.7;proto=https;host=\"quiz.example\"",
        ),
    ] {
        let values: Vec<_> = seen.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    assert!(!seen.contains_key("x-real-ip"));
}

#[tokio::test]
async fn an_id_that_is_not_well_formed_is_replaced_whoever_sent_it() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &TRUST).await;
    for wrong in ["short", "<script>alert(1)</script>", &"x".repeat(65)] {
        let request = client().get(balancer.url("/"));
        let reply = request.header("x-request-id", wrong).send().await.unwrap();
        let id = reply.headers()["x-request-id"].to_str().unwrap();
        assert!(
            id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
    }
}

#[tokio::test]
async fn the_limits_hold_for_the_client_that_a_trusted_proxy_names() {
    let backend = Backend::start().await;
    let limits = ["--max-requests-per-sec-per-address", "1"];
    let limits = [&limits[..], &["--request-burst-per-address", "1"], &TRUST].concat();
    let balancer = Balancer::before(&[&backend], &limits).await;
    let from = async |address: &str| {
        let request = client().get(balancer.url("/"));
        let request = request.header("x-forwarded-for", address);
        request.send().await.unwrap().status().as_u16()
    };
    let mut greedy = Vec::new();
    for _ in 0..20 {
        greedy.push(from("192.0.2.7").await);
    }
    assert!(greedy[0] == 200 && greedy.contains(&429), "{greedy:?}");
    assert_eq!(from("192.0.2.8").await, 200);
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client_in_both_versions() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &PROXIED).await;
    let one = [b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n", REQUEST].concat();
    for header in [one, version_2()] {
        let said = raw(balancer.addr, &header).await;
        assert!(said.starts_with("http/1.1 200 "), "{said}");
    }
    let seen = backend.seen().into_iter();
    let clients: Vec<_> = seen
        .map(|seen| seen.headers["x-forwarded-for"].clone())
        .collect();
    assert_eq!(clients, ["192.0.2.7", "192.0.2.8"]);
}

#[tokio::test]
async fn a_client_behind_the_proxy_protocol_is_a_stranger() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &PROXIED).await;
    let claims = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\nGET / HTTP/1.1\r\nHost: quiz\r\n\
        X-Forwarded-For: 6.6.6.6\r\nX-Request-Id: edge-0123456789\r\nConnection: close\r\n\r\n";
    raw(balancer.addr, claims).await;
    let seen = backend.seen().remove(0).headers;
    assert_eq!(seen["x-forwarded-for"], "192.0.2.7");
    assert_ne!(seen["x-request-id"], "edge-0123456789");
}

#[tokio::test]
async fn a_trusted_proxy_without_its_header_is_hung_up_on() {
    let backend = Backend::start().await;
    let flags = [&PROXIED[..], &["--head-timeout", "1"]].concat();
    let balancer = Balancer::before(&[&backend], &flags).await;
    for start in [&b"GET / HTTP/1.1\r\n"[..], b"PROXY TCP4 192.0.2.7", b""] {
        let mut tcp = connect(balancer.addr).await;
        tcp.write_all(start).await.unwrap();
        let mut said = Vec::new();
        // An end by reset is as good as any other.
        let ended = time::timeout(PATIENCE, tcp.read_to_end(&mut said)).await;
        assert!(ended.is_ok() && said.is_empty(), "{said:?}");
    }
    assert_eq!(backend.arrived(), 0);
}

#[tokio::test]
async fn a_stranger_cannot_name_another_client_by_the_proxy_protocol() {
    let backend = Backend::start().await;
    let flags = ["--trusted-proxies", "10.0.0.1", "--proxy-protocol", "true"];
    let balancer = Balancer::before(&[&backend], &flags).await;
    let said = raw(balancer.addr, &version_2()).await;
    assert!(said.starts_with("http/1.1 400 "), "{said}");
    let said = raw(balancer.addr, REQUEST).await;
    assert!(said.starts_with("http/1.1 200 "), "{said}");
    assert_eq!(
        backend.seen().remove(0).headers["x-forwarded-for"],
        "127.0.0.1"
    );
}
