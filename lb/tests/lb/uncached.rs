//! What is never kept, and what goes on around the cache: bodies, broken replies, compression, dead backends.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

use crate::{
    cached::{FOR_EVER, Headers, counting, get, send},
    common::{Action, Backend, Balancer, PATIENCE, client, config, eventually, raw},
    hostile::connect,
};

#[tokio::test]
async fn a_post_is_never_answered_from_memory_and_never_kept() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    let post = || send(client().post(balancer.url("/static/a")).body("data"));
    assert_eq!(post().await.text, "reply 0");
    assert_eq!(get(&balancer, "/static/a", &[]).await.text, "reply 1");
    let second = post().await;
    assert_eq!(
        (second.cache.as_str(), second.text.as_str()),
        ("none", "reply 2")
    );
}

#[tokio::test]
async fn a_reply_that_sets_a_cookie_is_not_kept() {
    const COOKIE: Headers = &[
        ("cache-control", "public, max-age=60, immutable"),
        ("set-cookie", "a=b"),
    ];
    let backend = counting(COOKIE).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for nth in 0..2 {
        assert_eq!(
            get(&balancer, "/static/a", &[]).await.text,
            format!("reply {nth}")
        );
    }
}

#[tokio::test]
async fn a_request_with_a_body_smuggles_nothing_past_a_hit() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    get(&balancer, "/static/a", &[("host", "quiz")]).await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: quiz\r\n\r\n";
    let outer = format!(
        "GET /static/a HTTP/1.1\r\nHost: quiz\r\nContent-Length: {}\r\n\r\n{inner}GET /static/a HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n",
        inner.len()
    );
    let said = raw(balancer.addr, outer.as_bytes()).await;
    assert_eq!(said.matches("http/1.1 200 ").count(), 2, "{said}");
    assert!(said.contains("x-cache: hit"), "{said}");
    let paths: Vec<_> = backend.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/static/a", "/static/a"]);
}

#[tokio::test]
async fn a_body_without_a_length_smuggles_nothing_past_a_hit() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    get(&balancer, "/static/a", &[("host", "quiz")]).await;
    let chunks = "GET /static/a HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: quiz\r\n\r\n";
    let said = raw(balancer.addr, chunks.as_bytes()).await;
    assert_eq!(said.matches("http/1.1 200 ").count(), 1, "{said}");
    assert!(backend.seen().iter().all(|seen| seen.path == "/static/a"));
}

#[tokio::test]
async fn half_a_reply_is_neither_kept_nor_handed_on() {
    let backend = Backend::with(|nth| match nth {
        0 => Action::SayHalf(FOR_EVER, "0123456789".to_owned()),
        _ => Action::Say(FOR_EVER, "0123456789".to_owned()),
    })
    .await;
    let balancer = Balancer::before(&[&backend], &["--cache-max-wait", "30000"]).await;
    let mut first = connect(balancer.addr).await;
    let request = b"GET /images/a HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n";
    first.write_all(request).await.unwrap();
    eventually("it is at the backend", async || backend.arrived() == 1).await;
    let second = tokio::spawn(send(
        client()
            .get(balancer.url("/images/a"))
            .header("host", "quiz"),
    ));
    eventually("both are here", async || {
        balancer.metric("lb_requests_in_flight").await == 2
    })
    .await;
    backend.release();
    let mut said = Vec::new();
    let ended = time::timeout(PATIENCE, first.read_to_end(&mut said)).await;
    assert!(ended.is_ok() && !said.ends_with(b"0123456789"));
    assert_eq!(second.await.unwrap().text, "0123456789");
    assert_eq!(
        get(&balancer, "/images/a", &[("host", "quiz")]).await.cache,
        "hit"
    );
}

#[tokio::test]
async fn what_is_kept_is_compressed_for_whoever_wants_it() {
    const STYLE: Headers = &[
        ("cache-control", "public, max-age=60, immutable"),
        ("content-type", "text/css"),
        ("etag", "\"1\""),
    ];
    let text = "body { color: red } ".repeat(500);
    let kept = text.clone();
    let backend = Backend::with(move |_| Action::Say(STYLE, kept.clone())).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    for (accept, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("identity", ""),
        ("gzip", "gzip"),
    ] {
        let got = client().get(balancer.url("/static/a.css"));
        let got = got.header("accept-encoding", accept).send().await.unwrap();
        let said = got.headers().get("content-encoding");
        assert_eq!(said.map_or("", |said| said.to_str().unwrap()), coding);
        assert_eq!(got.headers()["vary"], "accept-encoding");
        let bytes = got.bytes().await.unwrap();
        assert_eq!(bytes == text.as_bytes(), coding.is_empty(), "{accept}");
        if coding == "gzip" {
            let mut plain = String::new();
            let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
            std::io::Read::read_to_string(&mut decoder, &mut plain).unwrap();
            assert_eq!(plain, text);
        }
    }
    // The tag that a compressed copy carries is good for a question.
    let known = [("if-none-match", "W/\"1\""), ("accept-encoding", "gzip")];
    let got = get(&balancer, "/static/a.css", &known).await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (304, ""));
    assert_eq!(backend.arrived(), 1);
}

#[tokio::test]
async fn what_is_kept_is_sent_when_no_backend_is_left() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    get(&balancer, "/static/a", &[]).await;
    backend.kill().await;
    balancer.wait_for_state(backend.addr, "unhealthy").await;
    assert_eq!(get(&balancer, "/static/a", &[]).await.text, "reply 0");
    assert_eq!(get(&balancer, "/static/b", &[]).await.status, 503);
}

#[tokio::test]
async fn an_old_reply_is_better_than_an_error_if_it_says_so() {
    const OLD: Headers = &[("cache-control", "public, max-age=1, stale-if-error=60")];
    let backend = counting(OLD).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    get(&balancer, "/static/a", &[]).await;
    backend.kill().await;
    balancer.wait_for_state(backend.addr, "unhealthy").await;
    eventually("it is stale", async || {
        let got = get(&balancer, "/static/a", &[]).await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "reply 0"));
        got.cache == "stale"
    })
    .await;
}

#[tokio::test]
async fn a_reload_can_empty_the_cache() {
    let backend = counting(FOR_EVER).await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    get(&balancer, "/static/a", &[]).await;
    let address = backend.addr.to_string();
    balancer
        .reload(config(&address, &["--cache", "false"]))
        .await;
    eventually("it is empty", async || {
        balancer.metric("lb_cache_bytes").await == 0
    })
    .await;
    assert_eq!(get(&balancer, "/static/a", &[]).await.cache, "none");
    balancer.reload(config(&address, &[])).await;
    eventually("it keeps again", async || {
        get(&balancer, "/static/a", &[]).await.cache == "hit"
    })
    .await;
}
