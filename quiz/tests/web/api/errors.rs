//! Errors are JSON with the right status, wherever they come from; other sites may read them.

use reqwest::Method;
use sqlx::PgPool;
use tower_http::catch_panic::CatchPanicLayer;

use crate::test_app::{Browser, Page, TestApp};

#[sqlx::test(migrations = false)]
async fn an_unknown_route_says_so_in_the_words_of_the_original(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for path in [
        "",
        "/",
        "/nope",
        "/users/1/nope",
        "/users/tokenOwner/nope/1",
        "/openapi.json/x",
    ] {
        let page = api.get(path).await;
        page.assert_error(404, "Ruta API no encontrada");
        assert_ne!(page.header("x-request-id"), "", "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_wrong_method_is_405_and_names_the_right_ones(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for (path, allowed) in [("/users/1", "GET,HEAD"), ("/openapi.json", "GET,HEAD")] {
        let page = api.send(Method::POST, path).await;
        page.assert_status(405);
        assert!(page.json()["error"].is_string());
        assert_eq!(page.header("allow"), allowed);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_29_no_parameter_changes_the_method(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("admin").await;
    let page = api.get("/users/2?_method=DELETE").await;
    page.assert_status(200);
    let post = api.request(Method::POST, "/users/2?_method=DELETE");
    Page::read(post.form(&[("_method", "DELETE")]))
        .await
        .assert_status(405);
    assert_eq!(app.rows("users").await, 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_outage_is_503_in_json(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--db-statement-timeout-ms", "100"]).await;
    let api = app.api("pepe").await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE users")
        .execute(&mut *lock)
        .await
        .unwrap();
    let page = api.get("/users/1").await;
    page.assert_status(503);
    assert!(page.json()["error"].is_string());
    assert_eq!(page.header("cache-control"), "no-store");
    lock.rollback().await.unwrap();
    api.get("/users/1").await.assert_status(200);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn head_is_like_get_without_a_body(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for (path, status) in [("/users/1", 200), ("/users/99", 404), ("/nope", 404)] {
        let page = api.send(Method::HEAD, path).await;
        page.assert_status(status);
        assert!(page.bytes.is_empty());
        assert_eq!(page.header("content-type"), "application/json");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_29_other_sites_may_call_the_api_and_nothing_else(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let from =
        |request: reqwest::RequestBuilder| request.header("origin", "https://elsewhere.example");
    for request in [
        api.request(Method::GET, "/users/1"),
        api.request(Method::GET, "/nope"),
        api.bare(Method::GET, "/users/1"),
        api.bare(Method::GET, "/openapi.json"),
    ] {
        let page = Page::read(from(request)).await;
        assert_eq!(page.header("access-control-allow-origin"), "*");
        assert_eq!(page.header("access-control-allow-credentials"), "");
    }
    let preflight = from(api.bare(Method::OPTIONS, "/users/tokenOwner/favourites/1"))
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "authorization");
    let page = Page::read(preflight).await;
    page.assert_status(200);
    assert_eq!(
        page.header("access-control-allow-methods"),
        "GET,PUT,DELETE,POST"
    );
    assert_eq!(
        page.header("access-control-allow-headers"),
        "authorization,content-type"
    );
    let browser = app.browser();
    for path in ["/", "/quizzes", "/login", "/nope"] {
        let page = Page::read(from(browser.request(Method::GET, path))).await;
        assert_eq!(page.header("access-control-allow-origin"), "", "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_operator_says_which_sites_may_call_the_api(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--api-cors-origins", "https://friend.example"]).await;
    let api = app.api("pepe").await;
    for (origin, allowed) in [
        ("https://friend.example", "https://friend.example"),
        ("https://foe.example", ""),
    ] {
        let request = api
            .request(Method::GET, "/users/1")
            .header("origin", origin);
        let page = Page::read(request).await;
        page.assert_status(200);
        assert_eq!(page.header("access-control-allow-origin"), allowed);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_call_that_takes_too_long_is_503_in_json_that_other_sites_may_read(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--request-timeout-secs", "1"]).await;
    let api = app.api("pepe").await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE users")
        .execute(&mut *lock)
        .await
        .unwrap();
    let request = api.request(Method::GET, "/users/1");
    let page = Page::read(request.header("origin", "https://elsewhere.example")).await;
    page.assert_status(503);
    assert!(page.json()["error"].is_string());
    assert_eq!(page.header("access-control-allow-origin"), "*");
    lock.rollback().await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn a_panic_is_500_in_json() {
    let router = axum::Router::new()
        .route(
            "/",
            axum::routing::get(async || -> &'static str { panic!("secret") }),
        )
        .layer(CatchPanicLayer::custom(quiz_web::error::panicked))
        .layer(axum::middleware::from_fn(quiz_web::api::error::as_json));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    let page = Browser::new(url).get("/").await;
    page.assert_error(500, "This is our fault, not yours. Try again later.");
}
