//! Clients that send too slowly, ask too often or take too much.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use crate::common::{Action, Backend, Balancer, PATIENCE, client, eventually, raw};

pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.expect("the kernel accepts")
}

/// Sends this, then a byte now and then until the balancer hangs up; returns what it said.
async fn drip(addr: SocketAddr, start: &str) -> String {
    let mut tcp = connect(addr).await;
    tcp.write_all(start.as_bytes()).await.unwrap();
    let (mut from, mut to) = tcp.split();
    let mut said = Vec::new();
    let dripped = time::timeout(PATIENCE, async {
        let drip = async {
            while to.write_all(b"x").await.is_ok() {
                time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            // A reset after the answer, by bytes that came too late, is an end like any other.
            _ = from.read_to_end(&mut said) => {}
            () = drip => {}
        }
    });
    dripped.await.expect("the balancer hangs up");
    String::from_utf8_lossy(&said).to_ascii_lowercase()
}

fn refused(reason: &str) -> String {
    format!(r#"lb_clients_refused_total{{reason="{reason}"}}"#)
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_ended_while_others_are_served() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &["--head-timeout", "1"]).await;
    let slow = drip(balancer.addr, "GET / HTTP/1.1\r\nHost: quiz\r\nX-A: ");
    let (said, served) = tokio::join!(slow, balancer.get("/"));
    assert!(said.starts_with("http/1.1 408 "), "{said}");
    assert_eq!(served.status(), 200);
    assert_eq!(backend.arrived(), 1);
    assert_eq!(balancer.metric(&refused("slow_head")).await, 1);
}

#[tokio::test]
async fn a_second_head_on_a_connection_has_its_time_too() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &["--head-timeout", "1"]).await;
    let said = drip(balancer.addr, "GET /1 HTTP/1.1\r\nHost: quiz\r\n\r\nGET /2").await;
    assert!(said.starts_with("http/1.1 200 "), "{said}");
    assert!(said.contains("http/1.1 408 "), "{said}");
    assert_eq!(backend.arrived(), 1);
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_ended_with_a_page() {
    let backend = Backend::start().await;
    let flags = ["--body-grace", "1", "--min-body-bytes-per-sec", "1000"];
    let balancer = Balancer::before(&[&backend], &flags).await;
    let head = "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 100000\r\n\r\n";
    let said = drip(balancer.addr, head).await;
    assert!(said.starts_with("http/1.1 408 "), "{said}");
    assert!(said.contains("x-request-id: "), "{said}");
    assert_eq!(balancer.metric(&refused("slow_body")).await, 1);
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn a_body_above_the_minimum_and_a_slow_answer_take_their_time() {
    let backend = Backend::with(|_| Action::Slow(Duration::from_millis(1500))).await;
    let flags = ["--body-grace", "1", "--min-body-bytes-per-sec", "10"];
    let flags = [&flags[..], &["--head-timeout", "1"]].concat();
    let balancer = Balancer::before(&[&backend], &flags).await;
    let mut tcp = connect(balancer.addr).await;
    let head = "POST / HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\nContent-Length: 40\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.unwrap();
    // Two seconds for forty bytes: more than the grace, and less than what twenty bytes a second earn.
    for _ in 0..40 {
        tcp.write_all(b"x").await.unwrap();
        time::sleep(Duration::from_millis(50)).await;
    }
    let mut said = String::new();
    let read = time::timeout(PATIENCE, tcp.read_to_string(&mut said)).await;
    read.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert_eq!(backend.seen()[0].body_bytes, 40);
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_gets_them_back() {
    let backend = Backend::start().await;
    let limit = ["--max-connections-per-address", "2"];
    let balancer = Balancer::before(&[&backend], &limit).await;
    let request = b"GET / HTTP/1.1\r\nHost: quiz\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut tcp = connect(balancer.addr).await;
        tcp.write_all(request).await.unwrap();
        let mut status = [0; 12];
        tcp.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        open.push(tcp);
    }
    let third = raw(balancer.addr, b"").await;
    assert!(third.starts_with("http/1.1 429 "), "{third}");
    assert!(third.contains("retry-after: 1\r\n"), "{third}");
    assert_eq!(balancer.metric(&refused("connections")).await, 1);
    open.pop();
    let last = b"GET / HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n";
    eventually("there is room again", async || {
        let mut tcp = connect(balancer.addr).await;
        let mut said = Vec::new();
        // Whoever is turned away may find a reset.
        let _ = tcp.write_all(last).await;
        let _ = tcp.read_to_end(&mut said).await;
        said.starts_with(b"HTTP/1.1 200 ")
    })
    .await;
}

#[tokio::test]
async fn an_address_has_so_many_requests_at_a_time() {
    let backend = Backend::with(|number| match number {
        0 => Action::Wait,
        _ => Action::Reply,
    })
    .await;
    let limit = ["--max-in-flight-per-address", "1"];
    let balancer = Balancer::before(&[&backend], &limit).await;
    let first = client().get(balancer.url("/")).send();
    let second = async {
        eventually("the first is being worked on", async || {
            backend.arrived() == 1
        })
        .await;
        let refused = balancer.get("/").await;
        backend.release();
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().status(), 200);
    assert_eq!(second.status(), 429);
    assert_eq!(second.headers()["retry-after"], "1");
    assert!(second.text().await.unwrap().contains("Too many requests"));
    eventually("the place is free again", async || {
        balancer.get("/").await.status() == 200
    })
    .await;
    assert!(balancer.metric(&refused("in_flight")).await >= 1);
}

#[tokio::test]
async fn an_address_has_a_burst_and_then_its_rate() {
    let backend = Backend::start().await;
    let limits = ["--max-requests-per-sec-per-address", "1"];
    let limits = [&limits[..], &["--request-burst-per-address", "3"]].concat();
    let balancer = Balancer::before(&[&backend], &limits).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(balancer.get("/").await.status().as_u16());
    }
    assert_eq!(statuses[..3], [200; 3]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(balancer.metric(&refused("rate")).await >= 1);
    eventually("a second has passed", async || {
        balancer.get("/").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn the_last_request_of_a_connection_says_so() {
    let backend = Backend::start().await;
    let limit = ["--max-requests-per-connection", "2"];
    let balancer = Balancer::before(&[&backend], &limit).await;
    let three = "GET / HTTP/1.1\r\nHost: quiz\r\n\r\n".repeat(3);
    let said = raw(balancer.addr, three.as_bytes()).await;
    assert_eq!(said.matches("http/1.1 200 ").count(), 2, "{said}");
    let (first, second) = said.rsplit_once("http/1.1 200 ").unwrap();
    assert!(!first.contains("connection: close"), "{said}");
    assert!(second.contains("connection: close"), "{said}");
    assert_eq!(backend.arrived(), 2);
}
