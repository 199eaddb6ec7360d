//! Rows of `users`, read. What changes them is in [`change`]. Names are compared without regard to case everywhere.

use std::time::Duration;

use sqlx::PgExecutor;
use time::OffsetDateTime;

use crate::attachments::View;

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
    /// How many the user has published.
    pub quizzes: i32,
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
    pub photo_width: Option<i32>,
    pub photo_height: Option<i32>,
}

impl Profile {
    /// Does the user log in with a password of this site?
    pub fn is_local(&self) -> bool {
        self.provider.is_none()
    }

    /// How the photo is shown.
    pub fn photo_view(&self) -> Option<View> {
        View::new(
            self.photo.as_deref(),
            self.photo_width,
            self.photo_height,
            self.photo_thumbnail.unwrap_or(false),
        )
    }

    /// What the user is called where the account comes from.
    pub fn profile_name(&self) -> &str {
        self.profile_name.as_deref().unwrap_or(&self.username)
    }

    /// The first letter of the name, in place of a photo.
    pub fn initial(&self) -> String {
        self.username
            .chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .collect()
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

/// A name that somebody logs in with.
pub struct Named {
    /// As the database compares it: one for all spellings that lead to one user, whether there is that user or not.
    pub folded: String,
    pub user: Option<Credentials>,
}

/// Profiles, selected by what follows the joins.
macro_rules! profiles {
    ($rest:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            Profile,
            r#"SELECT users.id, users.username, users.is_admin, users.created_at, users.quizzes,
                      users.best_score,
                      identities.provider AS "provider?", identities.subject AS "subject?",
                      identities.profile_name AS "profile_name?", attachments.image_id AS "photo?",
                      attachments.mime AS "photo_mime?", attachments.thumbnail AS "photo_thumbnail?",
                      attachments.width AS "photo_width?", attachments.height AS "photo_height?"
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

/// When the API token of the user was made; none when there is no token.
pub async fn token_created_at(
    db: impl PgExecutor<'_>,
    id: i64,
) -> sqlx::Result<Option<OffsetDateTime>> {
    let found = sqlx::query_scalar!("SELECT token_created_at FROM users WHERE id = $1", id)
        .fetch_optional(db)
        .await?;
    Ok(found.flatten())
}

/// The users that `viewer` may find in a list: all of them for an admin, else those who published a quiz (their names are
/// on the quizzes anyway) and the viewer. In the order of their names, after the name `span.after`.
pub async fn list(
    db: impl PgExecutor<'_>,
    viewer: &User,
    span: Span<'_>,
) -> sqlx::Result<Vec<Profile>> {
    profiles!(
        "WHERE ($1 OR users.id = $2 OR users.quizzes > 0)
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

/// The last `limit` users of the list that come before a name, in the order of the list.
pub async fn list_before(
    db: impl PgExecutor<'_>,
    viewer: &User,
    before: &str,
    limit: i64,
) -> sqlx::Result<Vec<Profile>> {
    let mut users = profiles!(
        "WHERE ($1 OR users.id = $2 OR users.quizzes > 0)
           AND lower(users.username) < lower($3)
         ORDER BY lower(users.username) DESC
         LIMIT $4",
        viewer.is_admin,
        viewer.id,
        before,
        limit
    )
    .fetch_all(db)
    .await?;
    users.reverse();
    Ok(users)
}

/// How many users are in the list of `viewer`; counts to `most` and no further.
pub async fn count(db: impl PgExecutor<'_>, viewer: &User, most: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT 1 FROM users
               WHERE $1 OR id = $2 OR users.quizzes > 0
               LIMIT $3
           ) AS counted"#,
        viewer.is_admin,
        viewer.id,
        most
    )
    .fetch_one(db)
    .await
}

/// Is there a user of that name?
pub async fn is_taken(db: impl PgExecutor<'_>, username: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM users WHERE lower(username) = lower($1)) AS "taken!""#,
        username
    )
    .fetch_one(db)
    .await
}

/// Whom a name stands for.
pub async fn named(db: impl PgExecutor<'_>, username: &str) -> sqlx::Result<Named> {
    let row = sqlx::query!(
        r#"SELECT typed.folded AS "folded!", users.id AS "id?", users.password_hash
           FROM (SELECT lower($1) AS folded) AS typed
           LEFT JOIN users ON lower(users.username) = typed.folded"#,
        username
    )
    .fetch_one(db)
    .await?;
    let password_hash = row.password_hash;
    Ok(Named {
        folded: row.folded,
        user: row.id.map(|user_id| Credentials {
            user_id,
            password_hash,
        }),
    })
}

/// The hash of the password of the user of that id, who may have none.
pub async fn password_hash(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<String>> {
    let found = sqlx::query_scalar!("SELECT password_hash FROM users WHERE id = $1", id)
        .fetch_optional(db)
        .await?;
    Ok(found.flatten())
}

/// Was the photo of the user of that id changed within the pause?
pub async fn photo_is_recent(
    db: impl PgExecutor<'_>,
    id: i64,
    pause_secs: f64,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(photo_changed_at > now() - make_interval(secs => $2), false) AS "is_recent!"
           FROM users WHERE id = $1"#,
        id,
        pause_secs
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
