//! Lists of quizzes, as the API shows them.

use axum::extract::{FromRequestParts, OriginalUri, Path, State};
use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, LINK};
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorJson};
use super::format::{Format, split};
use super::quiz::QuizJson;
use super::{ApiUser, openapi};
use crate::app::App;
use crate::db;
use crate::db::quizzes::Scope;
use crate::domain::search::Query;
use crate::error::Error;
use crate::listing;
use crate::pages::{Name, parse_id};
use crate::params::Params;

const TOO_FAR: &str = "Pages so far away have no number: follow nextUrl from a page before";

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(xml(name = "quizzes"))]
pub struct QuizzesJson {
    /// Up to ten.
    pub quizzes: Vec<QuizJson>,
    #[schema(example = 1)]
    pub pageno: u32,
    /// Address of the next page, relative to the site; empty on the last one. Without the token. Also in the header
    /// `Link`, which is where XML has it.
    #[schema(example = "/api/quizzes?pageno=2&after=31")]
    pub next_url: String,
}

/// What every list is asked with.
pub struct Asked {
    viewer: i64,
    query: Query,
    /// Of the request, without parameters.
    path: String,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let ApiUser(user) = ApiUser::from_request_parts(parts, state).await?;
        let params = Params::from_request_parts(parts, state).await?;
        let Ok(OriginalUri(uri)) = OriginalUri::from_request_parts(parts, state).await;
        // Pages follow each other forward only.
        let query = Query::parse(|name| params.get(name).filter(|_| name != "before"))?;
        Ok(Self {
            viewer: user.id,
            query,
            path: uri.path().to_owned(),
            headers: parts.headers.clone(),
        })
    }
}

/// All quizzes
///
/// As JSON, or as XML: with `Accept`, or with `/quizzes.json` and `/quizzes.xml`.
#[utoipa::path(
    get,
    path = "/quizzes",
    operation_id = "listQuizzes",
    tag = openapi::QUIZZES,
    params(openapi::ListParams),
    responses(
        (status = 200, content((QuizzesJson = "application/json"), (QuizzesJson = "application/xml"))),
        (status = 406, body = ErrorJson, description = "Neither JSON nor XML is wanted"),
    )
)]
pub async fn list(State(app): State<App>, asked: Asked) -> Result<Response, ApiError> {
    reply(&app, asked, None, None).await
}

/// `GET /quizzes.{format}`.
pub async fn list_as(
    State(app): State<App>,
    Name(name): Name,
    asked: Asked,
) -> Result<Response, ApiError> {
    reply(&app, asked, Some(extension(&name)?), None).await
}

/// Quizzes of the user whose token it is
///
/// As JSON, or as XML: with `Accept`, or with `/quizzes.json` and `/quizzes.xml`.
#[utoipa::path(
    get,
    path = "/users/tokenOwner/quizzes",
    operation_id = "listOwnQuizzes",
    tag = openapi::QUIZZES,
    params(openapi::ListParams),
    responses(
        (status = 200, content((QuizzesJson = "application/json"), (QuizzesJson = "application/xml"))),
        (status = 406, body = ErrorJson, description = "Neither JSON nor XML is wanted"),
    )
)]
pub async fn list_own(State(app): State<App>, asked: Asked) -> Result<Response, ApiError> {
    let author = Some(asked.viewer);
    reply(&app, asked, None, author).await
}

/// Quizzes of a user
///
/// As JSON, or as XML: with `Accept`, or with `/quizzes.json` and `/quizzes.xml`.
#[utoipa::path(
    get,
    path = "/users/{userId}/quizzes",
    operation_id = "listQuizzesOfUser",
    tag = openapi::QUIZZES,
    params(("userId" = i64, Path, description = "Id of a user"), openapi::ListParams),
    responses(
        (status = 200, content((QuizzesJson = "application/json"), (QuizzesJson = "application/xml"))),
        (status = 404, body = ErrorJson, description = "There is no such user"),
        (status = 406, body = ErrorJson, description = "Neither JSON nor XML is wanted"),
    )
)]
pub async fn list_of_user(
    State(app): State<App>,
    Name(user_id): Name,
    asked: Asked,
) -> Result<Response, ApiError> {
    let author = author(&app, &user_id, &asked).await?;
    reply(&app, asked, None, Some(author)).await
}

/// `GET /users/{userId}/quizzes.{format}`, and the same of `tokenOwner`.
pub async fn list_of_user_as(
    State(app): State<App>,
    Path((user_id, name)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let extension = extension(&name)?;
    let author = author(&app, &user_id, &asked).await?;
    reply(&app, asked, Some(extension), Some(author)).await
}

/// One page, found without counting.
async fn reply(
    app: &App,
    asked: Asked,
    extension: Option<&str>,
    author: Option<i64>,
) -> Result<Response, ApiError> {
    let format = Format::choose(extension, &asked.headers)?;
    let Asked { viewer, query, .. } = &asked;
    let scope = Scope {
        viewer: Some(*viewer),
        author,
    };
    let page = listing::read(&app.db, &app.config.list, query, scope).await?;
    if page.too_far {
        return Err(ApiError::BadRequest(TOO_FAR));
    }
    let pageno = query.pageno.get();
    let next = page.next;
    let next_url =
        next.map(|cursor| query.url(&asked.path, pageno.saturating_add(1), Some(cursor)));
    let link = next_url
        .as_ref()
        .map(|url| format!("<{url}>; rel=\"next\""));
    let mut response = format.reply(&QuizzesJson {
        quizzes: page.rows.into_iter().map(QuizJson::from).collect(),
        pageno,
        next_url: next_url.unwrap_or_default(),
    });
    if let Some(link) = link {
        let link = HeaderValue::try_from(link).expect("an address is made of visible characters");
        response.headers_mut().append(LINK, link);
    }
    Ok(response)
}

/// The extension of `quizzes.…`; other names are no list.
fn extension(name: &str) -> Result<&str, ApiError> {
    match split(name) {
        ("quizzes", Some(extension)) => Ok(extension),
        _ => Err(ApiError::NoSuchRoute),
    }
}

/// The user whose quizzes are asked for.
async fn author(app: &App, user_id: &str, asked: &Asked) -> Result<i64, ApiError> {
    if user_id == "tokenOwner" {
        return Ok(asked.viewer);
    }
    let found = match parse_id(user_id) {
        Some(id) => db::users::find(&app.db, id).await?,
        None => None,
    };
    let author = found.ok_or_else(|| ApiError::NoSuchUser(user_id.to_owned()))?;
    Ok(author.id)
}
