//! From an empty or unreachable database to a site: wait, migrate, seed. Safe to run in many front-ends at once.

use std::iter;
use std::time::Duration;

use anyhow::Context;
use rand::distr::{Alphanumeric, SampleString};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::Instant;

use crate::app::App;
use crate::config::Secret;
use crate::db;
use crate::db::seeds::Set;
use crate::demo;
use crate::domain::password::NewPassword;
use crate::locale::Language;

/// First and longest pause between two attempts to reach the database.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Length of a password that is made here: letters and digits, so 95 bits.
const MADE_CHARS: usize = 16;

/// Waits for the database, brings its schema up to date, and plants the seeds.
pub async fn prepare(app: &App) -> anyhow::Result<()> {
    let pool = connect(app).await?;
    // The migrator holds an advisory lock: one front-end works, the others wait for it and find nothing left to do.
    db::MIGRATIONS
        .run(&pool)
        .await
        .context("migrating the database")?;
    seed(app, &pool).await.context("seeding the database")?;
    if app.config.seed_demo
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

async fn seed(app: &App, pool: &PgPool) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    if db::seeds::planted(&mut connection, Set::Capitals).await? {
        return Ok(());
    }
    let config = &app.config;
    let admin = SeedPassword::of("admin", "QUIZ_SEED_PASSWORD", &config.seed_password)?;
    let pepe = SeedPassword::of(
        "pepe",
        "QUIZ_SEED_PEPE_PASSWORD",
        &config.seed_pepe_password,
    )?;
    let (admin_hash, pepe_hash) = (admin.hash(app).await?, pepe.hash(app).await?);
    if !db::seeds::plant(&mut connection, &admin_hash, &pepe_hash).await? {
        return Ok(());
    }
    tracing::info!("planted the first quizzes and the users admin and pepe");
    for made in [admin, pepe].iter().filter(|password| password.is_made) {
        // The one secret that is logged, once, on purpose: without it nobody could ever log in.
        tracing::warn!(
            "{} was not given: the password of {} is {}",
            made.setting,
            made.username,
            made.password.expose()
        );
    }
    Ok(())
}

/// The password of a user who is planted.
struct SeedPassword {
    username: &'static str,
    setting: &'static str,
    password: NewPassword,
    /// Did the settings leave it to us?
    is_made: bool,
}

impl SeedPassword {
    /// The one that is set, which must keep the rules, or one by chance.
    fn of(
        username: &'static str,
        setting: &'static str,
        given: &Option<Secret>,
    ) -> anyhow::Result<Self> {
        let parse = |text: &str| NewPassword::parse(Some(text), None, username);
        let password = match given {
            Some(given) => parse(given.expose()).map_err(|error| {
                anyhow::anyhow!("{setting}: {}", error.text(Language::English.texts()))
            })?,
            None => iter::repeat_with(|| Alphanumeric.sample_string(&mut rand::rng(), MADE_CHARS))
                .find_map(|text| parse(&text).ok())
                .context("making a password")?,
        };
        Ok(Self {
            username,
            setting,
            password,
            is_made: given.is_none(),
        })
    }

    async fn hash(&self, app: &App) -> anyhow::Result<String> {
        let password = self.password.expose().to_owned();
        Ok(app.passwords.hash(password).await?)
    }
}
