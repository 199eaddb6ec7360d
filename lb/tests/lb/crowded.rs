//! More requests than backends can work on, and more retries than they can bear.

use crate::common::{Action, Backend, Balancer, client, eventually};
use tokio::task::{JoinHandle, JoinSet};

/// Probes so rare that after the first the balancer must find out by itself.
const BLIND: [&str; 2] = ["--probe-interval", "3600000"];

fn visit(balancer: &Balancer) -> JoinHandle<(u16, Option<String>)> {
    let (client, url) = (client(), balancer.url("/"));
    tokio::spawn(async move {
        let reply = client.get(url).send().await.unwrap();
        let retry_after = reply.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        (reply.status().as_u16(), retry_after)
    })
}

async fn waiting(balancer: &Balancer) -> u64 {
    balancer.metric(r#"lb_queue_requests{pool="quiz"}"#).await
}

#[tokio::test]
async fn a_busy_backend_gets_no_more_than_it_may_and_the_others_wait_their_turn() {
    let backend = Backend::with(|_| Action::Wait).await;
    let flags = ["--max-in-flight", "2", "--max-wait", "60000"];
    let balancer = Balancer::before(&[&backend], &flags).await;
    let visits: Vec<_> = (0..5).map(|_| visit(&balancer)).collect();
    eventually("three wait", async || waiting(&balancer).await == 3).await;
    assert_eq!(backend.arrived(), 2);
    for arrived in 3..=5 {
        backend.release();
        eventually("the next came", async || backend.arrived() == arrived).await;
    }
    for _ in 0..2 {
        eventually("it ends", async || {
            backend.release();
            visits.iter().filter(|visit| visit.is_finished()).count() > 3
        })
        .await;
    }
    eventually("all end", async || {
        backend.release();
        visits.iter().all(JoinHandle::is_finished)
    })
    .await;
    for visit in visits {
        assert_eq!(visit.await.unwrap(), (200, None));
    }
    assert_eq!(waiting(&balancer).await, 0);
}

#[tokio::test]
async fn who_waits_too_long_or_finds_the_queue_full_is_asked_to_come_back() {
    let backend = Backend::with(|_| Action::Wait).await;
    let flags = [
        "--max-in-flight",
        "1",
        "--max-waiting",
        "1",
        "--max-wait",
        "500",
    ];
    let balancer = Balancer::before(&[&backend], &flags).await;
    let served = visit(&balancer);
    eventually("it is served", async || backend.arrived() == 1).await;
    let late = visit(&balancer);
    eventually("the second waits or has waited", async || {
        waiting(&balancer).await == 1 || late.is_finished()
    })
    .await;
    let asked_back = (503, Some("1".to_owned()));
    assert_eq!(visit(&balancer).await.unwrap(), asked_back);
    assert_eq!(late.await.unwrap(), asked_back);
    backend.release();
    assert_eq!(served.await.unwrap(), (200, None));
    let away = async |reason| {
        let series = format!(r#"lb_turned_away_total{{pool="quiz",reason="{reason}"}}"#);
        balancer.metric(&series).await
    };
    assert_eq!(away("full").await + away("too_long").await, 2);
    assert!(away("too_long").await >= 1);
    assert_eq!(backend.arrived(), 1);
}

#[tokio::test]
async fn a_free_backend_is_preferred_to_a_queue() {
    let (busy, free) = (
        Backend::with(|_| Action::Wait).await,
        Backend::start().await,
    );
    let flags = ["--max-in-flight", "1", "--max-waiting", "0"];
    let balancer = Balancer::before(&[&busy, &free], &flags).await;
    let mut slow = JoinSet::new();
    while busy.arrived() == 0 {
        slow.spawn(visit(&balancer));
        eventually("somebody was asked", async || {
            busy.arrived() + free.arrived() >= slow.len()
        })
        .await;
    }
    let before = free.arrived();
    for _ in 0..10 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!((busy.arrived(), free.arrived()), (1, before + 10));
    busy.release();
    while let Some(ended) = slow.join_next().await {
        assert_eq!(ended.unwrap().unwrap().0, 200);
    }
}

#[tokio::test]
async fn retries_of_what_may_have_been_worked_on_end_with_their_budget() {
    let (dying, alive) = (Backend::with(|_| Action::Die).await, Backend::start().await);
    let budget = [
        "--retry-budget-percent",
        "20",
        "--retry-budget-per-sec",
        "0",
    ];
    let flags = [&BLIND[..], &["--eject-max-percent", "0"], &budget].concat();
    let balancer = Balancer::before(&[&dying, &alive], &flags).await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(balancer.get("/").await.status() == 502);
    }
    // Half of them meet the dying one, and a fifth of all may be retried.
    assert_eq!(dying.arrived(), 20);
    let retried = balancer
        .metric(r#"lb_retries_total{phase="proxy",pool="quiz"}"#)
        .await;
    assert!((4..=8).contains(&retried), "{retried}");
    let refused = balancer
        .metric(r#"lb_retries_out_of_budget_total{pool="quiz"}"#)
        .await;
    assert_eq!((retried + refused, refused), (20, failed as u64));
}

#[tokio::test]
async fn a_connection_that_never_came_about_costs_no_budget() {
    let (dead, alive) = (Backend::start().await, Backend::start().await);
    let budget = ["--retry-budget-percent", "0", "--retry-budget-per-sec", "0"];
    let flags = [&BLIND[..], &budget].concat();
    let balancer = Balancer::before(&[&dead, &alive], &flags).await;
    dead.kill().await;
    for _ in 0..4 {
        let reply = client().post(balancer.url("/")).body("x").send().await;
        assert_eq!(reply.unwrap().status(), 200);
    }
}
