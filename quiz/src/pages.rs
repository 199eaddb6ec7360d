//! The pages: a file per page, a function per thing one can do with it, a template of the same name.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::error::Error;

pub mod author;
pub mod back;
pub mod favourites;
pub mod health;
pub mod home;
pub mod images;
pub mod language;
pub mod paginator;
pub mod play;
pub mod quizzes;
pub mod random;
pub mod session;
pub mod sessions;
pub mod sign_in;
pub mod users;

/// A name in a path. What is not text names nothing.
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name))
            .map_err(|_| Error::NotFound)
    }
}

/// A time on a page: in UTC, which it says, because the server does not know the visitor's clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment(pub OffsetDateTime);

impl Moment {
    /// For people, to the minute.
    pub fn text(&self) -> String {
        self.format(format_description!(
            "[year]-[month]-[day] [hour]:[minute] UTC"
        ))
    }

    /// For `<time datetime>`, to the second (RFC 3339).
    pub fn machine(&self) -> String {
        self.format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second]Z"
        ))
    }

    fn format(&self, format: &[BorrowedFormatItem<'_>]) -> String {
        let utc = self.0.to_offset(time::UtcOffset::UTC);
        utc.format(format)
            .expect("a date and a time of day have all these parts")
    }
}

/// The id in a path. What cannot be an id names nothing: 404, not 400.
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Name(text) = Name::from_request_parts(parts, state).await?;
        parse_id(&text).map(Self).ok_or(Error::NotFound)
    }
}

/// The two ids in a path, outer one first.
pub struct Ids(pub i64, pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((outer, inner)) = path.map_err(|_| Error::NotFound)?;
        let ids = parse_id(&outer).zip(parse_id(&inner));
        ids.map(|(outer, inner)| Self(outer, inner))
            .ok_or(Error::NotFound)
    }
}

/// An id is made of digits, without a sign.
pub(crate) fn parse_id(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
