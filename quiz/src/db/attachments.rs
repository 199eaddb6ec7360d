//! Rows of `attachments`: one per distinct file, named by its content, whoever refers to it.
//!
//! `released_at` is a hint for the sweep and nothing more: it is set whenever nothing may refer to the row, and the sweep
//! looks for references itself before it believes it. So it may be set too often, and never too rarely.

use sqlx::{PgConnection, PgExecutor};

/// A file on its way to the store.
#[derive(Clone, Debug)]
pub struct New {
    pub image_id: String,
    pub mime: &'static str,
    /// Width and height in pixels; videos and documents have none.
    pub size: Option<(i32, i32)>,
}

/// The id of the row of a file, made unless it exists. From now on the sweep leaves it alone for its grace period: time
/// to store the bytes and to [`claim`] the row. Waits while the sweep removes a row of that name.
pub async fn pin(db: impl PgExecutor<'_>, new: &New) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO attachments (image_id, mime, width, height) VALUES ($1, $2, $3, $4)
         ON CONFLICT (image_id) DO UPDATE SET released_at = now()
         RETURNING id",
        new.image_id,
        new.mime,
        new.size.map(|(width, _)| width),
        new.size.map(|(_, height)| height)
    )
    .fetch_one(db)
    .await
}

/// Tells that the store has a thumbnail of that picture.
pub async fn set_thumbnail(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE attachments SET thumbnail = true WHERE id = $1", id)
        .execute(db)
        .await?;
    Ok(())
}

/// To be called in the transaction that makes a quiz or a user refer to the row, before or after. It is
/// [`sqlx::Error::RowNotFound`] when the row has gone, which takes a request that lasts longer than the grace period.
pub async fn claim(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    let done = sqlx::query!(
        "UPDATE attachments SET released_at = NULL WHERE id = $1",
        id
    )
    .execute(db)
    .await?;
    match done.rows_affected() {
        0 => Err(sqlx::Error::RowNotFound),
        _ => Ok(()),
    }
}

/// To be called in the transaction that makes a quiz or a user refer to the row no longer, before or after. Others may
/// still refer to it: two that let go at the same time cannot see each other, so that is for the sweep to find out.
pub async fn release(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE attachments SET released_at = now() WHERE id = $1",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Up to `limit` ids above `after`, in their order, of rows that were released at least `grace_secs` ago.
pub async fn released(
    db: impl PgExecutor<'_>,
    grace_secs: f64,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT id FROM attachments
         WHERE released_at <= now() - make_interval(secs => $1) AND id > $2
         ORDER BY id LIMIT $3",
        grace_secs,
        after,
        limit
    )
    .fetch_all(db)
    .await
}

/// The `image_id` of a row that was released at least `grace_secs` ago, locked until the transaction ends: nothing can
/// begin to refer to it. None when it was claimed or pinned meanwhile, or somebody else is about to.
pub async fn lock_released(
    db: &mut PgConnection,
    id: i64,
    grace_secs: f64,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT image_id FROM attachments
         WHERE id = $1 AND released_at <= now() - make_interval(secs => $2)
         FOR UPDATE SKIP LOCKED",
        id,
        grace_secs
    )
    .fetch_optional(db)
    .await
}

/// Does a quiz or a user refer to the row?
pub async fn is_referenced(db: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT (EXISTS (SELECT FROM quizzes WHERE attachment_id = $1)
                OR EXISTS (SELECT FROM users WHERE photo_id = $1)) AS "referenced!""#,
        id
    )
    .fetch_one(db)
    .await
}

/// Removes a row that is locked and that nothing refers to.
pub async fn remove(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM attachments WHERE id = $1", id)
        .execute(db)
        .await?;
    Ok(())
}
