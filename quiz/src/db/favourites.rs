//! Rows of `favourites`. A trigger counts them in `quizzes.likes`.

use sqlx::PgExecutor;

/// Makes a quiz a favourite of a user; false when there is no such quiz. Doing it again changes nothing.
pub async fn add(db: impl PgExecutor<'_>, user_id: i64, quiz_id: i64) -> sqlx::Result<bool> {
    // The locks keep both rows until the favourite refers to them: who waits for a deletion finds nothing, instead of
    // failing. They are taken in the order in which they are named.
    sqlx::query_scalar!(
        r#"WITH found AS (
               SELECT quizzes.id AS quiz_id, users.id AS user_id FROM users, quizzes
               WHERE quizzes.id = $2 AND users.id = $1
               FOR KEY SHARE OF users FOR NO KEY UPDATE OF quizzes
           ), added AS (
               INSERT INTO favourites (user_id, quiz_id) SELECT user_id, quiz_id FROM found
               ON CONFLICT DO NOTHING
           )
           SELECT EXISTS (SELECT 1 FROM found) AS "found!""#,
        user_id,
        quiz_id
    )
    .fetch_one(db)
    .await
}

/// Makes a quiz no favourite of a user; false when there is no such quiz. Doing it again changes nothing.
pub async fn remove(db: impl PgExecutor<'_>, user_id: i64, quiz_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"WITH found AS (
               SELECT id FROM quizzes WHERE id = $2 FOR NO KEY UPDATE
           ), removed AS (
               DELETE FROM favourites USING found WHERE user_id = $1 AND quiz_id = found.id
           )
           SELECT EXISTS (SELECT 1 FROM found) AS "found!""#,
        user_id,
        quiz_id
    )
    .fetch_one(db)
    .await
}
