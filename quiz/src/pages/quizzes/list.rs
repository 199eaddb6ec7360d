//! Lists of quizzes: all of them, and those of one author.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use sqlx::PgConnection;

use crate::app::App;
use crate::db;
use crate::db::quizzes::{Listed, Most, Scope};
use crate::domain::paging::{self, PER_PAGE};
use crate::domain::search::{self, Query, Sort};
use crate::error::Error;
use crate::listing::{self, ListConfig, Page};
use crate::pages::Id;
use crate::pages::paginator::{Paginator, Position};
use crate::params::Params;
use crate::visitor::{Layout, LoggedIn, Visitor};

#[derive(Template)]
#[template(path = "quizzes/list.html")]
struct List {
    page: Layout,
    title: String,
    /// Where the form of the search leads.
    path: String,
    query: Query,
    max_chars: usize,
    sorts: [Sort; 3],
    quizzes: Vec<Listed>,
    total: Total,
    /// The search looked at the newest quizzes only: at so many.
    searched: Option<u32>,
    pages: Pages,
    pager: Paginator,
}

/// How many quizzes the list has, as far as they are counted.
#[derive(Clone, Copy)]
struct Total {
    /// At most what the pages hold that can be reached by their number.
    count: i64,
    more: bool,
}

/// The number of this page among those of the list.
struct Pages {
    current: u32,
    /// None when not all are counted, or the page is behind them.
    of: Option<u32>,
    /// The last page that can be reached by its number, for who tried to go further.
    too_far: Option<u32>,
}

/// `GET /quizzes`.
pub async fn all(
    State(app): State<App>,
    params: Params,
    visitor: Visitor,
) -> Result<Response, Error> {
    let scope = Scope {
        viewer: visitor.user().map(|user| user.id),
        author: None,
    };
    page(&app, &params, visitor, scope, "/quizzes".to_owned()).await
}

/// `GET /users/{id}/quizzes`. The log-in comes first, so that strangers cannot probe for ids.
pub async fn of_user(
    State(app): State<App>,
    Id(id): Id,
    params: Params,
    LoggedIn { visitor, user }: LoggedIn,
) -> Result<Response, Error> {
    let scope = Scope {
        viewer: Some(user.id),
        author: Some(id),
    };
    page(
        &app,
        &params,
        visitor,
        scope,
        format!("/users/{id}/quizzes"),
    )
    .await
}

async fn page(
    app: &App,
    params: &Params,
    mut visitor: Visitor,
    scope: Scope,
    path: String,
) -> Result<Response, Error> {
    let mut query = Query::parse(|name| params.get(name))?;
    query.favourites &= scope.viewer.is_some();
    let config = &app.config.list;
    let mut connection = app.db.acquire().await?;
    let found = listing::read(&mut *connection, config, &query, scope).await?;
    let (total, author) = match known_total(&query, &found).filter(|_| scope.author.is_none()) {
        Some(total) => (total, None),
        None => count(&mut connection, config, &query, scope).await?,
    };
    drop(connection);
    let t = &visitor.texts().quizzes;
    let (title, here) = match scope.author {
        None => (t.title.to_owned(), "quizzes"),
        Some(_) if scope.author == scope.viewer => (t.mine.to_owned(), "mine"),
        Some(_) => ((t.of_user)(&author.ok_or(Error::NotFound)?), "quizzes"),
    };
    match scope.author {
        None => visitor.remember_shared_page(),
        Some(_) => visitor.remember_page(),
    }
    let pages = Pages::new(config, &query, &found, total);
    let template = List {
        page: visitor.layout(here),
        title,
        pager: pager(config, &query, &found, total, &path),
        path,
        max_chars: search::MAX_CHARS,
        sorts: Sort::ALL,
        quizzes: found.rows,
        searched: db::quizzes::is_cut(&query, scope).then_some(config.short_search),
        query,
        total,
        pages,
    };
    visitor.page(StatusCode::OK, &template)
}

/// The length of a list whose end is on this page: it need not be asked for.
fn known_total(query: &Query, found: &Page) -> Option<Total> {
    let pageno = query.pageno;
    let ends_here = query.cursor.is_none() && !found.too_far && found.next.is_none();
    let not_beyond = !found.rows.is_empty() || pageno.get() == 1;
    let rows = i64::try_from(found.rows.len()).unwrap_or(i64::MAX);
    (ends_here && not_beyond).then(|| Total {
        count: pageno.offset() + rows,
        more: false,
    })
}

async fn count(
    connection: &mut PgConnection,
    config: &ListConfig,
    query: &Query,
    scope: Scope,
) -> Result<(Total, Option<String>), Error> {
    let reach = i64::from(config.max_jump) * i64::from(PER_PAGE);
    let most = Most {
        rows: reach + 1,
        searched: i64::from(config.short_search),
    };
    let length = db::quizzes::length(connection, query, scope, most).await?;
    let total = Total {
        count: length.count.min(reach),
        more: length.count > reach,
    };
    Ok((total, length.author))
}

fn pager(config: &ListConfig, query: &Query, found: &Page, total: Total, path: &str) -> Paginator {
    if total.count == 0 {
        return Paginator::default();
    }
    let current = query.pageno.get();
    let position = Position {
        current: query.pageno,
        pages: paging::page_count(total.count),
        goes_on: total.more,
    };
    let previous = match found.previous {
        _ if current == 1 => query.cursor.map(|_| query.url(path, 1, None)),
        // The first page has no cursor: it begins where the list begins.
        Some(place) if current > 2 => Some(query.url(path, current - 1, Some(place))),
        Some(_) => Some(query.url(path, 1, None)),
        None => paging::previous(query.pageno, position.pages.min(config.max_jump))
            .map(|number| query.url(path, number, None)),
    };
    let next = found
        .next
        .map(|place| query.url(path, current.saturating_add(1), Some(place)));
    Paginator::new(position, previous, next, |number| {
        // A page behind those that have numbers is reached by its cursor.
        let cursor = query.cursor.filter(|_| number == current);
        query.url(path, number, cursor)
    })
}

impl Pages {
    fn new(config: &ListConfig, query: &Query, found: &Page, total: Total) -> Self {
        let current = query.pageno.get();
        let pages = paging::page_count(total.count);
        Self {
            current,
            of: Some(pages).filter(|&pages| !total.more && current <= pages),
            too_far: (found.too_far && total.more).then_some(config.max_jump),
        }
    }
}

impl List {
    /// Address of a page that can be reached by its number.
    fn number_url(&self, pageno: &u32) -> String {
        self.query.url(&self.path, *pageno, None)
    }

    /// Number of the page in the title and beside the heading: not on the first one, nor where there is nothing.
    fn is_numbered(&self) -> bool {
        !self.quizzes.is_empty() && (self.pages.current > 1 || self.pager.next.is_some())
    }
}
