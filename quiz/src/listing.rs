//! A page of a list of quizzes: read with one statement, however deep in the list it is.

use clap::Args;
use sqlx::PgExecutor;

use crate::db::quizzes::{self, Listed, Most, Scope};
use crate::domain::paging::PER_PAGE;
use crate::domain::search::{Cursor, Key, Query};

/// Settings of lists.
#[derive(Clone, Debug, Args)]
pub struct ListConfig {
    /// Pages of a list that can be reached by their number; the ones behind are reached page by page
    #[arg(id = "list_max_jump", long = "list-max-jump", env = "QUIZ_LIST_MAX_JUMP", value_name = "PAGES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_jump: u32,

    /// Newest quizzes of a list that a search looks at which no index helps: one without three letters or digits in a row,
    /// or among favourites
    #[arg(id = "list_short_search", long = "list-short-search", env = "QUIZ_LIST_SHORT_SEARCH", value_name = "QUIZZES", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub short_search: u32,
}

/// What is on a page, and where its neighbours are.
#[derive(Debug, Default)]
pub struct Page {
    /// At most [`PER_PAGE`].
    pub rows: Vec<Listed>,
    /// The place of the next page, when there is one.
    pub next: Option<Cursor>,
    /// The place of the page before, when there may be one.
    pub previous: Option<Cursor>,
    /// The page cannot be reached by its number.
    pub too_far: bool,
}

/// Reads the page that `query` asks for.
pub async fn read(
    db: impl PgExecutor<'_>,
    config: &ListConfig,
    query: &Query,
    scope: Scope,
) -> sqlx::Result<Page> {
    if query.cursor.is_none() && query.pageno.get() > config.max_jump {
        return Ok(Page {
            too_far: true,
            ..Page::default()
        });
    }
    // One row more than is shown tells whether the list goes on.
    let limit = PER_PAGE as usize;
    let most = Most {
        rows: i64::from(PER_PAGE) + 1,
        searched: i64::from(config.short_search),
    };
    let mut rows = quizzes::list(db, query, scope, most).await?;
    let goes_on = rows.len() > limit;
    let (has_next, has_previous) = match query.cursor {
        Some(Cursor::Before(_)) => {
            if goes_on {
                rows.remove(0);
            }
            (true, goes_on)
        }
        cursor => {
            rows.truncate(limit);
            (goes_on, cursor.is_some() || query.pageno.get() > 1)
        }
    };
    let next = rows.last().filter(|_| has_next).map(key).map(Cursor::After);
    let previous = rows.first().filter(|_| has_previous);
    Ok(Page {
        next,
        previous: previous.map(key).map(Cursor::Before),
        rows,
        too_far: false,
    })
}

fn key(row: &Listed) -> Key {
    Key {
        id: row.id,
        likes: row.likes,
    }
}
