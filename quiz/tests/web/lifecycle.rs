//! Starting, measuring, ending.

use std::time::Duration;

use reqwest::StatusCode;
use sqlx::{Connection, PgConnection, PgPool};

use crate::test_app::{TestApp, refusing, wait_for};

#[sqlx::test(migrations = false)]
async fn three_front_ends_started_at_once_make_one_schema_and_one_set_of_seeds(pool: PgPool) {
    let apps = futures::future::join_all([(); 3].map(|()| TestApp::start(pool.clone()))).await;
    assert_eq!(apps[0].rows("quizzes").await, 4);
    assert_eq!(apps[0].rows("users").await, 2);
    let migrations = quiz_web::db::MIGRATIONS
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration());
    assert_eq!(
        apps[0].rows("_sqlx_migrations").await,
        migrations.count() as i64
    );
    for app in &apps {
        app.logged_in("admin").await;
    }
    for app in apps {
        app.stop().await;
    }
}

#[sqlx::test(migrations = false)]
async fn seeded_users_have_passwords_that_keep_the_rules_and_a_salt_each(pool: PgPool) {
    for (setting, name) in [
        ("--seed-password", "QUIZ_SEED_PASSWORD"),
        ("--seed-pepe-password", "QUIZ_SEED_PEPE_PASSWORD"),
    ] {
        let app = TestApp::launch(pool.clone(), &[setting, "Lamp-post"]).await;
        let failure = app.failure().await;
        assert!(
            failure.ends_with(&format!("{name}: Password must have a digit.")),
            "{failure}"
        );
    }
    let app = TestApp::start(pool).await;
    let hashes: i64 = sqlx::query_scalar("SELECT count(DISTINCT password_hash) FROM users")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    // The passwords are the same here.
    assert_eq!((app.rows("users").await, hashes), (2, 2));
    // A site that has its users looks at the setting no more.
    let settings = ["--seed-password", "1234"];
    let next = TestApp::start_with(app.pool.clone(), &settings).await;
    next.stop().await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn deleted_seeds_do_not_come_back_with_the_next_start(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    sqlx::query("DELETE FROM quizzes WHERE answer = 'Rome'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("DELETE FROM users WHERE username = 'pepe'")
        .execute(&pool)
        .await
        .unwrap();
    app.stop().await;
    let again = TestApp::start(pool).await;
    assert_eq!(
        (again.rows("quizzes").await, again.rows("users").await),
        (3, 1)
    );
    again.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_migrations_can_be_undone(pool: PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    quiz_web::db::MIGRATIONS
        .run(&mut *connection)
        .await
        .unwrap();
    quiz_web::db::MIGRATIONS
        .undo(&mut *connection, 0)
        .await
        .unwrap();
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    assert_eq!(left, Vec::<String>::new());
    quiz_web::db::MIGRATIONS
        .run(&mut *connection)
        .await
        .unwrap();
}

/// Makes every start-up wait, as a front-end that is seeding does, until the connection is closed.
async fn hold_the_seeds_lock(pool: &PgPool) -> PgConnection {
    let mut other = PgConnection::connect_with(&pool.connect_options())
        .await
        .unwrap();
    let key = i64::from_be_bytes(*b"quizseed");
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(key)
        .execute(&mut other)
        .await
        .unwrap();
    other
}

#[sqlx::test(migrations = false)]
async fn while_the_schema_is_not_there_it_is_alive_but_not_ready(pool: PgPool) {
    let other = hold_the_seeds_lock(&pool).await;
    let app = TestApp::launch(pool, &["--db-acquire-timeout-ms", "100"]).await;
    let browser = app.browser();
    browser.get("/live").await.assert_status(200);
    let ready = browser.get("/ready").await;
    ready.assert_status(503);
    assert_eq!(ready.body(), "starting\n");
    browser.get("/quizzes").await.assert_status(503);
    other.close().await.unwrap();
    app.wait_until_ready().await;
    // A busy machine may take longer than that for a connection.
    wait_for(async || browser.get("/quizzes").await.status == StatusCode::OK).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_health_check_asks_the_admin_listener_and_needs_no_other_setting(pool: PgPool) {
    let other = hold_the_seeds_lock(&pool).await;
    let app = TestApp::launch(pool, &[]).await;
    let admin = app.admin_url.trim_start_matches("http://").to_owned();
    let check = async |arguments: &'static [&str]| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_quiz-web"))
            .args(arguments)
            .env_clear()
            .env("QUIZ_ADMIN_LISTEN", &admin)
            .output();
        let output = output.await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (status, said) = check(&["healthcheck"]).await;
    let starting = format!("quiz-web: http://{admin}/ready: 503 Service Unavailable: starting\n");
    assert_eq!((status, said), (Some(1), starting));
    assert_eq!(check(&["healthcheck", "--live"]).await.0, Some(0));
    other.close().await.unwrap();
    app.wait_until_ready().await;
    assert_eq!(check(&["healthcheck"]).await, (Some(0), String::new()));
    app.stop().await;
    let (status, said) = check(&["healthcheck", "--live"]).await;
    assert!(status == Some(1) && said.contains("no answer"), "{said}");
}

#[sqlx::test(migrations = false)]
async fn a_visitor_who_comes_during_the_start_waits_instead_of_failing(pool: PgPool) {
    let other = hold_the_seeds_lock(&pool).await;
    let app = TestApp::launch(pool, &["--db-acquire-timeout-ms", "30000"]).await;
    let browser = app.browser();
    let early = browser.get("/quizzes");
    let start = async {
        wait_for(async || browser.get("/ready").await.body() == "starting\n").await;
        other.close().await.unwrap();
    };
    let (page, ()) = tokio::join!(early, start);
    page.assert_status(200);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_database_that_never_answers_ends_the_start_with_advice(pool: PgPool) {
    let (_held, address) = refusing();
    let nobody = format!("postgres://quiz@{address}/quiz");
    let app = TestApp::launch(
        pool,
        &["--startup-timeout-secs", "1", "--database-url", &nobody],
    )
    .await;
    let error = app.failure().await;
    assert!(
        error.contains("QUIZ_STARTUP_TIMEOUT_SECS") && error.contains("DATABASE_URL"),
        "{error}"
    );
}

#[sqlx::test(migrations = false)]
async fn while_draining_it_serves_but_is_not_ready_and_closes_connections(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--drain-secs", "2"]).await;
    let admin = app.admin_url.clone();
    assert_eq!(app.browser().get("/").await.header("connection"), "");
    let (running, browser) = app.ask_to_stop();
    wait_for(async || browser.get("/ready").await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    let page = browser.get("/quizzes").await;
    page.assert_status(200);
    assert_eq!(page.header("connection"), "close");
    browser.get("/live").await.assert_status(200);
    let ready = browser
        .http
        .get(format!("{admin}/ready"))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 503);
    tokio::time::timeout(Duration::from_secs(30), running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        browser
            .request(reqwest::Method::GET, "/")
            .send()
            .await
            .is_err()
    );
}

#[sqlx::test(migrations = false)]
async fn a_client_that_never_finishes_its_request_cannot_hold_up_the_end(pool: PgPool) {
    use tokio::io::AsyncWriteExt;
    let app = TestApp::start_with(pool, &["--grace-secs", "1"]).await;
    let address = app.url.trim_start_matches("http://");
    let mut stuck = tokio::net::TcpStream::connect(address).await.unwrap();
    stuck
        .write_all(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
        .await
        .unwrap();
    stuck
        .write_all(b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=")
        .await
        .unwrap();
    app.browser().get("/").await.assert_status(200);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_database_that_goes_away_makes_it_unready_and_pages_say_so(pool: PgPool) {
    // Read-only for its caller: the role loses the right to connect, and its connections are cut.
    let app = TestApp::start_with(pool, &["--db-acquire-timeout-ms", "500"]).await;
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let mut options = (*app.pool.connect_options()).clone();
    options = options.database("postgres");
    let mut outside = PgConnection::connect_with(&options).await.unwrap();
    let allow = |allowed: bool| {
        sqlx::AssertSqlSafe(format!(
            "ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS {allowed}"
        ))
    };
    sqlx::query(allow(false))
        .execute(&mut outside)
        .await
        .unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    sqlx::query(cut)
        .bind(&name)
        .execute(&mut outside)
        .await
        .unwrap();
    let browser = app.browser();
    wait_for(async || browser.get("/ready").await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    browser.get("/live").await.assert_status(200);
    let page = browser.get("/quizzes").await;
    page.assert_status(503);
    assert!(page.text("main").contains("Try again"));
    sqlx::query(allow(true))
        .execute(&mut outside)
        .await
        .unwrap();
    app.wait_until_ready().await;
    browser.get("/quizzes").await.assert_status(200);
    outside.close().await.unwrap();
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn metrics_count_by_route_pattern_and_are_on_the_admin_listener_only(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    browser.get("/quizzes/1/play").await;
    browser.get("/quizzes/2/play").await;
    browser.get("/nope").await;
    let metrics = browser
        .http
        .get(format!("{}/metrics", app.admin_url))
        .send()
        .await
        .unwrap();
    let text = metrics.text().await.unwrap();
    let count =
        r#"quiz_http_requests_total{method="GET",route="/quizzes/{id}/play",status="200"} 2"#;
    assert!(text.contains(count), "{text}");
    assert!(
        text.contains(r#"route="unmatched",status="404"} 1"#),
        "{text}"
    );
    assert!(text.contains("quiz_http_request_duration_seconds_bucket"));
    assert!(text.contains(r#"quiz_db_connections{state="idle"}"#));
    for path in ["/live", "/ready"] {
        let reply = browser
            .http
            .get(format!("{}{path}", app.admin_url))
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), 200, "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_request_that_takes_too_long_is_answered_and_ended(pool: PgPool) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = TestApp::start_with(pool, &["--request-timeout-secs", "1"]).await;
    let address = app.url.trim_start_matches("http://");
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
        .await
        .unwrap();
    slow.write_all(b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=")
        .await
        .unwrap();
    let mut reply = String::new();
    let read = slow.read_to_string(&mut reply);
    tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap()
        .unwrap();
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_panic_is_answered_with_a_page_and_the_next_request_is_served(pool: PgPool) {
    let app =
        quiz_web::app::App::new(TestApp::config(&pool, &["--store-url", "memory:///"])).unwrap();
    let panics = axum::routing::get(async || -> &'static str { panic!("secret detail") });
    let router = axum::Router::new()
        .route("/panic", panics)
        .route("/fine", axum::routing::get(async || "fine"));
    let router = quiz_web::app::contain(router, &app);
    let router = quiz_web::app::layers(router, &app).with_state(app.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    let browser = crate::test_app::Browser::new(url);
    let page = browser.get("/panic").await;
    page.assert_status(500);
    assert_eq!(page.text("h1"), "Something went wrong");
    assert!(!page.body().contains("secret detail"));
    assert_eq!(browser.get("/fine").await.body(), "fine");
}

#[sqlx::test(migrations = false)]
async fn an_old_front_end_starts_next_to_the_schema_of_a_newer_one(pool: PgPool) {
    TestApp::start(pool.clone()).await.stop().await;
    apply_one_of_a_later_release(&pool).await;
    let old = TestApp::start(pool).await;
    old.browser().get("/quizzes").await.assert_status(200);
    old.stop().await;
}

/// The settings of a front-end that leaves the database to somebody else.
const PREPARED: [&str; 2] = ["--prepare", "false"];

#[sqlx::test(migrations = false)]
async fn a_front_end_that_does_not_prepare_serves_once_the_database_was_migrated_and_seeded(
    pool: PgPool,
) {
    let app = TestApp::launch(pool.clone(), &PREPARED).await;
    let browser = app.browser();
    wait_for(async || browser.get("/ready").await.body() == "starting\n").await;
    // It has made nothing there itself.
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(tables, 0);
    let config = TestApp::config(&pool, &["--prepare", "false", "--store-url", "memory:///"]);
    quiz_web::migrate(config).await.unwrap();
    app.wait_until_ready().await;
    app.logged_in("admin").await;
    assert_eq!(app.rows("quizzes").await, 4);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_front_end_that_does_not_prepare_refuses_a_database_that_lacks_a_migration(pool: PgPool) {
    let config = TestApp::config(&pool, &["--store-url", "memory:///"]);
    quiz_web::migrate(config).await.unwrap();
    let last = quiz_web::db::MIGRATIONS.iter().map(|one| one.version).max();
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = $1")
        .bind(last)
        .execute(&pool)
        .await
        .unwrap();
    let settings = [&PREPARED[..], &["--startup-timeout-secs", "1"]].concat();
    let failure = TestApp::launch(pool, &settings).await.failure().await;
    let lacks = format!("lacks the migrations [{}]", last.unwrap());
    for part in [&lacks, "`quiz-web migrate`", "QUIZ_STARTUP_TIMEOUT_SECS"] {
        assert!(failure.contains(part), "{failure}");
    }
}

/// Writes down a migration that this program does not know.
async fn apply_one_of_a_later_release(pool: &PgPool) {
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99990101000000, 'of a later release', true, '\\x00', 0)",
    )
    .execute(pool)
    .await
    .unwrap();
}

#[sqlx::test(migrations = false)]
async fn an_old_front_end_that_does_not_prepare_starts_next_to_the_schema_of_a_newer_one(
    pool: PgPool,
) {
    TestApp::start(pool.clone()).await.stop().await;
    apply_one_of_a_later_release(&pool).await;
    let old = TestApp::start_with(pool, &PREPARED).await;
    old.browser().get("/quizzes").await.assert_status(200);
    old.stop().await;
}
