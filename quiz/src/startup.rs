//! From an empty or unreachable database to a site: wait, migrate, seed. Safe to run in many front-ends at once.

use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::Instant;

use crate::app::App;
use crate::db;
use crate::demo;

mod seeds;

pub use seeds::SeedsConfig;

/// First and longest pause between two attempts to reach the database.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Waits for the database, brings its schema up to date, and plants the seeds.
pub async fn prepare(app: &App) -> anyhow::Result<()> {
    let pool = connect(app).await?;
    // The migrator holds an advisory lock: one front-end works, the others wait for it and find nothing left to do.
    db::MIGRATIONS
        .run(&pool)
        .await
        .context("migrating the database")?;
    seeds::plant(app, &pool)
        .await
        .context("seeding the database")?;
    if app.config.seeds.demo
        && let Err(error) = demo::plant(app, &pool).await
    {
        // Not worth staying down for: the next start tries again.
        tracing::warn!(
            error = format!("{error:#}"),
            "the demo questions have not been planted"
        );
    }
    pool.close().await;
    Ok(())
}

/// A connection of its own, without the time limit of pages: waiting for another front-end's migration takes its time.
/// (A pool of one, because the migrator does not take a plain connection in a future that moves between threads.)
async fn connect(app: &App) -> anyhow::Result<PgPool> {
    let deadline = Instant::now() + app.config.startup_timeout;
    let (mut pause, longest) = BACK_OFF;
    loop {
        let options = PgPoolOptions::new().max_connections(1);
        let attempt = options.connect_with(app.db_options.clone());
        let error = match tokio::time::timeout_at(deadline, attempt).await {
            Ok(Ok(pool)) => return Ok(pool),
            Ok(Err(error)) => anyhow::Error::new(error),
            Err(_) => anyhow::anyhow!("the last attempt was not answered"),
        };
        if Instant::now() + pause >= deadline {
            return Err(error).context(
                "waiting for the database: it did not answer within QUIZ_STARTUP_TIMEOUT_SECS; check DATABASE_URL",
            );
        }
        tracing::warn!(
            error = format!("{error:#}"),
            "the database does not answer yet"
        );
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(longest);
    }
}

/// Between half and all of `pause`, so that front-ends that were started together do not knock together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
