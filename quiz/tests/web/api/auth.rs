//! Tokens: where they may be, what they open, what they do not open.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{Page, TestApp};

/// Some addresses of every kind: routed, unknown, of things that are not there.
const PATHS: [&str; 6] = [
    "",
    "/",
    "/users/1",
    "/users/tokenOwner",
    "/users/99",
    "/nope",
];

#[sqlx::test(migrations = false)]
async fn every_address_asks_for_a_token_known_or_not(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for path in PATHS {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::POST] {
            let page = Page::read(api.bare(method, path)).await;
            page.assert_error(401, "Unauthorized");
            assert_eq!(
                page.header("www-authenticate"),
                "Bearer realm=\"api\"",
                "{path}"
            );
        }
        let stranger = app.api_with(&"ab".repeat(32));
        let page = stranger.get(path).await;
        page.assert_error(401, "Unauthorized");
        let challenge = "Bearer realm=\"api\", error=\"invalid_token\"";
        assert_eq!(page.header("www-authenticate"), challenge);
    }
    for scheme in [
        "Basic cGVwZTpwZXBl",
        "Bearer",
        "Bearer ",
        "Bearer short",
        "Bearer \u{e9}",
    ] {
        let request = api
            .bare(Method::GET, "/users/1")
            .header("authorization", scheme);
        Page::read(request).await.assert_error(401, "Unauthorized");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_token_opens_the_api_whatever_the_case_of_its_scheme(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for scheme in ["Bearer", "bearer", "BEARER "] {
        let bearer = format!("{scheme} {}", api.token);
        let request = api
            .bare(Method::GET, "/users/tokenOwner")
            .header("authorization", bearer);
        let page = Page::read(request).await;
        page.assert_status(200);
        assert_eq!(page.json()["username"], "pepe");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("deprecation"), "");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_token_in_the_address_works_and_is_called_deprecated(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let path = format!("/users/tokenOwner?token={}", api.token);
    let page = Page::read(api.bare(Method::GET, &path)).await;
    page.assert_status(200);
    assert!(page.header("deprecation").starts_with('@'));
    assert!(page.header("link").contains("rel=\"deprecation\""));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_26_one_request_tries_one_token(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let (right, wrong) = (&api.token, "ab".repeat(32));
    for query in [
        format!("token={wrong}&token={right}"),
        format!("token={right}&token={wrong}"),
        format!("token={right}&token={right}"),
    ] {
        let path = format!("/users/tokenOwner?{query}");
        Page::read(api.bare(Method::GET, &path))
            .await
            .assert_status(400);
    }
    for query in [
        format!("token[]={wrong}&token[]={right}"),
        format!("token[0]={right}"),
        format!("token={wrong},{right}"),
        format!("Token={right}"),
        format!("token={}", &right[..63]),
        "token=".to_owned(),
        "token=%25".to_owned(),
    ] {
        let path = format!("/users/tokenOwner?{query}");
        Page::read(api.bare(Method::GET, &path))
            .await
            .assert_error(401, "Unauthorized");
    }
    let both = format!("/users/tokenOwner?token={right}");
    api.get(&both).await.assert_status(400);
    let twice = api.request(Method::GET, "/users/tokenOwner");
    let twice = twice.header("authorization", format!("Bearer {right}"));
    Page::read(twice).await.assert_status(400);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_26_a_token_that_is_too_old_or_replaced_opens_nothing(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--token-ttl-secs", "3600"]).await;
    let old = app.api("pepe").await;
    old.get("/users/1").await.assert_status(200);
    sqlx::query("UPDATE users SET token_created_at = now() - interval '3601 seconds' WHERE username = 'pepe'")
        .execute(&app.pool)
        .await
        .unwrap();
    old.get("/users/1").await.assert_error(401, "Unauthorized");
    let new = app.api("pepe").await;
    new.get("/users/1").await.assert_status(200);
    old.get("/users/1").await.assert_error(401, "Unauthorized");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_18_the_api_reads_and_sets_no_cookies(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let browser = app.logged_in("pepe").await;
    let sessions = app.rows("sessions").await;
    // A session opens the pages and not the API.
    browser
        .get("/api/users/1")
        .await
        .assert_error(401, "Unauthorized");
    for path in PATHS {
        let page = api.get(path).await;
        assert_eq!(page.header("set-cookie"), "", "{path}");
        assert!(!page.header("vary").contains("cookie"), "{path}");
    }
    assert_eq!(app.rows("sessions").await, sessions);
    app.stop().await;
}
