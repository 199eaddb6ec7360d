//! Pictures by their URL.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{NewQuiz, Page, TestApp, png};

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
    let folder = tempfile::TempDir::new().unwrap();
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
