//! Rows of `quizzes`.

use sqlx::{PgConnection, PgExecutor};

use self::listed::{answered, listed};
use super::attachments;
use crate::domain::quiz::Texts;

mod chance;
pub(crate) mod listed;

pub use chance::by_chance;
pub use listed::{Answered, Length, Listed, Scope, length, list};

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

/// Adds a quiz and tells its id. Run it in a transaction: its attachment is claimed together with it or not at all.
pub async fn create(
    db: &mut PgConnection,
    texts: &Texts,
    author_id: Option<i64>,
    attachment_id: Option<i64>,
) -> sqlx::Result<i64> {
    if let Some(id) = attachment_id {
        attachments::claim(&mut *db, id).await?;
    }
    sqlx::query_scalar!(
        "INSERT INTO quizzes (question, answer, author_id, attachment_id)
         VALUES ($1, $2, $3, $4) RETURNING id",
        texts.question,
        texts.answer,
        author_id,
        attachment_id
    )
    .fetch_one(db)
    .await
}
