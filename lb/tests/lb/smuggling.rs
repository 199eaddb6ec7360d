//! Requests that two programs could read in two ways.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

use crate::{
    common::{Backend, Balancer, PATIENCE, raw},
    hostile::connect,
};

/// What a smuggler wants somebody to run.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n";

async fn balancer() -> (Backend, Balancer) {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    (backend, balancer)
}

/// Each of these is answered 400, the connection is closed, and no backend sees anything.
async fn all_refused(requests: &[&str]) {
    let (backend, balancer) = balancer().await;
    for request in requests {
        let mut tcp = connect(balancer.addr).await;
        tcp.write_all(format!("{request}{SECOND}").as_bytes())
            .await
            .unwrap();
        let mut said = Vec::new();
        // What it did not read may become a reset after the answer.
        let ended = time::timeout(PATIENCE, tcp.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{request:?} is not ended");
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 400 "), "{request:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{request:?}: {said}");
    }
    assert_eq!(backend.arrived(), 0);
    let honest = raw(balancer.addr, SECOND.as_bytes()).await;
    assert!(honest.starts_with("http/1.1 200 "), "{honest}");
}

#[tokio::test]
async fn a_length_beside_a_transfer_encoding_is_refused() {
    all_refused(&[
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn several_lengths_are_refused_even_if_they_agree() {
    all_refused(&[
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 5, 5\r\n\r\nhello",
    ])
    .await;
}

#[tokio::test]
async fn a_length_that_is_no_plain_number_is_refused() {
    all_refused(&[
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: -5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 0x5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: quiz\r\nContent-Length : 5\r\n\r\nhello",
    ])
    .await;
}

#[tokio::test]
async fn a_transfer_encoding_other_than_chunked_is_refused() {
    all_refused(&[
        "POST / HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn a_transfer_encoding_in_http_1_0_is_refused() {
    all_refused(&[
        "POST / HTTP/1.0\r\nHost: quiz\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: quiz\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn folded_lines_and_bare_line_ends_are_refused() {
    all_refused(&[
        "GET / HTTP/1.1\r\nHost: quiz\r\nX-A: 1\r\n X-B: 2\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: quiz\r\n\r\n",
        "GET / HTTP/1.1\nHost: quiz\n\n",
        "GET / HTTP/1.1\r\nHost: quiz\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: quiz\r\nX-A: 1\rX-B: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: quiz\r\n\n",
    ])
    .await;
}

#[tokio::test]
async fn a_chunk_of_an_odd_size_ends_its_request_and_smuggles_nothing() {
    let (backend, balancer) = balancer().await;
    let head = "POST /upload HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        // Read as an end by some: no size at all, a line end within an extension.
        "\r\n\r\n",
        ";\r\n\r\n",
        "0;\n\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
    ] {
        let mut tcp = connect(balancer.addr).await;
        let all = format!("{head}{chunks}{SECOND}");
        tcp.write_all(all.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut said = Vec::new();
        let ended = time::timeout(PATIENCE, tcp.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{chunks:?} is not ended");
        let said = String::from_utf8_lossy(&said);
        assert!(said.matches("HTTP/1.1 ").count() <= 1, "{chunks:?}: {said}");
    }
    let seen: Vec<_> = backend.seen().into_iter().map(|seen| seen.path).collect();
    assert!(!seen.contains(&"/smuggled".to_owned()), "{seen:?}");
    let honest = raw(balancer.addr, SECOND.as_bytes()).await;
    assert!(honest.starts_with("http/1.1 200 "), "{honest}");
}

#[tokio::test]
async fn a_request_in_chunks_is_the_last_of_its_connection() {
    let (backend, balancer) = balancer().await;
    let first = "POST /first HTTP/1.1\r\nHost: quiz\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let said = raw(balancer.addr, format!("{first}{SECOND}").as_bytes()).await;
    assert!(said.starts_with("http/1.1 200 "), "{said}");
    assert!(said.contains("connection: close"), "{said}");
    let seen = backend.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].path.as_str(), seen[0].body_bytes), ("/first", 5));
}

#[tokio::test]
async fn an_absolute_target_reaches_the_backend_as_a_path() {
    let (backend, balancer) = balancer().await;
    let absolute = "GET http://quiz/a?b=c HTTP/1.1\r\nHost: quiz\r\nConnection: close\r\n\r\n";
    let said = raw(balancer.addr, absolute.as_bytes()).await;
    assert!(said.starts_with("http/1.1 200 "), "{said}");
    let seen = backend.seen().remove(0);
    assert_eq!(seen.target, "/a?b=c");
    assert_eq!(seen.headers["host"], "quiz");
    assert_eq!(seen.headers["x-forwarded-host"], "quiz");
}

#[tokio::test]
async fn a_host_that_is_missing_double_or_not_that_of_the_target_is_refused() {
    all_refused(&[
        "GET http://quiz/ HTTP/1.1\r\nHost: evil\r\n\r\n",
        "GET http://quiz@evil/ HTTP/1.1\r\nHost: quiz\r\n\r\n",
        "GET ftp://quiz/ HTTP/1.1\r\nHost: quiz\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: quiz\r\nHost: quiz\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: quiz/evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: quiz evil\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn no_connection_header_makes_the_balancer_forget_a_length_or_a_host() {
    let (backend, balancer) = balancer().await;
    let mut passed = 0;
    for name in ["Content-Length", "Host", "Transfer-Encoding"] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: quiz\r\nConnection: close, {name}\r\nContent-Length: {}\r\n\r\n{SECOND}",
            SECOND.len()
        );
        let said = raw(balancer.addr, request.as_bytes()).await;
        passed += usize::from(said.starts_with("http/1.1 200 "));
    }
    let seen = backend.seen();
    assert!(passed > 0 && seen.len() == passed, "{seen:?}");
    for seen in seen {
        assert_eq!((seen.path.as_str(), seen.body_bytes), ("/", SECOND.len()));
        assert_eq!(seen.headers["host"], "quiz");
    }
}
