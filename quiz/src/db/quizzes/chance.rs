//! Quizzes by chance, outside of a game.

use sqlx::PgExecutor;

use super::Answered;
use super::listed::answered;

/// Up to `limit` different quizzes, drawn from the neighbourhoods of as many random points as there are quizzes to draw,
/// in random order. All of them when there are not more than `limit`, which is ten at most.
///
/// A neighbourhood is ten quizzes in the order of `random_key`, as in [`games::draw`](crate::db::games::draw): one step
/// in the index for each, however many quizzes there are.
pub async fn by_chance(
    db: impl PgExecutor<'_>,
    viewer: Option<i64>,
    limit: u8,
) -> sqlx::Result<Vec<Answered>> {
    let points: Vec<f64> = (0..limit).map(|_| rand::random()).collect();
    answered!(
        ["SELECT * FROM quizzes WHERE id IN (
              SELECT near.id FROM unnest($2::double precision[]) AS points (point), LATERAL (
                  (SELECT id FROM quizzes WHERE random_key >= point ORDER BY random_key, id LIMIT 10)
                  UNION ALL
                  (SELECT id FROM quizzes WHERE random_key < point ORDER BY random_key, id LIMIT 10)
                  LIMIT 10
              ) AS near
          )
          ORDER BY random() LIMIT $3"],
        "random()",
        viewer,
        &points,
        i64::from(limit)
    )
    .fetch_all(db)
    .await
}
