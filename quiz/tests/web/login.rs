//! Logging in and out.

use sqlx::PgPool;

use crate::test_app::{PASSWORD, TestApp};

#[sqlx::test(migrations = false)]
async fn a_user_logs_in_is_greeted_once_and_logs_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    browser
        .log_in("pepe", PASSWORD)
        .await
        .assert_redirect("/goback");
    let home = browser.get("/").await;
    assert_eq!(home.text(".flash.success li"), "Welcome!");
    assert_eq!(home.text(".who"), "Logged in as pepe");
    assert!(
        home.texts("nav[aria-label=Main] a")
            .contains(&"New quiz".to_owned())
    );
    assert!(browser.get("/").await.texts(".flash").is_empty());
    assert_eq!(app.rows("sessions").await, 1);

    browser.log_out().await.assert_redirect("/goback");
    assert_eq!(app.rows("sessions").await, 0);
    assert!(browser.get("/").await.texts(".who").is_empty());
    browser.get("/quizzes/new").await.assert_redirect("/login");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let mut pages = Vec::new();
    for (username, password) in [
        ("pepe", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("pepe' OR 1=1 --", "x"),
    ] {
        let browser = app.browser();
        browser
            .log_in(username, password)
            .await
            .assert_redirect("/login");
        pages.push(browser.get("/login").await.text(".flash.error"));
    }
    pages.dedup();
    assert_eq!(
        pages,
        ["Errors: Authentication has failed. Retry it again."]
    );
    assert_eq!(app.rows("sessions").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_name_is_read_without_the_spaces_around_it(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_user("Ana María", false).await;
    for (typed, name) in [("pepe ", "pepe"), ("\tana  maría", "Ana María")] {
        let browser = app.browser();
        browser
            .log_in(typed, PASSWORD)
            .await
            .assert_redirect("/goback");
        let home = browser.get("/").await;
        assert_eq!(home.text(".who"), format!("Logged in as {name}"));
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_stored_hash_that_cannot_be_read_is_nobodys_password(pool: PgPool) {
    let app = TestApp::start(pool).await;
    // The first is what undoing a migration leaves where there was no password.
    for stored in [
        "!",
        "",
        "$argon2id$v=19$m=1$",
        "$argon2id$v=19$m=64,t=1,p=1",
        "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    ] {
        sqlx::query("UPDATE users SET password_hash = $1 WHERE username = 'pepe'")
            .bind(stored)
            .execute(&app.pool)
            .await
            .unwrap();
        for password in [PASSWORD, stored] {
            let browser = app.browser();
            browser
                .log_in("pepe", password)
                .await
                .assert_redirect("/login");
            assert_eq!(
                browser.get("/login").await.text(".flash.error li"),
                "Authentication has failed. Retry it again."
            );
        }
    }
    assert_eq!(app.rows("sessions").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_page_for_users_sends_strangers_to_the_log_in_with_a_message(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    browser.get("/quizzes/new").await.assert_redirect("/login");
    let login = browser.get("/login").await;
    assert_eq!(
        login.text(".flash.info li"),
        "Login required: log in and retry."
    );
    assert!(browser.get("/login").await.texts(".flash").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_24_a_log_in_gives_a_new_session_and_ends_the_old_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let first = browser.log_in("pepe", PASSWORD).await;
    let second = browser.log_in("admin", PASSWORD).await;
    let cookie = |page: &crate::test_app::Page| {
        let set = page
            .headers
            .get_all("set-cookie")
            .iter()
            .map(|value| value.to_str().unwrap());
        set.filter(|value| value.starts_with("quiz_session="))
            .map(str::to_owned)
            .next()
            .unwrap()
    };
    assert_ne!(cookie(&first), cookie(&second));
    assert_eq!(app.rows("sessions").await, 1);
    assert_eq!(browser.get("/").await.text(".who"), "Logged in as admin");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn cookies_are_out_of_reach_of_scripts_and_of_other_sites(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let form = browser.get("/login").await;
    let logged_in = browser.log_in("pepe", PASSWORD).await;
    let cookies: Vec<String> = form
        .headers
        .get_all("set-cookie")
        .iter()
        .chain(logged_in.headers.get_all("set-cookie"))
        .map(|value| value.to_str().unwrap().to_owned())
        .collect();
    // Pre-session; then session, message, and the end of the pre-session.
    assert_eq!(cookies.len(), 4, "{cookies:?}");
    for cookie in cookies
        .iter()
        .filter(|cookie| !cookie.contains("Max-Age=0"))
    {
        assert!(cookie.contains("HttpOnly"), "{cookie}");
        assert!(cookie.contains("SameSite=Lax"), "{cookie}");
        assert!(cookie.contains("Path=/"), "{cookie}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_database_does_not_hold_what_the_cookie_holds(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let page = browser.log_in("pepe", PASSWORD).await;
    let hash: Vec<u8> = sqlx::query_scalar("SELECT token_hash FROM sessions")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let cookies = format!("{:?}", page.headers.get_all("set-cookie"));
    assert!(cookies.contains("quiz_session"));
    assert!(!cookies.contains(&hex::encode(hash)));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_expired_session_is_no_session_and_is_purged(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--session-purge-secs", "1"]).await;
    let browser = app.logged_in("pepe").await;
    let expire = "UPDATE sessions SET expires_at = now() - interval '1 second'";
    sqlx::query(expire).execute(&app.pool).await.unwrap();
    assert!(browser.get("/").await.texts(".who").is_empty());
    crate::test_app::wait_for(async || app.rows("sessions").await == 0).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn one_cookie_is_good_at_every_front_end(pool: PgPool) {
    let first = TestApp::start(pool.clone()).await;
    let second = TestApp::start(pool).await;
    let browser = first.logged_in("pepe").await;
    // Cookies do not know ports, as they do not know front-ends behind a balancer.
    let home = browser.at(&second).get("/").await;
    assert_eq!(home.text(".who"), "Logged in as pepe");
    browser
        .at(&second)
        .log_out()
        .await
        .assert_redirect("/goback");
    assert!(browser.get("/").await.texts(".who").is_empty());
    first.stop().await;
    second.stop().await;
}

/// Everything that the site could have changed, in one text.
async fn everything(app: &TestApp) -> String {
    let sql = "SELECT concat_ws('; ',
        (SELECT string_agg(concat_ws(' ', id, username, is_admin, token_hash), ', ' ORDER BY id) FROM users),
        (SELECT string_agg(concat_ws(' ', id, question, answer), ', ' ORDER BY id) FROM quizzes),
        (SELECT string_agg(concat_ws(' ', user_id, quiz_id), ', ' ORDER BY user_id, quiz_id) FROM favourites),
        (SELECT count(*) FROM sessions))";
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}

/// What can be changed, and how the original let it be changed by GET.
const CHANGES: [&str; 10] = [
    "/login?_method=DELETE",
    "/sessions?_method=DELETE",
    "/sessions/1?_method=DELETE",
    "/quizzes?_method=POST&question=a&answer=b",
    "/quizzes/1?_method=PUT&question=a&answer=b",
    "/quizzes/1?_method=DELETE",
    "/users/1?_method=DELETE",
    "/users/1/token?_method=PUT",
    "/users/2/role?_method=PUT&role=admin",
    "/users/1/favourites/1?_method=PUT",
];

#[sqlx::test(migrations = false)]
async fn fault_21_nothing_changes_by_get_whatever_the_query_says(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("admin").await;
    let before = everything(&app).await;
    for path in CHANGES {
        let page = browser.get(path).await;
        assert!(page.status.as_u16() < 500, "{path}");
        assert_eq!(everything(&app).await, before, "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_29_a_method_in_the_query_of_a_form_is_not_read(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("admin").await;
    let csrf = browser
        .get("/")
        .await
        .attributes("header input[name=_csrf]", "value")
        .remove(0);
    let before = everything(&app).await;
    for path in CHANGES {
        let page = browser.post_form(path, &[("_csrf", csrf.as_str())]).await;
        assert!(page.status.as_u16() < 500, "{path}");
        assert_eq!(everything(&app).await, before, "{path}");
    }
    // The same form with the method where it belongs.
    let fields = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    browser
        .post_form("/sessions", &fields)
        .await
        .assert_redirect("/login");
    assert_ne!(everything(&app).await, before);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_form_without_the_right_token_changes_nothing(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let stranger = app.browser().csrf("/login").await;
    browser.get("/login").await;
    for token in ["", "00", stranger.as_str()] {
        let fields = [
            ("_csrf", token),
            ("username", "pepe"),
            ("password", PASSWORD),
        ];
        let page = browser.post_form("/login", &fields).await;
        page.assert_status(403);
        assert!(
            page.text("main").contains("reload the page and try again"),
            "{token}"
        );
    }
    let without = [("username", "pepe"), ("password", PASSWORD)];
    browser
        .post_form("/login", &without)
        .await
        .assert_status(403);
    assert_eq!(app.rows("sessions").await, 0);
    // The token of before the log-in is worth nothing after it.
    let old = browser.csrf("/login").await;
    browser
        .log_in("pepe", PASSWORD)
        .await
        .assert_redirect("/goback");
    browser
        .post_form("/login", &[("_csrf", &old), ("_method", "DELETE")])
        .await
        .assert_status(403);
    assert_eq!(app.rows("sessions").await, 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn what_a_user_saw_is_kept_by_nothing_that_outlives_the_log_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let user = app.logged_in("admin").await;
    for path in [
        "/",
        "/quizzes",
        "/quizzes/1",
        "/quizzes/new",
        "/quizzes/1/play",
    ] {
        let page = user.get(path).await;
        page.assert_status(200);
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
    }
    let stranger = app.browser().get("/quizzes").await;
    assert_eq!(stranger.header("cache-control"), "private, no-cache");
    app.stop().await;
}
