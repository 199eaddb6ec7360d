//! Rows of `daily_quizzes`: how many quizzes a user has created on a day. Days are those of UTC by the clock of the database,
//! the one clock that all front-ends share. A user has one row: the one of yesterday goes with the first quiz of today.

use sqlx::{PgConnection, PgExecutor};

/// Has the user created `max` quizzes today?
pub async fn is_used_up(db: impl PgExecutor<'_>, user_id: i64, max: u32) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT COALESCE((
               SELECT created FROM daily_quizzes
               WHERE user_id = $1 AND day = (now() AT TIME ZONE 'UTC')::date
           ), 0) >= $2::bigint AS "used_up!""#,
        user_id,
        i64::from(max)
    )
    .fetch_one(db)
    .await
}

/// Counts one more quiz of today, unless there are `max` already: `false` then. To be called in the transaction that creates
/// the quiz; others of the user wait for its end, so that none is counted that is not created and none too many created.
pub async fn take(db: &mut PgConnection, user_id: i64, max: u32) -> sqlx::Result<bool> {
    let counted = sqlx::query!(
        "INSERT INTO daily_quizzes (user_id, day, created)
         SELECT $1, (now() AT TIME ZONE 'UTC')::date, 1 WHERE $2::bigint > 0
         ON CONFLICT (user_id, day) DO UPDATE SET created = daily_quizzes.created + 1
         WHERE daily_quizzes.created < $2::bigint",
        user_id,
        i64::from(max)
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "DELETE FROM daily_quizzes WHERE user_id = $1 AND day < (now() AT TIME ZONE 'UTC')::date",
        user_id
    )
    .execute(db)
    .await?;
    Ok(counted.rows_affected() == 1)
}
