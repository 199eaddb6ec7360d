//! Rows of `sessions`. Expiry is measured by the clock of the database, the one clock that all front-ends share.

use std::time::Duration;

use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::users::User;

/// A use of a session is written down when the last one on record is older than this part of the idle time: reading a
/// page then seldom writes a row.
const SEEN_STEPS: f64 = 10.0;

/// The most that the list of one's own sessions shows.
const MAX_LISTED: i64 = 100;

/// A log-in to remember.
pub struct New<'a> {
    pub token_hash: &'a [u8; 32],
    pub user_id: i64,
    /// The hash that the password was checked against; none for who signed in with another site.
    pub password_hash: Option<&'a str>,
    pub ttl: Duration,
    /// Where it was opened.
    pub address: &'a str,
    /// What the browser says of itself.
    pub user_agent: Option<&'a str>,
}

/// A session as its user sees it.
pub struct Session {
    pub id: i64,
    pub created_at: OffsetDateTime,
    pub seen_at: OffsetDateTime,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    /// Is it the one that asks?
    pub current: bool,
}

/// Remembers a log-in; `false` when the password has been changed, or the user has gone, since it was checked. The lock
/// on the user makes it wait for a change that is under way, which ends the sessions that it finds.
pub async fn create(db: impl PgExecutor<'_>, session: New<'_>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO sessions (token_hash, user_id, expires_at, address, user_agent)
         SELECT $1, id, now() + make_interval(secs => $3), $4, $5 FROM users
         WHERE id = $2 AND ($6::text IS NULL OR password_hash = $6)
         FOR SHARE",
        session.token_hash.as_slice(),
        session.user_id,
        session.ttl.as_secs_f64(),
        session.address,
        session.user_agent,
        session.password_hash
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The user of a session that is alive: not expired, and used within `idle`. It counts as a use.
pub async fn find_user(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    idle: Duration,
) -> sqlx::Result<Option<User>> {
    let idle_secs = idle.as_secs_f64();
    // The update looks at the row again after it has waited for another one, so that of many requests at once one writes.
    sqlx::query_as!(
        User,
        "WITH alive AS (
             SELECT users.id, users.username, users.is_admin
             FROM sessions JOIN users ON users.id = sessions.user_id
             WHERE sessions.token_hash = $1 AND sessions.expires_at > now()
               AND sessions.seen_at > now() - make_interval(secs => $2)
         ), seen AS (
             UPDATE sessions SET seen_at = now()
             WHERE token_hash = $1 AND seen_at < now() - make_interval(secs => $3) AND EXISTS (SELECT FROM alive)
         )
         SELECT id, username, is_admin FROM alive",
        token_hash.as_slice(),
        idle_secs,
        idle_secs / SEEN_STEPS
    )
    .fetch_optional(db)
    .await
}

/// The sessions of a user that are alive, the one of `current` first, then the last used.
pub async fn list(
    db: impl PgExecutor<'_>,
    user_id: i64,
    current: Option<&[u8; 32]>,
    idle: Duration,
) -> sqlx::Result<Vec<Session>> {
    sqlx::query_as!(
        Session,
        r#"SELECT id, created_at, seen_at, address, user_agent,
                  token_hash IS NOT DISTINCT FROM $2 AS "current!"
           FROM sessions
           WHERE user_id = $1 AND expires_at > now() AND seen_at > now() - make_interval(secs => $3)
           ORDER BY token_hash IS NOT DISTINCT FROM $2 DESC, seen_at DESC, id
           LIMIT $4"#,
        user_id,
        current.map(|hash| hash.as_slice()),
        idle.as_secs_f64(),
        MAX_LISTED
    )
    .fetch_all(db)
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

/// Ends a session of a user by its id, and tells its hash; nothing when the user has none of that id.
pub async fn delete_one(
    db: impl PgExecutor<'_>,
    user_id: i64,
    id: i64,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "DELETE FROM sessions WHERE user_id = $1 AND id = $2 RETURNING token_hash",
        user_id,
        id
    )
    .fetch_optional(db)
    .await
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

/// Removes the sessions that have expired or were not used for `idle`, and tells how many there were.
pub async fn purge(db: impl PgExecutor<'_>, idle: Duration) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM sessions WHERE expires_at <= now() OR seen_at <= now() - make_interval(secs => $1)",
        idle.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
