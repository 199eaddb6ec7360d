//! Proof that a form came from our own page: an HMAC over the session (or pre-session) id in a hidden field of every form.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::app::App;
use crate::db::users::User;
use crate::error::Error;
use crate::params::{self, Params};
use crate::visitor::Visitor;

/// Name of the hidden field.
pub const FIELD: &str = "_csrf";

/// Most bytes of a form without files.
pub const MAX_BYTES: usize = 64 * 1024;

/// Makes and checks the tokens of one site.
#[derive(Clone)]
pub struct Tokens(Hmac<Sha256>);

impl Tokens {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// The token of `subject`, the session or pre-session it belongs to.
    pub fn issue(&self, subject: &str) -> String {
        hex::encode(self.mac(subject).finalize().into_bytes())
    }

    /// Is `token` the token of `subject`? Takes the same time wherever they differ.
    pub fn accepts(&self, subject: &str, token: &str) -> bool {
        hex::decode(token).is_ok_and(|bytes| self.mac(subject).verify_slice(&bytes).is_ok())
    }

    fn mac(&self, subject: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(subject.as_bytes());
        mac
    }
}

/// A URL-encoded form that carried the right token. Handlers that change something take this, [`UserForm`] or [`upload::Form`](crate::upload::Form).
pub struct ProtectedForm {
    pub visitor: Visitor,
    pub params: Params,
}

impl FromRequest<App> for ProtectedForm {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_parts(&mut parts, app).await?;
        let params = read_urlencoded(Request::from_parts(parts, body), app).await?;
        visitor.check_csrf(params.get(FIELD))?;
        Ok(Self { visitor, params })
    }
}

/// As [`ProtectedForm`], for who is logged in; everybody else is sent to the log-in page.
pub struct UserForm {
    pub visitor: Visitor,
    pub user: User,
    pub params: Params,
}

impl FromRequest<App> for UserForm {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_parts(&mut parts, app)
            .await
            .map_err(IntoResponse::into_response)?;
        let params = read_urlencoded(Request::from_parts(parts, body), app).await;
        let Some(user) = visitor.user().cloned() else {
            return Err(visitor.to_log_in());
        };
        let params = params.map_err(IntoResponse::into_response)?;
        visitor
            .check_csrf(params.get(FIELD))
            .map_err(IntoResponse::into_response)?;
        Ok(Self {
            visitor,
            user,
            params,
        })
    }
}

/// Reads a URL-encoded body. Whoever calls this still has to check the token.
pub(crate) async fn read_urlencoded(mut request: Request, app: &App) -> Result<Params, Error> {
    if !params::has_media_type(request.headers(), "application/x-www-form-urlencoded") {
        return Err(Error::WrongMediaType(|t| t.errors.must_be_urlencoded));
    }
    // Also where the route lets a file through.
    DefaultBodyLimit::max(MAX_BYTES).apply(&mut request);
    let body = Bytes::from_request(request, app)
        .await
        .map_err(|rejection| match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
            _ => Error::BadRequest(|t| t.errors.form_cut_short),
        })?;
    Params::parse(&body)
}

#[cfg(test)]
mod tests {
    use super::Tokens;

    #[test]
    fn a_token_is_good_for_its_own_session_only() {
        let tokens = Tokens::new(b"key");
        let token = tokens.issue("session:a");
        assert!(tokens.accepts("session:a", &token));
        assert!(!tokens.accepts("session:b", &token));
        assert!(!Tokens::new(b"other key").accepts("session:a", &token));
    }

    #[test]
    fn nonsense_is_no_token() {
        let tokens = Tokens::new(b"key");
        for nonsense in ["", "00", "zz", &tokens.issue("a")[1..]] {
            assert!(!tokens.accepts("a", nonsense), "{nonsense}");
        }
    }
}
