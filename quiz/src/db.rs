//! All SQL of the site: plain async functions on a connection, every statement checked when the crate is compiled.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, migrate::Migrator};

use crate::config::Config;

pub mod attachments;
pub mod daily_quizzes;
pub mod favourites;
pub mod games;
pub mod identities;
pub mod quizzes;
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
    PgPoolOptions::new()
        .max_connections(config.db_max_connections)
        .acquire_timeout(config.db_acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .connect_lazy_with(
            options.options([("statement_timeout", statement_timeout.as_str()), PLANNING]),
        )
}

/// Does the database answer?
pub async fn ping(db: impl sqlx::PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!("SELECT 1 AS one").fetch_one(db).await?;
    Ok(())
}
