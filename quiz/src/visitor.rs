//! Who asks, and what they carry: session, pre-session, messages. The only file that reads or writes cookies.
//!
//! A visitor without a log-in leaves no row behind: the pre-session (what a log-in form is bound to), the list to go back
//! to and the messages for the next page live in signed or encrypted cookies.

use std::borrow::Cow;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LANGUAGE, COOKIE, HeaderValue, REFERER, SET_COOKIE,
    USER_AGENT, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, PrivateCookieJar, SameSite, SignedCookieJar};

use crate::app::App;
use crate::assets::{self, Assets};
use crate::client::Client;
use crate::db;
use crate::db::games::Player;
use crate::db::users::{Credentials, User};
use crate::error::Error;
use crate::flash::{self, Flash, Kind};
use crate::locale::{Language, Texts};
use crate::session;
use crate::token::Token;

const SESSION_COOKIE: &str = "quiz_session";
const PRE_SESSION_COOKIE: &str = "quiz_visitor";
const GAME_COOKIE: &str = "quiz_game";
const FLASH_COOKIE: &str = "quiz_flash";
const BACK_COOKIE: &str = "quiz_back";
const SIGN_IN_COOKIE: &str = "quiz_sign_in";

/// A longer address is not remembered: cookies are sent with every request.
const MAX_BACK_BYTES: usize = 1024;

/// What is kept of what a browser says of itself: the names come first.
const MAX_USER_AGENT_CHARS: usize = 255;

/// A message nobody came back for is stale after this time.
const FLASH_TTL: time::Duration = time::Duration::minutes(5);

/// The pages that are the same for everybody who carries nothing: see [`Visitor::remember_shared_page`].
const SHARED_PAGES: [&str; 3] = ["/", "/author", "/quizzes"];

/// What a page depends on besides its address.
pub const PAGES_VARY: &str = "accept-language, cookie";

/// The visitor behind a request, and the cookies of the reply.
pub struct Visitor {
    app: App,
    jar: SignedCookieJar,
    private: PrivateCookieJar,
    client: Client,
    user_agent: Option<String>,
    language: Language,
    /// Path and query of the request.
    url: String,
    session: Option<(Token, User)>,
    /// Did the browser come with a session that has ended?
    expired: bool,
    messages: Vec<Flash>,
    /// Came with nothing that could tell this visitor from another, and pages may be kept for such.
    bare: bool,
    /// This page is the same for all who are [bare](Self::bare).
    shared: bool,
    /// The page with the link that was followed, if it was one that others may have been shown before.
    came_from: Option<String>,
}

/// What the layout of every page needs to know.
pub struct Layout {
    pub assets: &'static Assets,
    pub language: Language,
    pub t: &'static Texts,
    /// Path and query of this page, for the language switch.
    pub url: String,
    pub user: Option<User>,
    /// Empty when the page has no form that changes something.
    pub csrf: String,
    pub messages: Vec<(Kind, Vec<String>)>,
    /// The entry of the navigation that this page is.
    pub here: &'static str,
}

impl Layout {
    /// The layout around a page that knows no visitor.
    pub fn plain(language: Language, url: String) -> Self {
        Self {
            assets: assets::get(),
            language,
            t: language.texts(),
            url,
            user: None,
            csrf: String::new(),
            messages: Vec::new(),
            here: "",
        }
    }

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
        let Ok(client) = Client::from_request_parts(parts, app).await;
        let jar = SignedCookieJar::from_headers(&parts.headers, app.cookie_key.clone());
        let private = PrivateCookieJar::from_headers(&parts.headers, app.cookie_key.clone());
        let token = jar
            .get(&name(SESSION_COOKIE, client))
            .and_then(|cookie| Token::parse(cookie.value()));
        let has_token = token.is_some();
        let session = match token {
            Some(token) => {
                let (hash, idle) = (token.hash(), app.config.session_idle);
                let user = db::sessions::find_user(&app.db, &hash, idle).await?;
                user.map(|user| (token, user))
            }
            None => None,
        };
        let messages = private
            .get(&name(FLASH_COOKIE, client))
            .map(|cookie| flash::decode(cookie.value()));
        let mut visitor = Self {
            app: app.clone(),
            jar,
            private,
            client,
            user_agent: user_agent(&parts.headers),
            language: Language::of(&parts.headers),
            url: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            expired: has_token && session.is_none(),
            session,
            messages: messages.unwrap_or_default(),
            bare: !app.config.headers.page_cache.is_zero()
                && !parts.headers.contains_key(COOKIE)
                && !parts.headers.contains_key(AUTHORIZATION),
            shared: false,
            came_from: None,
        };
        if visitor.bare {
            visitor.came_from = shared_page_before(&parts.headers);
        }
        if visitor.expired {
            visitor.unset(SESSION_COOKIE);
            visitor.messages.push(Flash::SessionExpired);
        }
        Ok(visitor)
    }

    /// Where the request comes from.
    pub fn client(&self) -> Client {
        self.client
    }

    /// The catalogue of the visitor's language.
    pub fn texts(&self) -> &'static Texts {
        self.language.texts()
    }

    /// The messages that this page has to show.
    pub fn messages(&self) -> &[Flash] {
        &self.messages
    }

    /// Remembers this page as the one that `/goback` leads to.
    pub fn remember_page(&mut self) {
        let remembered = self.jar.get(&name(BACK_COOKIE, self.client));
        let known = remembered.is_some_and(|cookie| cookie.value() == self.url);
        if !known && self.url.len() <= MAX_BACK_BYTES {
            self.set(BACK_COOKIE, self.url.clone(), None);
        }
    }

    /// As [`remember_page`](Self::remember_page), for a page that shows the same to all who carry nothing. Where such pages may be
    /// kept for each other, it is not remembered in a cookie, which would be one visitor's own:
    /// [`prepare_form`](Self::prepare_form) makes up for that.
    pub fn remember_shared_page(&mut self) {
        self.shared = self.bare;
        if !self.shared {
            self.remember_page();
        }
    }

    /// The page to go back to, which is then forgotten.
    pub fn take_remembered_page(&mut self) -> String {
        let cookie = self.jar.get(&name(BACK_COOKIE, self.client));
        self.unset(BACK_COOKIE);
        cookie.map_or_else(|| "/".to_owned(), |cookie| cookie.value().to_owned())
    }

    /// The user who is logged in.
    pub fn user(&self) -> Option<&User> {
        self.session.as_ref().map(|(_, user)| user)
    }

    /// What the database knows of this session: the one to keep when the others of the user end.
    pub fn session_hash(&self) -> Option<[u8; 32]> {
        self.session.as_ref().map(|(token, _)| token.hash())
    }

    /// Who this is in random play: the user, or who carries the token of a game.
    pub fn player(&self) -> Option<Player> {
        let user = self.user().map(|user| Player::User(user.id));
        user.or_else(|| Some(Player::Visitor(self.game_token()?.hash())))
    }

    /// As [`player`](Self::player); a visitor who is neither gets a token, and who has one keeps it for as long as the
    /// game that begins or goes on now.
    pub fn keep_player(&mut self) -> Player {
        if let Some(user) = self.user() {
            return Player::User(user.id);
        }
        let token = self.game_token().unwrap_or_else(Token::generate);
        let ttl = time::Duration::try_from(self.app.config.game.ttl);
        let ttl = ttl.unwrap_or(time::Duration::MAX);
        self.set(GAME_COOKIE, token.text(), Some(ttl));
        Player::Visitor(token.hash())
    }

    fn game_token(&self) -> Option<Token> {
        let cookie = self.jar.get(&name(GAME_COOKIE, self.client))?;
        Token::parse(cookie.value())
    }

    /// Refuses a form whose token does not belong to this visitor.
    pub fn check_csrf(&self, token: Option<&str>) -> Result<(), Error> {
        match (self.csrf_subject(), token) {
            (Some(subject), Some(token)) if self.app.csrf.accepts(&subject, token) => Ok(()),
            _ if self.expired => Err(Error::SessionExpired),
            _ => Err(Error::StaleForm),
        }
    }

    /// Gives a visitor who is not logged in something that a form can be bound to, and remembers the page before if that could
    /// not.
    pub fn prepare_form(&mut self) {
        if let Some(url) = self.came_from.take()
            && self.jar.get(&name(BACK_COOKIE, self.client)).is_none()
        {
            self.set(BACK_COOKIE, url, None);
        }
        if self.csrf_subject().is_none() {
            let id = hex::encode(rand::random::<[u8; 16]>());
            self.set(PRE_SESSION_COOKIE, id, None);
        }
    }

    /// What the layout shows to this visitor.
    pub fn layout(&self, here: &'static str) -> Layout {
        let csrf = self
            .csrf_subject()
            .map(|subject| self.app.csrf.issue(&subject));
        Layout {
            user: self.user().cloned(),
            csrf: csrf.unwrap_or_default(),
            messages: flash::by_kind(&self.messages, self.texts(), self.app.config.daily_quizzes),
            here,
            ..Layout::plain(self.language, self.url.clone())
        }
    }

    /// Replies with a page; the messages on it have been seen.
    pub fn page(mut self, status: StatusCode, template: &impl Template) -> Result<Response, Error> {
        let html = Html(template.render()?);
        if !self.messages.is_empty() {
            let seen = self.cookie(FLASH_COOKIE, String::new());
            self.private = self.private.remove(seen);
        }
        // What one visitor sees must not be kept for another. What a user sees must not be kept at all: going back
        // in the browser after a log-out would show it without asking us.
        let caching = HeaderValue::from_static(match self.session {
            Some(_) => "no-store",
            None => "private, no-cache",
        });
        let headers = [
            (CACHE_CONTROL, caching),
            (
                CONTENT_LANGUAGE,
                HeaderValue::from_static(self.language.tag()),
            ),
            (VARY, HeaderValue::from_static(PAGES_VARY)),
        ];
        let mut response = (status, headers, self.jar, self.private, html).into_response();
        // Whatever came to set a cookie, it is for one visitor.
        if self.shared && status == StatusCode::OK && !response.headers().contains_key(SET_COOKIE) {
            let secs = self.app.config.headers.page_cache.as_secs();
            // Browsers ask each time: who has logged in since then is to see it.
            let sharing = format!("public, max-age=0, s-maxage={secs}");
            let sharing = HeaderValue::try_from(sharing).expect("a number is made of digits");
            response.headers_mut().insert(CACHE_CONTROL, sharing);
        }
        Ok(response)
    }

    /// Replies with 303 and leaves messages for the page that follows.
    pub fn redirect(mut self, to: &str, messages: &[Flash]) -> Response {
        // What no page has shown yet is for the page that follows.
        let first = std::mem::take(&mut self.messages);
        let messages = [&first, messages].concat();
        if !messages.is_empty() {
            let mut cookie = self.cookie(FLASH_COOKIE, flash::encode(&messages));
            cookie.set_max_age(FLASH_TTL);
            self.private = self.private.add(cookie);
        }
        (self.jar, self.private, Redirect::to(to)).into_response()
    }

    /// Sends the visitor to another site. `attempt` is for this browser alone, until it comes back.
    pub fn leave_for(mut self, url: &str, attempt: String, ttl: time::Duration) -> Response {
        let mut cookie = self.cookie(SIGN_IN_COOKIE, attempt);
        cookie.set_max_age(ttl);
        self.private = self.private.add(cookie);
        self.redirect(url, &[])
    }

    /// What the browser has kept since it left for another site, which is good once.
    pub fn take_attempt(&mut self) -> Option<String> {
        let cookie = self.private.get(&name(SIGN_IN_COOKIE, self.client))?;
        let used = self.cookie(SIGN_IN_COOKIE, String::new());
        self.private = self.private.clone().remove(used);
        Some(cookie.value().to_owned())
    }

    /// Starts a session of `user`; an older session of this browser ends. `false` when the password has been changed since
    /// it was checked.
    pub async fn log_in(&mut self, user: &Credentials) -> Result<bool, Error> {
        self.log_out().await?;
        let user_agent = self.user_agent.as_deref();
        let token = session::open(&self.app, user, self.client, user_agent).await?;
        let Some(token) = token else {
            return Ok(false);
        };
        let ttl = time::Duration::try_from(self.app.config.session_ttl);
        let ttl = ttl.unwrap_or(time::Duration::MAX);
        self.set(SESSION_COOKIE, token.text(), Some(ttl));
        self.unset(PRE_SESSION_COOKIE);
        Ok(true)
    }

    /// Ends the session, here and in the database.
    pub async fn log_out(&mut self) -> Result<(), Error> {
        if let Some((token, _)) = self.session.take() {
            db::sessions::delete(&self.app.db, &token.hash()).await?;
        }
        self.unset(SESSION_COOKIE);
        Ok(())
    }

    /// Sends a stranger to the log-in page, and tells why: a session has ended, or there was none.
    pub fn to_log_in(self) -> Response {
        let why: &[Flash] = if self.expired {
            &[]
        } else {
            &[Flash::LoginRequired]
        };
        self.redirect("/login", why)
    }

    fn csrf_subject(&self) -> Option<String> {
        if let Some((token, _)) = &self.session {
            return Some(format!("session:{}", hex::encode(token.hash())));
        }
        self.jar
            .get(&name(PRE_SESSION_COOKIE, self.client))
            .map(|cookie| format!("visitor:{}", cookie.value()))
    }

    fn set(&mut self, name: &'static str, value: String, max_age: Option<time::Duration>) {
        let mut cookie = self.cookie(name, value);
        cookie.set_max_age(max_age);
        self.jar = self.jar.clone().add(cookie);
    }

    fn unset(&mut self, name: &'static str) {
        let cookie = self.cookie(name, String::new());
        self.jar = self.jar.clone().remove(cookie);
    }

    fn cookie(&self, name: &'static str, value: String) -> Cookie<'static> {
        cookie(name, value, self.client)
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
            None => Err(visitor.to_log_in()),
        }
    }
}

/// A cookie of this site that scripts cannot read and other sites cannot use. Over HTTPS it is bound to it: browsers take
/// the prefix `__Host-` from nobody else and over nothing else (RFC 6265bis, 4.1.3.2).
pub(crate) fn cookie(base: &'static str, value: String, client: Client) -> Cookie<'static> {
    Cookie::build((name(base, client), value))
        .path("/")
        .http_only(true)
        .secure(client.https)
        .same_site(SameSite::Lax)
        .build()
}

/// The page that a link was followed from, if it is one that may be shared. Its path is one of ours, whoever named it.
fn shared_page_before(headers: &HeaderMap) -> Option<String> {
    let from: Uri = headers.get(REFERER)?.to_str().ok()?.parse().ok()?;
    let url = from.path_and_query()?;
    let known = SHARED_PAGES.contains(&url.path()) && url.as_str().len() <= MAX_BACK_BYTES;
    known.then(|| url.to_string())
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(MAX_USER_AGENT_CHARS).collect())
}

fn name(base: &'static str, client: Client) -> Cow<'static, str> {
    if client.https {
        format!("__Host-{base}").into()
    } else {
        base.into()
    }
}
