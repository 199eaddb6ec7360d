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
    let to = params.get("to").filter(|to| is_local(to)).unwrap_or("/");
    let language = params.get("language").and_then(Language::parse);
    let mut cookie = visitor::cookie(
        COOKIE_NAME,
        language.unwrap_or_default().tag().to_owned(),
        client,
    );
    cookie.set_max_age(TTL);
    Ok((CookieJar::new().add(cookie), Redirect::to(to)).into_response())
}

/// A path of this site: browsers take `//host`, `/\\host` and the like for addresses of others.
fn is_local(to: &str) -> bool {
    let mut bytes = to.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && to.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn nobody_is_led_to_another_site() {
        for local in ["/", "/quizzes?search=%C3%A1&pageno=2"] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "javascript:alert(1)",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
