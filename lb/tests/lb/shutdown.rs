//! How the balancer leaves, as a library and as a process that gets signals.

use crate::{
    common::{Action, Backend, Balancer, PATIENCE, address, client, eventually, listen},
    process::Process,
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time,
};

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let backend = Backend::with(|_| Action::Wait).await;
    let mut balancer = Balancer::before(&[&backend], &["--grace", "60"]).await;
    let slow = tokio::spawn(client().get(balancer.url("/slow")).send());
    eventually("the request is in flight", async || backend.arrived() == 1).await;
    balancer.stop();
    let (addr, admin) = (balancer.addr, balancer.admin);
    eventually("new connections are refused", async || {
        TcpStream::connect(addr).await.is_err()
    })
    .await;
    let ready = client()
        .get(format!("http://{admin}/ready"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            ready.status().as_u16(),
            ready.text().await.unwrap().as_str()
        ),
        (503, "draining\n")
    );
    backend.release();
    let reply = slow.await.unwrap().unwrap();
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["connection"]),
        (200, &"close".parse().unwrap())
    );
    balancer.ended().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_drain() {
    let backend = Backend::start().await;
    let mut balancer = Balancer::before(&[&backend], &["--grace", "3600"]).await;
    let mut idle = TcpStream::connect(balancer.addr).await.unwrap();
    let mut used = TcpStream::connect(balancer.addr).await.unwrap();
    used.write_all(b"GET / HTTP/1.1\r\nHost: quiz\r\n\r\n")
        .await
        .unwrap();
    used.read_u8().await.unwrap();
    balancer.stop();
    // It ends within the patience of a test, not after an hour of grace.
    balancer.ended().await;
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_keep_alive_connection_is_told_to_close() {
    let backend = Backend::with(|_| Action::Wait).await;
    let mut balancer = Balancer::before(&[&backend], &["--grace", "3600"]).await;
    let mut tcp = TcpStream::connect(balancer.addr).await.unwrap();
    tcp.write_all(b"GET /1 HTTP/1.1\r\nHost: quiz\r\n\r\nGET /2 HTTP/1.1\r\nHost: quiz\r\n\r\n")
        .await
        .unwrap();
    eventually("the first is in flight", async || backend.arrived() == 1).await;
    let mut replies = String::new();
    balancer.stop();
    let addr = balancer.addr;
    eventually("the drain began", async || {
        TcpStream::connect(addr).await.is_err()
    })
    .await;
    backend.release();
    time::timeout(PATIENCE, tcp.read_to_string(&mut replies))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(replies.matches("Connection: close").count(), 1, "{replies}");
    assert_eq!(backend.arrived(), 1);
    balancer.ended().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_when_the_grace_period_is_over() {
    let backend = Backend::with(|_| Action::Hang).await;
    let mut balancer = Balancer::before(&[&backend], &["--grace", "1"]).await;
    let endless = tokio::spawn(client().get(balancer.url("/")).send());
    eventually("the request is in flight", async || backend.arrived() == 1).await;
    balancer.stop();
    balancer.ended().await;
    assert!(endless.await.unwrap().is_err());
}

#[tokio::test]
async fn sigterm_and_sigint_drain_and_exit_with_zero() {
    for signal in [Signal::TERM, Signal::INT] {
        let backend = Backend::with(|_| Action::Wait).await;
        let process = Process::start(
            "127.0.0.1:0",
            &backend.addr.to_string(),
            &["--grace", "3600"],
        )
        .await;
        process.wait_until_ready().await;
        let slow = tokio::spawn(client().get(format!("http://{}/", process.addr)).send());
        eventually("the request is in flight", async || backend.arrived() == 1).await;
        process.signal(signal);
        let addr = process.addr;
        eventually("new connections are refused", async || {
            TcpStream::connect(addr).await.is_err()
        })
        .await;
        assert_eq!(process.status(process.admin, "/ready").await, 503);
        assert_eq!(process.status(process.admin, "/live").await, 200);
        backend.release();
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
        assert_eq!(process.exit_code().await, Some(0), "{signal:?}");
    }
}

#[tokio::test]
async fn a_killed_balancer_is_replaced_on_the_same_port_at_once() {
    let backend = Backend::start().await;
    let backends = backend.addr.to_string();
    let killed = Process::start("127.0.0.1:0", &backends, &[]).await;
    killed.wait_until_ready().await;
    let addr = killed.addr;
    // A connection that served a request and is open when the kill comes keeps the port busy in the kernel.
    let mut visitor = TcpStream::connect(addr).await.unwrap();
    visitor
        .write_all(b"GET / HTTP/1.1\r\nHost: quiz\r\n\r\n")
        .await
        .unwrap();
    visitor.read_u8().await.unwrap();
    killed.kill().await;
    let next = Process::start(&addr.to_string(), &backends, &[]).await;
    next.wait_until_ready().await;
    assert_eq!((next.addr, next.status(addr, "/").await), (addr, 200));
}

#[tokio::test]
async fn a_bad_setting_ends_with_code_2_and_a_busy_port_with_1() {
    let run = async |listen: &str, backends: &str| {
        let run = Command::new(env!("CARGO_BIN_EXE_quiz-lb"))
            .args(["--admin-listen", "127.0.0.1:0"])
            .env("LB_LISTEN", listen)
            .env("LB_BACKENDS", backends)
            .kill_on_drop(true)
            .output();
        let output = time::timeout(PATIENCE, run)
            .await
            .expect("it exits")
            .expect("the binary runs");
        (
            output.status.code(),
            String::from_utf8(output.stderr).expect("messages are text"),
        )
    };
    let (code, message) = run("127.0.0.1:0", "quiz:3000").await;
    assert!(
        code == Some(2) && message.contains("LB_BACKENDS") && message.contains("dns:"),
        "{message}"
    );

    let busy = listen().await;
    let (code, message) = run(&address(&busy).to_string(), "127.0.0.1:1").await;
    assert!(
        code == Some(1) && message.contains("LB_LISTEN"),
        "{message}"
    );
}
