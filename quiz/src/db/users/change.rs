//! Statements that change `users`. Those that belong together run in one transaction of [`accounts`](crate::accounts).

use sqlx::{PgConnection, PgExecutor};

/// Key of the advisory lock under which roles change and users go: "admins" in ASCII.
const ADMINS: i64 = i64::from_be_bytes(*b"\0\0admins");

/// What a change of a user has to know; the row stays locked until the transaction ends.
pub struct Locked {
    pub is_admin: bool,
    pub photo_id: Option<i64>,
}

/// Adds a user unless one of that name exists.
pub async fn create_if_absent(
    db: impl PgExecutor<'_>,
    username: &str,
    password_hash: &str,
    is_admin: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO users (username, password_hash, is_admin) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
        username,
        password_hash,
        is_admin
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Sets the hash of the API token of a user, or takes the token away.
pub async fn set_token(
    db: impl PgExecutor<'_>,
    user_id: i64,
    token_hash: Option<&[u8; 32]>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET token_hash = $2, token_created_at = CASE WHEN $2::bytea IS NOT NULL THEN now() END,
                          updated_at = now()
         WHERE id = $1",
        user_id,
        token_hash.map(<[u8; 32]>::as_slice)
    )
    .execute(db)
    .await?;
    Ok(())
}

/// From here to the end of the transaction no other one changes a role or deletes a user, so that two admins who remove
/// each other come one after the other. Take it before any row.
pub async fn lock_admins(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", ADMINS)
        .execute(db)
        .await?;
    Ok(())
}

/// Is the user an admin at this moment?
pub async fn is_admin(db: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!("SELECT is_admin FROM users WHERE id = $1", user_id)
        .fetch_optional(db)
        .await?;
    Ok(found.unwrap_or(false))
}

/// Is there an admin besides this one?
pub async fn has_other_admin(db: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM users WHERE is_admin AND id <> $1) AS "exists!""#,
        user_id
    )
    .fetch_one(db)
    .await
}

/// Locks a user who is to be deleted: nothing new can refer to the row.
pub async fn lock(db: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<Locked>> {
    sqlx::query_as!(
        Locked,
        "SELECT is_admin, photo_id FROM users WHERE id = $1 FOR UPDATE",
        user_id
    )
    .fetch_optional(db)
    .await
}

/// Locks a user whose quizzes are about to be counted; `false` when there is none. Others may still refer to the row.
pub async fn lock_author(db: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    let found = sqlx::query!(
        "SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE",
        user_id
    )
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Makes a user an admin, or no longer one.
pub async fn set_admin(db: &mut PgConnection, user_id: i64, is_admin: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET is_admin = $2, updated_at = now() WHERE id = $1",
        user_id,
        is_admin
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes a user. The quizzes stay without author, everything else of the user goes.
pub async fn delete(db: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    // The cascade touches these quizzes in no order (their likes, their author). Two users who like the same ones and go
    // at the same moment would each wait for the other.
    sqlx::query!(
        "SELECT FROM quizzes
         WHERE id IN (SELECT id FROM quizzes WHERE author_id = $1
                      UNION SELECT quiz_id FROM favourites WHERE user_id = $1)
         ORDER BY id FOR NO KEY UPDATE",
        user_id
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("DELETE FROM users WHERE id = $1", user_id)
        .execute(db)
        .await?;
    Ok(())
}

/// A user who is new.
pub struct New<'a> {
    pub username: &'a str,
    pub password_hash: &'a str,
    pub photo_id: Option<i64>,
}

/// Adds a user and tells the id; none when that name is taken, in whatever case it is written.
pub async fn create(db: &mut PgConnection, new: &New<'_>) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "INSERT INTO users (username, password_hash, photo_id, photo_changed_at)
         VALUES ($1, $2, $3, CASE WHEN $3::bigint IS NOT NULL THEN now() END)
         ON CONFLICT DO NOTHING RETURNING id",
        new.username,
        new.password_hash,
        new.photo_id
    )
    .fetch_optional(db)
    .await
}

/// The photo of a user, whose row stays locked until the transaction ends.
pub struct Photo {
    pub id: Option<i64>,
    /// Was it changed within the pause?
    pub is_recent: bool,
}

/// Locks a user whose photo is to change; rows that refer to the user may still be added.
pub async fn lock_photo(
    db: &mut PgConnection,
    user_id: i64,
    pause_secs: f64,
) -> sqlx::Result<Option<Photo>> {
    sqlx::query_as!(
        Photo,
        r#"SELECT photo_id AS id,
                  coalesce(photo_changed_at > now() - make_interval(secs => $2), false) AS "is_recent!"
           FROM users WHERE id = $1 FOR NO KEY UPDATE"#,
        user_id,
        pause_secs
    )
    .fetch_optional(db)
    .await
}

/// Sets the photo of a user, or takes it away.
pub async fn set_photo(
    db: &mut PgConnection,
    user_id: i64,
    photo_id: Option<i64>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET photo_id = $2, photo_changed_at = now(), updated_at = now() WHERE id = $1",
        user_id,
        photo_id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Sets the password of a user. With `expected` only while the old one is still that; `false` when it is not.
pub async fn set_password(
    db: &mut PgConnection,
    user_id: i64,
    password_hash: &str,
    expected: Option<&str>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE users SET password_hash = $2, updated_at = now()
         WHERE id = $1 AND ($3::text IS NULL OR password_hash = $3)",
        user_id,
        password_hash,
        expected
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
