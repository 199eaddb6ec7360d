//! Log-ins: 256 random bits in a cookie, their hash in PostgreSQL, so that any front-end knows every visitor.

use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::client::Client;
use crate::db;
use crate::db::users::Credentials;
use crate::game;
use crate::token::Token;

/// Logs a user in; none when the password has been changed since it was checked. The id is always new: one that was
/// planted before the log-in is worth nothing after it.
pub async fn open(
    app: &App,
    user: &Credentials,
    client: Client,
    user_agent: Option<&str>,
) -> sqlx::Result<Option<Token>> {
    let token = Token::generate();
    let session = db::sessions::New {
        token_hash: &token.hash(),
        user_id: user.user_id,
        password_hash: user.password_hash.as_deref(),
        ttl: app.config.session_ttl,
        address: &client.address.to_string(),
        user_agent,
    };
    let open = db::sessions::create(&app.db, session).await?;
    Ok(open.then_some(token))
}

/// Removes expired sessions, and games that were left, every
/// [`session_purge`](crate::config::Config::session_purge), for ever.
pub async fn purge_for_ever(app: App) {
    let mut ticks = tokio::time::interval(app.config.session_purge);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        purge(&app).await;
        game::purge(&app).await;
    }
}

async fn purge(app: &App) {
    match db::sessions::purge(&app.db, app.config.session_idle).await {
        Ok(0) => {}
        Ok(sessions) => tracing::info!(sessions, "removed expired sessions"),
        Err(error) => tracing::warn!(%error, "could not remove expired sessions"),
    }
}
