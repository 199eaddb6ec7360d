//! Rows of `sessions`. Expiry is measured by the clock of the database, the one clock that all front-ends share.

use sqlx::PgExecutor;

use super::users::User;

/// Remembers a log-in for `ttl_secs`.
pub async fn create(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    user_id: i64,
    ttl_secs: f64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO sessions (token_hash, user_id, expires_at)
         VALUES ($1, $2, now() + make_interval(secs => $3))",
        token_hash.as_slice(),
        user_id,
        ttl_secs
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The user of a session that has not expired.
pub async fn find_user(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
) -> sqlx::Result<Option<User>> {
    sqlx::query_as!(
        User,
        "SELECT users.id, users.username, users.is_admin
         FROM sessions JOIN users ON users.id = sessions.user_id
         WHERE sessions.token_hash = $1 AND sessions.expires_at > now()",
        token_hash.as_slice()
    )
    .fetch_optional(db)
    .await
}

/// Ends a session. One that is not there has ended already.
pub async fn delete(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM sessions WHERE token_hash = $1",
        token_hash.as_slice()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Ends the sessions of a user, all but the one to `keep`, and tells how many there were. Run it in the transaction that
/// changes the password: a session that was opened with the old one must not outlive it.
pub async fn delete_others(
    db: impl PgExecutor<'_>,
    user_id: i64,
    keep: Option<&[u8; 32]>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM sessions WHERE user_id = $1 AND token_hash IS DISTINCT FROM $2",
        user_id,
        keep.map(|hash| hash.as_slice())
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Removes the expired sessions and tells how many there were.
pub async fn purge(db: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    let done = sqlx::query!("DELETE FROM sessions WHERE expires_at <= now()")
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}
