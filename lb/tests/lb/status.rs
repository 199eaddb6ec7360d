//! What operators see: `/state.json`, the status page, the metrics.

use std::time::Duration;

use crate::common::{Action, Backend, Balancer, client};
use serde_json::Value;

#[tokio::test]
async fn the_state_tells_shares_latencies_and_errors() {
    let (slow, failing) = (
        Backend::with(|_| Action::Slow(Duration::from_millis(30))).await,
        Backend::with(|before| match before % 2 {
            0 => Action::Fail,
            _ => Action::Reply,
        })
        .await,
    );
    let balancer = Balancer::before(&[&slow, &failing], &["--retry-statuses", "none"]).await;
    for _ in 0..8 {
        balancer.get("/").await;
    }
    let (_, text) = balancer.admin_get("/state.json").await;
    let state: Value = serde_json::from_str(&text).unwrap();
    let pool = &state["pools"][0];
    assert_eq!(
        (&pool["name"], &pool["algorithm"]),
        (&"quiz".into(), &"round_robin".into())
    );
    let find = |backend: &Backend| {
        let backends = pool["backends"].as_array().unwrap();
        let address = backend.addr.to_string();
        backends
            .iter()
            .find(|b| b["address"] == address.as_str())
            .unwrap()
            .clone()
    };
    let (slow, failing) = (find(&slow), find(&failing));
    for backend in [&slow, &failing] {
        assert_eq!(
            (&backend["share"], &backend["requests"]),
            (&0.5.into(), &4.into())
        );
        assert_eq!(
            (&backend["state"], &backend["in_flight"]),
            (&"healthy".into(), &0.into())
        );
        assert_eq!(backend["latency_history_ms"].as_array().unwrap().len(), 30);
    }
    assert_eq!(
        (&slow["error_rate"], &failing["error_rate"]),
        (&0.0.into(), &0.5.into())
    );
    assert!(slow["latency_ms"].as_f64().unwrap() >= 30.0, "{slow}");
}

#[tokio::test]
async fn the_state_says_why_a_backend_gets_nothing() {
    let (alive, gone) = (Backend::start().await, Backend::start().await);
    let balancer = Balancer::before(&[&alive, &gone], &[]).await;
    gone.kill().await;
    balancer.wait_for_state(gone.addr, "unhealthy").await;
    let (_, text) = balancer.admin_get("/state.json").await;
    assert!(text.contains("it refused the connection"), "{text}");
    let (_, page) = balancer.admin_get("/").await;
    assert!(
        page.contains("it refused the connection") && page.contains("degraded"),
        "{page}"
    );
}

#[tokio::test]
async fn the_page_is_whole_without_a_script_and_lets_no_foreign_one_in() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    balancer.get("/").await;
    let reply = client()
        .get(format!("http://{}/", balancer.admin))
        .send()
        .await
        .unwrap();
    let policy = reply.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let page = reply.text().await.unwrap();
    for part in [
        &backend.addr.to_string(),
        "healthy",
        "100 %",
        "<svg",
        "LB_ADMIN_TOKEN",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(
        !page.contains("style=") && !page.contains(" onclick"),
        "{page}"
    );
    let (_, part) = balancer.admin_get("/?part").await;
    assert!(page.contains("<html") && !part.contains("<html") && part.contains("healthy"));
    for asset in ["/status.css", "/status.js"] {
        assert!(page.contains(asset));
        assert_eq!(balancer.admin_get(asset).await.0, 200);
    }
}

#[tokio::test]
async fn connections_and_ejections_are_counted() {
    let (failing, healthy) = (
        Backend::with(|_| Action::Fail).await,
        Backend::start().await,
    );
    let once = ["--eject-base", "3600", "--eject-max", "3600"];
    let flags = [&["--probe-interval", "3600000"], &once[..]].concat();
    let balancer = Balancer::before(&[&failing, &healthy], &flags).await;
    let client = client();
    for _ in 0..20 {
        client
            .get(balancer.url("/"))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
    }
    let ejections = format!(
        r#"lb_ejections_total{{backend="{}",pool="quiz"}}"#,
        failing.addr
    );
    assert_eq!(balancer.metric(&ejections).await, 1);
    assert_eq!(balancer.metric("lb_connections_total").await, 1);
    assert_eq!(balancer.metric("lb_connections").await, 1);
    let upstream = async |origin: &str| {
        let addr = healthy.addr;
        let labels = format!(r#"backend="{addr}",origin="{origin}",pool="quiz""#);
        balancer
            .metric(&format!("lb_upstream_connections_total{{{labels}}}"))
            .await
    };
    assert_eq!((upstream("new").await, upstream("reused").await), (1, 19));
}
