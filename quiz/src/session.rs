//! Log-ins: 256 random bits in a cookie, their hash in PostgreSQL, so that any front-end knows every visitor.

use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::db;
use crate::game;
use crate::token::Token;

/// Logs a user in. The id is always new: one that was planted before the log-in is worth nothing after it.
pub async fn open(app: &App, user_id: i64) -> sqlx::Result<Token> {
    let token = Token::generate();
    let ttl_secs = app.config.session_ttl.as_secs_f64();
    db::sessions::create(&app.db, &token.hash(), user_id, ttl_secs).await?;
    Ok(token)
}

/// Removes expired sessions, and games that were left, every
/// [`session_purge`](crate::config::Config::session_purge), for ever.
pub async fn purge_for_ever(app: App) {
    let mut ticks = tokio::time::interval(app.config.session_purge);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        purge(&app.db).await;
        game::purge(&app).await;
    }
}

async fn purge(db: &PgPool) {
    match db::sessions::purge(db).await {
        Ok(0) => {}
        Ok(sessions) => tracing::info!(sessions, "removed expired sessions"),
        Err(error) => tracing::warn!(%error, "could not remove expired sessions"),
    }
}
