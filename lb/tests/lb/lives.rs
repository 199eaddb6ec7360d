//! What becomes of backends: ejection, panic, drains, slow starts, and what each algorithm makes of it.

use std::time::Duration;

use crate::common::{Action, Backend, Balancer, client, config, eventually, raw, shares};
use tokio::task::JoinSet;

/// Probes so rare that after the first the balancer must find out by itself.
const BLIND: [&str; 2] = ["--probe-interval", "3600000"];

/// As often as replies to this many requests came from each backend.
async fn served(balancer: &Balancer, requests: usize) -> std::collections::HashMap<String, usize> {
    let client = client();
    let mut texts = Vec::new();
    for _ in 0..requests {
        let reply = client.get(balancer.url("/")).send().await.unwrap();
        texts.push(reply.text().await.unwrap());
    }
    shares(texts)
}

/// An ejection that outlasts every test, however busy the machine is.
const LONG: [&str; 4] = ["--eject-base", "3600", "--eject-max", "3600"];

#[tokio::test]
async fn a_backend_whose_requests_fail_in_a_row_is_ejected() {
    let (failing, healthy) = (
        Backend::with(|_| Action::Fail).await,
        Backend::start().await,
    );
    let flags = [&BLIND[..], &LONG].concat();
    let balancer = Balancer::before(&[&failing, &healthy], &flags).await;
    for _ in 0..20 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!(failing.arrived(), 5);
    balancer.wait_for_state(failing.addr, "ejected").await;
}

#[tokio::test]
async fn an_ejected_backend_comes_back() {
    let failing = Backend::with(|before| {
        if before < 5 {
            Action::Fail
        } else {
            Action::Reply
        }
    })
    .await;
    let healthy = Backend::start().await;
    let flags = [&BLIND[..], &["--eject-base", "1"]].concat();
    let balancer = Balancer::before(&[&failing, &healthy], &flags).await;
    let ejections = format!(
        r#"lb_ejections_total{{backend="{}",pool="quiz"}}"#,
        failing.addr
    );
    eventually("it is ejected", async || {
        balancer.get("/").await.status() == 200 && balancer.metric(&ejections).await == 1
    })
    .await;
    eventually("it is asked again", async || {
        balancer.get("/").await.status() == 200 && failing.arrived() > 5
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_resets_connections_is_ejected() {
    let (dying, healthy) = (Backend::with(|_| Action::Die).await, Backend::start().await);
    let flags = [&BLIND[..], &LONG].concat();
    let balancer = Balancer::before(&[&dying, &healthy], &flags).await;
    for _ in 0..30 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!(dying.arrived(), 5);
    balancer.wait_for_state(dying.addr, "ejected").await;
}

#[tokio::test]
async fn the_last_backend_is_not_ejected() {
    let failing = Backend::with(|_| Action::Fail).await;
    let balancer = Balancer::before(&[&failing], &BLIND).await;
    for _ in 0..10 {
        assert_eq!(balancer.get("/").await.status(), 500);
    }
    assert_eq!(failing.arrived(), 10);
}

#[tokio::test]
async fn when_every_check_fails_requests_are_tried_all_the_same() {
    let backends = [Backend::start().await, Backend::start().await];
    let balancer = Balancer::before(&backends.each_ref(), &[]).await;
    for backend in &backends {
        backend.set_ready(500);
    }
    for backend in &backends {
        balancer.wait_for_state(backend.addr, "unhealthy").await;
    }
    assert_eq!(balancer.metric(r#"lb_pool_panics{pool="quiz"}"#).await, 1);
    assert_eq!(served(&balancer, 10).await.len(), 2);
    // Those that refuse, or asked to be left alone, are not tried even then.
    backends[0].set_ready(503);
    backends[1].kill().await;
    eventually("nobody is tried", async || {
        balancer.get("/").await.status() == 503
    })
    .await;
    backends[0].set_ready(200);
    balancer.wait_for_state(backends[0].addr, "healthy").await;
    assert_eq!(balancer.metric(r#"lb_pool_panics{pool="quiz"}"#).await, 0);
}

#[tokio::test]
async fn a_reply_that_closes_and_a_failing_check_are_a_drain() {
    let (stays, leaves) = (
        Backend::start().await,
        Backend::with(|number| match number {
            0 => Action::Reply,
            _ => Action::ReplyAndClose,
        })
        .await,
    );
    let balancer = Balancer::before(&[&stays, &leaves], &["--probe-fall", "1000000"]).await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!(leaves.arrived(), 2);
    leaves.set_ready(500);
    balancer.wait_for_state(leaves.addr, "draining").await;
    leaves.kill().await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    balancer.wait_for_state(leaves.addr, "draining").await;
}

#[tokio::test]
async fn one_that_closes_after_every_reply_is_not_about_to_leave() {
    let (stays, closes) = (
        Backend::start().await,
        Backend::with(|_| Action::ReplyAndClose).await,
    );
    let balancer = Balancer::before(&[&stays, &closes], &["--probe-fall", "1000000"]).await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    closes.set_ready(500);
    let before = closes.probes();
    eventually("it has failed two checks", async || {
        closes.probes() > before + 2
    })
    .await;
    balancer.wait_for_state(closes.addr, "healthy").await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!(closes.arrived(), 4);
}

#[tokio::test]
async fn a_backend_that_comes_later_starts_slowly() {
    let (old, new) = (Backend::start().await, Backend::start().await);
    new.set_ready(503);
    let list = format!("{},{}", old.addr, new.addr);
    let balancer = Balancer::start(&list, &["--slow-start", "3600"]).await;
    balancer.wait_for_state(old.addr, "healthy").await;
    eventually("it was asked", async || new.probes() > 0).await;
    new.set_ready(200);
    balancer.wait_for_state(new.addr, "healthy").await;
    let served = served(&balancer, 110).await;
    assert_eq!(served[&new.addr.to_string()], 10, "{served:?}");
}

#[tokio::test]
async fn backends_that_were_there_before_the_balancer_share_equally_at_once() {
    let backends = [Backend::start().await, Backend::start().await];
    let flags = [&BLIND[..], &["--slow-start", "3600"]].concat();
    let balancer = Balancer::before(&backends.each_ref(), &flags).await;
    assert!(
        served(&balancer, 20)
            .await
            .values()
            .all(|share| *share == 10)
    );
}

#[tokio::test]
async fn a_disabled_backend_gets_nothing_and_is_let_in_again() {
    let (on, off) = (Backend::start().await, Backend::start().await);
    let list = format!("{},{}", on.addr, off.addr);
    let mut settings = config(&list, &[]);
    let disabled = |settings: &mut quiz_lb::config::Config, list| {
        settings.pools.get_mut("quiz").unwrap().disabled = list;
    };
    disabled(&mut settings, vec![off.addr]);
    let balancer = Balancer::with(settings.clone()).await;
    balancer.wait_for_state(on.addr, "healthy").await;
    balancer.wait_for_state(off.addr, "disabled").await;
    assert_eq!(served(&balancer, 10).await[&on.addr.to_string()], 10);
    disabled(&mut settings, Vec::new());
    balancer.reload(settings).await;
    balancer.wait_for_state(off.addr, "healthy").await;
    assert_eq!(served(&balancer, 10).await[&off.addr.to_string()], 5);
}

#[tokio::test]
async fn hash_leads_one_client_and_one_header_to_one_backend() {
    let backends = [
        Backend::start().await,
        Backend::start().await,
        Backend::start().await,
    ];
    let flags = [&BLIND[..], &["--algorithm", "hash"]].concat();
    let by_client = Balancer::before(&backends.each_ref(), &flags).await;
    assert_eq!(served(&by_client, 20).await.len(), 1);

    let flags = [&flags[..], &["--hash-header", "x-user"]].concat();
    let by_header = Balancer::before(&backends.each_ref(), &flags).await;
    let mut first = Vec::new();
    for round in 0..2 {
        for user in 0..30_usize {
            let request = client().get(by_header.url("/")).header("x-user", user);
            let text = request.send().await.unwrap().text().await.unwrap();
            if round == 0 {
                first.push(text);
            } else {
                assert_eq!(first[user], text);
            }
        }
    }
    assert_eq!(shares(first).len(), 3);
}

#[tokio::test]
async fn least_load_spares_a_backend_that_is_ten_times_slower() {
    let take = |ms| move |_| Action::Slow(Duration::from_millis(ms));
    let backends = [
        Backend::with(take(10)).await,
        Backend::with(take(100)).await,
        Backend::with(take(10)).await,
    ];
    let flags = [&BLIND[..], &["--algorithm", "least_load"]].concat();
    let balancer = Balancer::before(&backends.each_ref(), &flags).await;
    let mut visitors = JoinSet::new();
    for _ in 0..8 {
        let (client, url) = (client(), balancer.url("/"));
        visitors.spawn(async move {
            for _ in 0..50 {
                let reply = client.get(&url).send().await.unwrap();
                assert_eq!(reply.status(), 200);
                reply.bytes().await.unwrap();
            }
        });
    }
    visitors.join_all().await;
    let slow = backends[1].arrived();
    assert!(slow < 40, "the slow one got {slow} of 400");
}

#[tokio::test]
async fn clients_that_are_slow_to_send_get_no_backend_ejected() {
    let backends = [Backend::start().await, Backend::start().await];
    let flags = [
        &BLIND[..],
        &["--upstream-read-timeout", "50", "--eject-failures", "1"],
    ]
    .concat();
    let balancer = Balancer::before(&backends.each_ref(), &flags).await;
    for _ in 0..4 {
        let head = b"POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 100\r\n\r\nfew";
        let reply = raw(balancer.addr, head).await;
        assert!(reply.starts_with("http/1.1 504 "), "{reply}");
    }
    for backend in &backends {
        balancer.wait_for_state(backend.addr, "healthy").await;
    }
}
