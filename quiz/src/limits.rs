//! How often things may be done. What is rare and worth an attack (passwords, new accounts, uploads) is counted in
//! PostgreSQL, for all front-ends together; what is frequent (answers, calls of the API) in the memory of each front-end,
//! so that counting costs no statement. A visitor whom the balancer spreads over N front-ends has N times the latter.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use sha2::{Digest, Sha256};
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::client::Client;
use crate::db;
use crate::error::Error;
use crate::visitor::Visitor;

mod config;
mod login;

pub use config::{LimitsConfig, Quota};
pub use login::Attempt;

/// Time between two removals of what has not been used lately. It bounds the memory: what is counted is what came in this
/// time.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Wrong passwords for one account from one address.
    Login,
    LoginAddress,
    LoginAccount,
    /// At another site.
    SignIn,
    Registration,
    Upload,
    Check,
    Api,
    ApiAddress,
}

/// Whose uses are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    User(i64),
    Address(IpAddr),
    /// Somebody's name, whether they exist or not.
    Account(String),
    AccountAt(String, IpAddr),
}

/// The limits that each front-end counts by itself.
pub struct Limits {
    sign_in: InMemory,
    check: InMemory,
    api: InMemory,
    api_address: InMemory,
}

/// None when there is no limit.
struct InMemory(Option<DefaultKeyedRateLimiter<Who>>);

impl Limit {
    /// Its name in the metrics and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginAddress => "login_address",
            Self::LoginAccount => "login_account",
            Self::SignIn => "sign_in",
            Self::Registration => "registration",
            Self::Upload => "upload",
            Self::Check => "check",
            Self::Api => "api",
            Self::ApiAddress => "api_address",
        }
    }

    fn quota(self, app: &App) -> Quota {
        let config = &app.config.limits;
        match self {
            Self::Login => config.login,
            Self::LoginAddress => config.login_address,
            Self::LoginAccount => config.login_account,
            Self::SignIn => config.sign_in,
            Self::Registration => config.registration,
            Self::Upload => config.upload,
            Self::Check => config.check,
            Self::Api => config.api,
            Self::ApiAddress => config.api_address,
        }
    }
}

impl Who {
    /// The user who is logged in, else the address.
    pub fn of(visitor: &Visitor) -> Self {
        match visitor.user() {
            Some(user) => Self::User(user.id),
            None => Self::Address(visitor.client().share()),
        }
    }

    /// The key in the database. Of one length, however long the name that somebody invents.
    fn key(&self, limit: Limit) -> [u8; 32] {
        let text = match self {
            Self::User(id) => format!("{} user {id}", limit.name()),
            Self::Address(address) => format!("{} address {address}", limit.name()),
            Self::Account(name) => format!("{} account {name}", limit.name()),
            // An address has no space in it, so the name cannot pass for a part of it.
            Self::AccountAt(name, address) => format!("{} at {address} {name}", limit.name()),
        };
        Sha256::digest(text).into()
    }
}

impl Limits {
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        Self {
            sign_in: InMemory::new(config.sign_in),
            check: InMemory::new(config.check),
            api: InMemory::new(config.api),
            api_address: InMemory::new(config.api_address),
        }
    }

    fn tidy(&self) {
        for limiter in [&self.sign_in, &self.check, &self.api, &self.api_address] {
            if let Some(limiter) = &limiter.0 {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
    }
}

impl InMemory {
    fn new(quota: Quota) -> Self {
        Self(quota.in_memory().map(RateLimiter::keyed))
    }

    /// Counts a use, or tells how long to wait.
    fn take(&self, who: &Who) -> Result<(), Duration> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        limiter
            .check_key(who)
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// Counts a form with a file. Call it before the form is read.
pub async fn upload(app: &App, visitor: &Visitor) -> Result<(), Error> {
    shared(app, Limit::Upload, &Who::of(visitor)).await
}

/// Counts a new account, of an admin or of the address: a new account must not bring a share of its own for the next
/// ones. Call it before a password is hashed.
pub async fn registration(app: &App, visitor: &Visitor) -> Result<(), Error> {
    let who = match visitor.user() {
        Some(user) if user.is_admin => Who::User(user.id),
        _ => Who::Address(visitor.client().share()),
    };
    shared(app, Limit::Registration, &who).await
}

/// Counts a call of the API by a user.
pub fn api(app: &App, user_id: i64) -> Result<(), Error> {
    let taken = app.limits.api.take(&Who::User(user_id));
    taken.map_err(|wait| refuse(app, Limit::Api, wait))
}

/// Layer of the sign-in at other sites: each step may make us ask the other site.
pub async fn sign_ins(
    State(app): State<App>,
    client: Client,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let taken = app.limits.sign_in.take(&Who::Address(client.share()));
    taken.map_err(|wait| refuse(&app, Limit::SignIn, wait))?;
    Ok(next.run(request).await)
}

/// Layer of the routes that check answers.
pub async fn checks(
    State(app): State<App>,
    client: Client,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let taken = app.limits.check.take(&Who::Address(client.share()));
    taken.map_err(|wait| refuse(&app, Limit::Check, wait))?;
    Ok(next.run(request).await)
}

/// Layer of the API, outside of the look-up of the token: guesses count too, and cost no statement when they are refused.
pub async fn api_calls(
    State(app): State<App>,
    client: Client,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let taken = app.limits.api_address.take(&Who::Address(client.share()));
    taken.map_err(|wait| refuse(&app, Limit::ApiAddress, wait))?;
    Ok(next.run(request).await)
}

/// Forgets, for ever, who has not used anything lately.
pub async fn tidy_for_ever(app: App) {
    let mut ticks = tokio::time::interval(TIDY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.limits.tidy();
        if let Err(error) = db::throttles::purge(&app.db).await {
            tracing::warn!(%error, "could not remove what the limits no longer need");
        }
    }
}

async fn shared(app: &App, limit: Limit, who: &Who) -> Result<(), Error> {
    let Some(pace) = limit.quota(app).pace() else {
        return Ok(());
    };
    let taken = db::throttles::take(&app.db, &who.key(limit), pace).await?;
    taken.map_err(|wait| refuse(app, limit, wait))
}

/// Counted for the operators; not logged above `debug`, or an attack would fill the log.
fn refuse(app: &App, limit: Limit, wait: Duration) -> Error {
    app.metrics.count_limited(limit.name());
    tracing::debug!(limit = limit.name(), "refused: too many requests");
    Error::TooMany(wait)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> Who {
        Who::Address(Ipv4Addr::new(192, 0, 2, last).into())
    }

    #[test]
    fn each_has_a_share_of_their_own_and_is_told_when_to_come_back() {
        let limiter = InMemory::new("2/600".parse().unwrap());
        for who in [address(1), address(2), Who::User(1)] {
            assert_eq!(limiter.take(&who), Ok(()));
            assert_eq!(limiter.take(&who), Ok(()));
            let wait = limiter.take(&who).unwrap_err();
            assert!(
                wait > Duration::ZERO && wait <= Duration::from_secs(300),
                "{wait:?}"
            );
        }
    }

    #[test]
    fn without_a_limit_nobody_is_refused() {
        let limiter = InMemory::new("0".parse().unwrap());
        for _ in 0..10_000 {
            assert_eq!(limiter.take(&address(1)), Ok(()));
        }
    }

    #[test]
    fn who_has_not_come_lately_takes_no_memory() {
        // A use is forgotten after a microsecond, which is over when the next line runs many times.
        let limits = Limits {
            sign_in: InMemory::new("0".parse().unwrap()),
            check: InMemory::new("1000000/1".parse().unwrap()),
            api: InMemory::new("0".parse().unwrap()),
            api_address: InMemory::new("1/86400".parse().unwrap()),
        };
        for user in 0..1000 {
            limits.check.take(&Who::User(user)).unwrap();
            limits.api_address.take(&Who::User(user)).unwrap();
        }
        limits.tidy();
        assert!(limits.check.0.as_ref().unwrap().len() < 1000);
        // These still count.
        assert_eq!(limits.api_address.0.as_ref().unwrap().len(), 1000);
    }

    #[test]
    fn keys_do_not_meet() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let mut keys = vec![
            address(1).key(Limit::Upload),
            address(1).key(Limit::Registration),
            Who::User(1).key(Limit::Upload),
            Who::Account("192.0.2.1".to_owned()).key(Limit::LoginAccount),
            Who::Account("x".to_owned()).key(Limit::LoginAccount),
            Who::AccountAt("x".to_owned(), ip).key(Limit::Login),
            Who::AccountAt("1 x".to_owned(), ip).key(Limit::Login),
        ];
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
