//! Who calls: the bearer of a token (RFC 6750).

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, LINK};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;

use super::error::ApiError;
use crate::app::App;
use crate::db;
use crate::db::users::User;
use crate::error::Error;
use crate::limits;
use crate::params::Params;
use crate::token::Token;

/// The parameter that carried the token in the original site.
const PARAMETER: &str = "token";

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");

/// Since when `?token=` is deprecated (RFC 9745): 2026-01-01, before the first release of this API.
const DEPRECATED_SINCE: HeaderValue = HeaderValue::from_static("@1767225600");

const DEPRECATION_LINK: HeaderValue =
    HeaderValue::from_static("</api/openapi.json>; rel=\"deprecation\"; type=\"application/json\"");

/// The user whose token came with the request.
#[derive(Clone, Debug)]
pub struct ApiUser(pub User);

/// A token as it was found.
struct Presented {
    token: Token,
    /// It came in the address, where logs and histories of others can see it.
    in_query: bool,
}

/// Layer that lets nobody pass without a token, to known and unknown addresses alike.
///
/// What it lets pass is for the bearer alone, so no cache may keep it.
pub async fn require_token(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Presented { token, in_query } = presented(&request)?;
    let user = db::users::by_token(&app.db, &token.hash(), app.config.accounts.token_ttl)
        .await?
        .ok_or(ApiError::WrongToken)?;
    limits::api(&app, user.id)?;
    request.extensions_mut().insert(ApiUser(user));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if in_query {
        headers.insert(DEPRECATION, DEPRECATED_SINCE);
        headers.append(LINK, DEPRECATION_LINK);
    }
    Ok(response)
}

impl<S: Sync> FromRequestParts<S> for ApiUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let user = parts.extensions.get().cloned();
        user.ok_or_else(|| Error::Internal(anyhow::anyhow!("a route of the API asks for no token")))
    }
}

/// The one token of a request. Several are refused, whatever they are: else one request could try many.
fn presented(request: &Request) -> Result<Presented, ApiError> {
    let in_header = bearer_texts(request.headers()).map(|text| (text.to_owned(), false));
    let query = Params::parse(request.uri().query().unwrap_or_default().as_bytes())?;
    let in_query = query.all(PARAMETER).map(|text| (text.to_owned(), true));
    let mut found = in_header.chain(in_query);
    let (text, in_query) = found.next().ok_or(ApiError::NoToken)?;
    if found.next().is_some() {
        return Err(ApiError::SeveralTokens);
    }
    let token = Token::parse(&text).ok_or(ApiError::WrongToken)?;
    Ok(Presented { token, in_query })
}

/// The texts after `Bearer`; other schemes are none of ours.
fn bearer_texts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(AUTHORIZATION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .filter_map(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, text)| text.trim())
}
