//! Random play: a game of questions in random order. Everything about it is in the row of the player, so that any
//! front-end goes on with it, a reload shows the same page again, and an old form changes nothing.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::app::App;
use crate::csrf::ProtectedForm;
use crate::db;
use crate::db::games::Player;
use crate::db::quizzes::Listed;
use crate::domain::game::{Game, State as Stage};
use crate::error::Error;
use crate::game;
use crate::visitor::{Layout, Visitor};

const PATH: &str = "/random";

#[derive(Template)]
#[template(path = "random/start.html")]
struct Start {
    page: Layout,
    best: Option<i32>,
}

#[derive(Template)]
#[template(path = "random/question.html")]
struct Question {
    page: Layout,
    /// None until the next one is asked for.
    quiz: Option<Listed>,
    score: i32,
    best: Option<i32>,
    /// The form came without an answer.
    blank: bool,
}

#[derive(Template)]
#[template(path = "random/over.html")]
struct Over {
    page: Layout,
    /// The question that was answered wrongly, unless it has been removed.
    missed: Option<Listed>,
    no_more: bool,
    score: i32,
    best: Option<i32>,
}

/// `GET /random`: an invitation, the open question, or how the game ended. Changes nothing.
pub async fn show(State(app): State<App>, mut visitor: Visitor) -> Result<Response, Error> {
    visitor.remember_page();
    view(&app, visitor, false).await
}

/// `POST /random`: a new game.
pub async fn start(State(app): State<App>, form: ProtectedForm) -> Result<Response, Error> {
    let mut visitor = form.visitor;
    let player = visitor.keep_player();
    game::start(&app, &player).await?;
    Ok(visitor.redirect(PATH, &[]))
}

/// `POST /random/next`: the next question for a game that waits for one, because the last question was removed or
/// was answered with the API.
pub async fn next(State(app): State<App>, form: ProtectedForm) -> Result<Response, Error> {
    let mut visitor = form.visitor;
    let player = visitor.keep_player();
    game::ask_next(&app, &player).await?;
    Ok(visitor.redirect(PATH, &[]))
}

/// `POST /random/answer`: `answer` to the question `quiz`. The answer to any other than the open question changes
/// nothing; nor does a blank one, which a slip of the finger sends.
pub async fn answer(State(app): State<App>, form: ProtectedForm) -> Result<Response, Error> {
    let mut visitor = form.visitor;
    let player = visitor.keep_player();
    let given = form.params.get("answer").unwrap_or_default();
    let quiz_id = form.params.get("quiz").and_then(|id| id.parse().ok());
    if given.trim().is_empty() {
        return view(&app, visitor, true).await;
    }
    if let Some(quiz_id) = quiz_id {
        // Whether it counted or came too late: what follows is the page about the game as it is now.
        let _ = game::check(&app, &player, Some(quiz_id), given).await?;
        game::ask_next(&app, &player).await?;
    }
    Ok(visitor.redirect(PATH, &[]))
}

/// The page about the player's game.
async fn view(app: &App, mut visitor: Visitor, blank: bool) -> Result<Response, Error> {
    visitor.prepare_form();
    let (game, best, quiz) = match visitor.player() {
        Some(player) => stand(app, &player).await?,
        None => (None, None, None),
    };
    let page = visitor.layout("random");
    let Some(game) = game else {
        return visitor.page(StatusCode::OK, &Start { page, best });
    };
    let score = game.score;
    if game.is_over() {
        let over = Over {
            page,
            missed: quiz,
            no_more: game.state == Stage::NoMore,
            score,
            best,
        };
        return visitor.page(StatusCode::OK, &over);
    }
    let status = match (blank, &quiz) {
        (true, Some(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let question = Question {
        page,
        quiz,
        score,
        best,
        blank,
    };
    visitor.page(status, &question)
}

/// The game of a player, the best score of a user, and the quiz that the page shows.
async fn stand(
    app: &App,
    player: &Player,
) -> sqlx::Result<(Option<Game>, Option<i32>, Option<Listed>)> {
    let mut connection = app.db.acquire().await?;
    let (game, best) = db::games::standing(&mut *connection, player).await?;
    let quiz = match game.and_then(shown) {
        Some(id) => db::quizzes::find_listed(&mut *connection, id, player.user_id()).await?,
        None => None,
    };
    Ok((game, best, quiz))
}

/// The quiz that the page about a game shows.
fn shown(game: Game) -> Option<i64> {
    match game.state {
        Stage::Answer(id) => Some(id),
        Stage::Lost(id) => id,
        Stage::Next | Stage::NoMore => None,
    }
}
