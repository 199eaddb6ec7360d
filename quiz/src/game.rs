//! Random play, for the pages and for the API: the rules of [`domain::game`](crate::domain::game) applied to the row of a
//! player. Each change is one transaction that locks the game, so any number of front-ends may serve one player.

use std::time::Duration;

use sqlx::PgConnection;

use crate::app::App;
use crate::config::positive_secs;
use crate::db;
use crate::db::games::Player;
use crate::domain::answer;
use crate::domain::game::{Conflict, Game};

/// Settings of random play.
#[derive(Clone, Debug, clap::Args)]
pub struct GameConfig {
    /// How long a game of random play is kept after its last move, in seconds
    #[arg(id = "game_ttl", long = "game-ttl-secs", value_name = "SECS", env = "QUIZ_GAME_TTL_SECS", default_value = "86400", value_parser = positive_secs)]
    pub ttl: Duration,
}

/// What an answer has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub quiz_id: i64,
    pub right: bool,
    pub score: i32,
}

/// Begins a new game with its first question, whatever became of the old one.
pub async fn start(app: &App, player: &Player) -> sqlx::Result<Game> {
    let mut transaction = app.db.begin().await?;
    let (id, _) = db::games::lock_or_create(&mut transaction, player).await?;
    let game = begin(&mut transaction, id).await?;
    transaction.commit().await?;
    Ok(game)
}

/// The game with an open question, unless none is left: a new game when the player has none that runs.
pub async fn go_on(app: &App, player: &Player) -> sqlx::Result<Game> {
    let mut transaction = app.db.begin().await?;
    let (id, game) = db::games::lock_or_create(&mut transaction, player).await?;
    let game = if game.is_over() {
        begin(&mut transaction, id).await?
    } else {
        deal(&mut transaction, id, game).await?
    };
    transaction.commit().await?;
    Ok(game)
}

/// Gives the player's game its next question if it waits for one. Never begins a game.
pub async fn ask_next(app: &App, player: &Player) -> sqlx::Result<()> {
    let mut transaction = app.db.begin().await?;
    if let Some((id, game)) = db::games::lock(&mut transaction, player).await? {
        deal(&mut transaction, id, game).await?;
    }
    transaction.commit().await
}

/// Checks an answer to `quiz_id`, or to the open question when the player does not say which one is meant. Of several
/// answers to one question the first counts.
pub async fn check(
    app: &App,
    player: &Player,
    quiz_id: Option<i64>,
    given: &str,
) -> sqlx::Result<Result<Verdict, Conflict>> {
    let mut transaction = app.db.begin().await?;
    let Some((id, game)) = db::games::lock(&mut transaction, player).await? else {
        return Ok(Err(Conflict));
    };
    let Some(quiz_id) = quiz_id.or(game.open_question()) else {
        return Ok(Err(Conflict));
    };
    // Asked before the answer is read: an answer to another question says nothing about that one.
    if game.open_question() != Some(quiz_id) {
        return Ok(Err(Conflict));
    }
    let Some(expected) = db::games::answer_of(&mut transaction, quiz_id).await? else {
        db::games::save(&mut transaction, id, game.without_question()).await?;
        transaction.commit().await?;
        return Ok(Err(Conflict));
    };
    let right = answer::matches(given, &expected);
    let Ok(after) = game.answered(quiz_id, right) else {
        return Ok(Err(Conflict));
    };
    if right {
        db::games::resolve(&mut transaction, id, quiz_id).await?;
    } else {
        db::games::forget(&mut transaction, id).await?;
    }
    db::games::save(&mut transaction, id, after).await?;
    transaction.commit().await?;
    if let (true, Some(user_id)) = (right, player.user_id()) {
        db::games::raise_best_score(&app.db, user_id, after.score).await?;
    }
    Ok(Ok(Verdict {
        quiz_id,
        right,
        score: after.score,
    }))
}

/// Removes the games that were left long ago.
pub async fn purge(app: &App) {
    match db::games::purge(&app.db, app.config.game.ttl.as_secs_f64()).await {
        Ok(0) => {}
        Ok(games) => tracing::info!(games, "removed games that were left"),
        Err(error) => tracing::warn!(%error, "could not remove games that were left"),
    }
}

async fn begin(db: &mut PgConnection, id: i64) -> sqlx::Result<Game> {
    db::games::forget(db, id).await?;
    let game = Game::default();
    db::games::save(db, id, game).await?;
    deal(db, id, game).await
}

async fn deal(db: &mut PgConnection, id: i64, game: Game) -> sqlx::Result<Game> {
    if game.is_over() || game.open_question().is_some() {
        return Ok(game);
    }
    let dealt = game.dealt(db::games::draw(db, id).await?);
    if dealt.is_over() {
        db::games::forget(db, id).await?;
    }
    db::games::save(db, id, dealt).await?;
    Ok(dealt)
}
