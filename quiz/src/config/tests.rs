//! What is refused, and what the message says.

use super::*;

fn config(database_url: &str, secret: &str) -> Config {
    Config::parse_from([
        "quiz-web",
        "--database-url",
        database_url,
        "--secret",
        secret,
        "--store-url",
        "memory:///",
    ])
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn the_command_line_is_well_formed() {
    <Config as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn a_postgresql_url_and_a_long_secret_are_enough() {
    assert_eq!(config("postgresql://quiz@db/quiz", SECRET).check(), Ok(()));
}

#[test]
fn another_database_is_refused_by_name_and_its_password_is_not_repeated() {
    let error = config("mysql://quiz:hunter2@db/quiz", SECRET)
        .check()
        .unwrap_err();
    assert!(
        error.contains("DATABASE_URL") && error.contains("mysql"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn all_faults_are_told_at_once() {
    let error = config("sqlite:quiz.sqlite", "short").check().unwrap_err();
    assert!(
        error.contains("DATABASE_URL") && error.contains("QUIZ_SECRET"),
        "{error}"
    );
}

#[test]
fn debug_output_has_no_secret() {
    let shown = format!("{:?}", config("postgres://quiz:hunter2@db/quiz", SECRET));
    assert!(
        !shown.contains("hunter2") && !shown.contains(SECRET),
        "{shown}"
    );
}

#[test]
fn a_session_of_zero_seconds_is_refused() {
    let args = [
        "quiz-web",
        "--database-url",
        "postgres://db/q",
        "--secret",
        SECRET,
        "--store-url",
        "memory:///",
        "--session-ttl-secs",
        "0",
    ];
    let error = Config::try_parse_from(args).unwrap_err().to_string();
    assert!(error.contains("session-ttl-secs"), "{error}");
}

/// The message about one more setting.
fn refusal(name: &str, value: &str) -> String {
    let args = [
        "quiz-web",
        "--database-url",
        "postgres://db/q",
        "--secret",
        SECRET,
        "--store-url",
        "memory:///",
        name,
        value,
    ];
    match Config::try_parse_from(args) {
        Err(error) => error.to_string(),
        Ok(config) => config.check().unwrap_err(),
    }
}

#[test]
fn times_that_no_clock_can_count_are_refused() {
    for name in [
        "--startup-timeout-secs",
        "--drain-secs",
        "--grace-secs",
        "--request-timeout-secs",
        "--session-ttl-secs",
        "--session-purge-secs",
    ] {
        for value in ["31536001", "18446744073709551615"] {
            let error = refusal(name, value);
            assert!(error.contains(name) && error.contains("a year"), "{error}");
        }
    }
    for name in [
        "--db-acquire-timeout-ms",
        "--db-check-timeout-ms",
        "--db-statement-timeout-ms",
        "--ready-timeout-ms",
        "--store-connect-timeout-ms",
        "--store-request-timeout-ms",
        "--store-total-timeout-ms",
        "--store-ready-timeout-ms",
        "--store-retry-pause-ms",
    ] {
        for value in ["2147483648", "3000000000", "18446744073709551615"] {
            let error = refusal(name, value);
            assert!(
                error.contains(name) && error.contains("2147483647"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_is_named() {
    let error = refusal("--log-filter", "quiz_web=loud");
    assert!(error.contains("RUST_LOG"), "{error}");
}

#[test]
fn a_budget_that_the_largest_picture_does_not_fit_in_is_refused() {
    let error = refusal("--picture-budget-bytes", "41943039");
    assert!(
        error.contains("QUIZ_PICTURE_BUDGET_BYTES") && error.contains("41943040"),
        "{error}"
    );
}
