//! The switch between languages.

use axum::body::Bytes;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::CookieJar;

use crate::client::Client;
use crate::error::Error;
use crate::locale::{COOKIE_NAME, Language};
use crate::params::Params;
use crate::visitor;

/// How long the choice is remembered.
const TTL: time::Duration = time::Duration::days(365);

/// `POST /language`: the one form without a CSRF token, because a visitor without cookies has none, and because all
/// that another site could do with it is to change the language.
pub async fn choose(client: Client, body: Bytes) -> Result<Response, Error> {
    let params = Params::parse(&body)?;
    let to = params.local_path("to");
    let language = params.get("language").and_then(Language::parse);
    let mut cookie = visitor::cookie(
        COOKIE_NAME,
        language.unwrap_or_default().tag().to_owned(),
        client,
    );
    cookie.set_max_age(TTL);
    Ok((CookieJar::new().add(cookie), Redirect::to(to)).into_response())
}
