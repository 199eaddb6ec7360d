//! Passwords: argon2id, off the async threads, a bounded number at a time, and the same work for a user who does not exist.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::client::Client;
use crate::config::Config;
use crate::db;
use crate::db::users::Credentials;
use crate::domain::username;
use crate::error::Error;
use crate::limits::Attempt;

#[cfg(test)]
mod tests;

/// How long a log-in waits for its turn before the visitor is told to come back.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Hashes and verifies passwords.
pub struct Passwords {
    argon2: Argon2<'static>,
    turns: Arc<Semaphore>,
    /// Of those who have a turn or wait for one.
    places: Arc<Semaphore>,
    /// Hash of a password nobody has: what the log-in of an unknown user is checked against.
    decoy: String,
}

impl Passwords {
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let params = config
            .argon2_params()
            .context("reading the argon2 settings")?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, &hex::encode(rand::random::<[u8; 32]>()))?;
        let workers = config.password_workers as usize;
        Ok(Self {
            argon2,
            turns: Arc::new(Semaphore::new(workers)),
            places: Arc::new(Semaphore::new(workers + config.password_queue as usize)),
            decoy,
        })
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.work(move |argon2| hash(argon2, &password)).await
    }

    /// Is this the password of `stored`? Without a stored hash the answer is no, after the same work.
    async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool, Error> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or(&self.decoy).to_owned();
        let password = password.to_owned();
        let work = move |argon2: &Argon2<'_>| {
            let stored = PasswordHash::new(&stored).context("reading a stored password hash")?;
            Ok(argon2.verify_password(password.as_bytes(), &stored).is_ok())
        };
        Ok(self.work(work).await? && exists)
    }

    /// Runs what takes the memory and the core of one password: a bounded number at a time, a bounded number waiting,
    /// and the rest is told at once to come back.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'_>) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .context("too many passwords wait to be hashed")
            .map_err(Error::Unavailable)?;
        let turn = take_turn(&self.turns, QUEUE_TIMEOUT)
            .await
            .map_err(Error::Unavailable)?;
        let argon2 = self.argon2.clone();
        tokio::task::spawn_blocking(move || {
            let _held = (turn, place);
            work(&argon2)
        })
        .await
        .context("waiting for a password to be hashed")
        .and_then(|done| done)
        .map_err(Error::Internal)
    }
}

/// The user with that name and password. [`Error::TooMany`] when wrong ones have been tried too often.
pub async fn log_in(
    app: &App,
    client: Client,
    username: &str,
    password: &str,
) -> Result<Option<Credentials>, Error> {
    let named = db::users::named(&app.db, &username::tidy(username)).await?;
    let attempt = Attempt::begin(app, client, &named.folded).await?;
    let stored = named.user.as_ref().and_then(readable_hash);
    match app.passwords.verify(password, stored).await {
        Ok(true) => {
            attempt.succeeded().await?;
            Ok(named.user)
        }
        Ok(false) => Ok(None),
        Err(error) => {
            attempt.cancelled().await?;
            Err(error)
        }
    }
}

/// The hash of the password of a user, unless there is none or it is none: such a user has no right password.
fn readable_hash(user: &Credentials) -> Option<&str> {
    let stored = user.password_hash.as_deref()?;
    let readable = PasswordHash::new(stored).is_ok_and(|hash| {
        Algorithm::try_from(hash.algorithm.as_str()).is_ok()
            && Params::try_from(&hash).is_ok()
            && hash.salt.is_some()
            && hash.hash.is_some()
    });
    if !readable {
        tracing::error!(
            user.id = user.user_id,
            "the password hash of a user cannot be read: set a new password"
        );
    }
    Some(stored).filter(|_| readable)
}

/// A place among those who may use a core. Held by the blocking work itself, so an impatient client frees nothing early.
pub async fn take_turn(
    turns: &Arc<Semaphore>,
    patience: Duration,
) -> anyhow::Result<OwnedSemaphorePermit> {
    tokio::time::timeout(patience, Arc::clone(turns).acquire_owned())
        .await
        .context("waiting for a free worker")?
        .context("the workers have been closed")
}

fn hash(argon2: &Argon2<'_>, password: &str) -> anyhow::Result<String> {
    let hash = argon2
        .hash_password(password.as_bytes())
        .context("hashing a password")?;
    Ok(hash.to_string())
}
