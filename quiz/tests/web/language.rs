//! English and Spanish, and the list to go back to.

use sqlx::PgPool;

use crate::test_app::{Browser, Page, TestApp};

async fn get_in(browser: &Browser, language: &str, path: &str) -> Page {
    let request = browser.request(reqwest::Method::GET, path);
    Page::read(request.header("accept-language", language)).await
}

#[sqlx::test(migrations = false)]
async fn pages_and_errors_speak_the_language_of_the_browser(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let home = get_in(&browser, "es-ES,es;q=0.9", "/").await;
    assert_eq!(home.attribute("html", "lang"), "es");
    assert_eq!(home.header("content-language"), "es");
    let missing = get_in(&browser, "es", "/nope").await;
    missing.assert_status(404);
    assert_eq!(missing.text("h1"), "Página no encontrada");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_switch_is_remembered_and_leads_back_to_the_page(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let list = get_in(&browser, "es", "/quizzes?pageno=1").await;
    let to = list.attribute(".languages input[name=to]", "value");
    let fields = [("to", to.as_str()), ("language", "en")];
    browser
        .post_form("/language", &fields)
        .await
        .assert_redirect("/quizzes?pageno=1");
    let list = get_in(&browser, "es", "/quizzes").await;
    assert_eq!(list.attribute("html", "lang"), "en");
    let fields = [("to", "//evil.example/"), ("language", "es")];
    browser
        .post_form("/language", &fields)
        .await
        .assert_redirect("/");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn goback_leads_to_the_last_list_once(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    browser.get("/goback").await.assert_redirect("/");
    browser.get("/author").await.assert_status(200);
    browser.get("/quizzes?pageno=1&x=%C3%A1").await;
    browser.get("/quizzes/1/play").await;
    browser
        .get("/goback")
        .await
        .assert_redirect("/quizzes?pageno=1&x=%C3%A1");
    browser.get("/goback").await.assert_redirect("/");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_message_survives_the_way_back(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    browser.get("/goback").await.assert_redirect("/");
    assert_eq!(browser.get("/").await.text(".flash.success li"), "Welcome!");

    // Also when the way leads over the log-in.
    let admin = app.logged_in("admin").await;
    admin.log_out().await;
    let csrf = admin.csrf("/login").await;
    let wrong = [
        ("_csrf", csrf.as_str()),
        ("username", "x"),
        ("password", "x"),
    ];
    admin.post_form("/login", &wrong).await;
    admin.get("/users").await.assert_redirect("/login");
    assert_eq!(
        admin.get("/login").await.texts(".flash li"),
        [
            "Authentication has failed. Retry it again.",
            "Login required: log in and retry."
        ]
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn over_https_cookies_are_bound_to_it_and_only_a_trusted_proxy_can_say_so(pool: PgPool) {
    let cookie = async |app: &TestApp| {
        let request = app.browser().request(reqwest::Method::GET, "/");
        let page = Page::read(request.header("x-forwarded-proto", "https")).await;
        page.header("set-cookie").to_owned()
    };
    let trusting = TestApp::start(pool.clone()).await;
    let secure = cookie(&trusting).await;
    assert!(secure.starts_with("__Host-quiz_back="), "{secure}");
    assert!(secure.contains("; Secure"), "{secure}");
    let proxies = ["--trusted-proxies", "203.0.113.0/24"];
    let distrusting = TestApp::start_with(pool, &proxies).await;
    let plain = cookie(&distrusting).await;
    assert!(plain.starts_with("quiz_back="), "{plain}");
    assert!(!plain.contains("; Secure"), "{plain}");
    trusting.stop().await;
    distrusting.stop().await;
}
