//! More clients than there is room for.

use crate::{
    common::{Backend, Balancer, PATIENCE, client, eventually},
    process::{Process, with_ulimit},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// A keep-alive connection that asks one thing after the other.
struct Visitor(TcpStream);

impl Visitor {
    async fn connect(addr: std::net::SocketAddr) -> Self {
        let tcp = TcpStream::connect(addr).await;
        Self(tcp.expect("the kernel completes the connection"))
    }

    async fn ask(&mut self) {
        let request = b"GET / HTTP/1.1\r\nHost: quiz\r\n\r\n";
        self.0
            .write_all(request)
            .await
            .expect("the request is sent");
    }

    /// Reads one reply of a stub backend whose body is `body`, and returns its status.
    async fn status(&mut self, body: &str) -> String {
        let mut reply = Vec::new();
        let read = time::timeout(PATIENCE, async {
            while !reply.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
                let byte = self.0.read_u8().await.expect("the connection stays open");
                reply.push(byte);
            }
        });
        let ended = read.await;
        let text = String::from_utf8_lossy(&reply).into_owned();
        ended.unwrap_or_else(|_| panic!("no whole reply: {text}"));
        text.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn idle_clients_do_not_cost_the_pool_its_health() {
    let backend = Backend::start().await;
    let body = backend.addr.to_string();
    let process = Process::limited("-n 100", &body, &[], "info").await;
    process.wait_until_ready().await;
    let mut early = Visitor::connect(process.addr).await;
    early.ask().await;
    assert_eq!(early.status(&body).await, "200");

    // More than descriptors are left, and fewer than fit the queue of the listener (128): whoever finds that full
    // is let in only after repeating itself for a while.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Visitor::connect(process.addr).await);
    }
    let before = backend.probes();
    eventually("it is probed on", async || backend.probes() >= before + 10).await;
    early.ask().await;
    assert_eq!(early.status(&body).await, "200");
    process.wait_until_ready().await;
    assert_eq!(process.logged("is unhealthy"), 0);
    assert_eq!(process.logged("cannot accept connections"), 0);
    process.line("further clients wait").await;
    assert_eq!(process.logged("further clients wait"), 1);

    let late = tokio::spawn(client().get(format!("http://{}/", process.addr)).send());
    drop(idle);
    assert_eq!(late.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_over_the_limit_waits_until_another_leaves() {
    let backend = Backend::start().await;
    let body = backend.addr.to_string();
    let balancer = Balancer::before(&[&backend], &["--max-connections", "1"]).await;
    let mut first = Visitor::connect(balancer.addr).await;
    first.ask().await;
    assert_eq!(first.status(&body).await, "200");
    let mut second = Visitor::connect(balancer.addr).await;
    second.ask().await;
    for _ in 0..50 {
        first.ask().await;
        assert_eq!(first.status(&body).await, "200");
    }
    assert_eq!(backend.arrived(), 51);
    drop(first);
    assert_eq!(second.status(&body).await, "200");
}

#[tokio::test]
async fn descriptors_that_run_out_are_no_verdict_on_a_backend() {
    let backend = Backend::start().await;
    let filter = "info,quiz_lb=debug";
    let process = Process::limited("-Sn 200", &backend.addr.to_string(), &[], filter).await;
    process.wait_until_ready().await;

    let allowed = process.allow_descriptors(Some(3));
    let _waiting = Visitor::connect(process.addr).await;
    for trouble in ["cannot probe", "cannot accept connections"] {
        eventually(trouble, async || process.logged(trouble) >= 5).await;
    }
    process.allow_descriptors(allowed);
    let before = backend.probes();
    eventually("it is probed again", async || {
        backend.probes() >= before + 5
    })
    .await;
    assert_eq!(process.status(process.addr, "/").await, 200);

    assert_eq!(process.logged("is unhealthy"), 0);
    // All of it is there for who debugs, one line of each for everybody.
    let told = |trouble| process.logged(trouble) - process.debugged(trouble);
    assert_eq!(
        (told("cannot probe"), told("cannot accept connections")),
        (1, 1)
    );
}

#[tokio::test]
async fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let process = Process::limited("-Sn 100", "127.0.0.1:1", &[], "info").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid()));
    let limits = limits.expect("the process runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<_> = line
        .expect("Linux has this limit")
        .split_whitespace()
        .collect();
    assert_eq!(numbers[3], numbers[4], "{limits}");
    assert_eq!(process.logged("file descriptors: 100, raised to "), 1);
}

#[tokio::test]
async fn a_limit_that_does_not_fit_is_lowered_and_an_impossible_one_refused() {
    let process = Process::limited("-n 200", "127.0.0.1:1", &[], "info").await;
    let line = process.line("LB_MAX_CONNECTIONS").await;
    assert!(line.contains("WARN") && line.contains("10000"), "{line}");

    let flags = ["--admin-listen", "127.0.0.1:0", "--backends", "127.0.0.1:1"];
    let run = with_ulimit("-n 40").args(flags).kill_on_drop(true).output();
    let output = time::timeout(PATIENCE, run).await.expect("it exits");
    let output = output.expect("the binary runs");
    let message = String::from_utf8(output.stderr).expect("messages are text");
    assert!(
        output.status.code() == Some(1) && message.contains("ulimit -n"),
        "{message}"
    );
}
