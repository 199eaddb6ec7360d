//! Videos, documents, animations and thumbnails: from the form to the page, and by their URL.

use image::codecs::gif::{GifDecoder, GifEncoder};
use image::{AnimationDecoder, Frame, Rgba, RgbaImage};
use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, Page, TestApp};

/// The beginning of an MP4, and then `length` bytes that differ from their neighbours.
fn mp4(length: usize) -> Vec<u8> {
    let head = b"\0\0\0\x18ftypisom\0\0\x02\0isommp41\0\0\0\x08free";
    let rest = (0..length).map(|n| (n % 251) as u8);
    head.iter().copied().chain(rest).collect()
}

/// Creates a quiz with a file and leads to it.
async fn create(browser: &Browser, name: &'static str, bytes: Vec<u8>) -> String {
    let quiz = NewQuiz::texts("What is this?", "A file").image(name, bytes);
    let created = browser.create_quiz(quiz).await;
    created.assert_status(303);
    created.header("location").to_owned()
}

async fn range(browser: &Browser, src: &str, range: &str) -> Page {
    let request = browser.request(Method::GET, src).header("range", range);
    Page::read(request).await
}

#[sqlx::test(migrations = false)]
async fn a_video_has_a_player_and_can_be_sought_in(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    // More than two blocks, so that the last one is read on its own.
    let video = mp4(2_500_000);
    let show = browser
        .get(&create(&browser, "film.mp4", video.clone()).await)
        .await;
    assert_eq!(show.attribute("video", "preload"), "metadata");
    assert!(show.texts("img.picture").is_empty());
    let src = show.attribute("video[controls]", "src");
    assert!(src.starts_with("/images/") && src.ends_with(".mp4"));

    let stranger = app.browser();
    let whole = stranger.get(&src).await;
    whole.assert_status(200);
    assert_eq!(whole.header("content-type"), "video/mp4");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(
        whole.header("content-security-policy"),
        "sandbox; default-src 'none'; frame-ancestors 'none'"
    );
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    let name = src.trim_start_matches("/images/");
    assert_eq!(
        whole.header("content-disposition"),
        format!("inline; filename=\"{name}\"")
    );
    assert!(whole.bytes == video, "all of it arrives");

    let size = video.len();
    for (asked, from, to) in [
        ("bytes=0-", 0, size),
        ("bytes=5-9", 5, 10),
        ("bytes=1000000-2200000", 1_000_000, 2_200_001),
        ("bytes=-7", size - 7, size),
        ("bytes=2499000-99999999", 2_499_000, size),
    ] {
        let part = range(&stranger, &src, asked).await;
        assert_eq!(part.status, 206, "{asked}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {from}-{}/{size}", to - 1)
        );
        assert_eq!(part.header("content-length"), (to - from).to_string());
        assert_eq!(
            part.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(part.header("etag"), whole.header("etag"));
        assert!(part.bytes == video[from..to], "{asked}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_range_that_cannot_be_given_is_416_and_what_is_not_understood_is_everything(
    pool: PgPool,
) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let video = mp4(1000);
    let show = browser
        .get(&create(&browser, "film.mp4", video.clone()).await)
        .await;
    let src = show.attribute("video", "src");
    let size = video.len();
    let beyond = range(&browser, &src, &format!("bytes={size}-")).await;
    beyond.assert_status(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
    assert!(!beyond.header("cache-control").contains("immutable"));
    for asked in ["bytes=0-1,5-6", "lines=1-2", "bytes=x"] {
        let whole = range(&browser, &src, asked).await;
        assert_eq!(
            (whole.status.as_u16(), whole.bytes.len()),
            (200, size),
            "{asked}"
        );
    }
    // A part of another file is of no use to whoever has the beginning of this one.
    let tag = browser.get(&src).await.header("etag").to_owned();
    for (tag, status) in [
        (tag.as_str(), 206),
        ("\"another\"", 200),
        ("Fri, 20 Nov 2026 10:00:00 GMT", 200),
    ] {
        let request = browser
            .request(Method::GET, &src)
            .header("range", "bytes=0-1")
            .header("if-range", tag);
        assert_eq!(Page::read(request).await.status.as_u16(), status, "{tag}");
    }
    let head = browser
        .request(Method::HEAD, &src)
        .header("range", "bytes=0-1");
    let head = Page::read(head).await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, size.to_string().as_str())
    );
    let gone = format!("/images/{}.mp4", "0".repeat(64));
    range(&browser, &gone, "bytes=0-1").await.assert_status(404);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_28_a_document_is_saved_under_our_name_and_can_do_nothing_here(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let pdf = b"%PDF-1.7\n<script>alert(1)</script>".to_vec();
    let show = browser
        .get(&create(&browser, "'\"><script>.html", pdf.clone()).await)
        .await;
    assert_eq!(show.text("main a[type='application/pdf']"), "PDF document");
    let src = show.attribute("main a[type='application/pdf']", "href");
    let document = app.browser().get(&src).await;
    let name = src.trim_start_matches("/images/");
    assert_eq!(document.header("content-type"), "application/pdf");
    assert_eq!(
        document.header("content-disposition"),
        format!("attachment; filename=\"{name}\"")
    );
    assert_eq!(
        document.header("content-security-policy"),
        "sandbox; default-src 'none'; frame-ancestors 'none'"
    );
    assert_eq!(document.header("x-content-type-options"), "nosniff");
    assert_eq!(document.bytes, pdf);
    // Whatever the browser calls them, what scripts may live in is not taken.
    for file in [
        &b"<!DOCTYPE html><script>alert(1)</script>"[..],
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"alert(1)",
    ] {
        let quiz = NewQuiz::texts("q", "a").image("photo.png", file.to_vec());
        browser.create_quiz(quiz).await.assert_status(415);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_22_and_33_no_page_holds_the_name_that_the_site_was_visited_under(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let csrf = browser.csrf("/quizzes/new").await;
    let attack = "evil.example\"><script>";
    let form = reqwest::multipart::Form::new()
        .text("_csrf", csrf)
        .text("question", "q")
        .text("answer", "a")
        .part(
            "image",
            reqwest::multipart::Part::bytes(crate::test_app::png(9, 9)).file_name("holiday.png"),
        );
    let request = browser
        .request(Method::POST, "/quizzes")
        .header("host", "evil.example")
        .header("x-forwarded-host", attack)
        .multipart(form);
    let created = Page::read(request).await;
    created.assert_redirect("/quizzes/5");
    for path in ["/", "/quizzes", "/quizzes/5", "/quizzes/5/play"] {
        let request = browser
            .request(Method::GET, path)
            .header("host", "evil.example");
        let page = Page::read(request).await;
        page.assert_status(200);
        assert!(!page.body().contains("evil.example"), "{path}");
        for src in page.attributes("main img", "src") {
            assert!(
                src.starts_with("/images/") || src.starts_with("/static/"),
                "{src}"
            );
        }
    }
    let kept: String =
        sqlx::query_scalar("SELECT string_agg(attachments::text, ' ') FROM attachments")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert!(
        !kept.contains("evil.example") && !kept.contains("holiday"),
        "{kept}"
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_animation_still_moves_and_lists_show_it_small_and_at_rest(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new(&mut gif);
    for seed in 0..3_u32 {
        let image = RgbaImage::from_fn(600, 400, |x, y| {
            let n = (x * 7919 + y * 104_729 + seed).wrapping_mul(2_654_435_761);
            Rgba([(n >> 24) as u8, 0, 0, 255])
        });
        encoder.encode_frame(Frame::new(image)).unwrap();
    }
    drop(encoder);
    let show = browser.get(&create(&browser, "dance.gif", gif).await).await;
    let size = |name| show.attribute("img.picture", name);
    assert_eq!(
        (size("width"), size("height")),
        ("600".to_owned(), "400".to_owned())
    );
    let picture = browser.get(&size("src")).await;
    assert_eq!(picture.header("content-type"), "image/gif");
    let frames = GifDecoder::new(std::io::Cursor::new(picture.bytes))
        .unwrap()
        .into_frames();
    assert_eq!(frames.count(), 3);

    let list = app.browser().get("/quizzes").await;
    let small = |name| list.attribute("img.thumbnail", name);
    assert_eq!(
        (small("width"), small("height")),
        ("480".to_owned(), "320".to_owned())
    );
    assert!(!small("alt").is_empty());
    assert!(small("src").ends_with("-thumb.png"));
    let thumbnail = browser.get(&small("src")).await;
    thumbnail.assert_status(200);
    assert_eq!(thumbnail.header("content-type"), "image/png");
    let thumbnail = image::load_from_memory(&thumbnail.bytes).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (480, 320));
    app.stop().await;
}
