//! Playing a quiz: the question, and the verdict on an answer.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::app::App;
use crate::db;
use crate::db::quizzes::Listed;
use crate::domain::answer;
use crate::error::Error;
use crate::pages::Id;
use crate::params::Params;
use crate::visitor::{Layout, Visitor};

#[derive(Template)]
#[template(path = "play/question.html")]
struct Question {
    page: Layout,
    quiz: Listed,
    prefill: String,
}

#[derive(Template)]
#[template(path = "play/check.html")]
struct Check {
    page: Layout,
    quiz: Listed,
    answer: String,
    right: bool,
    retry_url: String,
    next: Option<i64>,
}

/// `GET /quizzes/{id}/play?answer=…`: the answer fills the field in advance.
pub async fn question(
    State(app): State<App>,
    Id(id): Id,
    params: Params,
    visitor: Visitor,
) -> Result<Response, Error> {
    let viewer = visitor.user().map(|user| user.id);
    let quiz = db::quizzes::find_listed(&app.db, id, viewer)
        .await?
        .ok_or(Error::NotFound)?;
    let prefill = params.get("answer").unwrap_or_default().to_owned();
    let template = Question {
        page: visitor.layout("quizzes"),
        quiz,
        prefill,
    };
    visitor.page(StatusCode::OK, &template)
}

/// `GET /quizzes/{id}/check?answer=…`: an absent answer is an empty one, and wrong.
pub async fn check(
    State(app): State<App>,
    Id(id): Id,
    params: Params,
    visitor: Visitor,
) -> Result<Response, Error> {
    let viewer = visitor.user().map(|user| user.id);
    let mut connection = app.db.acquire().await?;
    let found = db::quizzes::find(&mut *connection, id, viewer)
        .await?
        .ok_or(Error::NotFound)?;
    let next = db::quizzes::next_after(&mut *connection, id).await?;
    drop(connection);
    let answer = params.get("answer").unwrap_or_default().to_owned();
    let template = Check {
        page: visitor.layout("quizzes"),
        right: answer::matches(&answer, &found.answer),
        retry_url: retry_url(id, &answer),
        quiz: found.quiz,
        answer,
        next,
    };
    visitor.page(StatusCode::OK, &template)
}

/// The question again, with the answer as it was typed, whatever characters it is made of.
fn retry_url(id: i64, answer: &str) -> String {
    format!(
        "/quizzes/{id}/play?answer={}",
        utf8_percent_encode(answer, NON_ALPHANUMERIC)
    )
}
