//! Log-ins: 256 random bits in a cookie, their hash in PostgreSQL, so that any front-end knows every visitor.

use std::fmt;

use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::db;

/// The secret in the cookie of a logged-in visitor.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// A fresh one from the system's generator.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// Reads the value of a cookie.
    pub fn parse(value: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(value, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The value of the cookie.
    pub fn cookie_value(&self) -> String {
        hex::encode(self.0)
    }

    /// What the database knows of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// Logs a user in. The id is always new: one that was planted before the log-in is worth nothing after it.
pub async fn open(app: &App, user_id: i64) -> sqlx::Result<Token> {
    let token = Token::generate();
    let ttl_secs = app.config.session_ttl.as_secs_f64();
    db::sessions::create(&app.db, &token.hash(), user_id, ttl_secs).await?;
    Ok(token)
}

/// Removes expired sessions every [`session_purge`](crate::config::Config::session_purge), for ever.
pub async fn purge_for_ever(app: App) {
    let mut ticks = tokio::time::interval(app.config.session_purge);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        purge(&app.db).await;
    }
}

async fn purge(db: &PgPool) {
    match db::sessions::purge(db).await {
        Ok(0) => {}
        Ok(sessions) => tracing::info!(sessions, "removed expired sessions"),
        Err(error) => tracing::warn!(%error, "could not remove expired sessions"),
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_survives_its_cookie_and_is_stored_as_a_hash() {
        let token = Token::generate();
        let read = Token::parse(&token.cookie_value()).unwrap();
        assert_eq!(read.hash(), token.hash());
        assert_ne!(hex::encode(token.hash()), token.cookie_value());
        assert!(Token::parse("short").is_none());
    }

    #[test]
    fn two_tokens_differ() {
        assert_ne!(
            Token::generate().cookie_value(),
            Token::generate().cookie_value()
        );
    }
}
