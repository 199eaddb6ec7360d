//! Rows of `quizzes`.

use sqlx::{PgConnection, PgExecutor};

use self::listed::{answered, listed};
use super::attachments;
use crate::domain::quiz::Texts;

mod chance;
pub(crate) mod listed;
mod short;

pub use chance::by_chance;
pub use listed::{Answered, Length, Listed, Most, Scope, length, list};
pub(crate) use short::concerns as is_cut;

/// The `limit` youngest quizzes, the youngest first.
pub async fn newest(
    db: impl PgExecutor<'_>,
    viewer: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Listed>> {
    listed!(
        ["SELECT * FROM quizzes ORDER BY id DESC LIMIT $2"],
        "quizzes.id DESC",
        viewer,
        limit
    )
    .fetch_all(db)
    .await
}

/// The quiz of that id.
pub async fn find_listed(
    db: impl PgExecutor<'_>,
    id: i64,
    viewer: Option<i64>,
) -> sqlx::Result<Option<Listed>> {
    listed!(
        ["SELECT * FROM quizzes WHERE id = $2"],
        "quizzes.id",
        viewer,
        id
    )
    .fetch_optional(db)
    .await
}

/// The quiz of that id and its answer.
pub async fn find(
    db: impl PgExecutor<'_>,
    id: i64,
    viewer: Option<i64>,
) -> sqlx::Result<Option<Answered>> {
    answered!(
        ["SELECT * FROM quizzes WHERE id = $2"],
        "quizzes.id",
        viewer,
        id
    )
    .fetch_optional(db)
    .await
}

/// The id of the quiz that follows `id`.
pub async fn next_after(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "SELECT id FROM quizzes WHERE id > $1 ORDER BY id LIMIT 1",
        id
    )
    .fetch_optional(db)
    .await
}

/// Adds a quiz and tells its id. Run it in a transaction: its attachment is claimed together with it or not at all. The
/// author must be [locked](super::users::change::lock_author).
pub async fn create(
    db: &mut PgConnection,
    texts: &Texts,
    author_id: Option<i64>,
    attachment_id: Option<i64>,
) -> sqlx::Result<i64> {
    let id = sqlx::query_scalar!(
        "INSERT INTO quizzes (question, answer, author_id, attachment_id, attachment_changed_at)
         VALUES ($1, $2, $3, $4, CASE WHEN $4::bigint IS NOT NULL THEN now() END) RETURNING id",
        texts.question,
        texts.answer,
        author_id,
        attachment_id
    )
    .fetch_one(&mut *db)
    .await?;
    if let Some(attachment_id) = attachment_id {
        attachments::claim(db, attachment_id).await?;
    }
    Ok(id)
}

/// The attachment that a quiz has.
pub struct Current {
    pub id: Option<i64>,
    /// Was it attached less than a minute ago?
    pub is_fresh: bool,
}

/// Changes the texts of a quiz and tells its attachment, which stays as it is until the end of the transaction unless
/// [`set_attachment`] changes it. None when there is no such quiz.
pub async fn update(
    db: &mut PgConnection,
    id: i64,
    texts: &Texts,
) -> sqlx::Result<Option<Current>> {
    sqlx::query_as!(
        Current,
        r#"UPDATE quizzes SET question = $2, answer = $3, updated_at = now() WHERE id = $1
           RETURNING attachment_id AS id,
                     attachment_id IS NOT NULL
                     AND COALESCE(attachment_changed_at > now() - interval '1 minute', false) AS "is_fresh!""#,
        id,
        texts.question,
        texts.answer
    )
    .fetch_optional(db)
    .await
}

/// Does the quiz have an attachment that was attached less than a minute ago?
pub async fn attachment_is_fresh(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM quizzes WHERE id = $1 AND attachment_id IS NOT NULL
               AND attachment_changed_at > now() - interval '1 minute'
           ) AS "is_fresh!""#,
        id
    )
    .fetch_one(db)
    .await
}

/// Gives a quiz another attachment, or none. To be called in the transaction of [`update`].
pub async fn set_attachment(
    db: &mut PgConnection,
    id: i64,
    old: Option<i64>,
    new: Option<i64>,
) -> sqlx::Result<()> {
    attachments::replace(&mut *db, old, new).await?;
    sqlx::query!(
        "UPDATE quizzes SET attachment_id = $2, attachment_changed_at = now() WHERE id = $1",
        id,
        new
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes a quiz; `false` when there is none. Favourites and open games let go of it by themselves.
pub async fn delete(db: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
    // The author comes before the quiz, and the trigger that counts would lock them the other way round.
    sqlx::query!(
        "SELECT users.id FROM users JOIN quizzes ON quizzes.author_id = users.id
         WHERE quizzes.id = $1 FOR NO KEY UPDATE OF users",
        id
    )
    .fetch_optional(&mut *db)
    .await?;
    let deleted = sqlx::query_scalar!(
        "DELETE FROM quizzes WHERE id = $1 RETURNING attachment_id",
        id
    )
    .fetch_optional(&mut *db)
    .await?;
    if let Some(Some(attachment_id)) = deleted {
        attachments::release(db, attachment_id).await?;
    }
    Ok(deleted.is_some())
}
