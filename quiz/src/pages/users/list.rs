//! The list of users, in the order of their names.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::PgConnection;

use crate::app::App;
use crate::db;
use crate::db::users::{Profile, Span, User};
use crate::domain::paging::{self, PER_PAGE, PageNo};
use crate::error::Error;
use crate::pages::paginator::{Paginator, Position};
use crate::params::Params;
use crate::visitor::{Layout, LoggedIn};

#[derive(Template)]
#[template(path = "users/list.html")]
struct List {
    page: Layout,
    is_admin: bool,
    users: Vec<Profile>,
    /// Counted up to where page numbers lead.
    total: i64,
    goes_on: bool,
    current: u32,
    pager: Paginator,
}

/// Where in the list. A name next to the page finds it in one step, however far behind it is; a number alone is
/// counted to, and may only lead so far.
#[derive(Clone, Copy)]
enum Place<'a> {
    Page,
    After(&'a str),
    Before(&'a str),
}

/// `GET /users?pageno=N`, with `after` or `before` a name.
pub async fn show(
    State(app): State<App>,
    params: Params,
    LoggedIn { mut visitor, user }: LoggedIn,
) -> Result<Response, Error> {
    let pageno =
        PageNo::parse(params.get("pageno")).ok_or(Error::BadRequest(|t| t.errors.page_number))?;
    let place = match (params.get("after"), params.get("before")) {
        (Some(name), _) => Place::After(name),
        (None, Some(name)) => Place::Before(name),
        (None, None) => Place::Page,
    };
    visitor.remember_page();
    let max_jump = app.config.list.max_jump;
    let most = i64::from(max_jump) * i64::from(PER_PAGE);
    let mut connection = app.db.acquire().await?;
    let mut users = match place {
        Place::Page if pageno.get() > max_jump => Vec::new(),
        place => read(&mut connection, &user, place, pageno).await?,
    };
    let more = cut(&mut users, place);
    let counted = db::users::count(&mut *connection, &user, most + 1).await?;
    drop(connection);
    let (total, goes_on) = (counted.min(most), counted > most);
    let position = Position {
        current: pageno,
        pages: paging::page_count(total),
        goes_on,
    };
    let template = List {
        page: visitor.layout("users"),
        is_admin: user.is_admin,
        total,
        goes_on,
        current: pageno.get(),
        pager: pager(position, place, &users, more),
        users,
    };
    visitor.page(StatusCode::OK, &template)
}

/// The users of a page, and one more that tells whether the list goes on.
async fn read(
    connection: &mut PgConnection,
    viewer: &User,
    place: Place<'_>,
    pageno: PageNo,
) -> sqlx::Result<Vec<Profile>> {
    let limit = i64::from(PER_PAGE) + 1;
    let (after, offset) = match place {
        Place::Before(name) => {
            return db::users::list_before(connection, viewer, name, limit).await;
        }
        Place::After(name) => (name, 0),
        Place::Page => ("", pageno.offset()),
    };
    let span = Span {
        after,
        offset,
        limit,
    };
    db::users::list(connection, viewer, span).await
}

/// Takes away the one that is too many, and tells whether there was one.
fn cut(users: &mut Vec<Profile>, place: Place<'_>) -> bool {
    let more = users.len() > PER_PAGE as usize;
    if more {
        match place {
            Place::Before(_) => drop(users.remove(0)),
            _ => users.truncate(PER_PAGE as usize),
        }
    }
    more
}

fn pager(position: Position, place: Place<'_>, users: &[Profile], more: bool) -> Paginator {
    let current = position.current.get();
    let (has_previous, has_next) = match place {
        Place::Before(_) => (more, true),
        _ => (current > 1, more),
    };
    let previous = users.first().filter(|_| has_previous).map(|user| {
        let pageno = current.saturating_sub(1).max(1);
        // The first page has no name before it: it begins where the list begins.
        let place = match pageno {
            1 => Place::Page,
            _ => Place::Before(&user.username),
        };
        url(pageno, place)
    });
    let next = users
        .last()
        .filter(|_| has_next)
        .map(|user| url(current.saturating_add(1), Place::After(&user.username)));
    Paginator::new(position, previous, next, |number| {
        // A page behind those that have numbers is reached by its name.
        let place = if number == current {
            place
        } else {
            Place::Page
        };
        url(number, place)
    })
}

fn url(pageno: u32, place: Place<'_>) -> String {
    let (side, name) = match place {
        Place::Page => return format!("/users?pageno={pageno}"),
        Place::After(name) => ("after", name),
        Place::Before(name) => ("before", name),
    };
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("/users?pageno={pageno}&{side}={name}")
}
