//! Rows of `quizzes`. Every list is ordered by id: rows keep their page when they are edited.

use sqlx::{PgConnection, PgExecutor};

use super::attachments;
use crate::domain::quiz::Texts;

/// What a list shows of a quiz; never its answer.
pub struct Summary {
    pub id: i64,
    pub question: String,
    pub author_id: Option<i64>,
    pub author: Option<String>,
    pub has_picture: bool,
}

/// A quiz, answer included: for its author, for an admin, and for checking.
pub struct Quiz {
    pub id: i64,
    pub question: String,
    pub answer: String,
    pub author_id: Option<i64>,
    pub author: Option<String>,
    pub image_id: Option<String>,
}

/// `limit` quizzes after the first `offset`.
pub async fn page(db: impl PgExecutor<'_>, offset: i64, limit: i64) -> sqlx::Result<Vec<Summary>> {
    sqlx::query_as!(
        Summary,
        r#"SELECT quizzes.id, quizzes.question, quizzes.author_id, users.username AS "author?",
                  quizzes.attachment_id IS NOT NULL AS "has_picture!"
           FROM quizzes LEFT JOIN users ON users.id = quizzes.author_id
           ORDER BY quizzes.id
           LIMIT $1 OFFSET $2"#,
        limit,
        offset
    )
    .fetch_all(db)
    .await
}

/// The `limit` youngest quizzes, the youngest first.
pub async fn newest(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<Summary>> {
    sqlx::query_as!(
        Summary,
        r#"SELECT quizzes.id, quizzes.question, quizzes.author_id, users.username AS "author?",
                  quizzes.attachment_id IS NOT NULL AS "has_picture!"
           FROM quizzes LEFT JOIN users ON users.id = quizzes.author_id
           ORDER BY quizzes.id DESC
           LIMIT $1"#,
        limit
    )
    .fetch_all(db)
    .await
}

/// How many quizzes there are.
pub async fn count(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM quizzes"#)
        .fetch_one(db)
        .await
}

/// The quiz of that id.
pub async fn find(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Quiz>> {
    sqlx::query_as!(
        Quiz,
        r#"SELECT quizzes.id, quizzes.question, quizzes.answer, quizzes.author_id,
                  users.username AS "author?", attachments.image_id AS "image_id?"
           FROM quizzes
           LEFT JOIN users ON users.id = quizzes.author_id
           LEFT JOIN attachments ON attachments.id = quizzes.attachment_id
           WHERE quizzes.id = $1"#,
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
