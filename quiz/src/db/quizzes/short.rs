//! Searches that the index of trigrams does not help: without three letters or digits in a row, or among favourites, whose
//! number is bounded by nothing else. Only the newest quizzes are looked at, whichever the order, so one statement sorts
//! them all ways.

use sqlx::PgExecutor;

use super::listed::{Length, Listed, Most, Scope, counted, filtered, listed};
use crate::domain::search::{Cursor, Query, Sort};

/// Is the list one of these?
pub(crate) fn concerns(query: &Query, scope: Scope) -> bool {
    query.is_short() || (query.search.is_some() && among_favourites(query, scope).is_some())
}

/// Whose favourites are searched.
fn among_favourites(query: &Query, scope: Scope) -> Option<i64> {
    scope.viewer.filter(|_| query.favourites)
}

/// What is looked at, filtered, and sorted by `likes * $9` and `id * $10`, whose signs make the order: 0 leaves one out.
macro_rules! stretch {
    ($filter:tt, $newest:tt, $bounds:expr) => {
        listed!(
            ["SELECT quizzes.* FROM (" + $newest + " LIMIT $8) AS quizzes " + $filter
                + " AND ($6::bigint IS NULL
                         OR (quizzes.likes * $9::integer, quizzes.id * $10::integer) < ($7::integer * $9, $6 * $10))
                    ORDER BY quizzes.likes * $9 DESC, quizzes.id * $10 DESC LIMIT $4 OFFSET $5"],
            "quizzes.likes * $9 DESC, quizzes.id * $10 DESC",
            $bounds.scope.viewer,
            $bounds.query.search,
            $bounds.scope.author,
            $bounds.most.rows,
            $bounds.offset,
            $bounds.id,
            $bounds.likes,
            $bounds.most.searched,
            $bounds.signs.0,
            $bounds.signs.1
        )
        .fetch_all($bounds.db)
        .await
    };
}

struct Bounds<'a, E> {
    db: E,
    query: &'a Query,
    scope: Scope,
    most: Most,
    offset: i64,
    /// The cursor.
    id: Option<i64>,
    likes: Option<i32>,
    /// Of likes and of ids.
    signs: (i32, i32),
}

/// As [`super::list`].
pub(super) async fn list(
    db: impl PgExecutor<'_>,
    query: &Query,
    scope: Scope,
    most: Most,
) -> sqlx::Result<Vec<Listed>> {
    let (likes, ids) = match query.sort {
        Sort::Newest => (0, 1),
        Sort::Oldest => (0, -1),
        Sort::Liked => (1, 1),
    };
    let (direction, key, offset) = match query.cursor {
        None => (1, None, query.pageno.offset()),
        Some(Cursor::After(key)) => (1, Some(key), 0),
        Some(Cursor::Before(key)) => (-1, Some(key), 0),
    };
    let bounds = Bounds {
        db,
        query,
        scope,
        most,
        offset,
        id: key.map(|key| key.id),
        likes: key.map(|key| key.likes),
        signs: (likes * direction, ids * direction),
    };
    let mut rows = if among_favourites(query, scope).is_some() {
        filtered!(
            stretch,
            // One look-up for each favourite. A plain join makes the planner walk all quizzes between the oldest and the
            // newest of them, or all that have the words.
            "SELECT quizzes.* FROM (SELECT quiz_id FROM favourites WHERE user_id = $1 ORDER BY quiz_id DESC LIMIT $8) AS own,
             LATERAL (SELECT * FROM quizzes WHERE id = own.quiz_id LIMIT 1) AS quizzes",
            bounds
        )
    } else {
        filtered!(
            stretch,
            "SELECT * FROM quizzes WHERE $3::bigint IS NULL OR author_id = $3 ORDER BY id DESC",
            bounds
        )
    }?;
    if direction < 0 {
        rows.reverse();
    }
    Ok(rows)
}

/// As [`super::length`].
pub(super) async fn length(
    db: impl PgExecutor<'_>,
    query: &Query,
    scope: Scope,
    most: Most,
) -> sqlx::Result<Length> {
    let search = query.search.as_deref();
    if let Some(viewer) = among_favourites(query, scope) {
        filtered!(
            counted,
            "(SELECT quiz_id FROM favourites WHERE user_id = $5 ORDER BY quiz_id DESC LIMIT $4) AS own,
             LATERAL (SELECT * FROM quizzes WHERE id = own.quiz_id LIMIT 1) AS quizzes ",
            most.rows,
            search,
            scope.author,
            most.searched,
            viewer
        )
        .fetch_one(db)
        .await
    } else {
        filtered!(
            counted,
            "(SELECT * FROM quizzes WHERE $3::bigint IS NULL OR author_id = $3 ORDER BY id DESC LIMIT $4) AS quizzes ",
            most.rows,
            search,
            scope.author,
            most.searched
        )
        .fetch_one(db)
        .await
    }
}
