//! Statements that change `users`.

use sqlx::PgExecutor;

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
