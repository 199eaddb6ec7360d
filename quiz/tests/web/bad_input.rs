//! What strangers send: the right status, a page in the style of the site, never a 500.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{Page, TestApp};

#[sqlx::test(migrations = false)]
async fn fault_8_nonsense_in_addresses_gets_4xx_and_never_500(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("admin").await;
    for (path, status) in [
        ("/nope", 404),
        ("/quizzes/99", 404),
        ("/quizzes/99/play", 404),
        ("/quizzes/0/check?answer=x", 404),
        ("/quizzes/-1/play", 404),
        ("/quizzes/+1/play", 404),
        ("/quizzes/abc/play", 404),
        ("/quizzes/%ff/play", 404),
        ("/quizzes/9223372036854775808/play", 404),
        ("/quizzes/99999999999999999999999999", 404),
        ("/static/site.css", 404),
        ("/static/%ff", 404),
        ("/metrics", 404),
        ("/quizzes?pageno=abc", 400),
        ("/quizzes?pageno=-1", 400),
        ("/quizzes?pageno=0", 400),
        ("/quizzes?pageno=", 400),
        ("/quizzes?pageno=99999999999", 400),
        ("/quizzes?pageno=4294967295", 200),
        ("/quizzes?pageno=%ff", 400),
        ("/quizzes/1/check?answer=%ff%fe", 400),
        ("/quizzes/1/check?answer=%00", 400),
        ("/quizzes?search[]=x", 200),
        ("/quizzes?unknown=x&&=&pageno=1", 200),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status.as_u16(), status, "{path}");
        if status != 200 {
            assert_eq!(page.text(".error-code"), status.to_string(), "{path}");
        }
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_form_that_is_not_utf8_is_the_clients_fault(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    for body in ["username=%ff&password=x", "username=%00", "\u{0}"] {
        let kind = "application/x-www-form-urlencoded";
        let request = browser
            .request(Method::POST, "/login")
            .header("content-type", kind)
            .body(body);
        Page::read(request).await.assert_status(400);
    }
    let request = browser.request(Method::POST, "/login").body("{}");
    Page::read(request.header("content-type", "application/json"))
        .await
        .assert_status(415);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_form_without_files_may_not_be_large(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let huge = "x".repeat(80 * 1024);
    app.browser()
        .post_form("/login", &[("username", &huge)])
        .await
        .assert_status(413);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_method_that_does_not_fit_says_which_do(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    for (method, path) in [
        (Method::DELETE, "/login"),
        (Method::POST, "/quizzes/1/check"),
        (Method::PUT, "/"),
    ] {
        let page = Page::read(browser.request(method, path)).await;
        page.assert_status(405);
        assert!(page.header("allow").contains("GET"), "{path}");
        assert_eq!(page.text(".error-code"), "405");
    }
    let head = Page::read(browser.request(Method::HEAD, "/nope")).await;
    head.assert_status(404);
    assert!(head.bytes.is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn pages_have_nothing_inline_and_nothing_from_elsewhere(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("admin").await;
    for path in [
        "/",
        "/quizzes",
        "/quizzes/1",
        "/quizzes/1/play",
        "/quizzes/1/check?answer=x",
        "/quizzes/new",
        "/sessions",
        "/login",
        "/nope",
    ] {
        let page = browser.get(path).await;
        assert!(
            page.texts("script:not([src]), style, [style], [onclick]")
                .is_empty(),
            "{path}"
        );
        let mut links = page.attributes("[src]", "src");
        links.extend(page.attributes("[href]", "href"));
        links.extend(page.attributes("[action]", "action"));
        assert!(links.len() > 3);
        for link in links {
            assert!(
                link.starts_with('#') || (link.starts_with('/') && !link.starts_with("//")),
                "{path}: {link}"
            );
            if link.starts_with("/static/") {
                let file = browser.get(&link).await;
                file.assert_status(200);
                assert_eq!(
                    file.header("cache-control"),
                    "public, max-age=31536000, immutable"
                );
            }
        }
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn every_page_has_one_heading_a_title_and_bound_labels(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("admin").await;
    for path in [
        "/",
        "/quizzes",
        "/quizzes/1",
        "/quizzes/1/play",
        "/quizzes/1/check?answer=x",
        "/quizzes/new",
        "/sessions",
        "/login",
        "/nope",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.texts("h1").len(), 1, "{path}");
        assert!(page.text("title").contains("Quizstack"), "{path}");
        assert_eq!(page.attribute(".skip", "href"), "#main", "{path}");
        let inputs = page.attributes("input:not([type=hidden]), select, textarea", "id");
        assert_eq!(page.attributes("label", "for"), inputs, "{path}");
        assert_eq!(page.texts("img:not([alt])").len(), 0, "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_error_page_names_the_request_and_nothing_of_the_inside(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let request = browser
        .request(Method::GET, "/nope")
        .header("x-request-id", "balancer-42");
    let page = Page::read(request).await;
    assert_eq!(page.text("main code"), "balancer-42");
    assert_eq!(page.header("x-request-id"), "balancer-42");
    // A table is missing: that is our fault, and how it shows is not the visitor's business.
    sqlx::query("ALTER TABLE quizzes RENAME TO elsewhere")
        .execute(&app.pool)
        .await
        .unwrap();
    let page = browser.get("/quizzes").await;
    page.assert_status(500);
    let body = page.body().to_lowercase();
    for word in ["sqlx", "relation", "select", "panicked"] {
        assert!(!body.contains(word), "{word}");
    }
    assert!(!page.text("main code").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_file_of_another_release_is_served_as_it_is_here_and_not_kept(pool: PgPool) {
    // During a roll-out the page comes from one front-end and its stylesheet from another.
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let here = browser
        .get("/")
        .await
        .attribute("link[rel=stylesheet]", "href");
    let current = browser.get(&here).await;
    assert!(current.header("cache-control").contains("immutable"));
    let other = browser.get("/static/site-0123456789abcdef.css").await;
    other.assert_status(200);
    assert_eq!(other.bytes, current.bytes);
    assert_eq!(other.header("content-type"), current.header("content-type"));
    assert_eq!(other.header("cache-control"), "no-cache");
    for name in [
        "site.css",
        "site-.css",
        "site-x.css",
        "site-0123456789abcdef.svg",
        "other-0123456789abcdef.css",
    ] {
        browser
            .get(&format!("/static/{name}"))
            .await
            .assert_status(404);
    }
    app.stop().await;
}
