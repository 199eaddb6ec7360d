//! The quizzes: their lists, their form, and the page for those who may see the answer.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::app::App;
use crate::db;
use crate::db::quizzes::{Answered, Listed};
use crate::db::users::User;
use crate::error::Error;
use crate::pages::Id;
use crate::visitor::{Layout, LoggedIn};

pub mod create;
pub mod delete;
pub mod edit;
mod form;
pub mod list;

#[derive(Template)]
#[template(path = "quizzes/show.html")]
struct Show {
    page: Layout,
    quiz: Listed,
    answer: String,
}

/// `GET /quizzes/{id}`: for the author and for admins.
pub async fn show(
    State(app): State<App>,
    Id(id): Id,
    LoggedIn { visitor, user }: LoggedIn,
) -> Result<Response, Error> {
    let Answered { quiz, answer } = find_own(&app, id, &user).await?;
    let template = Show {
        page: visitor.layout("quizzes"),
        quiz,
        answer,
    };
    visitor.page(StatusCode::OK, &template)
}

/// A quiz that `user` wrote, or any for an admin. Whoever calls this has asked for the log-in, so that strangers cannot
/// probe for ids.
async fn find_own(app: &App, id: i64, user: &User) -> Result<Answered, Error> {
    let found = db::quizzes::find(&app.db, id, Some(user.id))
        .await?
        .ok_or(Error::NotFound)?;
    if user.may_see_answer(found.quiz.author_id) {
        Ok(found)
    } else {
        Err(Error::Forbidden)
    }
}
