//! Random quizzes and random play. A game belongs to the user of the token: it needs no cookie, and is the same on the
//! pages and on all front-ends. Everything is a GET, as in the original site, though most of it changes the game.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorJson};
use super::quiz::QuizJson;
use super::{ApiUser, openapi};
use crate::app::App;
use crate::db;
use crate::db::games::Player;
use crate::domain::game::{Conflict, Game};
use crate::game;
use crate::params::Params;

/// Quizzes in one reply of `random10wa`.
const TEN: u8 = 10;

/// A quiz, or the news that there is none.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum RandomJson {
    Quiz(Box<QuizJson>),
    NoMore(NoMoreJson),
}

/// There is no quiz.
#[derive(Serialize, ToSchema)]
pub struct NoMoreJson {
    /// Always true.
    #[schema(example = true)]
    pub nomore: bool,
}

/// The open question of a game, or its end.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum RoundJson {
    Asked {
        quiz: Box<QuizJson>,
        /// Right answers so far.
        #[schema(example = 3)]
        score: i32,
    },
    NoMore {
        /// Always true: every question has been answered, and the game is over.
        #[schema(example = true)]
        nomore: bool,
        #[schema(example = 4)]
        score: i32,
    },
}

/// What an answer did to the game.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictJson {
    /// As it was given.
    #[schema(example = "Rome")]
    pub answer: String,
    #[schema(example = 1)]
    pub quiz_id: i64,
    /// A wrong answer ends the game.
    #[schema(example = true)]
    pub result: bool,
    /// Right answers so far, with this one.
    #[schema(example = 4)]
    pub score: i32,
}

/// A quiz together with its answer.
#[derive(Serialize, ToSchema)]
pub struct RevealedJson {
    #[serde(flatten)]
    pub quiz: QuizJson,
    #[schema(example = "Rome")]
    pub answer: String,
}

/// A random quiz
///
/// Belongs to no game. `{"nomore": true}` when the site has no quiz.
#[utoipa::path(
    get,
    path = "/quizzes/random",
    operation_id = "getRandomQuiz",
    tag = openapi::RANDOM_PLAY,
    responses((status = 200, body = RandomJson))
)]
pub async fn one(
    State(app): State<App>,
    ApiUser(user): ApiUser,
) -> Result<Json<RandomJson>, ApiError> {
    let found = db::quizzes::by_chance(&app.db, Some(user.id), 1)
        .await?
        .pop();
    Ok(Json(found.map_or(
        RandomJson::NoMore(NoMoreJson { nomore: true }),
        |found| RandomJson::Quiz(Box::new(found.quiz.into())),
    )))
}

/// Ten random quizzes with their answers
///
/// All different, in random order; all of the site when there are fewer than ten.
#[utoipa::path(
    get,
    path = "/quizzes/random10wa",
    operation_id = "getTenRandomQuizzes",
    tag = openapi::RANDOM_PLAY,
    responses((status = 200, body = [RevealedJson]))
)]
pub async fn ten(
    State(app): State<App>,
    ApiUser(user): ApiUser,
) -> Result<Json<Vec<RevealedJson>>, ApiError> {
    let quizzes = db::quizzes::by_chance(&app.db, Some(user.id), TEN).await?;
    let revealed = quizzes.into_iter().map(|found| RevealedJson {
        quiz: found.quiz.into(),
        answer: found.answer,
    });
    Ok(Json(revealed.collect()))
}

/// Begin a new game
///
/// Changes state although it is a GET: a game that runs is given up. Replies as `next` does.
#[utoipa::path(
    get,
    path = "/quizzes/randomPlay/new",
    operation_id = "beginGame",
    tag = openapi::RANDOM_PLAY,
    responses((status = 200, body = RoundJson))
)]
pub async fn begin(
    State(app): State<App>,
    ApiUser(user): ApiUser,
) -> Result<Json<RoundJson>, ApiError> {
    let game = game::start(&app, &Player::User(user.id)).await?;
    round(&app, user.id, game).await
}

/// The open question
///
/// Changes state although it is a GET: when there is no game it begins one, and when the last question has been answered
/// it asks another. The same question until it is answered. When every question has been answered the game is over.
#[utoipa::path(
    get,
    path = "/quizzes/randomPlay/next",
    operation_id = "getOpenQuestion",
    tag = openapi::RANDOM_PLAY,
    responses((status = 200, body = RoundJson))
)]
pub async fn next(
    State(app): State<App>,
    ApiUser(user): ApiUser,
) -> Result<Json<RoundJson>, ApiError> {
    let game = game::go_on(&app, &Player::User(user.id)).await?;
    round(&app, user.id, game).await
}

/// Answer the open question
///
/// Changes state although it is a GET: the answer counts, once. Case and outer spaces do not matter; without an answer
/// it is wrong.
#[utoipa::path(
    get,
    path = "/quizzes/randomPlay/check",
    operation_id = "answerOpenQuestion",
    tag = openapi::RANDOM_PLAY,
    params(("answer" = Option<String>, Query, description = "The answer to check")),
    responses(
        (status = 200, body = VerdictJson),
        (status = 409, body = ErrorJson, description = "There is no game, or no question that waits for an answer"),
    )
)]
pub async fn check(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    params: Params,
) -> Result<Json<VerdictJson>, ApiError> {
    let answer = params.get("answer").unwrap_or_default().to_owned();
    let verdict = game::check(&app, &Player::User(user.id), None, &answer).await?;
    let verdict = verdict.map_err(|Conflict| ApiError::Conflict)?;
    Ok(Json(VerdictJson {
        answer,
        quiz_id: verdict.quiz_id,
        result: verdict.right,
        score: verdict.score,
    }))
}

/// The reply about a game that has just been dealt a question, or has none to be dealt.
async fn round(app: &App, user_id: i64, mut game: Game) -> Result<Json<RoundJson>, ApiError> {
    let score = game.score;
    while let Some(quiz_id) = game.open_question() {
        let quiz = db::quizzes::find_listed(&app.db, quiz_id, Some(user_id)).await?;
        if let Some(quiz) = quiz {
            let quiz = Box::new(quiz.into());
            return Ok(Json(RoundJson::Asked { quiz, score }));
        }
        // Removed since it was dealt: the game gets another one.
        game = game::go_on(app, &Player::User(user_id)).await?;
    }
    Ok(Json(RoundJson::NoMore {
        nomore: true,
        score,
    }))
}
