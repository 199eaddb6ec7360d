//! From an empty or unreachable database to a site: wait, migrate, seed. Safe to run in many front-ends at once.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::Instant;

use crate::app::App;
use crate::db;
use crate::db::schema::Difference;
use crate::demo;

mod seeds;

pub use seeds::SeedsConfig;

/// First and longest pause between two attempts to reach the database.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// What a front-end does before it serves: it prepares the database itself, or waits until somebody else has.
pub async fn prepare(app: &App) -> anyhow::Result<()> {
    if app.config.prepare {
        migrate(app).await
    } else {
        wait_until_migrated(app).await
    }
}

/// Waits for the database, brings its schema up to date, and plants the seeds.
pub async fn migrate(app: &App) -> anyhow::Result<()> {
    let pool = connect(app, &mut Attempts::within(app.config.startup_timeout)).await?;
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
    warn_of_unknown(&compare(&pool).await?);
    pool.close().await;
    Ok(())
}

/// Waits for a database that has every migration of this program; changes nothing there.
async fn wait_until_migrated(app: &App) -> anyhow::Result<()> {
    let mut attempts = Attempts::within(app.config.startup_timeout);
    let pool = connect(app, &mut attempts).await?;
    loop {
        let error = match attempts.answer(compare(&pool)).await {
            Ok(schema) if schema.missing.is_empty() => {
                warn_of_unknown(&schema);
                break;
            }
            Ok(schema) => anyhow::anyhow!(
                "the database lacks the migrations {:?} of this program, and QUIZ_PREPARE is false: run `quiz-web migrate`",
                schema.missing
            ),
            Err(error) => error,
        };
        attempts
            .pause(error)
            .await
            .context("waiting for the migrations of the database, for QUIZ_STARTUP_TIMEOUT_SECS")?;
    }
    pool.close().await;
    Ok(())
}

async fn compare(pool: &PgPool) -> anyhow::Result<Difference> {
    let mut connection = pool.acquire().await?;
    let compared = db::schema::compare(&mut connection).await;
    compared.context("looking which migrations the database has")
}

/// Somebody has gone back to this program, or a later release is being rolled out.
fn warn_of_unknown(schema: &Difference) {
    if !schema.unknown.is_empty() {
        tracing::warn!(
            migrations = ?schema.unknown,
            "the database has migrations of a later release; going on with it"
        );
    }
}

/// A connection of its own, without the time limit of pages: waiting for another front-end's migration takes its time.
/// (A pool of one, because the migrator does not take a plain connection in a future that moves between threads.)
async fn connect(app: &App, attempts: &mut Attempts) -> anyhow::Result<PgPool> {
    loop {
        let options = PgPoolOptions::new().max_connections(1);
        let attempt = options.connect_with(app.db_options.clone());
        let error = match attempts.answer(async { Ok(attempt.await?) }).await {
            Ok(pool) => return Ok(pool),
            Err(error) => error,
        };
        attempts.pause(error).await.context(
            "waiting for the database: it did not answer within QUIZ_STARTUP_TIMEOUT_SECS; check DATABASE_URL",
        )?;
    }
}

/// Attempts until a moment, with longer and longer pauses.
struct Attempts {
    deadline: Instant,
    pause: Duration,
}

impl Attempts {
    fn within(time: Duration) -> Self {
        Self {
            deadline: Instant::now() + time,
            pause: BACK_OFF.0,
        }
    }

    /// What one attempt brings before the time is over.
    async fn answer<T>(
        &self,
        attempt: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::time::timeout_at(self.deadline, attempt)
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the last attempt was not answered")))
    }

    /// Waits for the next attempt. When there is no time for one, what the last one failed with comes back.
    async fn pause(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        if Instant::now() + self.pause >= self.deadline {
            return Err(error);
        }
        tracing::warn!(
            error = format!("{error:#}"),
            "the database is not ready yet"
        );
        tokio::time::sleep(jittered(self.pause)).await;
        self.pause = (self.pause * 2).min(BACK_OFF.1);
        Ok(())
    }
}

/// Between half and all of `pause`, so that front-ends that were started together do not knock together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
