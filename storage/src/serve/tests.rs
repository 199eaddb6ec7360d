//! What a client makes of a connection that is reset, and what becomes of one that does not read.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig};

use socket2::SockRef;

use super::*;

/// A store that resets every connection, and how often it was asked.
async fn resetting() -> (impl ObjectStore, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = move |reset: Reset| {
        let count = Arc::clone(&count);
        service_fn(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            reset.arm();
            async { Err::<Response<Full<Bytes>>, _>(io::Error::other("outcome unknown")) }
        })
    };
    tokio::spawn(serve(
        listener,
        1,
        service,
        Stop::default(),
        TaskTracker::new(),
    ));
    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_bucket_name("quiz")
        .with_region("us-east-1")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_retry(RetryConfig {
            max_retries: 3,
            retry_timeout: Duration::from_secs(10),
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(1),
                max_backoff: Duration::from_millis(2),
                base: 2.0,
            },
        })
        .build()
        .unwrap();
    (store, asked)
}

#[tokio::test]
async fn a_conditional_put_whose_connection_is_reset_is_not_sent_again() {
    let (store, asked) = resetting().await;
    let create = PutMode::Create.into();
    let put = store.put_opts(&Path::from("a"), "x".into(), create).await;
    assert!(put.is_err());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_plain_put_whose_connection_is_reset_is_sent_again() {
    let (store, asked) = resetting().await;
    assert!(store.put(&Path::from("a"), "x".into()).await.is_err());
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (listener.accept().await.unwrap().0, client)
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up() {
    let (stream, _client) = pair().await;
    let mut stream = Resettable {
        stream,
        reset: Reset::default(),
        pace: Pace::new(Duration::from_millis(50), u64::MAX),
    };
    let more_than_fits = vec![0; 64 * 1024 * 1024];
    let written = tokio::io::AsyncWriteExt::write_all(&mut stream, &more_than_fits).await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// Each write goes on in time, so only the whole can be too slow.
#[tokio::test]
async fn a_client_that_takes_a_trickle_is_given_up() {
    let (stream, mut client) = pair().await;
    let mut stream = Resettable {
        stream,
        reset: Reset::default(),
        pace: Pace::new(Duration::from_millis(200), u64::MAX),
    };
    let trickle = tokio::spawn(async move {
        let mut some = vec![0; 256 * 1024];
        loop {
            let taken = tokio::io::AsyncReadExt::read(&mut client, &mut some).await;
            if !matches!(taken, Ok(1..)) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    let more_than_fits = vec![0; 64 * 1024 * 1024];
    let written = tokio::io::AsyncWriteExt::write_all(&mut stream, &more_than_fits).await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(stream);
    trickle.await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_slow_enough_for_the_rate_gets_all() {
    let mut pace = Pace::new(Duration::from_secs(1), 1_000_000);
    pace.left = Duration::ZERO;
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let written = pace.watch(&mut cx, Poll::Ready(Ok(300_000)));
    assert!(matches!(written, Poll::Ready(Ok(300_000))));
    assert_eq!(pace.left, Duration::from_millis(300));
    let written = pace.watch(&mut cx, Poll::Ready(Ok(5_000_000)));
    assert!(matches!(written, Poll::Ready(Ok(_))));
    assert_eq!(
        pace.left,
        Duration::from_secs(1),
        "never more than at first"
    );
}

#[tokio::test]
async fn a_connection_is_asked_for_a_sign_of_life() {
    let (stream, _client) = pair().await;
    net::prepare(&stream).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    let silence = socket.tcp_keepalive_time().unwrap();
    assert_eq!(silence, Duration::from_secs(30));
}
