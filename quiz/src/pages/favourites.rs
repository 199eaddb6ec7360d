//! The star of a quiz.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::csrf::UserForm;
use crate::db;
use crate::error::Error;
use crate::pages::Ids;

/// `POST /users/{id}/favourites/{quizId}` with `_method` PUT or DELETE: leads back to where the star was, and tells a
/// script no more than `OK`.
pub async fn change(
    State(app): State<App>,
    Ids(user_id, quiz_id): Ids,
    headers: HeaderMap,
    form: UserForm,
) -> Result<Response, Error> {
    if form.user.id != user_id && !form.user.is_admin {
        return Err(Error::Forbidden);
    }
    let exists = match form.params.method().as_deref() {
        Some("PUT") => db::favourites::add(&app.db, user_id, quiz_id).await?,
        Some("DELETE") => db::favourites::remove(&app.db, user_id, quiz_id).await?,
        _ => return Err(Error::MethodNotAllowed),
    };
    if !exists {
        return Err(Error::NotFound);
    }
    let by_script = headers
        .get("x-requested-with")
        .is_some_and(|value| value == "XMLHttpRequest");
    if by_script {
        return Ok("OK".into_response());
    }
    let to = form.params.local_path("to").to_owned();
    Ok(form.visitor.redirect(&to, &[]))
}
