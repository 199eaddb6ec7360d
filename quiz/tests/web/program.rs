//! The program itself: its exit codes, its signals, its help.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use sqlx::{ConnectOptions, PgPool};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::test_app::{Browser, PASSWORD, refusing, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_quiz-web");
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn run(settings: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .env_clear()
        .envs(settings.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_database_other_than_postgresql_is_refused_before_a_port_is_bound() {
    // A port that is taken: binding it would be another error.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = run(&[
        ("DATABASE_URL", "sqlite:quiz.sqlite"),
        ("QUIZ_SECRET", SECRET),
        ("QUIZ_STORE_URL", "memory:///"),
        ("QUIZ_LISTEN", &listen),
    ]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("DATABASE_URL") && message.contains("postgres://"),
        "{message}"
    );
}

#[test]
fn missing_settings_are_named() {
    let output = run(&[]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    for name in ["DATABASE_URL", "QUIZ_SECRET"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_secret_whose_file_is_missing_is_named_before_a_port_is_bound() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = run(&[
        ("DATABASE_URL_FILE", "/nowhere/database-url"),
        ("QUIZ_SECRET", SECRET),
        ("QUIZ_STORE_URL", "memory:///"),
        ("QUIZ_LISTEN", &listen),
    ]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("DATABASE_URL_FILE: /nowhere/database-url"),
        "{message}"
    );
}

#[test]
fn help_lists_every_setting_and_no_secret() {
    let output = Command::new(PROGRAM)
        .arg("--help")
        .env_clear()
        .env("QUIZ_SECRET", "do not print me")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    // Long entries are wrapped between any two words.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in [
        "DATABASE_URL",
        "QUIZ_LISTEN",
        "QUIZ_DRAIN_SECS",
        "QUIZ_STORE_URL",
        "RUST_LOG",
    ] {
        assert!(help.contains(&format!("[env: {name}")), "{name}");
    }
    assert!(!help.contains("do not print me"));
}

/// What is used without being declared does not compile; what is declared and not locked would be another version on
/// another machine.
#[test]
fn fault_15_every_dependency_is_declared_and_locked() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let lock: toml::Table = include_str!("../../../Cargo.lock").parse().unwrap();
    let declared: BTreeSet<&str> = ["dependencies", "dev-dependencies"]
        .into_iter()
        .flat_map(|kind| manifest[kind].as_table().unwrap().keys())
        .map(String::as_str)
        .collect();
    let packages = lock["package"].as_array().unwrap();
    let ours = packages
        .iter()
        .find(|package| package["name"].as_str() == Some("quiz-web"))
        .unwrap();
    // Where several versions are locked, the one that is meant follows the name.
    let locked: BTreeSet<&str> = ours["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|dependency| dependency.as_str()?.split(' ').next())
        .collect();
    assert_eq!(declared, locked);
}

#[sqlx::test(migrations = false)]
async fn a_terminate_signal_ends_it_with_success(pool: PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let mut child = tokio::process::Command::new(PROGRAM)
        .env_clear()
        .env("DATABASE_URL", url)
        .env("QUIZ_SECRET", SECRET)
        .env("QUIZ_SEED_PASSWORD", PASSWORD)
        .env("QUIZ_STORE_URL", "memory:///")
        .env("QUIZ_LISTEN", "127.0.0.1:0")
        .env("QUIZ_ADMIN_LISTEN", "127.0.0.1:0")
        .env("QUIZ_DRAIN_SECS", "0")
        .env("QUIZ_LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = String::new();
    while !log.contains("\"serving\"") {
        let line = lines.next_line().await.unwrap();
        log += &line.unwrap_or_else(|| panic!("it ended early: {log}"));
    }
    let pid = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    while let Some(line) = lines.next_line().await.unwrap() {
        log += &line;
    }
    assert!(child.wait().await.unwrap().success(), "{log}");
    assert!(
        log.contains("draining") && !log.contains(PASSWORD) && !log.contains(SECRET),
        "{log}"
    );
}

#[sqlx::test(migrations = false)]
async fn a_migration_binds_no_port_ends_with_success_and_warns_of_what_it_does_not_know(
    pool: PgPool,
) {
    // Ports that are taken: binding one would be an error.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let migrate = async || {
        let output = tokio::process::Command::new(PROGRAM)
            .arg("migrate")
            .env_clear()
            .env(
                "DATABASE_URL",
                pool.connect_options().to_url_lossy().to_string(),
            )
            .env("QUIZ_SECRET", SECRET)
            .env("QUIZ_SEED_PASSWORD", PASSWORD)
            .env("QUIZ_SEED_PEPE_PASSWORD", PASSWORD)
            .env("QUIZ_STORE_URL", "memory:///")
            .env("QUIZ_PREPARE", "false")
            .env("QUIZ_LISTEN", &taken)
            .env("QUIZ_ADMIN_LISTEN", &taken)
            .output();
        let output = output.await.unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{log}");
        log
    };
    let log = migrate().await;
    assert!(
        log.contains("ready for front-ends") && !log.contains(PASSWORD),
        "{log}"
    );
    let quizzes: i64 = sqlx::query_scalar("SELECT count(*) FROM quizzes")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(quizzes, 4);
    assert!(!log.contains("of a later release"), "{log}");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99990101000000, 'later', true, '\\x00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let log = migrate().await;
    assert!(
        log.contains("WARN")
            && log.contains("99990101000000")
            && log.contains("of a later release"),
        "{log}"
    );
}

#[sqlx::test(migrations = false)]
async fn seeded_users_whose_passwords_were_not_given_have_each_one_in_the_log(pool: PgPool) {
    let mut child = tokio::process::Command::new(PROGRAM)
        .env_clear()
        .env(
            "DATABASE_URL",
            pool.connect_options().to_url_lossy().to_string(),
        )
        .env("QUIZ_SECRET", SECRET)
        .env("QUIZ_STORE_URL", "memory:///")
        .env("QUIZ_LISTEN", "127.0.0.1:0")
        .env("QUIZ_ADMIN_LISTEN", "127.0.0.1:0")
        .env("QUIZ_LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = String::new();
    while !log.contains("\"serving\"") {
        let line = lines.next_line().await.unwrap();
        log += &line.unwrap_or_else(|| panic!("it ended early: {log}"));
    }
    let after = |text: &str| {
        let rest = log.split(text).nth(1);
        let word = rest.and_then(|rest| rest.split(['"', ' ']).next());
        word.unwrap_or_else(|| panic!("{log}")).to_owned()
    };
    let site = format!("http://{}", after("\"site\":\""));
    let passwords = ["admin", "pepe"].map(|name| after(&format!("the password of {name} is ")));
    assert_ne!(passwords[0], passwords[1]);
    for (name, password) in ["admin", "pepe"].iter().zip(&passwords) {
        let browser = Browser::new(site.clone());
        browser
            .log_in(name, password)
            .await
            .assert_redirect("/goback");
    }
    child.kill().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_proxy_for_the_internet_is_not_used_on_the_way_to_the_storage_nodes(pool: PgPool) {
    // A storage node that has no picture, which is answer enough to be ready.
    let node = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_held, dead) = refusing();
    let port = node.local_addr().unwrap().port();
    tokio::spawn(axum::serve(node, axum::Router::new()).into_future());
    // By address and by name: a client may treat them differently.
    for host in ["127.0.0.1", "localhost"] {
        let mut child = tokio::process::Command::new(PROGRAM)
            .env_clear()
            .env(
                "DATABASE_URL",
                pool.connect_options().to_url_lossy().to_string(),
            )
            .env("QUIZ_SECRET", SECRET)
            .env("QUIZ_SEED_PASSWORD", PASSWORD)
            .env("QUIZ_STORE_URL", "s3://quiz")
            .env("QUIZ_STORE_ENDPOINTS", format!("http://{host}:{port}"))
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("QUIZ_LISTEN", "127.0.0.1:0")
            .env("QUIZ_ADMIN_LISTEN", "127.0.0.1:0")
            .env("QUIZ_LOG_FORMAT", "json")
            .envs(
                ["http_proxy", "HTTP_PROXY", "all_proxy"]
                    .map(|name| (name, format!("http://{dead}"))),
            )
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let site = line
            .split("\"site\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let site = Browser::new(format!(
            "http://{}",
            site.unwrap_or_else(|| panic!("{line}"))
        ));
        wait_for(async || site.get("/ready").await.body() != "starting\n").await;
        assert_eq!(site.get("/ready").await.body(), "ready\n", "{host}");
        child.kill().await.unwrap();
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_is_refused_by_name() {
    let output = run(&[
        ("DATABASE_URL", "postgres://quiz@db/quiz"),
        ("QUIZ_SECRET", SECRET),
        ("QUIZ_STORE_URL", "memory:///"),
        ("QUIZ_LISTEN", "127.0.0.1:0"),
        ("QUIZ_ADMIN_LISTEN", "127.0.0.1:0"),
        ("QUIZ_STARTUP_TIMEOUT_SECS", "1"),
        ("RUST_LOG", "quiz_web=loud"),
    ]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("RUST_LOG"), "{message}");
}
