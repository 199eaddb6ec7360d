//! One's own sessions: where one is logged in, and a way to end that.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::app::App;
use crate::csrf::UserForm;
use crate::db;
use crate::domain::browser::Browser;
use crate::error::Error;
use crate::flash::Flash;
use crate::locale;
use crate::pages::{Id, Moment};
use crate::visitor::{Layout, LoggedIn};

#[derive(Template)]
#[template(path = "sessions/list.html")]
struct List {
    page: Layout,
    sessions: Vec<Session>,
}

struct Session {
    id: i64,
    browser: String,
    /// Empty when it was opened by a release that did not write it down.
    address: String,
    since: Moment,
    seen: Moment,
    current: bool,
}

/// `GET /sessions`.
pub async fn list(State(app): State<App>, logged_in: LoggedIn) -> Result<Response, Error> {
    let LoggedIn { visitor, user } = logged_in;
    let hash = visitor.session_hash();
    let idle = app.config.session_idle;
    let sessions = db::sessions::list(&app.db, user.id, hash.as_ref(), idle).await?;
    let texts = &visitor.texts().sessions;
    let template = List {
        page: visitor.layout("sessions"),
        sessions: sessions
            .into_iter()
            .map(|session| Session::new(session, texts))
            .collect(),
    };
    visitor.page(StatusCode::OK, &template)
}

/// `POST /sessions` with `_method=DELETE`: ends them all, this one included.
pub async fn end_all(State(app): State<App>, form: UserForm) -> Result<Response, Error> {
    check_method(&form)?;
    let mut visitor = form.visitor;
    db::sessions::delete_others(&app.db, form.user.id, None).await?;
    visitor.log_out().await?;
    Ok(visitor.redirect("/login", &[Flash::SignedOutEverywhere]))
}

/// `POST /sessions/{id}` with `_method=DELETE`: ends one. Somebody else's is as unknown as one that never was.
pub async fn end(State(app): State<App>, Id(id): Id, form: UserForm) -> Result<Response, Error> {
    check_method(&form)?;
    let mut visitor = form.visitor;
    let ended = db::sessions::delete_one(&app.db, form.user.id, id)
        .await?
        .ok_or(Error::NotFound)?;
    if visitor.session_hash().is_some_and(|hash| hash == *ended) {
        visitor.log_out().await?;
        return Ok(visitor.redirect("/login", &[Flash::SessionEnded]));
    }
    Ok(visitor.redirect("/sessions", &[Flash::SessionEnded]))
}

/// Nothing but ending it can be done to a session.
fn check_method(form: &UserForm) -> Result<(), Error> {
    match form.params.method().as_deref() {
        Some("DELETE") => Ok(()),
        _ => Err(Error::MethodNotAllowed),
    }
}

impl Session {
    fn new(session: db::sessions::Session, t: &locale::Sessions) -> Self {
        let browser = Browser::of(session.user_agent.as_deref().unwrap_or_default());
        Self {
            id: session.id,
            browser: match (browser.program, browser.system) {
                (Some(program), Some(system)) => (t.program_on)(program, system),
                (Some(name), None) | (None, Some(name)) => name.to_owned(),
                (None, None) => t.unknown_browser.to_owned(),
            },
            address: session.address.unwrap_or_default(),
            since: Moment(session.created_at),
            seen: Moment(session.seen_at),
            current: session.current,
        }
    }
}
