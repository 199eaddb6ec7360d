//! Rows of `games` and `game_quizzes`.
//!
//! A change of a game locks its row first, so that two answers at once are one after the other. Quizzes are locked
//! with `SKIP LOCKED`, never waited for: who deletes a quiz locks it first and the games that ask it afterwards, the
//! other way round.

use sqlx::{PgConnection, PgExecutor};

use crate::domain::game::{Game, State};

/// Who plays. Each has at most one game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// A user, by id: the same game in the browser and with the API.
    User(i64),
    /// Who carries the [`Token`](crate::token::Token) of this hash.
    Visitor([u8; 32]),
}

impl Player {
    /// The user, who alone has a best score.
    pub fn user_id(&self) -> Option<i64> {
        match self {
            Self::User(id) => Some(*id),
            Self::Visitor(_) => None,
        }
    }

    /// The values of `user_id` and `token_hash`, one of which is NULL.
    fn columns(&self) -> (Option<i64>, Option<&[u8]>) {
        match self {
            Self::User(id) => (Some(*id), None),
            Self::Visitor(hash) => (None, Some(hash)),
        }
    }
}

struct Row {
    id: i64,
    score: i32,
    current_quiz_id: Option<i64>,
    ended: Option<String>,
}

impl Row {
    fn game(&self) -> Game {
        let state = match (self.ended.as_deref(), self.current_quiz_id) {
            (Some("nomore"), _) => State::NoMore,
            (Some(_), quiz_id) => State::Lost(quiz_id),
            (None, Some(quiz_id)) => State::Answer(quiz_id),
            (None, None) => State::Next,
        };
        Game {
            score: self.score,
            state,
        }
    }

    fn locked(self) -> (i64, Game) {
        (self.id, self.game())
    }
}

/// The game of a player as it is, and the best score of a user.
pub async fn standing(
    db: impl PgExecutor<'_>,
    player: &Player,
) -> sqlx::Result<(Option<Game>, Option<i32>)> {
    let (user_id, token_hash) = player.columns();
    let row = sqlx::query!(
        r#"SELECT games.id AS "id?", games.score AS "score?", games.current_quiz_id, games.ended,
                  users.best_score AS "best_score?"
           FROM (SELECT 1) AS one
           LEFT JOIN games ON games.user_id = $1 OR games.token_hash = $2
           LEFT JOIN users ON users.id = $1"#,
        user_id,
        token_hash
    )
    .fetch_one(db)
    .await?;
    let game = row.id.zip(row.score).map(|(id, score)| Row {
        id,
        score,
        current_quiz_id: row.current_quiz_id,
        ended: row.ended,
    });
    Ok((game.map(|row| row.game()), row.best_score))
}

/// The game of a player with its id, locked until the end of the transaction.
pub async fn lock(db: &mut PgConnection, player: &Player) -> sqlx::Result<Option<(i64, Game)>> {
    let (user_id, token_hash) = player.columns();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, score, current_quiz_id, ended FROM games WHERE user_id = $1 OR token_hash = $2
         FOR UPDATE",
        user_id,
        token_hash
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Row::locked))
}

/// As [`lock`], but makes the game when there is none.
pub async fn lock_or_create(db: &mut PgConnection, player: &Player) -> sqlx::Result<(i64, Game)> {
    let row = match player {
        Player::User(user_id) => {
            sqlx::query_as!(
                Row,
                "INSERT INTO games (user_id) VALUES ($1)
                 ON CONFLICT (user_id) DO UPDATE SET updated_at = now()
                 RETURNING id, score, current_quiz_id, ended",
                user_id
            )
            .fetch_one(db)
            .await?
        }
        Player::Visitor(token_hash) => {
            sqlx::query_as!(
                Row,
                "INSERT INTO games (token_hash) VALUES ($1)
                 ON CONFLICT (token_hash) DO UPDATE SET updated_at = now()
                 RETURNING id, score, current_quiz_id, ended",
                token_hash.as_slice()
            )
            .fetch_one(db)
            .await?
        }
    };
    Ok(row.locked())
}

/// Stores a locked game.
pub async fn save(db: &mut PgConnection, id: i64, game: Game) -> sqlx::Result<()> {
    let (quiz_id, ended) = match game.state {
        State::Next => (None, None),
        State::Answer(quiz_id) => (Some(quiz_id), None),
        State::Lost(quiz_id) => (quiz_id, Some("wrong")),
        State::NoMore => (None, Some("nomore")),
    };
    sqlx::query!(
        "UPDATE games SET score = $2, current_quiz_id = $3, ended = $4, updated_at = now() WHERE id = $1",
        id,
        game.score,
        quiz_id,
        ended
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Draws a quiz that the game has not resolved, by chance; none when none is left. The quiz cannot be deleted before
/// the end of the transaction.
///
/// Takes one of the ten that follow a random point of `quizzes.random_key`, from the start again after the end. Nothing
/// is counted or scanned: the work is ten steps in the index, plus those over quizzes that this game has resolved. One
/// step would do (it does for a wiki's Special:Random, whose column `page_random` this is like), but then a quiz would
/// come up as often as its key is far from the one before it; ten neighbours even that out.
/// <https://www.mediawiki.org/wiki/Manual:Page_table#page_random>
pub async fn draw(db: &mut PgConnection, id: i64) -> sqlx::Result<Option<i64>> {
    // Which of the two halves comes first does not matter for the rules, only that they are disjoint and complete.
    sqlx::query_scalar!(
        r#"SELECT quizzes.id
           FROM quizzes JOIN (
               (SELECT id FROM quizzes
                WHERE random_key >= $2
                AND NOT EXISTS (SELECT 1 FROM game_quizzes WHERE game_id = $1 AND quiz_id = quizzes.id)
                ORDER BY random_key, id LIMIT 10)
               UNION ALL
               (SELECT id FROM quizzes
                WHERE random_key < $2
                AND NOT EXISTS (SELECT 1 FROM game_quizzes WHERE game_id = $1 AND quiz_id = quizzes.id)
                ORDER BY random_key, id LIMIT 10)
               LIMIT 10
           ) AS near ON near.id = quizzes.id
           ORDER BY random() LIMIT 1
           FOR KEY SHARE OF quizzes SKIP LOCKED"#,
        id,
        rand::random::<f64>()
    )
    .fetch_optional(db)
    .await
}

/// The answer of a quiz, which cannot be deleted before the end of the transaction; none when it is gone or about to go.
pub async fn answer_of(db: &mut PgConnection, quiz_id: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT answer FROM quizzes WHERE id = $1 FOR KEY SHARE SKIP LOCKED",
        quiz_id
    )
    .fetch_optional(db)
    .await
}

/// Notes that a game has resolved a quiz.
pub async fn resolve(db: &mut PgConnection, id: i64, quiz_id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO game_quizzes (game_id, quiz_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        id,
        quiz_id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets what a game has resolved.
pub async fn forget(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM game_quizzes WHERE game_id = $1", id)
        .execute(db)
        .await?;
    Ok(())
}

/// Raises the best score of a user to `score`. Not in the transaction of the game: who deletes a user locks the user
/// first and the game afterwards.
pub async fn raise_best_score(
    db: impl PgExecutor<'_>,
    user_id: i64,
    score: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET best_score = $2 WHERE id = $1 AND best_score < $2",
        user_id,
        score
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes the games in which nothing has happened for `idle_secs` and tells how many there were. Leaves to other
/// front-ends what they are removing, and to players what they are playing.
pub async fn purge(db: impl PgExecutor<'_>, idle_secs: f64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM games WHERE id IN (
             SELECT id FROM games WHERE updated_at < now() - make_interval(secs => $1)
             FOR UPDATE SKIP LOCKED
         )",
        idle_secs
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
