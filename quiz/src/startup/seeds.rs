//! The seeded users and their passwords: given by the settings, or made and logged once.

use std::iter;

use anyhow::Context;
use rand::distr::{Alphanumeric, SampleString};
use sqlx::PgPool;

use crate::app::App;
use crate::config::Secret;
use crate::db;
use crate::db::seeds::Set;
use crate::domain::password::NewPassword;
use crate::locale::Language;

/// Length of a password that is made here: letters and digits, so 95 bits.
const MADE_CHARS: usize = 16;

/// Settings of the seeds.
#[derive(Clone, Debug, clap::Args)]
pub struct SeedsConfig {
    /// Password of the seeded user `admin`, by the rules of all passwords, read only while the site has no users; when absent,
    /// the front-end that seeds makes one and logs it once
    #[arg(
        id = "seed_password",
        long = "seed-password",
        env = "QUIZ_SEED_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<Secret>,

    /// Likewise of the seeded user `pepe`, who is no admin
    #[arg(
        id = "seed_pepe_password",
        long = "seed-pepe-password",
        env = "QUIZ_SEED_PEPE_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub pepe_password: Option<Secret>,

    /// Plant the demo questions on a site that has never had them: more than sixty over several topics, some with pictures
    #[arg(id = "seed_demo", long = "seed-demo", env = "QUIZ_SEED_DEMO", value_name = "BOOL", default_value_t = false,
        action = clap::ArgAction::Set)]
    pub demo: bool,
}

impl SeedsConfig {
    /// Adds what is wrong whether or not the site is to be seeded.
    pub(crate) fn check(&self, wrong: &mut Vec<String>) {
        for (name, password) in [
            ("QUIZ_SEED_PASSWORD", &self.password),
            ("QUIZ_SEED_PEPE_PASSWORD", &self.pepe_password),
        ] {
            if password.as_ref().is_some_and(|p| p.expose().is_empty()) {
                wrong.push(format!(
                    "{name} is empty: give a password, or leave it out to have one made"
                ));
            }
        }
    }
}

/// Plants users and quizzes on a site that has never had them.
pub(super) async fn plant(app: &App, pool: &PgPool) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    if db::seeds::planted(&mut connection, Set::Capitals).await? {
        return Ok(());
    }
    let config = &app.config.seeds;
    let admin = SeedPassword::of("admin", "QUIZ_SEED_PASSWORD", &config.password)?;
    let pepe = SeedPassword::of("pepe", "QUIZ_SEED_PEPE_PASSWORD", &config.pepe_password)?;
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
