//! All SQL of the site: plain async functions on a connection, every statement checked when the crate is compiled.
//!
//! # The order of locks
//!
//! A transaction that locks several rows takes them in this order, so that no two wait for each other for ever: the
//! advisory lock of the roles ([`users::change::lock_admins`]); a user; quizzes by id; what belongs to either (favourites,
//! games, sessions, the count of the day); attachments by id. It counts what PostgreSQL locks by itself, too: a reference
//! locks the row that it names, a cascade the rows that it reaches, and triggers change `quizzes.likes` and
//! `users.quizzes`. So who deletes a quiz, or adds one, locks its author first.
//!
//! [`games`] alone goes the other way, from the game to its quiz, and never waits for the quiz.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, migrate::Migrator};

use crate::config::Config;

pub mod attachments;
pub mod daily_quizzes;
pub mod favourites;
pub mod fill;
pub mod games;
pub mod identities;
pub mod quizzes;
pub mod schema;
pub mod seeds;
pub mod sessions;
pub mod throttles;
pub mod users;

/// The schema, embedded. Migrations that are applied and unknown here are those of a later release: during a roll-out
/// an old front-end that starts again must not fall over them.
pub static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations
});

/// How long an idle connection is kept: a balanced-away front-end gives its connections back.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Settings of each connection. PostgreSQL plans every execution of a statement anew, with its values: the plan for a rare
/// search is the worst one for a common one, and a kept plan is made for neither.
const PLANNING: (&str, &str) = ("plan_cache_mode", "force_custom_plan");

/// A pool that connects when it is first used, so that the process can serve `/live` while the database is away.
pub fn pool(options: PgConnectOptions, config: &Config) -> PgPool {
    let statement_timeout = config.db_statement_timeout.as_millis().to_string();
    let check = config.db_check_timeout;
    let rest = config.db_statement_timeout + check;
    PgPoolOptions::new()
        // These checks have a time-out. When the database's machine has lost its power, or a firewall forgot the connection,
        // nothing ever comes back: an idle connection would cost a visitor the whole `acquire_timeout`, and one that was in use
        // would keep its place in the pool until TCP gives it up.
        .test_before_acquire(false)
        .before_acquire(move |connection, _| Box::pin(answers(connection, check)))
        // Whoever gave a statement up leaves it to the connection, which has to see its end first.
        .after_release(move |connection, _| Box::pin(answers(connection, rest)))
        .max_connections(config.db_max_connections)
        .acquire_timeout(config.db_acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .connect_lazy_with(
            options.options([("statement_timeout", statement_timeout.as_str()), PLANNING]),
        )
}

/// Whether a connection is of use; an error makes the pool close it at once.
async fn answers(connection: &mut PgConnection, within: Duration) -> sqlx::Result<bool> {
    match tokio::time::timeout(within, connection.ping()).await {
        Ok(alive) => alive.map(|()| true),
        Err(late) => Err(sqlx::Error::Io(late.into())),
    }
}

/// Does the database answer?
pub async fn ping(db: impl sqlx::PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!("SELECT 1 AS one").fetch_one(db).await?;
    Ok(())
}
