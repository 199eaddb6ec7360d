//! Removes files that nothing refers to. Several front-ends may sweep at the same time.
//!
//! # Why it never takes a file away from somebody
//!
//! A row that has been released for the grace period is locked, `FOR UPDATE`. A quiz or a user that begins to refer to a
//! row holds a lock on it until its transaction ends (the foreign key takes it, `FOR KEY SHARE`), and so does
//! [`claim`](crate::db::attachments::claim). A row that such a transaction holds is passed over. Once the lock is ours, no
//! new reference can appear, and a statement that begins now sees all that were committed before. If there is one, the row
//! was not free at all, and is told so. If there is none, the row is given up, and that is committed before the store is
//! asked to delete anything: nothing can refer to it from then on.
//!
//! An upload of the same content makes a row of its own ([`pin`](crate::db::attachments::pin)) with a name of its own. So no
//! name is ever used again once a deletion of it may be under way, and a store that carries one out late, long after we
//! have stopped waiting for it, takes nothing that is needed. An upload that has its row and has not been referred to yet
//! is protected by the grace period, which is longer than any request.
//!
//! A sweep that dies half-way, or a store that refuses, leaves a row that has been given up: the next sweep goes on with it.

use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::db::{self, attachments};
use crate::error::Error;
use crate::images::ImageId;

/// Rows looked at in one go.
const BATCH: i64 = 100;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Removed,
    /// Something refers to it, or is about to.
    Kept,
}

/// Sweeps every [`sweep`](super::AttachmentConfig::sweep), for ever.
pub async fn for_ever(app: App) {
    let mut ticks = tokio::time::interval(app.config.attachments.sweep);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match sweep(&app).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed files that nothing referred to"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "could not remove files that nothing refers to");
            }
        }
    }
}

/// Looks at every row that has been released for long enough, and tells how many files it removed.
async fn sweep(app: &App) -> Result<u64, Error> {
    let grace_secs = app.config.attachments.sweep_grace.as_secs_f64();
    let (mut last, mut removed) = (0, 0);
    loop {
        let ids = attachments::released(&app.db, grace_secs, last, BATCH).await?;
        let Some(&highest) = ids.last() else {
            return Ok(removed);
        };
        last = highest;
        for id in ids {
            match examine(app, id, grace_secs).await {
                Ok(Outcome::Removed) => removed += 1,
                Ok(Outcome::Kept) => {}
                Err(error) if is_away(app, &error).await => return Err(error),
                // The next one may well be removed.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    attachment = id,
                    "could not remove a file that nothing refers to, the next sweep tries again"
                ),
            }
        }
    }
}

/// Is it of no use to go on? What fails with one file may be about that file alone.
async fn is_away(app: &App, error: &Error) -> bool {
    matches!(error, Error::Unavailable(_))
        && (db::ping(&app.db).await.is_err() || app.images.ready().await.is_err())
}

/// One row and its file.
async fn examine(app: &App, id: i64, grace_secs: f64) -> Result<Outcome, Error> {
    let Some(image_id) = give_up(app, id, grace_secs).await? else {
        return Ok(Outcome::Kept);
    };
    app.images.delete(&image_id).await?;
    // Also where the row knows of none: an upload may have stopped before it told.
    if let Some(thumbnail) = image_id.thumbnail() {
        app.images.delete(&thumbnail).await?;
    }
    attachments::remove(&app.db, id).await?;
    Ok(Outcome::Removed)
}

/// Gives a row up that nothing refers to, and tells the name of its file.
async fn give_up(app: &App, id: i64, grace_secs: f64) -> Result<Option<ImageId>, Error> {
    let mut transaction = app.db.begin().await?;
    let Some(image_id) = attachments::lock_released(&mut transaction, id, grace_secs).await? else {
        return Ok(None);
    };
    // A statement of its own: it has to begin after the lock is ours.
    if attachments::is_referenced(&mut transaction, id).await? {
        attachments::claim(&mut transaction, id).await?;
        transaction.commit().await?;
        return Ok(None);
    }
    let Ok(image_id) = image_id.parse() else {
        tracing::warn!(%image_id, "a file has a name that this release does not know, it stays");
        return Ok(None);
    };
    attachments::give_up(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(Some(image_id))
}
