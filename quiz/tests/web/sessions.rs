//! The life of a session: unused ones end, and a user sees and ends their own.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, PASSWORD, Page, TestApp, wait_for};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Makes all sessions look as if they had not been used for a time.
async fn leave_alone(app: &TestApp, secs: i32) {
    sqlx::query("UPDATE sessions SET seen_at = now() - make_interval(secs => $1)")
        .bind(f64::from(secs))
        .execute(&app.pool)
        .await
        .unwrap();
}

async fn unused_secs(app: &TestApp) -> f64 {
    sqlx::query_scalar("SELECT extract(epoch FROM now() - seen_at)::float8 FROM sessions")
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

async fn delete(browser: &Browser, path: &str) -> Page {
    let csrf = browser
        .get("/sessions")
        .await
        .attributes("main input[name=_csrf]", "value")
        .remove(0);
    let fields = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    browser.post_form(path, &fields).await
}

/// The path that ends the first session of the list that is not this one.
async fn other_session(browser: &Browser) -> String {
    let page = browser.get("/sessions").await;
    page.attributes("main li form", "action").remove(1)
}

#[sqlx::test(migrations = false)]
async fn five_minutes_without_a_request_end_a_session_and_the_next_page_says_so_once(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    browser.get("/").await;
    leave_alone(&app, 299).await;
    assert_eq!(browser.get("/").await.text(".who"), "Logged in as pepe");
    leave_alone(&app, 300).await;
    let page = browser.get("/").await;
    assert_eq!(page.text(".flash.info li"), "User session has expired.");
    assert!(page.texts(".who").is_empty());
    assert!(page.header("set-cookie").contains("quiz_session=;"));
    assert!(browser.get("/").await.texts(".flash").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_idle_time_is_a_setting(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--session-idle-secs", "3600"]).await;
    let browser = app.logged_in("pepe").await;
    leave_alone(&app, 3599).await;
    browser.get("/quizzes/new").await.assert_status(200);
    leave_alone(&app, 3600).await;
    browser.get("/quizzes/new").await.assert_redirect("/login");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_page_for_users_sends_who_was_away_too_long_to_the_log_in_and_says_why(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    browser.get("/").await;
    leave_alone(&app, 301).await;
    browser.get("/quizzes/new").await.assert_redirect("/login");
    let login = browser.get("/login").await;
    assert_eq!(login.text(".flash li"), "User session has expired.");
    browser
        .log_in("pepe", PASSWORD)
        .await
        .assert_redirect("/goback");
    assert_eq!(browser.get("/").await.text(".flash li"), "Welcome!");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_form_of_a_session_that_has_ended_changes_nothing_and_says_why(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let csrf = browser.csrf("/quizzes/new").await;
    leave_alone(&app, 301).await;
    browser
        .send_quiz(Some(&csrf), NewQuiz::texts("Too late?", "Yes"))
        .await
        .assert_redirect("/login");
    assert_eq!(app.rows("quizzes").await, 4);

    // A game needs no log-in, so there is no reason to ask for one.
    let browser = app.logged_in("pepe").await;
    let csrf = browser.csrf("/random").await;
    leave_alone(&app, 301).await;
    let page = browser.post_form("/random", &[("_csrf", &csrf)]).await;
    page.assert_status(403);
    assert_eq!(page.text("h1"), "User session has expired.");
    let next = browser.get("/").await;
    assert_eq!(next.text(".flash li"), "User session has expired.");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_form_for_users_sends_strangers_and_who_was_away_too_long_to_the_log_in(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for (path, field) in [
        ("/sessions", ("_method", "DELETE")),
        ("/sessions/1", ("_method", "DELETE")),
        ("/users/2/role", ("role", "admin")),
        ("/users/1/token", ("_method", "PUT")),
        ("/users/1", ("_method", "DELETE")),
        ("/users/1/favourites/1", ("_method", "PUT")),
    ] {
        let stranger = app.browser();
        let page = stranger.post_form(path, &[field]).await;
        page.assert_redirect("/login");
        assert_eq!(
            stranger.get("/login").await.text(".flash li"),
            "Login required: log in and retry.",
            "{path}"
        );
        let admin = app.logged_in("admin").await;
        let csrf = admin.header_csrf().await;
        leave_alone(&app, 301).await;
        let page = admin.post_form(path, &[("_csrf", &csrf), field]).await;
        page.assert_redirect("/login");
        assert_eq!(
            admin.get("/login").await.text(".flash li"),
            "User session has expired.",
            "{path}"
        );
    }
    let changed: i64 = sqlx::query_scalar(
        "SELECT count(*) FILTER (WHERE token_hash IS NOT NULL OR is_admin AND id = 2) FROM users",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((changed, app.rows("favourites").await), (0, 0));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_logs_out_after_the_session_has_ended_is_logged_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    browser.get("/quizzes").await.assert_status(200);
    let csrf = browser.header_csrf().await;
    leave_alone(&app, 301).await;
    let fields = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    let page = browser.post_form("/login", &fields).await;
    page.assert_redirect("/goback");
    browser.get("/goback").await.assert_redirect("/quizzes");
    let list = browser.get("/quizzes").await;
    assert_eq!(list.text(".flash li"), "User session has expired.");
    assert!(list.texts(".who").is_empty());
    // A second time, from another tab.
    let page = browser.post_form("/login", &fields).await;
    page.assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn reading_pages_keeps_a_session_alive_and_seldom_writes(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    leave_alone(&app, 29).await;
    browser.get("/").await;
    assert!(unused_secs(&app).await >= 29.0);
    leave_alone(&app, 200).await;
    browser.get("/").await;
    assert!(unused_secs(&app).await < 29.0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn sessions_that_nobody_uses_are_purged(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--session-purge-secs", "1"]).await;
    app.logged_in("pepe").await;
    leave_alone(&app, 301).await;
    wait_for(async || app.rows("sessions").await == 0).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_user_sees_where_they_are_logged_in(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.logged_in("admin").await;
    let elsewhere = app.browser();
    let csrf = elsewhere.csrf("/login").await;
    let fields = [
        ("_csrf", csrf.as_str()),
        ("username", "pepe"),
        ("password", PASSWORD),
    ];
    let request = elsewhere
        .request(Method::POST, "/login")
        .header("user-agent", FIREFOX)
        .header("x-forwarded-for", "203.0.113.9")
        .form(&fields);
    Page::read(request).await.assert_redirect("/goback");
    let here = app.logged_in("pepe").await;

    let page = here.get("/sessions").await;
    assert_eq!(
        page.texts("main li h2"),
        ["Unknown browser this one", "Firefox on Linux"]
    );
    let about = page.texts("main li p");
    assert!(about[0].starts_with("Address 127.0.0.1 · Since 20"));
    assert!(about[1].starts_with("Address 203.0.113.9 · Since 20"));
    let times = page.attributes("main li time", "datetime");
    assert_eq!(times.len(), 4);
    for (machine, text) in times.iter().zip(page.texts("main li time")) {
        assert_eq!(
            machine.len(),
            "2026-01-01T00:00:00Z".len(),
            "{machine}, {text}"
        );
        assert_eq!(machine.replace('T', " ")[..16], text[..16]);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_user_ends_one_session_and_then_all(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (here, elsewhere) = (app.logged_in("pepe").await, app.logged_in("pepe").await);
    elsewhere.get("/").await;
    let path = other_session(&here).await;
    delete(&here, &path).await.assert_redirect("/sessions");
    let page = here.get("/sessions").await;
    assert_eq!(page.text(".flash.success li"), "Session ended.");
    assert_eq!(page.texts("main li h2").len(), 1);
    let ended = elsewhere.get("/quizzes/new").await;
    ended.assert_redirect("/login");
    assert_eq!(
        elsewhere.get("/login").await.text(".flash li"),
        "User session has expired."
    );

    let (third, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    delete(&third, "/sessions").await.assert_redirect("/login");
    let page = third.get("/login").await;
    assert_eq!(
        page.text(".flash.success li"),
        "You are logged out everywhere."
    );
    assert_eq!(app.rows("sessions").await, 1);
    admin.get("/sessions").await.assert_status(200);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn ending_the_session_one_is_in_logs_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let page = browser.get("/sessions").await;
    let path = page.attribute("main li form", "action");
    delete(&browser, &path).await.assert_redirect("/login");
    let login = browser.get("/login").await;
    assert_eq!(login.text(".flash li"), "Session ended.");
    assert!(login.texts(".who").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn nobody_ends_the_session_of_another(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (admin, pepe) = (app.logged_in("admin").await, app.logged_in("pepe").await);
    let path = pepe
        .get("/sessions")
        .await
        .attribute("main li form", "action");
    // Not even an admin, and it looks like an id that never was.
    delete(&admin, &path).await.assert_status(404);
    delete(&admin, "/sessions/999").await.assert_status(404);
    delete(&admin, "/sessions/x").await.assert_status(404);
    pepe.get("/sessions").await.assert_status(200);
    assert_eq!(app.rows("sessions").await, 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_list_is_for_users_and_its_forms_do_one_thing(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let stranger = app.browser();
    stranger.get("/sessions").await.assert_redirect("/login");
    let csrf = stranger.csrf("/login").await;
    let fields = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    for path in ["/sessions", "/sessions/1"] {
        let page = stranger.post_form(path, &fields).await;
        page.assert_redirect("/login");
    }
    let user = app.logged_in("pepe").await;
    let page = user.get("/sessions").await;
    let csrf = page.attributes("input[name=_csrf]", "value").remove(0);
    let without_method = [("_csrf", csrf.as_str())];
    let path = page.attribute("main li form", "action");
    for path in ["/sessions", path.as_str()] {
        let page = user.post_form(path, &without_method).await;
        page.assert_status(405);
        let without_token = [("_method", "DELETE")];
        let page = user.post_form(path, &without_token).await;
        page.assert_status(403);
    }
    assert_eq!(app.rows("sessions").await, 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_24_a_log_in_with_a_password_that_is_being_changed_opens_no_session(pool: PgPool) {
    let app = TestApp::start(pool).await;
    // The change has set the new hash and is about to end the sessions that it finds.
    let mut change = app.pool.begin().await.unwrap();
    sqlx::query("UPDATE users SET password_hash = 'changed' WHERE username = 'pepe'")
        .execute(&mut *change)
        .await
        .unwrap();
    let browser = app.browser();
    let log_in = browser.log_in("pepe", PASSWORD);
    let finish = async {
        let waits =
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
             AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO sessions%')";
        wait_for(async || {
            let waiting: bool = sqlx::query_scalar(waits)
                .fetch_one(&app.pool)
                .await
                .unwrap();
            waiting
        })
        .await;
        change.commit().await.unwrap();
    };
    let (page, ()) = tokio::join!(log_in, finish);
    page.assert_redirect("/login");
    assert_eq!(app.rows("sessions").await, 0);
    app.stop().await;
}
