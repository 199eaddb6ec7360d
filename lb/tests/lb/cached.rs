//! Replies from memory: who gets them, who does not, and what backends see of it.

use std::cell::Cell;

use http::StatusCode;

use crate::common::{Action, Backend, Balancer, PATIENCE, client, eventually};

pub(crate) type Headers = &'static [(&'static str, &'static str)];

pub(crate) const FOR_EVER: Headers = &[("cache-control", "public, max-age=31536000, immutable")];
const FOR_A_MINUTE: Headers = &[("cache-control", "public, max-age=60")];

/// Says the number of the request, so that copies can be told apart.
pub(crate) async fn counting(headers: Headers) -> Backend {
    Backend::with(move |nth| Action::Say(headers, format!("reply {nth}"))).await
}

pub(crate) struct Got {
    pub(crate) cache: String,
    pub(crate) text: String,
    pub(crate) reply: http::HeaderMap,
    pub(crate) status: StatusCode,
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> Got {
    let reply = request.send().await.expect("the balancer answers");
    let (status, headers) = (reply.status(), reply.headers().clone());
    let said = headers.get("x-cache").map(|said| said.to_str().unwrap());
    Got {
        cache: said.unwrap_or("none").to_owned(),
        text: reply.text().await.expect("a whole reply"),
        reply: headers,
        status,
    }
}

pub(crate) async fn get(balancer: &Balancer, path: &str, headers: &[(&str, &str)]) -> Got {
    let mut request = client().get(balancer.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

async fn lookups(balancer: &Balancer, result: &str) -> u64 {
    let series = format!(r#"lb_cache_requests_total{{result="{result}"}}"#);
    balancer.metric(&series).await
}

#[tokio::test]
async fn a_hit_does_not_reach_the_backend() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    let miss = get(&balancer, "/static/a.css", &[]).await;
    assert_eq!(
        (miss.cache.as_str(), miss.text.as_str()),
        ("miss", "reply 0")
    );
    assert!(!miss.reply.contains_key("age"));
    let hit = get(&balancer, "/static/a.css", &[]).await;
    assert_eq!((hit.cache.as_str(), hit.text.as_str()), ("hit", "reply 0"));
    let age: u64 = hit.reply["age"].to_str().unwrap().parse().unwrap();
    assert!(age < PATIENCE.as_secs());
    assert!(!hit.reply.contains_key("x-served-by"));
    assert_ne!(hit.reply["x-request-id"], miss.reply["x-request-id"]);
    assert_eq!(backend.arrived(), 1);
    eventually("the hit is counted", async || {
        lookups(&balancer, "hit").await == 1
    })
    .await;
    let series = r#"lb_requests_total{backend="cache",class="2xx",pool="quiz"}"#;
    assert_eq!(balancer.metric(series).await, 1);
    let (_, state) = balancer.admin_get("/state.json").await;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["cache"]["objects"], 1);
    assert_eq!(state["cache"]["requests"]["hit"], 1);
}

#[tokio::test]
async fn pages_are_not_kept_unless_their_path_is_named() {
    let backend = counting(FOR_A_MINUTE).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for nth in 0..2 {
        let got = get(&balancer, "/", &[]).await;
        assert_eq!(
            (got.cache, got.text),
            ("none".into(), format!("reply {nth}"))
        );
    }
}

#[tokio::test]
async fn a_crowd_at_a_cold_object_reaches_the_backend_once() {
    let backend = Backend::with(|nth| Action::SayLater(FOR_EVER, format!("reply {nth}"))).await;
    let balancer = Balancer::before(&[&backend], &["--cache-max-wait", "30000"]).await;
    let crowd: Vec<_> = (0..50)
        .map(|_| tokio::spawn(send(client().get(balancer.url("/images/a")))))
        .collect();
    eventually("all are here", async || {
        balancer.metric("lb_requests_in_flight").await == 50
    })
    .await;
    backend.release();
    for one in crowd {
        assert_eq!(one.await.unwrap().text, "reply 0");
    }
    assert_eq!(backend.arrived(), 1);
    eventually("all are counted", async || {
        let waited = lookups(&balancer, "collapsed").await + lookups(&balancer, "hit").await;
        waited == 49 && lookups(&balancer, "miss").await == 1
    })
    .await;
}

#[tokio::test]
async fn who_waits_too_long_for_another_asks_a_backend() {
    let backend = Backend::with(|nth| match nth {
        0 => Action::SayLater(FOR_EVER, "late".to_owned()),
        _ => Action::Say(FOR_EVER, "own".to_owned()),
    })
    .await;
    let balancer = Balancer::before(&[&backend], &["--cache-max-wait", "50"]).await;
    let first = tokio::spawn(send(client().get(balancer.url("/images/a"))));
    eventually("it is at the backend", async || backend.arrived() == 1).await;
    assert_eq!(get(&balancer, "/images/a", &[]).await.text, "own");
    backend.release();
    assert_eq!(first.await.unwrap().text, "late");
}

#[tokio::test]
async fn a_known_visitor_is_never_answered_from_the_page_of_another() {
    let backend = counting(FOR_A_MINUTE).await;
    let balancer = Balancer::before(&[&backend], &["--cache-paths", "/"]).await;
    assert_eq!(get(&balancer, "/", &[]).await.text, "reply 0");
    for (nth, visitor) in [
        ("cookie", "session=1"),
        ("cookie", "session=1"),
        ("cookie", "session=2"),
        ("authorization", "Bearer x"),
    ]
    .into_iter()
    .enumerate()
    {
        let got = get(&balancer, "/", &[visitor]).await;
        assert_eq!(got.text, format!("reply {}", nth + 1), "{visitor:?}");
        assert_eq!(got.cache, "pass");
    }
    assert_eq!(get(&balancer, "/", &[]).await.text, "reply 0");
}

#[tokio::test]
async fn what_never_changes_is_kept_for_known_visitors_too() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for session in ["session=1", "session=2"] {
        let got = get(&balancer, "/images/a", &[("cookie", session)]).await;
        assert_eq!(got.text, "reply 0");
    }
}

#[tokio::test]
async fn each_variant_is_for_whoever_asks_for_it() {
    const VARIES: Headers = &[
        ("cache-control", "public, max-age=60"),
        ("vary", "Accept-Language"),
    ];
    let backend = counting(VARIES).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for (language, text) in [
        ("de", "reply 0"),
        ("en", "reply 1"),
        ("de", "reply 0"),
        ("en", "reply 1"),
    ] {
        let got = get(&balancer, "/static/a", &[("accept-language", language)]).await;
        assert_eq!(got.text, text, "{language}");
    }
    assert_eq!(backend.arrived(), 2);
}

#[tokio::test]
async fn hosts_do_not_share_replies() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for (host, text) in [("one", "reply 0"), ("two", "reply 1"), ("ONE", "reply 0")] {
        assert_eq!(
            get(&balancer, "/static/a", &[("host", host)]).await.text,
            text
        );
    }
}

#[tokio::test]
async fn a_part_comes_from_the_whole() {
    let backend = Backend::with(|_| Action::Say(FOR_EVER, "0123456789".to_owned())).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for (range, content_range, text) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-1", "bytes 9-9/10", "9"),
    ] {
        let got = get(&balancer, "/images/a", &[("range", range)]).await;
        assert_eq!(got.status, 206, "{range}");
        assert_eq!(got.reply["content-range"], content_range);
        assert_eq!(got.text, text);
    }
    let beyond = get(&balancer, "/images/a", &[("range", "bytes=10-")]).await;
    assert_eq!(beyond.status, 416);
    assert_eq!(get(&balancer, "/images/a", &[]).await.text, "0123456789");
    assert_eq!(backend.arrived(), 1);
    assert!(!backend.seen()[0].headers.contains_key("range"));
}

#[tokio::test]
async fn a_part_of_what_is_too_large_to_keep_is_still_a_part() {
    let backend = Backend::with(|_| Action::Say(FOR_EVER, "0123456789".to_owned())).await;
    let balancer = Balancer::before(&[&backend], &["--cache-max-object-bytes", "9"]).await;
    let got = get(&balancer, "/images/a", &[("range", "bytes=2-4")]).await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (206, "234"));
    // Now it is known, and the backend is asked for the part.
    get(&balancer, "/images/a", &[("range", "bytes=2-4")]).await;
    assert_eq!(backend.seen()[1].headers["range"], "bytes=2-4");
}

#[tokio::test]
async fn a_stale_page_is_sent_while_it_is_fetched_again() {
    const STALE: Headers = &[(
        "cache-control",
        "public, max-age=1, stale-while-revalidate=60",
    )];
    let backend = Backend::with(|nth| match nth {
        0 => Action::Say(STALE, "old".to_owned()),
        _ => Action::SayLater(FOR_EVER, "new".to_owned()),
    })
    .await;
    let balancer = Balancer::before(&[&backend], &["--cache-paths", "/"]).await;
    let visits = Cell::new(0);
    let visit = async || {
        visits.set(visits.get() + 1);
        get(&balancer, "/", &[]).await
    };
    assert_eq!(visit().await.text, "old");
    // The backend has not answered: who waited for it would wait for ever.
    eventually("it is stale", async || {
        let got = visit().await;
        assert_eq!(got.text, "old");
        got.cache == "stale"
    })
    .await;
    assert_eq!(visit().await.cache, "stale");
    eventually("it is fetched again", async || backend.arrived() == 2).await;
    backend.release();
    eventually("it is fresh", async || visit().await.text == "new").await;
    assert_eq!(backend.arrived(), 2);
    // Only what visitors asked for is counted as requests of theirs.
    let counted = async |by: &str| {
        let series = format!(r#"lb_requests_total{{backend="{by}",class="2xx",pool="quiz"}}"#);
        balancer.metric(&series).await
    };
    eventually("all visits are counted", async || {
        counted("cache").await == visits.get() - 1
    })
    .await;
    assert_eq!(counted(&backend.addr.to_string()).await, 1);
    let again = &backend.seen()[1].headers;
    assert_eq!(again["x-forwarded-proto"], "http");
}

#[tokio::test]
async fn the_cache_stays_below_its_bound() {
    let text = "x".repeat(10_000);
    let backend = Backend::with(move |_| Action::Say(FOR_EVER, text.clone())).await;
    let flags = [
        "--cache-max-bytes",
        "50000",
        "--cache-max-object-bytes",
        "50000",
    ];
    let balancer = Balancer::before(&[&backend], &flags).await;
    for nth in 0..20 {
        get(&balancer, &format!("/images/{nth}"), &[]).await;
        assert!(balancer.metric("lb_cache_bytes").await <= 50_000);
    }
    assert_eq!(get(&balancer, "/images/19", &[]).await.cache, "hit");
    assert_eq!(get(&balancer, "/images/0", &[]).await.cache, "miss");
    assert!(balancer.metric("lb_cache_objects").await >= 3);
    assert!(balancer.metric("lb_cache_evictions_total").await >= 15);
}

#[tokio::test]
async fn a_head_is_answered_from_the_whole_reply() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for cache in ["miss", "hit"] {
        let head = send(client().head(balancer.url("/static/a"))).await;
        assert_eq!((head.cache.as_str(), head.text.as_str()), (cache, ""));
        assert_eq!(head.reply["content-length"], "7");
    }
    let whole = get(&balancer, "/static/a", &[]).await;
    assert_eq!(
        (whole.cache.as_str(), whole.text.as_str()),
        ("hit", "reply 0")
    );
    assert_eq!(backend.arrived(), 1);
}
