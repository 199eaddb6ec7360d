//! Favourites of the user whose token it is.

use axum::extract::State;

use super::error::{ApiError, ErrorJson};
use super::{ApiUser, openapi};
use crate::app::App;
use crate::db;
use crate::pages::{Name, parse_id};

/// Make a quiz a favourite
///
/// Doing it again changes nothing.
#[utoipa::path(
    put,
    path = "/users/tokenOwner/favourites/{quizId}",
    operation_id = "addFavourite",
    tag = openapi::USERS,
    params(("quizId" = i64, Path, description = "Id of a quiz")),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Done", example = "OK"),
        (status = 404, body = ErrorJson, description = "There is no such quiz"),
    )
)]
pub async fn add(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Name(id): Name,
) -> Result<&'static str, ApiError> {
    let found = match parse_id(&id) {
        Some(id) => db::favourites::add(&app.db, user.id, id).await?,
        None => false,
    };
    if found {
        Ok("OK")
    } else {
        Err(ApiError::NoSuchQuiz(id))
    }
}

/// Make a quiz no favourite
///
/// Doing it again changes nothing.
#[utoipa::path(
    delete,
    path = "/users/tokenOwner/favourites/{quizId}",
    operation_id = "removeFavourite",
    tag = openapi::USERS,
    params(("quizId" = i64, Path, description = "Id of a quiz")),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Done", example = "OK"),
        (status = 404, body = ErrorJson, description = "There is no such quiz"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Name(id): Name,
) -> Result<&'static str, ApiError> {
    let found = match parse_id(&id) {
        Some(id) => db::favourites::remove(&app.db, user.id, id).await?,
        None => false,
    };
    if found {
        Ok("OK")
    } else {
        Err(ApiError::NoSuchQuiz(id))
    }
}
