//! What all requests share, and the layers around them.

use std::ops::Deref;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum_extra::extract::cookie::Key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::Passwords;
use crate::config::Config;
use crate::csrf;
use crate::db;
use crate::error::{self, Error};
use crate::headers;
use crate::images::ImageStore;
use crate::lifecycle::{self, Lifecycle};
use crate::limits::Limits;
use crate::pages::health::Readiness;
use crate::pages::images;
use crate::sign_in::SignIn;
use crate::telemetry::{self, Metrics};
use crate::upload::Places;

/// Handle on the shared state; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The shared state.
pub struct Shared {
    pub config: Config,
    pub db: PgPool,
    /// How to reach the database outside the pool, without the time limit that pages have.
    pub db_options: PgConnectOptions,
    pub images: ImageStore,
    pub passwords: Passwords,
    pub sign_in: SignIn,
    pub upload_places: Places,
    pub picture_turns: Arc<Semaphore>,
    pub picture_budget: images::Budget,
    pub cookie_key: Key,
    pub csrf: csrf::Tokens,
    pub lifecycle: Lifecycle,
    pub limits: Limits,
    pub metrics: Metrics,
    pub readiness: Readiness,
}

impl App {
    /// Builds the state; connects to nothing yet.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        config.check().map_err(anyhow::Error::msg)?;
        let db_options: PgConnectOptions = config
            .database_url
            .expose()
            .parse()
            .context("reading DATABASE_URL")?;
        let db_options = db_options.application_name("quiz-web");
        let secret = config.secret.expose().as_bytes();
        let cookie_key = [
            derive(secret, "cookies, first half"),
            derive(secret, "cookies, second half"),
        ]
        .concat();
        Ok(Self(Arc::new(Shared {
            db: db::pool(db_options.clone(), &config),
            db_options,
            images: ImageStore::from_config(&config.store).context("setting up the image store")?,
            passwords: Passwords::new(&config)?,
            sign_in: SignIn::from_config(&config.sign_in)
                .map_err(|faults| anyhow::anyhow!(faults.join("\n")))
                .context("setting up sign-in with others")?,
            picture_budget: images::Budget::new(&config),
            upload_places: Places::new(config.uploads as usize),
            picture_turns: Arc::new(Semaphore::new(config.picture_workers as usize)),
            cookie_key: Key::from(&cookie_key),
            csrf: csrf::Tokens::new(&derive(secret, "csrf")),
            lifecycle: Lifecycle::new(),
            limits: Limits::new(&config.limits),
            metrics: Metrics::new().context("registering the metrics")?,
            readiness: Readiness::default(),
            config,
        })))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Keeps what goes wrong in a handler from getting further: panics and endless work become an [`Error`].
pub fn contain(router: Router<App>, app: &App) -> Router<App> {
    router
        .layer(middleware::from_fn_with_state(app.clone(), time_limit))
        .layer(CatchPanicLayer::custom(error::panicked))
}

/// Puts the layers around all routes, innermost first.
pub fn layers(router: Router<App>, app: &App) -> Router<App> {
    router
        .layer(middleware::from_fn(error::pages))
        .layer(middleware::from_fn_with_state(app.clone(), headers::secure))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            lifecycle::close_while_draining,
        ))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            telemetry::observe,
        ))
}

async fn time_limit(
    axum::extract::State(app): axum::extract::State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    tokio::time::timeout(app.config.request_timeout, next.run(request))
        .await
        .map_err(|_| Error::Unavailable(anyhow::anyhow!("the request took too long")))
}

/// One secret, several keys: what signs a cookie must not be good for a CSRF token.
fn derive(secret: &[u8], purpose: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(b"quizstack/1/");
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::derive;

    #[test]
    fn each_purpose_and_each_secret_has_its_own_key() {
        assert_ne!(derive(b"secret", "csrf"), derive(b"secret", "cookies"));
        assert_ne!(derive(b"secret", "csrf"), derive(b"other", "csrf"));
        assert_eq!(derive(b"secret", "csrf"), derive(b"secret", "csrf"));
    }
}
