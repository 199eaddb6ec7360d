//! One process takes the place of another while visitors come.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::{
    common::{Action, Backend, client, eventually},
    process::Process,
};
use reqwest::Method;
use rustix::process::Signal;
use tokio::{net::TcpStream, task::JoinSet};

/// With a socket for upgrades in this folder.
async fn start(folder: &Path, backends: &str, flags: &[&str]) -> Process {
    let socket = folder.join("lb.sock");
    let own = [
        "--grace",
        "3600",
        "--upgrade-socket",
        socket.to_str().unwrap(),
    ];
    Process::start("127.0.0.1:0", backends, &[&own[..], flags].concat()).await
}

#[tokio::test]
async fn an_upgrade_under_load_fails_no_request() {
    let backends = [Backend::start().await, Backend::start().await];
    let list = backends.each_ref().map(|b| b.addr.to_string()).join(",");
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &list, &[]).await;
    running.wait_until_ready().await;
    let (addr, admin) = (running.addr, running.admin);

    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut visitors = JoinSet::new();
    for number in 0..8 {
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        visitors.spawn(async move {
            let method = if number % 2 == 0 {
                Method::GET
            } else {
                Method::POST
            };
            // Every other pair connects anew for each request.
            let kept = client();
            while !stop.load(Ordering::SeqCst) {
                let client = if number % 4 < 2 {
                    kept.clone()
                } else {
                    client()
                };
                let request = client.request(method.clone(), format!("http://{addr}/"));
                let reply = request.send().await.expect("somebody answers");
                assert_eq!(reply.status(), 200);
                reply.bytes().await.expect("the reply is whole");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for _ in 0..3 {
        let before = answered.load(Ordering::SeqCst);
        eventually("there is load", async || {
            answered.load(Ordering::SeqCst) > before + 100
        })
        .await;
        let next = start(folder.path(), &list, &[]).await;
        assert_eq!((next.addr, next.admin), (addr, admin));
        assert_eq!(running.exit_code().await, Some(0));
        running = next;
    }
    stop.store(true, Ordering::SeqCst);
    visitors.join_all().await;
    running.wait_until_ready().await;
}

#[tokio::test]
async fn a_request_in_flight_is_finished_by_the_old_process() {
    let backend = Backend::with(|_| Action::Wait).await;
    let folder = tempfile::tempdir().unwrap();
    let old = start(folder.path(), &backend.addr.to_string(), &[]).await;
    old.wait_until_ready().await;
    let get = || tokio::spawn(client().get(format!("http://{}/", old.addr)).send());
    let slow = get();
    eventually("it is in flight", async || backend.arrived() == 1).await;
    let new = start(folder.path(), &backend.addr.to_string(), &[]).await;
    old.line("another process has taken over").await;
    // The old one has left its admin listener to the new one, too.
    eventually("the new one says how it is", async || {
        let state = client()
            .get(format!("http://{}/state.json", new.admin))
            .send()
            .await;
        let text = state.unwrap().text().await.unwrap();
        text.contains(&format!("\"pid\":{}", new.pid().as_raw_nonzero()))
            && text.contains("\"draining\":false")
    })
    .await;
    backend.release();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(old.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_new_process_that_does_not_get_ready_changes_nothing() {
    let (backend, unready) = (Backend::start().await, Backend::start().await);
    unready.set_ready(503);
    let folder = tempfile::tempdir().unwrap();
    let old = start(folder.path(), &backend.addr.to_string(), &[]).await;
    old.wait_until_ready().await;
    let socket = folder.path().join("lb.sock");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_quiz-lb"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--grace",
            "1",
        ])
        .args(["--backends", &unready.addr.to_string(), "--upgrade-socket"])
        .arg(socket)
        .output();
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("goes on"),
        "{said}"
    );
    old.line("has given up, going on").await;
    assert_eq!(old.status(old.addr, "/").await, 200);
}

#[tokio::test]
async fn a_new_process_waits_for_every_backend_that_is_at_work() {
    let (quick, slow) = (Backend::start().await, Backend::start().await);
    let list = format!("{},{}", quick.addr, slow.addr);
    let folder = tempfile::tempdir().unwrap();
    // After the first it probes no more, so only the new one asks.
    let old = start(folder.path(), &list, &["--probe-interval", "3600000"]).await;
    for backend in [&quick, &slow] {
        old.line(&format!("backend {} is healthy", backend.addr))
            .await;
    }
    slow.set_ready(503);
    let before = [&quick, &slow].map(Backend::probes);
    let watch = async {
        eventually("the new one has asked both", async || {
            quick.probes() > before[0] + 3 && slow.probes() > before[1] + 3
        })
        .await;
        assert_eq!(old.logged("has taken over"), 0);
        slow.set_ready(200);
    };
    let (new, ()) = tokio::join!(start(folder.path(), &list, &["--slow-start", "0"]), watch);
    assert_eq!(old.exit_code().await, Some(0));
    for _ in 0..4 {
        assert_eq!(new.status(new.addr, "/").await, 200);
    }
    assert_eq!((quick.arrived(), slow.arrived()), (2, 2));
}

#[tokio::test]
async fn orders_of_operators_outlive_an_upgrade() {
    let (one, two) = (Backend::start().await, Backend::start().await);
    let list = format!("{},{}", one.addr, two.addr);
    let folder = tempfile::tempdir().unwrap();
    let token = ["--admin-token", "a-token-for-the-tests"];
    let old = start(folder.path(), &list, &token).await;
    old.wait_until_ready().await;
    let url = format!("http://{}/backends/{}/drain", old.admin, one.addr);
    let order = client()
        .post(url)
        .bearer_auth(token[1])
        .send()
        .await
        .unwrap();
    assert_eq!(order.status(), 200);
    let new = start(folder.path(), &list, &token).await;
    assert_eq!(old.exit_code().await, Some(0));
    let before = one.probes();
    eventually("it is ready", async || one.probes() > before + 2).await;
    for _ in 0..4 {
        assert_eq!(new.status(new.addr, "/").await, 200);
    }
    assert_eq!(one.arrived(), 0);
}

#[tokio::test]
async fn a_process_that_can_be_upgraded_closes_its_port_when_it_is_told_to_stop() {
    let backend = Backend::with(|_| Action::Wait).await;
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path(), &backend.addr.to_string(), &[]).await;
    process.wait_until_ready().await;
    let addr = process.addr;
    let slow = tokio::spawn(client().get(format!("http://{addr}/")).send());
    eventually("it is in flight", async || backend.arrived() == 1).await;
    process.signal(Signal::TERM);
    eventually("new connections are refused", async || {
        TcpStream::connect(addr).await.is_err()
    })
    .await;
    backend.release();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(process.exit_code().await, Some(0));
    // What is left of the socket in the folder keeps nobody from starting.
    let next = start(folder.path(), &backend.addr.to_string(), &[]).await;
    next.wait_until_ready().await;
}
