//! Rows of `throttles`: rate limits that all front-ends share, by the generic cell rate algorithm (ATM Forum, Traffic
//! Management Specification 4.0, 4.4.3). A key is one number, the moment at which it is as good as new.

use std::time::Duration;

use sqlx::PgExecutor;

/// How fast a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time that one use costs.
    pub step: Duration,
    /// Time that may be used in advance: so many steps at once.
    pub burst: Duration,
}

/// Uses a key once; if it has been used too much already, tells how long to wait, and nothing has changed.
///
/// Right whatever runs at the same time: the row is looked at and moved under its lock. The time to wait is a guess then.
pub async fn take(
    db: impl PgExecutor<'_>,
    key: &[u8; 32],
    pace: Pace,
) -> sqlx::Result<Result<(), Duration>> {
    let wait = sqlx::query_scalar!(
        r#"WITH taken AS (
               INSERT INTO throttles AS known (key, free_at) VALUES ($1, now() + make_interval(secs => $2))
               ON CONFLICT (key) DO UPDATE SET free_at = greatest(known.free_at, now()) + make_interval(secs => $2)
               WHERE greatest(known.free_at, now()) + make_interval(secs => $2) <= now() + make_interval(secs => $3)
               RETURNING key
           )
           SELECT CASE WHEN NOT EXISTS (SELECT FROM taken) THEN coalesce(
               (SELECT extract(epoch FROM free_at - now())::float8 + $2 - $3 FROM throttles WHERE key = $1), $2)
           END AS wait"#,
        key.as_slice(),
        pace.step.as_secs_f64(),
        pace.burst.as_secs_f64()
    )
    .fetch_one(db)
    .await?;
    Ok(match wait {
        None => Ok(()),
        Some(secs) => Err(Duration::try_from_secs_f64(secs).unwrap_or_default()),
    })
}

/// Undoes one use of a key.
pub async fn give_back(db: impl PgExecutor<'_>, key: &[u8; 32], pace: Pace) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE throttles SET free_at = free_at - make_interval(secs => $2) WHERE key = $1",
        key.as_slice(),
        pace.step.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets all uses of a key.
pub async fn forget(db: impl PgExecutor<'_>, key: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM throttles WHERE key = $1", key.as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// Removes the keys that are as good as new and tells how many there were.
pub async fn purge(db: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    let done = sqlx::query!("DELETE FROM throttles WHERE free_at <= now()")
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}
