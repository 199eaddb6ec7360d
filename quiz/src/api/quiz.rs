//! A quiz, as the API shows it: without its answer.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorJson};
use super::file::FileJson;
use super::format::{Format, split};
use super::user::{UserJson, account_type, profile_id};
use super::{ApiUser, openapi};
use crate::app::App;
use crate::db;
use crate::db::quizzes::Listed;
use crate::domain::answer;
use crate::pages::{Name, parse_id};
use crate::params::Params;

/// A quiz, without its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(xml(name = "quiz"))]
pub struct QuizJson {
    #[schema(example = 1)]
    pub id: i64,
    #[schema(example = "What is the capital of Italy?")]
    pub question: String,
    /// Null when the account of the author has gone.
    #[schema(required)]
    pub author: Option<UserJson>,
    #[schema(required)]
    pub attachment: Option<FileJson>,
    /// Is it a favourite of the user whose token it is?
    pub favourite: bool,
}

/// Whether an answer is right.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckJson {
    #[schema(example = 1)]
    pub quiz_id: i64,
    /// As it was given.
    #[schema(example = "Rome")]
    pub answer: String,
    #[schema(example = true)]
    pub result: bool,
}

impl From<Listed> for QuizJson {
    fn from(quiz: Listed) -> Self {
        let author = quiz
            .author_id
            .zip(quiz.author)
            .map(|(id, username)| UserJson {
                id,
                is_admin: quiz.author_is_admin.unwrap_or_default(),
                username,
                account_type_id: account_type(quiz.author_provider.as_deref()),
                profile_id: quiz.author_subject.map(profile_id),
                profile_name: quiz.author_profile_name,
                photo: FileJson::new(quiz.photo_image_id, quiz.photo_mime),
            });
        Self {
            id: quiz.id,
            question: quiz.question,
            author,
            attachment: FileJson::new(quiz.image_id, quiz.mime),
            favourite: quiz.favourite,
        }
    }
}

/// A quiz
///
/// As JSON, or as XML: with `Accept`, or with `/quizzes/{quizId}.json` and `/quizzes/{quizId}.xml`.
#[utoipa::path(
    get,
    path = "/quizzes/{quizId}",
    operation_id = "getQuiz",
    tag = openapi::QUIZZES,
    params(("quizId" = i64, Path, description = "Id of a quiz")),
    responses(
        (status = 200, content((QuizJson = "application/json"), (QuizJson = "application/xml"))),
        (status = 404, body = ErrorJson, description = "There is no such quiz"),
        (status = 406, body = ErrorJson, description = "Neither JSON nor XML is wanted"),
    )
)]
pub async fn show(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (id, extension) = split(&name);
    let format = Format::choose(extension, &headers)?;
    let quiz = match parse_id(id) {
        Some(id) => db::quizzes::find_listed(&app.db, id, Some(user.id)).await?,
        None => None,
    };
    let quiz = quiz.ok_or_else(|| ApiError::NoSuchQuiz(id.to_owned()))?;
    Ok(format.reply(&QuizJson::from(quiz)))
}

/// Is an answer right?
///
/// Case and outer spaces do not matter. Without an answer it is wrong.
#[utoipa::path(
    get,
    path = "/quizzes/{quizId}/check",
    operation_id = "checkAnswer",
    tag = openapi::QUIZZES,
    params(
        ("quizId" = i64, Path, description = "Id of a quiz"),
        ("answer" = Option<String>, Query, description = "The answer to check"),
    ),
    responses(
        (status = 200, body = CheckJson),
        (status = 404, body = ErrorJson, description = "There is no such quiz"),
    )
)]
pub async fn check(
    State(app): State<App>,
    Name(id): Name,
    params: Params,
) -> Result<Json<CheckJson>, ApiError> {
    let found = match parse_id(&id) {
        Some(id) => db::quizzes::find(&app.db, id, None).await?,
        None => None,
    };
    let found = found.ok_or(ApiError::NoSuchQuiz(id))?;
    let answer = params.get("answer").unwrap_or_default().to_owned();
    Ok(Json(CheckJson {
        quiz_id: found.quiz.id,
        result: answer::matches(&answer, &found.answer),
        answer,
    }))
}
