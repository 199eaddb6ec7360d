//! Quizzes as lists, players and the API see them: with everything but the answer, each list in one statement.
//!
//! The planner has to see the values: with them it knows that an absent filter is none, and how rare a search is.
//! [`pool`](crate::db::pool) therefore asks PostgreSQL to plan every execution anew.

use sqlx::PgExecutor;

use super::short;
use crate::attachments::View;
use crate::domain::search::{Cursor, Query, Sort};

/// What everybody may know of a quiz; never its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: i64,
    pub question: String,
    /// None when the account has gone; then there is nothing else about the author either.
    pub author_id: Option<i64>,
    /// The user name.
    pub author: Option<String>,
    pub author_is_admin: Option<bool>,
    /// The site that the author signs in with, and who the author is there; none for a local account.
    pub author_provider: Option<String>,
    pub author_subject: Option<String>,
    pub author_profile_name: Option<String>,
    /// The author's photo, as the columns of `attachments` have it.
    pub photo_image_id: Option<String>,
    pub photo_mime: Option<String>,
    pub photo_thumbnail: Option<bool>,
    /// The attachment, as the columns of `attachments` have it.
    pub image_id: Option<String>,
    pub mime: Option<String>,
    pub thumbnail: Option<bool>,
    pub width: Option<i32>,
    pub height: Option<i32>,
    /// How many users have it among their favourites.
    pub likes: i32,
    /// Is it a favourite of the viewer?
    pub favourite: bool,
}

impl Listed {
    /// How a page shows the attachment.
    pub fn attachment(&self) -> Option<View> {
        let thumbnail = self.thumbnail.unwrap_or_default();
        View::new(self.image_id.as_deref(), self.width, self.height, thumbnail)
    }
}

/// A quiz with its answer: for its author, for an admin, for checking, and for the API's ten to learn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub quiz: Listed,
    pub answer: String,
}

/// The text of both queries below: `$head` and `$more` are where they differ.
macro_rules! selected {
    ($macro:ident [$($head:tt)*], $more:tt, [$($picked:tt)+], $order:tt, $viewer:expr $(, $argument:expr)*) => {
        sqlx::$macro!(
            $($head)*
            r#"SELECT quizzes.id AS "id!", quizzes.question AS "question!",
                      quizzes.author_id AS "author_id?", users.username AS "author?",
                      users.is_admin AS "author_is_admin?",
                      identities.provider AS "author_provider?", identities.subject AS "author_subject?",
                      identities.profile_name AS "author_profile_name?",
                      photos.image_id AS "photo_image_id?", photos.mime AS "photo_mime?",
                      photos.thumbnail AS "photo_thumbnail?",
                      attachments.image_id AS "image_id?", attachments.mime AS "mime?",
                      attachments.thumbnail AS "thumbnail?", attachments.width AS "width?",
                      attachments.height AS "height?",
                      quizzes.likes AS "likes!", own.quiz_id IS NOT NULL AS "favourite!""#
            + $more
            + " FROM (" + $($picked)+ + r#") AS quizzes
               LEFT JOIN users ON users.id = quizzes.author_id
               LEFT JOIN identities ON identities.user_id = quizzes.author_id
               LEFT JOIN attachments AS photos ON photos.id = users.photo_id
               LEFT JOIN attachments ON attachments.id = quizzes.attachment_id
               LEFT JOIN favourites AS own ON own.user_id = $1::bigint AND own.quiz_id = quizzes.id
               ORDER BY "# + $order,
            $viewer as Option<i64>
            $(, $argument)*
        )
    };
}
pub(crate) use selected;

/// A query for rows of [`Listed`], as `sqlx::query_as!` makes it:
/// `listed!(["SELECT * FROM quizzes WHERE " + "id = $2"], "quizzes.id", viewer, id)`.
///
/// First what picks the quizzes, as literals: a query with the columns of `quizzes`, with its own `ORDER BY` and `LIMIT`.
/// Then the order of the result, as a literal: columns of `quizzes`. Then the arguments: `$1` is the id of the viewer.
macro_rules! listed {
    ($($query:tt)+) => {
        $crate::db::quizzes::listed::selected!(query_as [$crate::db::quizzes::Listed,], "", $($query)+)
    };
}
pub(crate) use listed;

/// Like [`listed!`], for rows of [`Answered`].
macro_rules! answered {
    ($($query:tt)+) => {
        $crate::db::quizzes::listed::selected!(query [], r#", quizzes.answer AS "answer!""#, $($query)+).map(|row| {
            $crate::db::quizzes::Answered {
                quiz: $crate::db::quizzes::Listed {
                    id: row.id,
                    question: row.question,
                    author_id: row.author_id,
                    author: row.author,
                    author_is_admin: row.author_is_admin,
                    author_provider: row.author_provider,
                    author_subject: row.author_subject,
                    author_profile_name: row.author_profile_name,
                    photo_image_id: row.photo_image_id,
                    photo_mime: row.photo_mime,
                    photo_thumbnail: row.photo_thumbnail,
                    image_id: row.image_id,
                    mime: row.mime,
                    thumbnail: row.thumbnail,
                    width: row.width,
                    height: row.height,
                    likes: row.likes,
                    favourite: row.favourite,
                },
                answer: row.answer,
            }
        })
    };
}
pub(crate) use answered;

/// Whose list it is, and who reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// Who is logged in.
    pub viewer: Option<i64>,
    /// Only the quizzes of this user.
    pub author: Option<i64>,
}

/// How much of a list is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// What is read or counted.
    pub rows: i64,
    /// What a search looks at that no index helps.
    pub searched: i64,
}

/// Hands the restrictions of a list to another macro: `$2` is the search, `$3` the author. A search is folded as the
/// column is, and only then taken literally: folding makes a plain `%` of a wide one.
macro_rules! filtered {
    ($macro:ident, $($rest:tt)*) => {
        $macro!(
            r"WHERE ($3::bigint IS NULL OR quizzes.author_id = $3)
                AND ($2::text IS NULL OR quizzes.folded LIKE
                     '%' || translate(regexp_replace(quiz_fold($2), '[\\%_]', '\\\&', 'g'), ' ', '%') || '%')",
            $($rest)*
        )
    };
}
pub(super) use filtered;

/// One stretch of a list: where rows come from, what lies beyond the cursor, the order, and the cursor's arguments.
macro_rules! stretch {
    ($filter:tt, $from:tt, $beyond:tt, $order:tt, $bounds:expr $(, $key:expr)+) => {
        listed!(
            ["SELECT quizzes.* FROM " + $from + $filter + $beyond + " ORDER BY " + $order + " LIMIT $4 OFFSET $5"],
            $order,
            $bounds.scope.viewer,
            $bounds.search,
            $bounds.scope.author,
            $bounds.limit,
            $bounds.offset
            $(, $key)+
        )
        .fetch_all($bounds.db)
        .await
    };
}

/// The four orders in which one can walk, each a walk along an index.
macro_rules! walk {
    ($order:expr, $from:tt, $bounds:expr, $id:expr, $likes:expr) => {
        match $order {
            (Sort::Newest, Forward) | (Sort::Oldest, Backward) => filtered!(
                stretch,
                $from,
                " AND ($6::bigint IS NULL OR quizzes.id < $6)",
                "quizzes.id DESC",
                $bounds,
                $id
            ),
            (Sort::Oldest, Forward) | (Sort::Newest, Backward) => filtered!(
                stretch,
                $from,
                " AND ($6::bigint IS NULL OR quizzes.id > $6)",
                "quizzes.id",
                $bounds,
                $id
            ),
            (Sort::Liked, Forward) => filtered!(
                stretch,
                $from,
                " AND ($6::bigint IS NULL OR (quizzes.likes, quizzes.id) < ($7::integer, $6))",
                "quizzes.likes DESC, quizzes.id DESC",
                $bounds,
                $id,
                $likes
            ),
            (Sort::Liked, Backward) => filtered!(
                stretch,
                $from,
                " AND ($6::bigint IS NULL OR (quizzes.likes, quizzes.id) > ($7::integer, $6))",
                "quizzes.likes, quizzes.id",
                $bounds,
                $id,
                $likes
            ),
        }
    };
}

/// Which way a list is walked: backward to find the page before a row.
#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Backward,
}
use Direction::{Backward, Forward};

/// What all stretches have in common.
struct Bounds<'a, E> {
    db: E,
    search: Option<&'a str>,
    scope: Scope,
    limit: i64,
    offset: i64,
}

/// Quizzes of a list: those of the page, or the ones next to the cursor, in the order of the list.
pub async fn list(
    db: impl PgExecutor<'_>,
    query: &Query,
    scope: Scope,
    most: Most,
) -> sqlx::Result<Vec<Listed>> {
    if short::concerns(query, scope) {
        return short::list(db, query, scope, most).await;
    }
    let (direction, key, offset) = match query.cursor {
        None => (Forward, None, query.pageno.offset()),
        Some(Cursor::After(key)) => (Forward, Some(key), 0),
        Some(Cursor::Before(key)) => (Backward, Some(key), 0),
    };
    let bounds = Bounds {
        db,
        search: query.search.as_deref(),
        scope,
        limit: most.rows,
        offset,
    };
    let (id, likes) = (key.map(|key| key.id), key.map(|key| key.likes));
    let order = (query.sort, direction);
    let mut rows = match scope.viewer {
        Some(_) if query.favourites => walk!(
            order,
            "favourites JOIN quizzes ON favourites.user_id = $1 AND quizzes.id = favourites.quiz_id ",
            bounds,
            id,
            likes
        ),
        _ => walk!(order, "quizzes ", bounds, id, likes),
    }?;
    if let Backward = direction {
        rows.reverse();
    }
    Ok(rows)
}

/// How long a list is, counted up to a limit, and the user name of its author.
pub struct Length {
    pub count: i64,
    /// None also when the scope names no author.
    pub author: Option<String>,
}

macro_rules! counted {
    ($filter:tt, $from:tt $(, $argument:expr)+) => {
        sqlx::query_as!(
            Length,
            r#"SELECT (SELECT count(*) FROM (SELECT 1 FROM "# + $from + $filter + r#" LIMIT $1) AS counted) AS "count!",
                      (SELECT username FROM users WHERE users.id = $3) AS author"#
            $(, $argument)+
        )
    };
}
pub(super) use counted;

/// The length of a list. Nothing beyond `most.rows` is counted, so a long list costs no more than a short one.
pub async fn length(
    db: impl PgExecutor<'_>,
    query: &Query,
    scope: Scope,
    most: Most,
) -> sqlx::Result<Length> {
    if short::concerns(query, scope) {
        return short::length(db, query, scope, most).await;
    }
    let limit = most.rows;
    let search = query.search.as_deref();
    match scope.viewer {
        Some(viewer) if query.favourites => {
            filtered!(
                counted,
                "favourites JOIN quizzes ON favourites.user_id = $4 AND quizzes.id = favourites.quiz_id ",
                limit,
                search,
                scope.author,
                viewer
            )
            .fetch_one(db)
            .await
        }
        _ => {
            filtered!(
                counted,
                "quizzes ",
                limit,
                search,
                scope.author
            )
            .fetch_one(db)
            .await
        }
    }
}
