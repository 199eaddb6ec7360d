//! Every setting of the front-end: from flags or the environment, with its default and its unit.
//!
//! The settings are checked as a whole by [`Config::check`] before a port is bound. Nothing else reads the environment.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use crate::accounts::AccountsConfig;
use crate::api::cors::ApiConfig;
use crate::attachments::AttachmentConfig;
use crate::game::GameConfig;
use crate::headers::HeadersConfig;
use crate::images::{ImageStore, StoreConfig};
use crate::limits::LimitsConfig;
use crate::listing::ListConfig;
use crate::picture::MAX_GROWTH;
use crate::sign_in::{SignIn, SignInConfig};
use crate::startup::SeedsConfig;

mod call;
mod secret_files;
#[cfg(test)]
mod tests;

pub use call::{Call, Healthcheck};

/// The commands that may stand before the settings.
const COMMANDS: &str = "\
Commands, as first argument:
  quiz-web migrate               Migrate and seed the database, then end: see QUIZ_PREPARE
  quiz-web fill [--quizzes N …]  Fill a database of its own with made-up quizzes, to measure the site: see its --help
  quiz-web healthcheck [--live]  Ask a running front-end whether it is ready";

/// A short secret can be guessed off-line from one signed cookie.
const MIN_SECRET_CHARS: usize = 32;

/// One year: longer times are slips, and the clock of the process cannot count to all of them.
const MAX_SECS: u64 = 365 * 24 * 60 * 60;

/// What PostgreSQL takes as a time limit, about 25 days.
const MAX_MILLIS: u64 = i32::MAX as u64;

/// Front-end of Quizstack: pages, accounts and pictures of the quiz site.
#[derive(Clone, Debug, Parser)]
#[command(name = "quiz-web", version, after_help = format!("{}\n\n{COMMANDS}", secret_files::HELP))]
pub struct Config {
    /// PostgreSQL database, `postgres://user:password@host:port/name`
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Secret,

    /// Key material for cookies and CSRF tokens: at least 32 characters, the same on all front-ends
    #[arg(
        long,
        env = "QUIZ_SECRET",
        value_name = "QUIZ_SECRET",
        hide_env_values = true
    )]
    pub secret: Secret,

    /// Address of the site: pages, /live, /ready
    #[arg(
        long,
        env = "QUIZ_LISTEN",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:3000"
    )]
    pub listen: SocketAddr,

    /// Address of the admin listener: /live, /ready, /metrics
    #[arg(
        long,
        env = "QUIZ_ADMIN_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:3001"
    )]
    pub admin_listen: SocketAddr,

    #[command(flatten)]
    pub store: StoreConfig,

    #[command(flatten)]
    pub sign_in: SignInConfig,

    #[command(flatten)]
    pub attachments: AttachmentConfig,

    #[command(flatten)]
    pub accounts: AccountsConfig,

    #[command(flatten)]
    pub api: ApiConfig,

    #[command(flatten)]
    pub seeds: SeedsConfig,

    /// Whether this front-end migrates and seeds the database at its start. With `false` it waits for the migrations, for the
    /// time below, and `quiz-web migrate` must have been run
    #[arg(long, env = "QUIZ_PREPARE", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub prepare: bool,

    /// How long start-up waits for the database, in seconds
    #[arg(long = "startup-timeout-secs", value_name = "SECS", env = "QUIZ_STARTUP_TIMEOUT_SECS", default_value = "60", value_parser = positive_secs)]
    pub startup_timeout: Duration,

    /// After SIGTERM: how long /ready is 503 while requests are still served, in seconds
    #[arg(long = "drain-secs", value_name = "SECS", env = "QUIZ_DRAIN_SECS", default_value = "3", value_parser = secs)]
    pub drain: Duration,

    /// After the drain: how long running requests may take to finish, in seconds
    #[arg(long = "grace-secs", value_name = "SECS", env = "QUIZ_GRACE_SECS", default_value = "10", value_parser = secs)]
    pub grace: Duration,

    /// Longest time for one request, its upload included, in seconds
    #[arg(id = "site_request_timeout",
        long = "request-timeout-secs", value_name = "SECS", env = "QUIZ_REQUEST_TIMEOUT_SECS", default_value = "120", value_parser = positive_secs)]
    pub request_timeout: Duration,

    /// Life of a log-in, in seconds
    #[arg(long = "session-ttl-secs", value_name = "SECS", env = "QUIZ_SESSION_TTL_SECS", default_value = "14400", value_parser = positive_secs)]
    pub session_ttl: Duration,

    /// A log-in that is not used for this time ends, in seconds; up to a tenth of it earlier
    #[arg(long = "session-idle-secs", value_name = "SECS", env = "QUIZ_SESSION_IDLE_SECS", default_value = "300", value_parser = positive_secs)]
    pub session_idle: Duration,

    /// Time between two removals of expired sessions and of games that were left, in seconds
    #[arg(long = "session-purge-secs", value_name = "SECS", env = "QUIZ_SESSION_PURGE_SECS", default_value = "900", value_parser = positive_secs)]
    pub session_purge: Duration,

    #[command(flatten)]
    pub game: GameConfig,

    #[command(flatten)]
    pub headers: HeadersConfig,

    #[command(flatten)]
    pub limits: LimitsConfig,

    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: the balancer's network. Private addresses
    /// unless told otherwise
    #[arg(
        long,
        env = "QUIZ_TRUSTED_PROXIES",
        value_name = "NET,…",
        value_delimiter = ',',
        default_value = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"
    )]
    pub trusted_proxies: Vec<IpNet>,

    #[command(flatten)]
    pub list: ListConfig,

    /// Quizzes that one user may create on a day (UTC)
    #[arg(
        long,
        env = "QUIZ_DAILY_QUIZZES",
        value_name = "N",
        default_value_t = 50
    )]
    pub daily_quizzes: u32,

    /// Largest picture that may be uploaded, in bytes
    #[arg(long, env = "QUIZ_MAX_UPLOAD_BYTES", value_name = "BYTES", default_value_t = 20 * 1024 * 1024)]
    pub max_upload_bytes: usize,

    /// Largest picture that is decoded, in pixels
    #[arg(
        long,
        env = "QUIZ_MAX_PIXELS",
        value_name = "N",
        default_value_t = 40_000_000
    )]
    pub max_pixels: u64,

    /// Pictures decoded at the same time; each may take 16 bytes per pixel and a core
    #[arg(long, env = "QUIZ_PICTURE_WORKERS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub picture_workers: u32,

    /// Uploaded files kept in memory at the same time, each up to the largest that is taken; a user has a quarter of these
    /// places at most, an address half, so that slow senders leave room for others
    #[arg(long, env = "QUIZ_UPLOADS", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub uploads: u32,

    /// Memory for pictures on their way to visitors, in bytes: at least twice the largest upload, so that each fits
    #[arg(long, env = "QUIZ_PICTURE_BUDGET_BYTES", value_name = "BYTES", default_value_t = 256 * 1024 * 1024)]
    pub picture_budget_bytes: usize,

    /// Passwords that wait for their turn to be hashed; more are told to come back
    #[arg(long, env = "QUIZ_PASSWORD_QUEUE", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub password_queue: u32,

    /// Passwords hashed at the same time; each takes the memory below and a core
    #[arg(long, env = "QUIZ_PASSWORD_WORKERS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub password_workers: u32,

    /// argon2id: memory for one password, in KiB
    #[arg(long, env = "QUIZ_ARGON2_MEMORY_KIB", value_name = "KIB", default_value_t = argon2::Params::DEFAULT_M_COST)]
    pub argon2_memory_kib: u32,

    /// argon2id: passes over that memory
    #[arg(long, env = "QUIZ_ARGON2_ITERATIONS", value_name = "N", default_value_t = argon2::Params::DEFAULT_T_COST)]
    pub argon2_iterations: u32,

    /// argon2id: lanes
    #[arg(long, env = "QUIZ_ARGON2_LANES", value_name = "N", default_value_t = argon2::Params::DEFAULT_P_COST)]
    pub argon2_lanes: u32,

    /// Connections to the database, at most
    #[arg(long, env = "QUIZ_DB_MAX_CONNECTIONS", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub db_max_connections: u32,

    /// How long a request waits for a connection to the database, in milliseconds
    #[arg(long = "db-acquire-timeout-ms", value_name = "MS", env = "QUIZ_DB_ACQUIRE_TIMEOUT_MS", default_value = "3000", value_parser = positive_millis)]
    pub db_acquire_timeout: Duration,

    /// How long a connection that was not in use may take to show that the database is still there, in milliseconds; then it
    /// is replaced
    #[arg(long = "db-check-timeout-ms", value_name = "MS", env = "QUIZ_DB_CHECK_TIMEOUT_MS", default_value = "500", value_parser = positive_millis)]
    pub db_check_timeout: Duration,

    /// How long one SQL statement may run, in milliseconds
    #[arg(long = "db-statement-timeout-ms", value_name = "MS", env = "QUIZ_DB_STATEMENT_TIMEOUT_MS", default_value = "10000", value_parser = positive_millis)]
    pub db_statement_timeout: Duration,

    /// How long /ready waits for the database and for the store, in milliseconds
    #[arg(id = "site_ready_timeout",
        long = "ready-timeout-ms", value_name = "MS", env = "QUIZ_READY_TIMEOUT_MS", default_value = "1500", value_parser = positive_millis)]
    pub ready_timeout: Duration,

    /// Shape of the log lines on stderr
    #[arg(long, env = "QUIZ_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Which log lines are written, for example `info,quiz_web=debug`
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log_filter: String,
}

/// Shape of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// A text that never appears in a log line or an error message.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl Config {
    /// Everything that is wrong with the settings, one line each, or nothing.
    pub fn check(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        self.check_database_url(&mut wrong);
        if self.secret.expose().chars().count() < MIN_SECRET_CHARS {
            wrong.push(format!(
                "QUIZ_SECRET is too short: give at least {MIN_SECRET_CHARS} random characters, the same on all front-ends \
                 (for example the output of `openssl rand -hex 32`)"
            ));
        }
        self.seeds.check(&mut wrong);
        if self.max_upload_bytes == 0 {
            wrong.push(
                "QUIZ_MAX_UPLOAD_BYTES is 0: give the size of the largest picture in bytes"
                    .to_owned(),
            );
        }
        if self.picture_budget_bytes < self.max_stored_bytes() {
            wrong.push(format!(
                "QUIZ_PICTURE_BUDGET_BYTES is too small: give at least {}, {MAX_GROWTH} times QUIZ_MAX_UPLOAD_BYTES",
                self.max_stored_bytes()
            ));
        }
        if self.max_pixels == 0 {
            wrong.push(
                "QUIZ_MAX_PIXELS is 0: give the number of pixels of the largest picture".to_owned(),
            );
        }
        if let Err(error) = self.attachments.check(self.request_timeout) {
            wrong.push(error);
        }
        if let Err(error) = ImageStore::from_config(&self.store) {
            wrong.push(format!("{error:#}"));
        }
        if let Err(faults) = SignIn::from_config(&self.sign_in) {
            wrong.extend(faults);
        }
        if let Err(error) = self.argon2_params() {
            wrong.push(format!(
                "QUIZ_ARGON2_MEMORY_KIB, QUIZ_ARGON2_ITERATIONS and QUIZ_ARGON2_LANES do not fit together: {error}"
            ));
        }
        if let Err(error) = EnvFilter::try_new(&self.log_filter) {
            wrong.push(format!(
                "RUST_LOG cannot be read: {error}; write it as info or info,quiz_web=debug"
            ));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }

    /// The largest picture that is stored, in bytes: encoding may make an upload grow.
    pub fn max_stored_bytes(&self) -> usize {
        self.max_upload_bytes.saturating_mul(MAX_GROWTH)
    }

    /// The cost of a password hash.
    pub fn argon2_params(&self) -> Result<argon2::Params, argon2::Error> {
        argon2::Params::new(
            self.argon2_memory_kib,
            self.argon2_iterations,
            self.argon2_lanes,
            None,
        )
    }

    fn check_database_url(&self, wrong: &mut Vec<String>) {
        // The text may hold a password, so the message repeats its scheme at most.
        let url = self.database_url.expose();
        match url.split_once("://") {
            Some(("postgres" | "postgresql", _)) => {
                if sqlx::postgres::PgConnectOptions::from_str(url).is_err() {
                    wrong.push(
                        "DATABASE_URL cannot be read: write it as postgres://user:password@host:port/name".to_owned(),
                    );
                }
            }
            other => {
                let scheme = other.map_or("nothing", |(scheme, _)| scheme);
                wrong.push(format!(
                    "DATABASE_URL must start with postgres:// or postgresql://, not with {scheme}: \
                     only PostgreSQL is supported"
                ));
            }
        }
    }
}

/// At most [`MAX_SECS`].
pub(crate) fn secs(text: &str) -> Result<Duration, String> {
    let secs = text
        .parse()
        .ok()
        .filter(|secs| *secs <= MAX_SECS)
        .ok_or_else(|| format!("give a whole number of seconds, at most {MAX_SECS} (a year)"))?;
    Ok(Duration::from_secs(secs))
}

/// At least 1 and at most a year.
pub(crate) fn positive_secs(text: &str) -> Result<Duration, String> {
    secs(text).and_then(positive)
}

/// At least 1 and at most [`MAX_MILLIS`].
pub(crate) fn positive_millis(text: &str) -> Result<Duration, String> {
    let millis = text
        .parse()
        .ok()
        .filter(|millis| *millis <= MAX_MILLIS)
        .ok_or_else(|| format!("give a whole number of milliseconds, at most {MAX_MILLIS}"))?;
    positive(Duration::from_millis(millis))
}

fn positive(time: Duration) -> Result<Duration, String> {
    if time.is_zero() {
        Err("give a number above zero".to_owned())
    } else {
        Ok(time)
    }
}
