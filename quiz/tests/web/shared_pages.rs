//! Pages that a balancer may show to every visitor who carries nothing, and to nobody else.

use reqwest::Method;
use reqwest::header::{ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, REFERER};
use sqlx::PgPool;

use crate::test_app::{Page, TestApp};

const SHARED: &str = "public, max-age=0, s-maxage=1";
const OWN: &str = "private, no-cache";

async fn start(pool: PgPool) -> TestApp {
    TestApp::start_with(pool, &["--page-cache-secs", "1"]).await
}

#[sqlx::test(migrations = false)]
async fn pages_are_shared_only_when_that_is_asked_for(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for path in ["/", "/author", "/quizzes"] {
        let page = app.browser().get(path).await;
        assert_eq!(page.header("cache-control"), OWN, "{path}");
        assert!(page.headers.contains_key("set-cookie"), "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_carries_nothing_gets_the_page_of_all_and_no_cookie(pool: PgPool) {
    let app = start(pool).await;
    for path in ["/", "/author", "/quizzes", "/quizzes?search=the&pageno=2"] {
        let page = app.browser().get(path).await;
        page.assert_status(200);
        assert_eq!(page.header("cache-control"), SHARED, "{path}");
        assert_eq!(page.header("vary"), "accept-language, cookie", "{path}");
        assert!(!page.headers.contains_key("set-cookie"), "{path}");
        assert!(!page.body().contains("_csrf"), "{path}");
        // Whoever asked first, the next one sees the same.
        let again = app.browser().request(Method::GET, path);
        let again = Page::read(again.header("user-agent", "another")).await;
        assert_eq!(again.bytes, page.bytes, "{path}");
    }
    let spanish = app.browser().request(Method::GET, "/");
    let spanish = Page::read(spanish.header(ACCEPT_LANGUAGE, "es")).await;
    assert_eq!(spanish.header("content-language"), "es");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_carries_anything_gets_a_page_of_their_own(pool: PgPool) {
    let app = start(pool).await;
    for (name, value) in [
        (COOKIE, "anything=1"),
        (COOKIE, ""),
        (COOKIE, "quiz_session=forged"),
        (AUTHORIZATION, "Bearer x"),
    ] {
        let page = app.browser().request(Method::GET, "/quizzes");
        let page = Page::read(page.header(&name, value)).await;
        assert_eq!(page.header("cache-control"), OWN, "{name}: {value}");
    }
    let user = app.logged_in("admin").await;
    for path in ["/", "/author", "/quizzes"] {
        let page = user.get(path).await;
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn pages_with_forms_and_errors_are_shared_with_nobody(pool: PgPool) {
    let app = start(pool).await;
    for path in [
        "/login",
        "/users/new",
        "/random",
        "/quizzes/1/play",
        "/quizzes/1/check?answer=x",
        "/quizzes?pageno=0",
        "/quizzes/new",
        "/goback",
        "/nope",
    ] {
        let page = app.browser().get(path).await;
        let caching = page.header("cache-control");
        assert!(!caching.contains("public"), "{path}: {caching}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_logs_in_from_a_shared_page_comes_back_to_it(pool: PgPool) {
    let app = start(pool).await;
    let browser = app.browser();
    browser.get("/quizzes?search=the").await.assert_status(200);
    let from = format!("{}/quizzes?search=the", app.url);
    let form = browser.request(Method::GET, "/login").header(REFERER, from);
    Page::read(form).await.assert_status(200);
    browser
        .get("/goback")
        .await
        .assert_redirect("/quizzes?search=the");

    // No page but those can be named so, on whatever site it is.
    for (from, to) in [
        ("https://evil.test/sessions", "/"),
        ("https://evil.test//evil.test", "/"),
        ("https://evil.test/quizzes", "/quizzes"),
        ("/author", "/author"),
        ("nonsense", "/"),
    ] {
        let browser = app.browser();
        let form = browser.request(Method::GET, "/login").header(REFERER, from);
        Page::read(form).await.assert_status(200);
        browser.get("/goback").await.assert_redirect(to);
    }
    app.stop().await;
}
