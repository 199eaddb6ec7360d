//! What a visitor sees when backends fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::common::{Action, Backend, Balancer, address, client, eventually, raw};
use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time,
};

/// Probes so rare that after the first the balancer must find out by itself.
const BLIND: [&str; 2] = ["--probe-interval", "3600000"];

#[tokio::test]
async fn a_refused_connection_is_retried_elsewhere_for_every_method() {
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        let (alive, dead) = (Backend::start().await, Backend::start().await);
        let balancer = Balancer::before(&[&alive, &dead], &BLIND).await;
        dead.kill().await;
        for _ in 0..4 {
            let request = client()
                .request(method.clone(), balancer.url("/"))
                .body("answer=42");
            let reply = request.send().await.unwrap();
            assert_eq!(reply.status(), 200, "{method}");
            assert_eq!(
                reply.headers()["x-served-by"],
                alive.addr.to_string().as_str()
            );
        }
        let bodies = alive.seen().into_iter().map(|seen| seen.body_bytes);
        assert!(bodies.eq([9; 4]), "{method}");
        let retries = r#"lb_retries_total{phase="connect",pool="quiz"}"#;
        assert_eq!(balancer.metric(retries).await, 1, "{method}");
    }
}

/// Answers a first probe; after that no connection to it comes about, as to a machine that was switched off.
async fn vanish(listener: TcpListener, gone: oneshot::Sender<()>) {
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    let ready = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    tcp.write_all(ready).await.unwrap();
    // Who does not come in at once never does: the kernel drops what does not fit the queue.
    let mut queue = Vec::new();
    let connect = || TcpStream::connect(address(&listener));
    while let Ok(next) = time::timeout(Duration::from_millis(500), connect()).await {
        queue.push(next.unwrap());
    }
    gone.send(()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_is_retried_elsewhere_for_every_method() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let (alive, vanished) = (Backend::start().await, address(&listener));
    let mut vanishing = JoinSet::new();
    let (gone, has_gone) = oneshot::channel();
    vanishing.spawn(vanish(listener, gone));
    let flags = [&BLIND[..], &["--connect-timeout", "300"]].concat();
    let balancer = Balancer::start(&format!("{},{vanished}", alive.addr), &flags).await;
    for addr in [alive.addr, vanished] {
        balancer.wait_for_state(addr, "healthy").await;
    }
    has_gone.await.unwrap();
    let retries = r#"lb_retries_total{phase="connect",pool="quiz"}"#;
    for method in [Method::GET, Method::POST] {
        let before = balancer.metric(retries).await;
        eventually("it was tried", async || {
            let request = client().request(method.clone(), balancer.url("/"));
            let reply = request.body("answer=42").send().await.unwrap();
            let by = reply.headers()["x-served-by"].to_str().unwrap();
            assert_eq!(
                (reply.status(), by),
                (StatusCode::OK, &*alive.addr.to_string())
            );
            balancer.metric(retries).await > before
        })
        .await;
    }
}

#[tokio::test]
async fn a_backend_that_was_restarted_between_two_probes_gets_nothing_before_it_is_ready() {
    let (alive, restarted) = (Backend::start().await, Backend::start().await);
    let balancer = Balancer::before(&[&alive, &restarted], &BLIND).await;
    restarted.kill().await;
    for _ in 0..2 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    restarted.revive().await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!(restarted.arrived(), 0);
}

#[tokio::test]
async fn a_probe_that_is_refused_takes_a_backend_out_at_once() {
    let (alive, restarted) = (Backend::start().await, Backend::start().await);
    // No number of ordinary failures would do it.
    let balancer = Balancer::before(&[&alive, &restarted], &["--probe-fall", "1000000"]).await;
    restarted.kill().await;
    balancer.wait_for_state(restarted.addr, "unhealthy").await;
    restarted.set_ready(500);
    restarted.revive().await;
    let before = restarted.probes();
    eventually("it is asked again", async || restarted.probes() > before).await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!((alive.arrived(), restarted.arrived()), (4, 0));
}

#[tokio::test]
async fn a_backend_that_dies_in_the_middle_of_a_request_costs_no_get() {
    let (alive, dying) = (Backend::start().await, Backend::with(|_| Action::Die).await);
    let balancer = Balancer::before(&[&alive, &dying], &BLIND).await;
    // On fresh connections of the balancer, where Pingora alone would give up.
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        for _ in 0..4 {
            let reply = client()
                .request(method.clone(), balancer.url("/"))
                .send()
                .await
                .unwrap();
            assert_eq!(reply.status(), 200, "{method}");
        }
    }
    assert_eq!(
        dying.arrived() as u64,
        balancer
            .metric(r#"lb_retries_total{phase="proxy",pool="quiz"}"#)
            .await
    );
    assert!(dying.arrived() >= 3);
}

#[tokio::test]
async fn a_get_survives_a_backend_that_dies_on_a_reused_connection() {
    let alive = Backend::start().await;
    let dying = Backend::with(|before| {
        if before == 0 {
            Action::Reply
        } else {
            Action::Die
        }
    })
    .await;
    let balancer = Balancer::before(&[&alive, &dying], &BLIND).await;
    for _ in 0..10 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!((alive.arrived(), dying.arrived()), (9, 5));
}

#[tokio::test]
async fn a_post_that_a_backend_may_have_acted_on_is_not_replayed() {
    let (alive, dying) = (Backend::start().await, Backend::with(|_| Action::Die).await);
    let balancer = Balancer::before(&[&alive, &dying], &BLIND).await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let reply = client()
            .post(balancer.url("/"))
            .body("answer=42")
            .send()
            .await
            .unwrap();
        statuses.push(reply.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 5], [502; 5]].concat());
    assert_eq!((alive.arrived(), dying.arrived()), (5, 5));
    assert_eq!(
        balancer
            .metric(r#"lb_retries_total{phase="proxy",pool="quiz"}"#)
            .await,
        0
    );
}

#[tokio::test]
async fn tries_are_bounded() {
    let dying = [
        Backend::with(|_| Action::Die).await,
        Backend::with(|_| Action::Die).await,
        Backend::with(|_| Action::Die).await,
    ];
    let balancer = Balancer::before(
        &dying.each_ref(),
        &[&BLIND[..], &["--max-tries", "2"]].concat(),
    )
    .await;
    assert_eq!(balancer.get("/").await.status(), 502);
    assert_eq!(dying.iter().map(Backend::arrived).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_get_that_every_backend_fails_ends_in_502() {
    let dying = [
        Backend::with(|_| Action::Die).await,
        Backend::with(|_| Action::Die).await,
    ];
    let balancer = Balancer::before(&dying.each_ref(), &BLIND).await;
    let reply = balancer.get("/").await;
    assert_eq!(reply.status(), 502);
    assert!(
        !reply.headers().contains_key("retry-after")
            && !reply.headers().contains_key("x-served-by")
    );
    assert_eq!(dying.each_ref().map(Backend::arrived), [1, 1]);
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_not_passed_off_as_whole() {
    let (alive, dying) = (
        Backend::start().await,
        Backend::with(|_| Action::DieMidReply).await,
    );
    let balancer = Balancer::before(&[&alive, &dying], &BLIND).await;
    let mut broken = 0;
    for _ in 0..4 {
        let reply = balancer.get("/").await;
        assert_eq!(reply.status(), 200);
        if reply.headers()["x-served-by"] == dying.addr.to_string().as_str() {
            dying.release();
            broken += usize::from(reply.bytes().await.is_err());
        }
    }
    assert_eq!((broken, dying.arrived()), (2, 2));
    let aborted = format!(
        r#"lb_requests_total{{backend="{}",class="aborted",pool="quiz"}}"#,
        dying.addr
    );
    eventually("both are counted", async || {
        balancer.metric(&aborted).await == 2
    })
    .await;
}

#[tokio::test]
async fn a_silent_backend_ends_in_504_when_nobody_else_can_answer() {
    let silent = Backend::with(|_| Action::Hang).await;
    let flags = [&BLIND[..], &["--upstream-read-timeout", "50"]].concat();
    let balancer = Balancer::before(&[&silent], &flags).await;
    assert_eq!(balancer.get("/").await.status(), 504);
}

#[tokio::test]
async fn a_frozen_backend_does_not_cost_a_visitor_the_answer() {
    let frozen = Backend::with(|_| Action::Hang).await;
    let healthy = [Backend::start().await, Backend::start().await];
    let flags = [&BLIND[..], &["--upstream-read-timeout", "2000"]].concat();
    let balancer = Balancer::before(&[&frozen, &healthy[0], &healthy[1]], &flags).await;
    let mut visitors = JoinSet::new();
    for _ in 0..3 {
        let (client, url) = (client(), balancer.url("/"));
        visitors.spawn(async move { client.get(url).send().await.unwrap().status() });
    }
    assert_eq!(visitors.join_all().await, [200; 3]);
    assert_eq!(frozen.arrived(), 1);
    assert_eq!(healthy.iter().map(Backend::arrived).sum::<usize>(), 3);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_run_twice_and_not_on_every_backend() {
    let silent = [
        Backend::with(|_| Action::Hang).await,
        Backend::with(|_| Action::Hang).await,
        Backend::with(|_| Action::Hang).await,
    ];
    let flags = [&BLIND[..], &["--upstream-read-timeout", "50"]].concat();
    let balancer = Balancer::before(&silent.each_ref(), &flags).await;
    assert_eq!(balancer.get("/").await.status(), 504);
    let retries = r#"lb_retries_total{phase="proxy",pool="quiz"}"#;
    assert_eq!(balancer.metric(retries).await, 1);
    // A backend may read the request only after the balancer has given up on it.
    let arrived = || silent.iter().map(Backend::arrived).sum::<usize>();
    eventually("both have arrived", async || arrived() == 2).await;
}

#[tokio::test]
async fn without_a_healthy_backend_visitors_are_asked_to_come_back() {
    let backend = Backend::start().await;
    backend.set_ready(503);
    let balancer = Balancer::start(&backend.addr.to_string(), &[]).await;
    eventually("the backend was asked", async || backend.probes() > 0).await;
    let reply = client()
        .get(balancer.url("/"))
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    let header = |name| reply.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (reply.status().as_u16(), header("retry-after").as_str()),
        (503, "1")
    );
    assert_eq!(header("cache-control"), "no-store");
    let id = header("x-request-id");
    let page = reply.text().await.unwrap();
    assert!(
        page.starts_with("<!doctype html>") && page.contains(&id),
        "{page}"
    );
    assert!(
        !page.contains(&backend.addr.port().to_string()) && !page.contains("backend"),
        "{page}"
    );
    assert_eq!(backend.arrived(), 0);

    let reply = client()
        .get(balancer.url("/"))
        .header("accept", "application/json")
        .send()
        .await
        .unwrap();
    let id = reply.headers()["x-request-id"].to_str().unwrap().to_owned();
    let text = reply.text().await.unwrap();
    assert!(
        text.starts_with(r#"{"status":503,"#) && text.contains(&id),
        "{text}"
    );
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let balancer = Balancer::start("dns:nobody.invalid:1", &[]).await;
    let reply = raw(balancer.addr, b"HEAD / HTTP/1.1\r\nHost: quiz\r\n\r\n").await;
    assert!(
        reply.starts_with("http/1.1 503 ") && reply.ends_with("\r\n\r\n"),
        "{reply}"
    );
    assert!(
        reply.contains("content-length: ") && reply.contains("connection: close"),
        "{reply}"
    );
}

#[tokio::test]
async fn no_get_fails_while_backends_are_killed_and_come_back() {
    let backends = [
        Backend::start().await,
        Backend::start().await,
        Backend::start().await,
    ];
    let balancer = Balancer::before(&backends.each_ref(), &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut visitors = JoinSet::new();
    for _ in 0..8 {
        let (client, url, stop) = (client(), balancer.url("/"), Arc::clone(&stop));
        visitors.spawn(async move {
            let mut replies = 0;
            while !stop.load(Ordering::SeqCst) {
                let reply = client.get(&url).send().await.expect("the balancer answers");
                assert_eq!(reply.status(), 200);
                reply.bytes().await.expect("the reply is whole");
                replies += 1;
            }
            replies
        });
    }
    for backend in backends.iter().chain(&backends) {
        let before = backend.arrived();
        eventually("it is at work", async || backend.arrived() > before).await;
        backend.kill().await;
        balancer.wait_for_state(backend.addr, "unhealthy").await;
        backend.revive().await;
        balancer.wait_for_state(backend.addr, "healthy").await;
    }
    stop.store(true, Ordering::SeqCst);
    let replies: usize = visitors.join_all().await.into_iter().sum();
    assert!(replies > 0);
}
