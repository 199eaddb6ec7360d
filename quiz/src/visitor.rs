//! Who asks, and what they carry: session, pre-session, messages. The only file that reads or writes cookies.
//!
//! A visitor without a log-in leaves no row behind: the pre-session (what a log-in form is bound to) and the messages
//! for the next page live in signed cookies.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, SameSite, SignedCookieJar};

use crate::app::App;
use crate::assets::{self, Assets};
use crate::db;
use crate::db::users::User;
use crate::error::Error;
use crate::flash::{self, Flash, Kind};
use crate::session::{self, Token};

const SESSION_COOKIE: &str = "quiz_session";
const PRE_SESSION_COOKIE: &str = "quiz_visitor";
const FLASH_COOKIE: &str = "quiz_flash";

/// A message nobody came back for is stale after this time.
const FLASH_TTL: time::Duration = time::Duration::minutes(5);

/// The visitor behind a request, and the cookies of the reply.
pub struct Visitor {
    app: App,
    jar: SignedCookieJar,
    session: Option<(Token, User)>,
    messages: Vec<Flash>,
}

/// What the layout of every page needs to know.
pub struct Layout {
    pub assets: &'static Assets,
    pub user: Option<User>,
    /// Empty when the page has no form that changes something.
    pub csrf: String,
    pub messages: Vec<(Kind, Vec<&'static str>)>,
    /// The entry of the navigation that this page is.
    pub here: &'static str,
}

impl Layout {
    /// Is a link to a quiz with its answer of use to this visitor?
    pub fn may_see_answer(&self, author_id: &Option<i64>) -> bool {
        self.user
            .as_ref()
            .is_some_and(|user| user.may_see_answer(*author_id))
    }
}

impl Visitor {
    /// Reads the cookies of a request, and the session from the database when there is one.
    pub async fn from_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let jar = SignedCookieJar::from_headers(&parts.headers, app.cookie_key.clone());
        let token = jar
            .get(SESSION_COOKIE)
            .and_then(|cookie| Token::parse(cookie.value()));
        let session = match token {
            Some(token) => db::sessions::find_user(&app.db, &token.hash())
                .await?
                .map(|user| (token, user)),
            None => None,
        };
        let messages = jar
            .get(FLASH_COOKIE)
            .map(|cookie| flash::decode(cookie.value()));
        Ok(Self {
            app: app.clone(),
            jar,
            session,
            messages: messages.unwrap_or_default(),
        })
    }

    /// The user who is logged in.
    pub fn user(&self) -> Option<&User> {
        self.session.as_ref().map(|(_, user)| user)
    }

    /// Refuses a form whose token does not belong to this visitor.
    pub fn check_csrf(&self, token: Option<&str>) -> Result<(), Error> {
        match (self.csrf_subject(), token) {
            (Some(subject), Some(token)) if self.app.csrf.accepts(&subject, token) => Ok(()),
            _ => Err(Error::StaleForm),
        }
    }

    /// Gives a visitor who is not logged in something that a form can be bound to.
    pub fn prepare_form(&mut self) {
        if self.csrf_subject().is_none() {
            let id = hex::encode(rand::random::<[u8; 16]>());
            self.set(cookie(PRE_SESSION_COOKIE, id));
        }
    }

    /// What the layout shows to this visitor.
    pub fn layout(&self, here: &'static str) -> Layout {
        let csrf = self
            .csrf_subject()
            .map(|subject| self.app.csrf.issue(&subject));
        Layout {
            assets: assets::get(),
            user: self.user().cloned(),
            csrf: csrf.unwrap_or_default(),
            messages: flash::by_kind(&self.messages),
            here,
        }
    }

    /// Replies with a page; the messages on it have been seen.
    pub fn page(mut self, status: StatusCode, template: &impl Template) -> Result<Response, Error> {
        let html = Html(template.render()?);
        if !self.messages.is_empty() {
            self.unset(FLASH_COOKIE);
        }
        // What one visitor sees must not be kept for another. What a user sees must not be kept at all: going back
        // in the browser after a log-out would show it without asking us.
        let caching = HeaderValue::from_static(match self.session {
            Some(_) => "no-store",
            None => "private, no-cache",
        });
        Ok((status, [(CACHE_CONTROL, caching)], self.jar, html).into_response())
    }

    /// Replies with 303 and leaves messages for the page that follows.
    pub fn redirect(mut self, to: &str, messages: &[Flash]) -> Response {
        if !messages.is_empty() {
            let mut cookie = cookie(FLASH_COOKIE, flash::encode(messages));
            cookie.set_max_age(FLASH_TTL);
            self.set(cookie);
        }
        (self.jar, Redirect::to(to)).into_response()
    }

    /// Starts a session of `user_id`; an older session of this browser ends.
    pub async fn log_in(&mut self, user_id: i64) -> Result<(), Error> {
        self.log_out().await?;
        let token = session::open(&self.app, user_id).await?;
        let mut cookie = cookie(SESSION_COOKIE, token.cookie_value());
        let ttl = time::Duration::try_from(self.app.config.session_ttl);
        cookie.set_max_age(ttl.unwrap_or(time::Duration::MAX));
        self.set(cookie);
        self.unset(PRE_SESSION_COOKIE);
        Ok(())
    }

    /// Ends the session, here and in the database.
    pub async fn log_out(&mut self) -> Result<(), Error> {
        if let Some((token, _)) = self.session.take() {
            db::sessions::delete(&self.app.db, &token.hash()).await?;
        }
        self.unset(SESSION_COOKIE);
        Ok(())
    }

    fn csrf_subject(&self) -> Option<String> {
        if let Some((token, _)) = &self.session {
            return Some(format!("session:{}", hex::encode(token.hash())));
        }
        self.jar
            .get(PRE_SESSION_COOKIE)
            .map(|cookie| format!("visitor:{}", cookie.value()))
    }

    fn set(&mut self, cookie: Cookie<'static>) {
        self.jar = self.jar.clone().add(cookie);
    }

    fn unset(&mut self, name: &'static str) {
        self.jar = self.jar.clone().remove(cookie(name, String::new()));
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Self::from_parts(parts, app).await
    }
}

/// A visitor who is logged in; everybody else is sent to the log-in page.
pub struct LoggedIn {
    pub visitor: Visitor,
    pub user: User,
}

impl FromRequestParts<App> for LoggedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let visitor = Visitor::from_parts(parts, app)
            .await
            .map_err(IntoResponse::into_response)?;
        match visitor.user().cloned() {
            Some(user) => Ok(Self { visitor, user }),
            None => Err(visitor.redirect("/login", &[Flash::LoginRequired])),
        }
    }
}

fn cookie(name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .build()
}
