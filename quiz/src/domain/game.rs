//! The rules of random play: questions in random order, a point for each right answer, and the first wrong one ends the
//! game. No question comes twice in a game.

/// A game at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Game {
    /// Right answers so far, which is also how many came in a row.
    pub score: i32,
    pub state: State,
}

/// What a game waits for. Quizzes are named by their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The next question: none has been dealt yet, or the last one has been answered or removed.
    #[default]
    Next,
    /// The answer to this question.
    Answer(i64),
    /// Nothing: this question was answered wrongly. None when it has been removed since.
    Lost(Option<i64>),
    /// Nothing: every question has been answered.
    NoMore,
}

/// The answer belongs to no open question: the game is over, or the question is an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

impl Game {
    /// Has it ended?
    pub fn is_over(self) -> bool {
        matches!(self.state, State::Lost(_) | State::NoMore)
    }

    /// The question that waits for its answer.
    pub fn open_question(self) -> Option<i64> {
        match self.state {
            State::Answer(quiz_id) => Some(quiz_id),
            _ => None,
        }
    }

    /// The game after an answer to `quiz_id`. An answer to anything but the open question changes nothing.
    pub fn answered(self, quiz_id: i64, right: bool) -> Result<Self, Conflict> {
        if self.open_question() != Some(quiz_id) {
            return Err(Conflict);
        }
        Ok(if right {
            Self {
                score: self.score + 1,
                state: State::Next,
            }
        } else {
            Self {
                state: State::Lost(Some(quiz_id)),
                ..self
            }
        })
    }

    /// The game after its open question has been removed from the site: another one may come, the score stays.
    pub fn without_question(self) -> Self {
        match self.state {
            State::Answer(_) => Self {
                state: State::Next,
                ..self
            },
            _ => self,
        }
    }

    /// The game after a quiz was drawn for it; none is left when nothing could be drawn. A question that is open stays.
    pub fn dealt(self, drawn: Option<i64>) -> Self {
        match self.state {
            State::Next => Self {
                state: drawn.map_or(State::NoMore, State::Answer),
                ..self
            },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asking(quiz_id: i64, score: i32) -> Game {
        let state = State::Answer(quiz_id);
        Game { score, state }
    }

    #[test]
    fn a_right_answer_is_a_point_and_a_wrong_one_the_end() {
        let game = asking(7, 2);
        let right = game.answered(7, true).unwrap();
        assert_eq!((right.score, right.state), (3, State::Next));
        let wrong = game.answered(7, false).unwrap();
        assert_eq!((wrong.score, wrong.state), (2, State::Lost(Some(7))));
        assert!(wrong.is_over() && !right.is_over());
    }

    #[test]
    fn a_question_that_was_removed_costs_nothing() {
        let game = asking(7, 2).without_question();
        assert_eq!((game.score, game.state), (2, State::Next));
    }

    #[test]
    fn a_game_without_another_question_is_over() {
        assert_eq!(Game::default().dealt(None).state, State::NoMore);
        assert_eq!(asking(7, 2).dealt(None), asking(7, 2));
    }

    proptest! {
        #[test]
        fn the_score_is_the_number_of_right_answers_to_open_questions(
            moves in proptest::collection::vec((0i64..4, any::<bool>(), proptest::option::of(0i64..4)), 0..40)
        ) {
            let mut game = Game::default();
            let mut points = 0;
            for (quiz_id, right, drawn) in moves {
                let before = game;
                match game.answered(quiz_id, right) {
                    Ok(after) => {
                        prop_assert_eq!(before.open_question(), Some(quiz_id));
                        points += i32::from(right);
                        game = after;
                    }
                    Err(Conflict) => prop_assert_ne!(before.open_question(), Some(quiz_id)),
                }
                let end = game;
                game = game.dealt(drawn);
                prop_assert!(!end.is_over() || game == end, "{:?} went on after its end", end);
                prop_assert_eq!(game.score, points);
            }
        }
    }
}
