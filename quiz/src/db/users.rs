//! Rows of `users`.

use sqlx::PgExecutor;

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub username: String,
    pub is_admin: bool,
}

impl User {
    /// May this user see a quiz together with its answer? Its author may, and so may admins.
    pub fn may_see_answer(&self, author_id: Option<i64>) -> bool {
        self.is_admin || author_id == Some(self.id)
    }
}

/// What a log-in is checked against.
pub struct Credentials {
    pub user_id: i64,
    /// None for who signs in with another site.
    pub password_hash: Option<String>,
}

/// The credentials of the user of that name.
pub async fn credentials(
    db: impl PgExecutor<'_>,
    username: &str,
) -> sqlx::Result<Option<Credentials>> {
    sqlx::query_as!(
        Credentials,
        "SELECT id AS user_id, password_hash FROM users WHERE username = $1",
        username
    )
    .fetch_optional(db)
    .await
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
         ON CONFLICT (username) DO NOTHING",
        username,
        password_hash,
        is_admin
    )
    .execute(db)
    .await?;
    Ok(())
}
