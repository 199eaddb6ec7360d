//! Rows of `attachments`: one per distinct file, named by its content, whoever refers to it. A row that is being removed
//! counts no more: the same content gets another one, with another name.
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

/// The row of a file.
#[derive(Clone, Debug)]
pub struct Pinned {
    pub id: i64,
    /// The name under which the file is stored: that of [`New`], or an older one of the same content.
    pub image_id: String,
}

/// The row of a file, made unless there is one of the same content. From now on the sweep leaves it alone for its grace
/// period: time to store the bytes and to [`claim`] the row.
pub async fn pin(db: impl PgExecutor<'_>, new: &New) -> sqlx::Result<Pinned> {
    sqlx::query_as!(
        Pinned,
        r#"INSERT INTO attachments (image_id, mime, width, height) VALUES ($1, $2, $3, $4)
           ON CONFLICT ("left"(image_id, 64)) WHERE removed_at IS NULL DO UPDATE SET released_at = now()
           RETURNING id, image_id"#,
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
/// [`sqlx::Error::RowNotFound`] when the row has gone or is about to, which takes a request that lasts longer than the grace period.
pub async fn claim(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    let done = sqlx::query!(
        "UPDATE attachments SET released_at = NULL WHERE id = $1 AND removed_at IS NULL",
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

/// To be called in the transaction that makes a quiz or a user refer to `new` instead of `old`. In the order of their ids:
/// two that swap their files must not wait for each other.
pub async fn replace(
    db: &mut PgConnection,
    old: Option<i64>,
    new: Option<i64>,
) -> sqlx::Result<()> {
    let mut touched = [(old, false), (new, true)];
    touched.sort_unstable();
    for (id, claimed) in touched {
        match id {
            Some(id) if claimed => claim(&mut *db, id).await?,
            Some(id) => release(&mut *db, id).await?,
            None => {}
        }
    }
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

/// Gives a locked row up that nothing refers to: once this is committed, nothing can refer to it or use its name again.
pub async fn give_up(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE attachments SET removed_at = now() WHERE id = $1 AND removed_at IS NULL",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes a row that was [given up](give_up).
pub async fn remove(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM attachments WHERE id = $1 AND removed_at IS NOT NULL",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}
