//! Rows of `users`, read. What changes them is in [`change`]. Names are compared without regard to case everywhere.

use std::time::Duration;

use sqlx::PgExecutor;
use time::OffsetDateTime;

pub mod change;

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
        self.is_admin_or(author_id)
    }

    /// May this user change what belongs to `owner_id`? The owner may, and so may admins.
    pub fn is_admin_or(&self, owner_id: Option<i64>) -> bool {
        self.is_admin || owner_id == Some(self.id)
    }
}

/// What others may know of a user; no password, no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub id: i64,
    pub username: String,
    pub is_admin: bool,
    /// "Member since".
    pub created_at: OffsetDateTime,
    /// Most questions answered in one random play.
    pub best_score: i32,
    /// Where the user signs in; none for a local account, which has a password here.
    pub provider: Option<String>,
    /// Who the user is there. Google's have 21 digits: not a number.
    pub subject: Option<String>,
    /// What the user is called there.
    pub profile_name: Option<String>,
    /// Last part of the URL of the photo: `/images/{photo}`.
    pub photo: Option<String>,
    pub photo_mime: Option<String>,
    pub photo_thumbnail: Option<bool>,
}

impl Profile {
    /// Does the user log in with a password of this site?
    pub fn is_local(&self) -> bool {
        self.provider.is_none()
    }

    /// Where the account comes from: `local`, `github`, `google` …
    pub fn kind(&self) -> &str {
        self.provider.as_deref().unwrap_or("local")
    }
}

/// A part of the list of users, which is in the order of their names.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Begins after this name; empty for the beginning.
    pub after: &'a str,
    /// Skips so many more. Bound it: skipping takes time.
    pub offset: i64,
    pub limit: i64,
}

/// What a log-in is checked against.
pub struct Credentials {
    pub user_id: i64,
    /// None for who signs in with another site.
    pub password_hash: Option<String>,
}

/// Profiles, selected by what follows the joins.
macro_rules! profiles {
    ($rest:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            Profile,
            r#"SELECT users.id, users.username, users.is_admin, users.created_at, users.best_score,
                      identities.provider AS "provider?", identities.subject AS "subject?",
                      identities.profile_name AS "profile_name?", attachments.image_id AS "photo?",
                      attachments.mime AS "photo_mime?", attachments.thumbnail AS "photo_thumbnail?"
               FROM users
               LEFT JOIN identities ON identities.user_id = users.id
               LEFT JOIN attachments ON attachments.id = users.photo_id "# + $rest,
            $($argument),*
        )
    };
}

/// The user of that id.
pub async fn find(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Profile>> {
    profiles!("WHERE users.id = $1", id)
        .fetch_optional(db)
        .await
}

/// The users that `viewer` may find in a list: all of them for an admin, else those who published a quiz (their names are
/// on the quizzes anyway) and the viewer.
pub async fn list(
    db: impl PgExecutor<'_>,
    viewer: &User,
    span: Span<'_>,
) -> sqlx::Result<Vec<Profile>> {
    profiles!(
        "WHERE ($1 OR users.id = $2 OR EXISTS (SELECT 1 FROM quizzes WHERE quizzes.author_id = users.id))
           AND lower(users.username) > lower($3)
         ORDER BY lower(users.username)
         OFFSET $4 LIMIT $5",
        viewer.is_admin,
        viewer.id,
        span.after,
        span.offset,
        span.limit
    )
    .fetch_all(db)
    .await
}

/// How many users are in the list of `viewer`; counts to `most` and no further.
pub async fn count(db: impl PgExecutor<'_>, viewer: &User, most: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT 1 FROM users
               WHERE $1 OR id = $2 OR EXISTS (SELECT 1 FROM quizzes WHERE quizzes.author_id = users.id)
               LIMIT $3
           ) AS counted"#,
        viewer.is_admin,
        viewer.id,
        most
    )
    .fetch_one(db)
    .await
}

/// The credentials of the user of that name.
pub async fn credentials(
    db: impl PgExecutor<'_>,
    username: &str,
) -> sqlx::Result<Option<Credentials>> {
    sqlx::query_as!(
        Credentials,
        "SELECT id AS user_id, password_hash FROM users WHERE lower(username) = lower($1)",
        username
    )
    .fetch_optional(db)
    .await
}

/// The user whose API token has that hash and is younger than `ttl`.
pub async fn by_token(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    ttl: Duration,
) -> sqlx::Result<Option<User>> {
    sqlx::query_as!(
        User,
        "SELECT id, username, is_admin FROM users
         WHERE token_hash = $1 AND token_created_at > now() - make_interval(secs => $2)",
        token_hash.as_slice(),
        ttl.as_secs_f64()
    )
    .fetch_optional(db)
    .await
}
