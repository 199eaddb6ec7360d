//! What the operators see of a call: never its token.

use std::process::Stdio;

use quiz_web::token::Token;
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::test_app::{Browser, PASSWORD, wait_for};

#[sqlx::test(migrations = false)]
async fn fault_26_a_token_in_the_address_is_in_no_log_and_no_metric(pool: PgPool) {
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_quiz-web"))
        .env_clear()
        .env(
            "DATABASE_URL",
            pool.connect_options().to_url_lossy().to_string(),
        )
        .env("QUIZ_SECRET", "0123456789abcdef0123456789abcdef")
        .env("QUIZ_SEED_PASSWORD", PASSWORD)
        .env("QUIZ_STORE_URL", "memory:///")
        .env("QUIZ_LISTEN", "127.0.0.1:0")
        .env("QUIZ_ADMIN_LISTEN", "127.0.0.1:0")
        .env("QUIZ_LOG_FORMAT", "json")
        .env("RUST_LOG", "debug")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let listening = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["fields"]["message"] == "listening" {
            break line;
        }
    };
    let at = |name: &str| {
        let address = listening["fields"][name].as_str().unwrap();
        Browser::new(format!("http://{address}"))
    };
    let (site, admin) = (at("site"), at("admin"));
    // Somebody has to read the log, or the program stops writing it.
    let log = tokio::spawn(async move {
        let mut log = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            log += &line;
            log.push('\n');
        }
        log
    });
    wait_for(async || site.get("/ready").await.status == 200).await;
    let token = Token::generate();
    sqlx::query(
        "UPDATE users SET token_hash = $1, token_created_at = now() WHERE username = 'pepe'",
    )
    .bind(token.hash().as_slice())
    .execute(&pool)
    .await
    .unwrap();
    let secret = token.text();
    for path in ["/quizzes", "/quizzes/99", "/nope", "/quizzes?pageno=0", "/"] {
        let sign = if path.contains('?') { '&' } else { '?' };
        let page = site.get(&format!("/api{path}{sign}token={secret}")).await;
        assert_ne!(page.status, 401, "{path}");
        assert!(!page.body().contains(&secret), "{path}");
    }
    let metrics = admin.get("/metrics").await.body();
    assert!(
        metrics.contains("route=\"/api/quizzes\"") && !metrics.contains(&secret),
        "{metrics}"
    );
    program.kill().await.unwrap();
    let log = log.await.unwrap();
    assert!(log.contains("\"path\":\"/api/quizzes/99\""), "{log}");
    assert!(!log.contains(&secret), "{log}");
}
