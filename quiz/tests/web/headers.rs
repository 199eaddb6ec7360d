//! What every reply carries, whatever it is a reply to.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, Page, TestApp, png};

const EVERYWHERE: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

#[track_caller]
fn assert_secure(page: &Page, what: &str) {
    for (name, value) in EVERYWHERE {
        assert_eq!(page.header(name), value, "{name} of {what}");
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{what}: {policy}");
    for unwanted in ["unsafe", "*", "http:", "https:", "data:"] {
        assert!(!policy.contains(unwanted), "{what}: {policy}");
    }
    let denied = page.header("permissions-policy");
    assert!(denied.contains("camera=()"), "{what}: {denied}");
    for name in ["x-powered-by", "server", "strict-transport-security"] {
        assert!(page.headers.get(name).is_none(), "{name} of {what}");
    }
}

async fn with_header(browser: &Browser, path: &str, name: &str, value: &str) -> Page {
    Page::read(browser.request(Method::GET, path).header(name, value)).await
}

#[sqlx::test(migrations = false)]
async fn every_kind_of_reply_carries_the_security_headers(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let user = app.logged_in("pepe").await;
    let quiz = NewQuiz::texts("With a picture", "x").image("a.png", png(40, 30));
    let created = user.create_quiz(quiz).await;
    assert_secure(&created, "a redirect after a change");
    let quiz = user.get(created.header("location")).await;
    let images = quiz.attributes("main img[src^='/images/']", "src");
    let home = user.get("/").await;
    let mut paths: Vec<(String, u16)> = [
        ("/", 200),
        ("/quizzes", 200),
        ("/sessions", 200),
        ("/quizzes/1", 403),
        ("/nope", 404),
        ("/quizzes?pageno=x", 400),
        ("/goback", 303),
        ("/live", 200),
        ("/ready", 200),
        ("/api/users", 401),
        ("/api/nope", 401),
        ("/api/openapi.json", 200),
    ]
    .map(|(path, status)| (path.to_owned(), status))
    .into();
    paths.push((images[0].clone(), 200));
    paths.push((home.attribute("link[rel=stylesheet]", "href"), 200));
    for (path, status) in paths {
        let page = user.get(&path).await;
        page.assert_status(status);
        assert_secure(&page, &path);
    }
    let method = Page::read(user.request(Method::DELETE, "/login")).await;
    method.assert_status(405);
    assert_secure(&method, "405");
    let form = user.post_form("/login", &[("_csrf", "wrong")]).await;
    form.assert_status(403);
    assert_secure(&form, "a form without its token");
    sqlx::query("ALTER TABLE quizzes RENAME TO elsewhere")
        .execute(&app.pool)
        .await
        .unwrap();
    let fault = user.get("/quizzes").await;
    fault.assert_status(500);
    assert_secure(&fault, "500");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_29_other_sites_read_nothing_but_the_api(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let allowed = "access-control-allow-origin";
    for path in ["/", "/quizzes", "/nope", "/login", "/live"] {
        let page = with_header(&browser, path, "origin", "https://elsewhere.example").await;
        assert!(page.headers.get(allowed).is_none(), "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_31_a_fault_shows_no_trace_and_no_software(pool: PgPool) {
    let app = TestApp::start(pool).await;
    sqlx::query("DROP TABLE seeds, game_quizzes, games, favourites, quizzes CASCADE")
        .execute(&app.pool)
        .await
        .unwrap();
    let page = app.browser().get("/quizzes").await;
    page.assert_status(500);
    assert!(page.headers.get("x-powered-by").is_none());
    assert!(page.headers.get("server").is_none());
    let body = page.body().to_lowercase();
    for word in [".rs", "panicked", "sqlx", "postgres", "stack", "axum"] {
        let body = body.replace("quizstack", "");
        assert!(!body.contains(word), "{word}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_34_what_strangers_say_about_https_changes_nothing(pool: PgPool) {
    let settings = ["--trusted-proxies", "192.0.2.0/24", "--hsts-secs", "60"];
    let app = TestApp::start_with(pool, &settings).await;
    let browser = app.browser();
    for (name, value) in [
        ("x-forwarded-port", "443"),
        ("x-forwarded-port", "80"),
        ("x-forwarded-proto", "https"),
        ("host", "localhost:3000"),
        ("host", "quiz.example"),
    ] {
        // The site never sends anybody to another scheme: that is the balancer's.
        let page = with_header(&browser, "/login", name, value).await;
        page.assert_status(200);
        assert!(page.headers.get("strict-transport-security").is_none());
        assert!(!page.header("set-cookie").contains("Secure"), "{name}");
        assert!(!page.body().contains("quiz.example"));
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn browsers_are_told_to_stay_on_https_when_they_are_and_the_site_wants_it(pool: PgPool) {
    let name = "strict-transport-security";
    let app = TestApp::start_with(pool.clone(), &["--hsts-secs", "86400"]).await;
    let browser = app.browser();
    for path in ["/", "/nope", "/api/users"] {
        let page = with_header(&browser, path, "x-forwarded-proto", "https").await;
        assert_eq!(page.header(name), "max-age=86400", "{path}");
        let page = with_header(&browser, path, "x-forwarded-proto", "http").await;
        assert!(page.headers.get(name).is_none(), "{path}");
    }
    app.stop().await;
    let app = TestApp::start(pool).await;
    let page = with_header(&app.browser(), "/", "x-forwarded-proto", "https").await;
    assert!(page.headers.get(name).is_none());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn caches_are_told_what_a_page_depends_on(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    for path in ["/", "/quizzes", "/login", "/nope", "/quizzes?pageno=x"] {
        let page = browser.get(path).await;
        assert_eq!(page.header("vary"), "accept-language, cookie", "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_32_a_log_in_as_json_is_refused_and_no_fault(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let request = app.browser().request(Method::POST, "/login");
    let request = request
        .header("content-type", "application/json")
        .body(r#"{"username":"pepe","password":5678}"#);
    let page = Page::read(request).await;
    page.assert_status(415);
    assert_eq!(page.text(".error-code"), "415");
    assert_eq!(app.rows("sessions").await, 0);
    app.stop().await;
}
