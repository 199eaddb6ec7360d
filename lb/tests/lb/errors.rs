//! Replies that say that the backend failed.

use reqwest::Method;

use crate::common::{Action, Backend, Balancer, client};

/// Nothing but the replies may put a backend out of the pool, and even those do not.
const KEPT: [&str; 4] = ["--probe-interval", "3600000", "--eject-max-percent", "0"];

/// As often as requests of these methods were answered 500, two of each.
async fn failures(balancer: &Balancer, methods: &[Method]) -> usize {
    let mut failures = 0;
    for method in [methods, methods].concat() {
        let request = client()
            .request(method, balancer.url("/"))
            .body("answer=42");
        let status = request.send().await.unwrap().status();
        assert!(status == 200 || status == 500, "{status}");
        failures += usize::from(status == 500);
    }
    failures
}

async fn retries(balancer: &Balancer) -> u64 {
    balancer
        .metric(r#"lb_retries_total{phase="status",pool="quiz"}"#)
        .await
}

#[tokio::test]
async fn a_get_that_one_backend_answers_500_is_answered_by_another() {
    let (sick, healthy) = (
        Backend::with(|_| Action::Fail).await,
        Backend::start().await,
    );
    let balancer = Balancer::before(&[&sick, &healthy], &KEPT).await;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert_eq!(failures(&balancer, &[method]).await, 0);
    }
    assert_eq!((sick.arrived(), healthy.arrived()), (3, 6));
    assert_eq!(retries(&balancer).await, 3);
}

#[tokio::test]
async fn a_post_that_is_answered_500_is_not_sent_twice() {
    let (sick, healthy) = (
        Backend::with(|_| Action::Fail).await,
        Backend::start().await,
    );
    let balancer = Balancer::before(&[&sick, &healthy], &KEPT).await;
    let methods = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
    assert_eq!(failures(&balancer, &methods).await, 4);
    assert_eq!((sick.arrived(), healthy.arrived()), (4, 4));
    assert_eq!(retries(&balancer).await, 0);
}

#[tokio::test]
async fn a_page_that_fails_everywhere_is_rendered_twice_and_shown() {
    let sick = [
        Backend::with(|_| Action::Fail).await,
        Backend::with(|_| Action::Fail).await,
        Backend::with(|_| Action::Fail).await,
    ];
    let balancer = Balancer::before(&sick.each_ref(), &KEPT).await;
    let reply = balancer.get("/").await;
    assert_eq!(reply.status(), 500);
    assert!(reply.headers().contains_key("x-served-by"));
    assert_eq!(reply.text().await.unwrap(), "failed");
    assert_eq!(sick.iter().map(Backend::arrived).sum::<usize>(), 2);
}

#[tokio::test]
async fn beyond_the_budget_visitors_get_the_first_answer() {
    let (sick, healthy) = (
        Backend::with(|_| Action::Fail).await,
        Backend::start().await,
    );
    let stingy = ["--retry-budget-percent", "0", "--retry-budget-per-sec", "0"];
    let balancer = Balancer::before(&[&sick, &healthy], &[&KEPT[..], &stingy].concat()).await;
    assert_eq!(failures(&balancer, &[Method::GET, Method::GET]).await, 2);
    assert_eq!((sick.arrived(), healthy.arrived()), (2, 2));
    let unmade = r#"lb_retries_out_of_budget_total{pool="quiz"}"#;
    assert_eq!(balancer.metric(unmade).await, 2);
}

#[tokio::test]
async fn operators_say_which_answers_are_failures() {
    let (sick, healthy) = (
        Backend::with(|_| Action::Fail).await,
        Backend::start().await,
    );
    for statuses in ["none", "502,503"] {
        let flags = [&KEPT[..], &["--retry-statuses", statuses]].concat();
        let balancer = Balancer::before(&[&sick, &healthy], &flags).await;
        assert_eq!(failures(&balancer, &[Method::GET, Method::GET]).await, 2);
    }
}
