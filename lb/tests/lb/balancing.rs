//! Who gets which request.

use crate::common::{Action, Backend, Balancer, client, eventually, shares};
use tokio::task::JoinSet;

#[tokio::test]
async fn three_hundred_requests_on_one_connection_are_shared_equally() {
    let backends = [
        Backend::start().await,
        Backend::start().await,
        Backend::start().await,
    ];
    let balancer = Balancer::before(&backends.each_ref(), &[]).await;
    let client = client();
    let mut answers = Vec::new();
    for _ in 0..300 {
        answers.push(
            client
                .get(balancer.url("/"))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
        );
    }
    assert_eq!(
        shares(answers),
        backends
            .iter()
            .map(|backend| (backend.addr.to_string(), 100))
            .collect()
    );
}

#[tokio::test]
async fn three_hundred_requests_on_twenty_connections_are_shared_equally() {
    let backends = [
        Backend::start().await,
        Backend::start().await,
        Backend::start().await,
    ];
    let balancer = Balancer::before(&backends.each_ref(), &[]).await;
    let mut visitors = JoinSet::new();
    for _ in 0..20 {
        let (client, url) = (client(), balancer.url("/"));
        visitors.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..15 {
                answers.push(client.get(&url).send().await.unwrap().text().await.unwrap());
            }
            answers
        });
    }
    let answers = visitors.join_all().await.into_iter().flatten();
    assert_eq!(
        shares(answers),
        backends
            .iter()
            .map(|backend| (backend.addr.to_string(), 100))
            .collect()
    );
}

#[tokio::test]
async fn random_gives_every_backend_about_its_share() {
    let backends = [
        Backend::start().await,
        Backend::start().await,
        Backend::start().await,
    ];
    let balancer = Balancer::before(&backends.each_ref(), &["--algorithm", "random"]).await;
    let client = client();
    let mut answers = Vec::new();
    for _ in 0..300 {
        let reply = client.get(balancer.url("/")).send().await.unwrap();
        answers.push(reply.text().await.unwrap());
    }
    let again = answers.windows(2).filter(|pair| pair[0] == pair[1]);
    assert!(again.count() > 50, "as if in turn");
    let shares = shares(answers);
    // Five standard deviations.
    assert!(
        shares.values().all(|share| (59..=141).contains(share)),
        "{shares:?}"
    );
}

#[tokio::test]
async fn a_backend_gets_no_request_before_it_is_ready() {
    let (ready, newborn) = (Backend::start().await, Backend::start().await);
    newborn.set_ready(500);
    let list = format!("{},{}", ready.addr, newborn.addr);
    let balancer = Balancer::start(&list, &[]).await;
    balancer.wait_for_state(ready.addr, "healthy").await;
    eventually("the newborn was asked twice", async || {
        newborn.probes() >= 2
    })
    .await;
    for _ in 0..20 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!((ready.arrived(), newborn.arrived()), (20, 0));

    newborn.set_ready(200);
    balancer.wait_for_state(newborn.addr, "healthy").await;
    for _ in 0..20 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!((ready.arrived(), newborn.arrived()), (30, 10));
}

#[tokio::test]
async fn a_backend_that_drains_gets_no_new_request_and_finishes_the_old_ones() {
    let (stays, leaves) = (
        Backend::start().await,
        Backend::with(|_| Action::Wait).await,
    );
    let balancer = Balancer::before(&[&stays, &leaves], &["--probe-fall", "1000000"]).await;
    let url = balancer.url("/");
    let mut two = JoinSet::new();
    for _ in 0..2 {
        let (client, url) = (client(), url.clone());
        two.spawn(async move { client.get(url).send().await.unwrap().status() });
    }
    eventually("one waits", async || leaves.arrived() == 1).await;
    leaves.set_ready(503);
    balancer.wait_for_state(leaves.addr, "draining").await;
    for _ in 0..10 {
        assert_eq!(
            balancer.get("/").await.text().await.unwrap(),
            stays.addr.to_string()
        );
    }
    leaves.release();
    assert_eq!(two.join_all().await, [200, 200]);
    assert_eq!(leaves.arrived(), 1);
}

#[tokio::test]
async fn a_probe_that_hangs_holds_up_nobody_elses() {
    let (lively, hung) = (Backend::start().await, Backend::start().await);
    let balancer = Balancer::before(&[&lively, &hung], &["--probe-timeout", "3600000"]).await;
    hung.set_ready(0);
    let asked = hung.probes();
    eventually("it hangs in a probe", async || hung.probes() > asked).await;
    let (lively_before, hung_before) = (lively.probes(), hung.probes());
    eventually("the other is probed on", async || {
        lively.probes() >= lively_before + 5
    })
    .await;
    lively.set_ready(503);
    balancer.wait_for_state(lively.addr, "draining").await;
    assert_eq!(hung.probes(), hung_before);
}

#[tokio::test]
async fn a_probe_without_an_answer_has_failed() {
    let hung = Backend::start().await;
    let balancer = Balancer::before(&[&hung], &["--probe-timeout", "1000"]).await;
    hung.set_ready(0);
    balancer.wait_for_state(hung.addr, "unhealthy").await;
}

#[tokio::test]
async fn a_backend_that_returns_gets_its_share_again() {
    let (stays, returns) = (Backend::start().await, Backend::start().await);
    let balancer = Balancer::before(&[&stays, &returns], &[]).await;
    returns.kill().await;
    balancer.wait_for_state(returns.addr, "unhealthy").await;
    assert_eq!(
        balancer.get("/").await.text().await.unwrap(),
        stays.addr.to_string()
    );
    returns.revive().await;
    balancer.wait_for_state(returns.addr, "healthy").await;
    let before = returns.arrived();
    for _ in 0..10 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!(returns.arrived() - before, 5);
}
