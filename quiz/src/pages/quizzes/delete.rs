//! A quiz that its author, or an admin, deletes.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::find_own;
use crate::app::App;
use crate::db;
use crate::db::quizzes::Listed;
use crate::error::Error;
use crate::flash::Flash;
use crate::pages::Id;
use crate::visitor::{Layout, LoggedIn, Visitor};

#[derive(Template)]
#[template(path = "quizzes/delete.html")]
struct Confirm {
    page: Layout,
    quiz: Listed,
}

/// `GET /quizzes/{id}/delete`: asks whether it is meant.
pub async fn confirm(
    State(app): State<App>,
    Id(id): Id,
    LoggedIn { visitor, user }: LoggedIn,
) -> Result<Response, Error> {
    let found = find_own(&app, id, &user).await?;
    let template = Confirm {
        page: visitor.layout("quizzes"),
        quiz: found.quiz,
    };
    visitor.page(StatusCode::OK, &template)
}

/// The row goes, and with it the reference to the attachment, whose bytes go later: a failure leaves no quiz that shows a
/// hole.
pub(super) async fn delete(app: &App, visitor: Visitor, id: i64) -> Result<Response, Error> {
    let mut transaction = app.db.begin().await?;
    if !db::quizzes::delete(&mut transaction, id).await? {
        return Err(Error::NotFound);
    }
    transaction.commit().await?;
    Ok(visitor.redirect("/goback", &[Flash::QuizDeleted]))
}
