//! Pictures by their URL.

use std::time::Duration;

use reqwest::Method;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::test_app::{NewQuiz, Page, TestApp, png, wait_for};

async fn upload(app: &TestApp) -> String {
    let browser = app.logged_in("pepe").await;
    let quiz = NewQuiz::texts("What is this?", "A gradient").image("photo.png", png(16, 16));
    let created = browser.create_quiz(quiz).await;
    browser
        .get(created.header("location"))
        .await
        .attribute("img.picture", "src")
}

#[sqlx::test(migrations = false)]
async fn a_picture_may_be_kept_for_ever_and_is_asked_for_by_its_tag(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let src = upload(&app).await;
    let browser = app.browser();
    let picture = browser.get(&src).await;
    assert_eq!(picture.header("content-type"), "image/png");
    assert_eq!(
        picture.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(picture.header("x-content-type-options"), "nosniff");
    let tag = picture.header("etag").to_owned();
    assert!(src.contains(tag.trim_matches('"')));
    for (tags, status) in [
        (tag.clone(), 304),
        (format!("\"other\", W/{tag}"), 304),
        ("\"other\"".to_owned(), 200),
        ("*".to_owned(), 200),
    ] {
        let page = Page::read(
            browser
                .request(Method::GET, &src)
                .header("if-none-match", &tags),
        )
        .await;
        page_is(&page, status, &tags);
    }
    app.stop().await;
}

fn page_is(page: &Page, status: u16, tags: &str) {
    assert_eq!(page.status.as_u16(), status, "{tags}");
    assert_eq!(page.bytes.is_empty(), status == 304, "{tags}");
}

#[sqlx::test(migrations = false)]
async fn what_names_no_picture_is_not_found(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let sha = "0".repeat(64);
    for name in [
        format!("{sha}.png"),
        format!("{sha}.svg"),
        "x.png".to_owned(),
        "..%2f..%2fetc%2fpasswd".to_owned(),
        "%ff".to_owned(),
    ] {
        app.browser()
            .get(&format!("/images/{name}"))
            .await
            .assert_status(404);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_picture_uploaded_at_one_front_end_is_served_by_the_other(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let store = format!("file://{}", folder.path().display());
    let settings = ["--store-url", store.as_str()];
    let first = TestApp::start_with(pool.clone(), &settings).await;
    let second = TestApp::start_with(pool, &settings).await;
    let src = upload(&first).await;
    let (here, there) = (
        first.browser().get(&src).await,
        second.browser().get(&src).await,
    );
    there.assert_status(200);
    assert_eq!(here.bytes, there.bytes);
    first.stop().await;
    second.stop().await;
}

/// More than the buffers of both ends of a connection take.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

/// A front-end whose budget is one picture, the URL of a large one, and its folder.
async fn with_room_for_one(pool: PgPool, settings: &[&str]) -> (TestApp, String, TempDir) {
    with_room_for_one_and(0, pool, settings).await
}

/// The same with some more room, in bytes.
async fn with_room_for_one_and(
    more: usize,
    pool: PgPool,
    settings: &[&str],
) -> (TestApp, String, TempDir) {
    let folder = TempDir::new().unwrap();
    let bytes = vec![7; LARGE_BYTES];
    let sha = hex::encode(Sha256::digest(&bytes));
    let place = folder.path().join("images").join(&sha[..2]);
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join(format!("{sha}.png")), bytes).unwrap();
    std::fs::write(place.join(format!("{sha}-thumb.png")), png(8, 8)).unwrap();
    let store = format!("file://{}", folder.path().display());
    let (upload, budget) = (
        (LARGE_BYTES / 2).to_string(),
        (LARGE_BYTES + more).to_string(),
    );
    let own = [
        "--store-url",
        store.as_str(),
        "--max-upload-bytes",
        &upload,
        "--picture-budget-bytes",
        &budget,
    ];
    let app = TestApp::start_with(pool, &[&own[..], settings].concat()).await;
    (app, format!("/images/{sha}.png"), folder)
}

/// A reader who has got the beginning of a picture and takes no more.
async fn slow_reader(app: &TestApp, src: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let address = app.url.trim_start_matches("http://").parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!("GET {src} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut beginning = [0; 15];
    stream.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");
    stream
}

#[sqlx::test(migrations = false)]
async fn slow_readers_hold_no_more_memory_than_the_budget(pool: PgPool) {
    let (app, src, _folder) = with_room_for_one(pool, &[]).await;
    let browser = app.browser();
    let slow = slow_reader(&app, &src).await;
    let refused = browser.get(&src).await;
    refused.assert_status(503);
    assert_ne!(
        refused.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    // Who has the picture needs no memory for it.
    let known = browser
        .request(Method::GET, &src)
        .header("if-none-match", format!("\"{}\"", &src["/images/".len()..]));
    Page::read(known).await.assert_status(304);
    drop(slow);
    wait_for(async || browser.get(&src).await.status == 200).await;
    assert_eq!(browser.get(&src).await.bytes.len(), LARGE_BYTES);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn thumbnails_need_little_of_the_memory_for_pictures(pool: PgPool) {
    let (app, src, _folder) = with_room_for_one_and(1024 * 1024, pool, &[]).await;
    let _slow = slow_reader(&app, &src).await;
    app.browser().get(&src).await.assert_status(503);
    let thumbnail = src.replace(".png", "-thumb.png");
    let thumbnail = app.browser().get(&thumbnail).await;
    thumbnail.assert_status(200);
    assert_eq!(thumbnail.bytes, png(8, 8));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_picture_that_is_not_taken_in_time_ends(pool: PgPool) {
    let (app, src, _folder) = with_room_for_one(pool, &["--request-timeout-secs", "1"]).await;
    let browser = app.browser();
    let mut slow = slow_reader(&app, &src).await;
    // Its memory is free again although it is still there.
    wait_for(async || browser.get(&src).await.status == 200).await;
    let mut rest = Vec::new();
    let end = slow.read_to_end(&mut rest);
    let end = tokio::time::timeout(Duration::from_secs(30), end).await;
    end.expect("the connection is closed").ok();
    assert!(rest.len() < LARGE_BYTES, "{}", rest.len());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_picture_tells_its_length_also_without_its_bytes(pool: PgPool) {
    let (app, src, _folder) = with_room_for_one(pool, &[]).await;
    let browser = app.browser();
    for _ in 0..3 {
        let head = Page::read(browser.request(Method::HEAD, &src)).await;
        head.assert_status(200);
        assert_eq!(head.header("content-length"), LARGE_BYTES.to_string());
    }
    app.stop().await;
}
