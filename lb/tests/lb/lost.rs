//! What becomes of requests in flight when their backend is lost.

use crate::{
    common::{Action, Backend, Balancer, client, eventually},
    process::Process,
};
use reqwest::Method;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// A silent backend is never given up for its silence alone.
const PATIENT: [&str; 6] = [
    "--upstream-read-timeout",
    "3600000",
    "--probe-timeout",
    "100",
    "--max-in-flight",
    "10",
];

/// Sends so many of these, and returns the statuses once all have been answered.
fn visit(balancer: &Balancer, method: &Method, visitors: usize) -> JoinSet<u16> {
    let mut visits = JoinSet::new();
    for _ in 0..visitors {
        let request = client().request(method.clone(), balancer.url("/"));
        visits.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    visits
}

#[tokio::test]
async fn gets_in_flight_on_a_backend_that_freezes_are_answered_by_another() {
    let (alive, behind) = (
        Backend::start().await,
        Backend::with(|_| Action::Wait).await,
    );
    // A process in front of a backend is a backend, and can be frozen.
    let freezing = Process::start("127.0.0.1:0", &behind.addr.to_string(), &[]).await;
    freezing.wait_until_ready().await;
    let backends = format!("{},{}", alive.addr, freezing.addr);
    // However little may be repeated: whoever is out of the pool does none of the work.
    let stingy = ["--retry-budget-percent", "0", "--retry-budget-per-sec", "0"];
    let balancer = Balancer::start(&backends, &[&PATIENT[..], &stingy].concat()).await;
    balancer.wait_for_state(alive.addr, "healthy").await;
    balancer.wait_for_state(freezing.addr, "healthy").await;

    let visits = visit(&balancer, &Method::GET, 20);
    eventually("half are in flight", async || behind.arrived() == 10).await;
    freezing.signal(Signal::STOP);
    assert_eq!(visits.join_all().await, [200; 20]);
    assert_eq!((alive.arrived(), behind.arrived()), (20, 10));
    let retries = r#"lb_retries_total{phase="recall",pool="quiz"}"#;
    assert_eq!(balancer.metric(retries).await, 10);
    freezing.signal(Signal::CONT);
}

#[tokio::test]
async fn a_post_in_flight_on_a_backend_that_freezes_is_not_sent_twice() {
    let (alive, frozen) = (
        Backend::start().await,
        Backend::with(|_| Action::Wait).await,
    );
    let balancer = Balancer::before(&[&alive, &frozen], &PATIENT).await;
    let visits = visit(&balancer, &Method::POST, 2);
    eventually("one is in flight", async || frozen.arrived() == 1).await;
    frozen.set_ready(0);
    balancer.wait_for_state(frozen.addr, "unhealthy").await;
    // It may still answer, and nobody else can say what became of the request.
    frozen.release();
    assert_eq!(visits.join_all().await, [200; 2]);
    assert_eq!((alive.arrived(), frozen.arrived()), (1, 1));
}

#[tokio::test]
async fn a_reply_that_has_begun_goes_on_although_its_backend_is_lost() {
    let (alive, slow) = (
        Backend::start().await,
        Backend::with(|_| Action::DieMidReply).await,
    );
    let balancer = Balancer::before(&[&alive, &slow], &PATIENT).await;
    let visit = async || {
        let mut reply = balancer.get("/").await;
        assert!(reply.chunk().await.unwrap().is_some());
        reply
    };
    let replies = [visit().await, visit().await];
    slow.set_ready(0);
    balancer.wait_for_state(slow.addr, "unhealthy").await;
    let served_by = slow.addr.to_string();
    for reply in replies {
        if reply.headers()["x-served-by"] == served_by.as_str() {
            slow.release();
            assert!(
                reply.bytes().await.is_err(),
                "it was the backend that cut it"
            );
        }
    }
    assert_eq!((alive.arrived(), slow.arrived()), (1, 1));
}

#[tokio::test]
async fn whoever_has_no_other_backend_waits_for_the_lost_one() {
    let only = Backend::with(|_| Action::Wait).await;
    let balancer = Balancer::before(&[&only], &PATIENT).await;
    let visits = visit(&balancer, &Method::GET, 1);
    eventually("it is in flight", async || only.arrived() == 1).await;
    only.set_ready(0);
    balancer.wait_for_state(only.addr, "unhealthy").await;
    only.release();
    assert_eq!(visits.join_all().await, [200]);
    assert_eq!(only.arrived(), 1);
}

#[tokio::test]
async fn a_connection_serves_on_after_its_request_was_called_back() {
    let (alive, frozen) = (
        Backend::start().await,
        Backend::with(|_| Action::Hang).await,
    );
    let balancer = Balancer::before(&[&alive, &frozen], &PATIENT).await;
    let mut visitors = Vec::new();
    for _ in 0..2 {
        let mut tcp = TcpStream::connect(balancer.addr).await.unwrap();
        tcp.write_all(b"GET /1 HTTP/1.1\r\nHost: quiz\r\n\r\n")
            .await
            .unwrap();
        visitors.push(tcp);
    }
    eventually("one is in flight", async || frozen.arrived() == 1).await;
    frozen.set_ready(0);
    for mut tcp in visitors {
        // The first byte of the first reply.
        tcp.read_u8().await.unwrap();
        tcp.write_all(b"GET /2 HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut replies = String::new();
        tcp.read_to_string(&mut replies).await.unwrap();
        assert_eq!(replies.matches("200 OK").count(), 2, "{replies}");
    }
    assert_eq!((alive.arrived(), frozen.arrived()), (4, 1));
}
