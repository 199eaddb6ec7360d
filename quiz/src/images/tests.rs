//! Every kind of store through its public face; the S3 ones against a double that can misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Parser;
use tokio::net::{TcpListener, TcpSocket};

use super::*;

/// Parsed as the program does it.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    store: StoreConfig,
}

fn parse(args: &[&str]) -> Result<StoreConfig, clap::Error> {
    let args = std::iter::once(&"quiz-web").chain(args);
    Args::try_parse_from(args).map(|args| args.store)
}

fn open(args: &[&str]) -> ImageStore {
    ImageStore::from_config(&parse(args).unwrap()).unwrap()
}

const EDITION: [u8; 6] = [0, 0, 0, 0, 0x1a, 0xff];

/// A file and its id.
fn file(text: &'static str) -> (ImageId, Bytes) {
    let bytes = Bytes::from_static(text.as_bytes());
    (ImageId::of(&bytes, Format::Png, EDITION), bytes)
}

/// Put, put again, get, get a part, delete, delete again, and an id that nobody stored.
async fn round_trip(store: &ImageStore) {
    let (id, bytes) = file("one");
    store.put(&id, &bytes).await.unwrap();
    store.put(&id, &bytes).await.unwrap();
    assert_eq!(store.get(&id).await.unwrap().unwrap(), "one");
    assert_eq!(store.size(&id).await.unwrap(), Some(3));
    let part = store.get_range(&id, 1..3).await.unwrap();
    assert_eq!(part.unwrap(), "ne");
    let (gone, bytes) = file("removed");
    store.put(&gone, &bytes).await.unwrap();
    store.delete(&gone).await.unwrap();
    store.delete(&gone).await.unwrap();
    for id in [gone, file("never stored").0] {
        assert_eq!(store.get(&id).await.unwrap(), None);
        assert_eq!(store.size(&id).await.unwrap(), None);
        assert_eq!(store.get_range(&id, 1..3).await.unwrap(), None);
    }
    store.ready().await.unwrap();
}

mod id {
    use super::*;

    const SHA: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    const HEX: &str =
        "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed-000000001aff";

    #[test]
    fn an_id_is_the_hash_of_the_bytes_and_names_a_key() {
        let (id, bytes) = file("one");
        assert_eq!(id.to_string(), format!("{HEX}.png"));
        assert_eq!(id.key().as_ref(), format!("images/76/{HEX}.png"));
        assert_eq!(id.content_type(), "image/png");
        let photo = ImageId::of(&bytes, Format::Jpeg, EDITION);
        assert_eq!(photo.to_string(), format!("{HEX}.jpg"));
        assert_eq!(photo.content_type(), "image/jpeg");
    }

    #[test]
    fn an_id_reads_back_what_it_shows() {
        for name in [
            ".png",
            ".jpg",
            ".gif",
            ".mp4",
            ".pdf",
            "-thumb.png",
            "-thumb.jpg",
        ] {
            for stem in [HEX, SHA] {
                let text = format!("{stem}{name}");
                assert_eq!(text.parse::<ImageId>().unwrap().to_string(), text);
            }
        }
    }

    #[test]
    fn pictures_have_thumbnails_and_nothing_else_has() {
        for (format, thumbnail) in [
            (Format::Png, Some("-thumb.png")),
            (Format::Jpeg, Some("-thumb.jpg")),
            (Format::Gif, Some("-thumb.png")),
            (Format::Mp4, None),
            (Format::Pdf, None),
        ] {
            let id = ImageId::of(b"one", format, EDITION).thumbnail();
            let wanted = thumbnail.map(|name| format!("{HEX}{name}"));
            assert_eq!(id.map(|id| id.to_string()), wanted);
            assert_eq!(id.and_then(|id| id.thumbnail()), None);
        }
    }

    #[test]
    fn anything_but_the_exact_form_is_no_id() {
        for text in [
            String::new(),
            HEX.to_owned(),
            format!("{HEX}."),
            format!("{HEX}.webp"),
            format!("{HEX}.svg"),
            format!("{SHA}-.png"),
            format!("{SHA}-00000000001.png"),
            format!("{SHA}-000000001AFF.png"),
            format!("{HEX}-000000001aff.png"),
            format!("{HEX}-thumb.gif"),
            format!("{HEX}-thumb.pdf"),
            format!("{HEX}-thumb-thumb.png"),
            format!("{HEX}-thum.png"),
            format!("{HEX}.PNG"),
            format!("{HEX}.png.png"),
            format!("{HEX}.png "),
            format!(" {HEX}.png"),
            format!("{}.png", HEX.to_uppercase()),
            format!("{}.png", &HEX[1..]),
            format!("{HEX}0.png"),
            format!("g{}.png", &HEX[1..]),
            format!("é{}.png", &HEX[2..]),
            format!("../{}.png", &HEX[3..]),
            ".png".to_owned(),
        ] {
            assert_eq!(text.parse::<ImageId>(), Err(ParseImageIdError), "{text:?}");
        }
    }
}

mod settings {
    use super::*;

    fn refusal(args: &[&str]) -> String {
        match parse(args) {
            Err(error) => error.to_string(),
            Ok(config) => format!("{:#}", ImageStore::from_config(&config).unwrap_err()),
        }
    }

    #[test]
    fn a_url_of_another_form_is_refused_with_the_forms_that_work() {
        for url in [
            "",
            "quiz",
            "/var/images",
            "http://host/bucket",
            "s3://",
            "s3:///prefix",
            "s3://key:secret@bucket",
            "s3://bucket:9000",
            "s3://bucket?region=x",
            "file://var/images",
            "file:///",
            "memory://host",
            "memory:///folder",
            "gs://bucket",
        ] {
            let text = refusal(&["--store-url", url]);
            for part in [
                "QUIZ_STORE_URL",
                "s3://bucket",
                "file:///folder",
                "memory:///",
            ] {
                assert!(text.contains(part), "{url}: {text}");
            }
        }
    }

    #[test]
    fn each_wrong_setting_is_named() {
        let s3 = ["--store-url", "s3://quiz", "--aws-access-key-id", "key"];
        let s3 = |more: &[&'static str]| refusal(&[&s3[..], more].concat());
        assert!(s3(&[]).contains("AWS_SECRET_ACCESS_KEY is missing"));
        assert!(s3(&["--store-endpoints", "node1:9000"]).contains("QUIZ_STORE_ENDPOINTS"));
        assert!(s3(&["--store-endpoints", "http://a:1,ftp://b"]).contains("\"ftp://b\""));
        assert!(s3(&["--store-request-timeout-ms", "0"]).contains("--store-request-timeout-ms"));
        assert!(s3(&["--store-rounds", "0"]).contains("--store-rounds"));
        assert!(s3(&["--store-total-timeout-ms", "10"]).contains("QUIZ_STORE_TOTAL_TIMEOUT_MS"));
        assert!(refusal(&["--store-url", "s3://quiz"]).contains("AWS_ACCESS_KEY_ID is missing"));
        let memory = [
            "--store-url",
            "memory:///",
            "--store-endpoints",
            "http://a:1",
        ];
        assert!(refusal(&memory).contains("QUIZ_STORE_ENDPOINTS"));
    }

    #[test]
    fn an_empty_list_of_endpoints_is_none_and_a_comma_at_the_end_is_forgiven() {
        let endpoints = |list| {
            parse(&["--store-url", "s3://quiz", "--store-endpoints", list])
                .unwrap()
                .endpoints
                .len()
        };
        assert_eq!(endpoints(""), 0);
        assert_eq!(endpoints("http://a:1, https://b,"), 2);
    }

    #[test]
    fn https_endpoints_and_aws_itself_make_clients() {
        let s3 = [
            "--store-url",
            "s3://quiz/site",
            "--aws-access-key-id",
            "key",
            "--aws-secret-access-key",
            "secret",
        ];
        open(&s3);
        open(
            &[
                &s3[..],
                &[
                    "--store-endpoints",
                    "https://one.example:8443,https://two.example",
                ],
            ]
            .concat(),
        );
    }

    #[test]
    fn the_secret_is_not_shown() {
        let config = parse(&[
            "--store-url",
            "memory:///",
            "--aws-secret-access-key",
            "hunter2",
        ])
        .unwrap();
        let text = format!("{config:?}");
        assert!(
            text.contains("[redacted]") && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn memory_keeps_pictures() {
    let store = open(&["--store-url", "memory:///"]);
    // On a task of its own, as a handler runs: the futures must be `Send`.
    tokio::spawn(async move { round_trip(&store).await })
        .await
        .unwrap();
}

mod folder {
    use super::*;

    fn url(folder: &std::path::Path) -> String {
        url::Url::from_file_path(folder).unwrap().to_string()
    }

    #[tokio::test]
    async fn a_folder_keeps_pictures_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let url = url(folder.path());
        let id = {
            let store = open(&["--store-url", &url]);
            round_trip(&store).await;
            let (id, bytes) = file("kept");
            store.put(&id, &bytes).await.unwrap();
            id
        };
        let file = folder.path().join(id.key().as_ref());
        assert_eq!(std::fs::read(file).unwrap(), b"kept");
        let store = open(&["--store-url", &url]);
        assert_eq!(store.get(&id).await.unwrap().unwrap(), "kept");
    }

    #[tokio::test]
    async fn opening_a_folder_leaves_nothing_in_it() {
        let folder = tempfile::tempdir().unwrap();
        open(&["--store-url", &url(folder.path())]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let config = parse(&["--store-url", &url(&missing)]).unwrap();
        let text = format!("{:#}", ImageStore::from_config(&config).unwrap_err());
        assert!(
            text.contains("QUIZ_STORE_URL") && text.contains("missing"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_folder_that_vanished_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&["--store-url", &url(folder.path())]);
        store.ready().await.unwrap();
        folder.close().unwrap();
        assert!(matches!(
            store.ready().await,
            Err(StoreError::Unavailable(_))
        ));
    }

    #[tokio::test]
    async fn damaged_bytes_are_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&["--store-url", &url(folder.path())]);
        let (id, bytes) = file("whole");
        store.put(&id, &bytes).await.unwrap();
        std::fs::write(folder.path().join(id.key().as_ref()), b"hole").unwrap();
        assert!(matches!(store.get(&id).await, Err(StoreError::Damaged(damaged)) if damaged == id));
    }
}

mod s3 {
    use super::*;

    /// A server that keeps what it is given and believes every signature.
    #[derive(Clone, Default)]
    struct Double {
        objects: Arc<Mutex<HashMap<String, Bytes>>>,
        /// Answered instead of the truth, when set.
        fault: Arc<Mutex<Option<StatusCode>>>,
        requests: Arc<Mutex<Vec<String>>>,
    }

    impl Double {
        /// Serves until the test ends.
        async fn start(&self) -> SocketAddr {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = Router::new()
                .route("/{*key}", get(read).put(write).delete(remove))
                .with_state(self.clone());
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
            address
        }

        fn admit(&self, request: String, headers: &HeaderMap) -> Result<(), StatusCode> {
            self.requests.lock().unwrap().push(request);
            let signed = headers["authorization"].to_str().unwrap();
            assert!(
                signed.starts_with("AWS4-HMAC-SHA256 Credential=key/"),
                "{signed}"
            );
            self.fault.lock().unwrap().map_or(Ok(()), Err)
        }

        fn requests(&self) -> usize {
            self.requests.lock().unwrap().len()
        }
    }

    async fn write(
        State(double): State<Double>,
        UrlPath(key): UrlPath<String>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, StatusCode> {
        double.admit(format!("PUT {key}"), &headers)?;
        double.objects.lock().unwrap().insert(key, body);
        Ok([("etag", "\"1\"")].into_response())
    }

    async fn remove(
        State(double): State<Double>,
        UrlPath(key): UrlPath<String>,
        headers: HeaderMap,
    ) -> Result<StatusCode, StatusCode> {
        double.admit(format!("DELETE {key}"), &headers)?;
        double.objects.lock().unwrap().remove(&key);
        Ok(StatusCode::NO_CONTENT)
    }

    /// HEAD comes here too; axum drops the body.
    async fn read(
        State(double): State<Double>,
        UrlPath(key): UrlPath<String>,
        headers: HeaderMap,
    ) -> Result<Response, StatusCode> {
        double.admit(format!("GET {key}"), &headers)?;
        if !key.starts_with("quiz/") {
            let error = "<Error><Code>NoSuchBucket</Code></Error>";
            return Ok((StatusCode::NOT_FOUND, error).into_response());
        }
        let found = double.objects.lock().unwrap().get(&key).cloned();
        let body = found.ok_or(StatusCode::NOT_FOUND)?;
        let last_modified = "Fri, 20 Nov 2026 10:00:00 GMT";
        let described = [("etag", "\"1\""), ("last-modified", last_modified)];
        if headers
            .get("range")
            .is_some_and(|range| range == "bytes=1-2")
        {
            let content_range = [("content-range", format!("bytes 1-2/{}", body.len()))];
            let part = (
                StatusCode::PARTIAL_CONTENT,
                described,
                content_range,
                body.slice(1..3),
            );
            return Ok(part.into_response());
        }
        Ok((described, body).into_response())
    }

    /// A port where nobody listens, held so that nobody else starts to.
    fn refusing() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// A server that accepts, as the kernel does for a stopped process, and never answers.
    async fn frozen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Patient with a slow machine: the endpoint that works gets many rounds.
    fn store(url: &str, endpoints: &[SocketAddr], rounds: &str) -> ImageStore {
        let endpoints: Vec<_> = endpoints.iter().map(|at| format!("http://{at}/")).collect();
        open(&[
            "--store-url",
            url,
            "--store-endpoints",
            &endpoints.join(","),
            "--aws-access-key-id",
            "key",
            "--aws-secret-access-key",
            "secret",
            "--store-request-timeout-ms",
            "500",
            "--store-total-timeout-ms",
            "60000",
            "--store-ready-timeout-ms",
            "10000",
            "--store-retry-pause-ms",
            "10",
            "--store-rounds",
            rounds,
        ])
    }

    #[tokio::test]
    async fn an_s3_service_keeps_pictures() {
        let double = Double::default();
        let at = double.start().await;
        round_trip(&store("s3://quiz", &[at], "5")).await;
        let key = format!("quiz/{}", file("one").0.key());
        assert_eq!(double.objects.lock().unwrap()[&key], "one");
    }

    #[tokio::test]
    async fn a_prefix_of_the_bucket_goes_before_the_key() {
        let double = Double::default();
        let at = double.start().await;
        round_trip(&store("s3://quiz/site/a", &[at], "5")).await;
        let key = format!("quiz/site/a/{}", file("one").0.key());
        assert_eq!(double.objects.lock().unwrap()[&key], "one");
    }

    #[tokio::test]
    async fn a_refusing_endpoint_is_passed_over() {
        let (_held, refusing) = refusing();
        let at = Double::default().start().await;
        // Both begin once: turns change with every operation.
        for endpoints in [[refusing, at], [at, refusing]] {
            round_trip(&store("s3://quiz", &endpoints, "5")).await;
        }
    }

    #[tokio::test]
    async fn a_frozen_endpoint_is_passed_over() {
        let (_held, frozen) = frozen().await;
        let at = Double::default().start().await;
        for endpoints in [[frozen, at], [at, frozen]] {
            round_trip(&store("s3://quiz", &endpoints, "5")).await;
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_answers_503_is_passed_over() {
        let (broken, sound) = (Double::default(), Double::default());
        *broken.fault.lock().unwrap() = Some(StatusCode::SERVICE_UNAVAILABLE);
        let endpoints = [broken.start().await, sound.start().await];
        round_trip(&store("s3://quiz", &endpoints, "5")).await;
        assert_eq!(broken.objects.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn bytes_that_one_endpoint_damaged_come_from_another() {
        let (broken, sound) = (Double::default(), Double::default());
        let endpoints = [broken.start().await, sound.start().await];
        let (id, bytes) = file("one");
        let key = format!("quiz/{}", id.key());
        broken
            .objects
            .lock()
            .unwrap()
            .insert(key.clone(), Bytes::from_static(b"ane"));
        sound.objects.lock().unwrap().insert(key, bytes.clone());
        let store = store("s3://quiz", &endpoints, "5");
        for _ in 0..2 {
            assert_eq!(store.get(&id).await.unwrap(), Some(bytes.clone()));
        }
    }

    #[tokio::test]
    async fn with_every_endpoint_down_it_is_unavailable_after_a_bounded_number_of_requests() {
        let double = Double::default();
        *double.fault.lock().unwrap() = Some(StatusCode::INTERNAL_SERVER_ERROR);
        let (_held, refusing) = refusing();
        let store = store("s3://quiz", &[refusing, double.start().await], "3");
        let outcome = store.put(&file("one").0, &file("one").1).await;
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
        assert_eq!(double.requests(), 3);
        let outcome = store.get(&file("one").0).await;
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
        assert_eq!(double.requests(), 6);
        assert!(matches!(
            store.ready().await,
            Err(StoreError::Unavailable(_))
        ));
    }

    #[tokio::test]
    async fn wrong_credentials_are_a_refusal_and_not_ready() {
        let double = Double::default();
        *double.fault.lock().unwrap() = Some(StatusCode::FORBIDDEN);
        let store = store("s3://quiz", &[double.start().await], "3");
        let outcome = store.put(&file("one").0, &file("one").1).await;
        assert!(
            matches!(outcome, Err(StoreError::Refused(_))),
            "{outcome:?}"
        );
        assert_eq!(double.requests(), 1);
        assert!(matches!(store.ready().await, Err(StoreError::Refused(_))));
    }

    #[tokio::test]
    async fn a_bucket_that_is_not_there_is_not_ready() {
        let at = Double::default().start().await;
        let outcome = store("s3://other", &[at], "1").ready().await;
        assert!(
            matches!(outcome, Err(StoreError::Refused(_))),
            "{outcome:?}"
        );
        store("s3://quiz", &[at], "1").ready().await.unwrap();
    }

    #[tokio::test]
    async fn a_recovered_service_needs_no_restart_of_ours() {
        let double = Double::default();
        let store = store("s3://quiz", &[double.start().await], "2");
        *double.fault.lock().unwrap() = Some(StatusCode::SERVICE_UNAVAILABLE);
        assert!(store.ready().await.is_err());
        *double.fault.lock().unwrap() = None;
        round_trip(&store).await;
    }
}
