//! The form of a new quiz and of one that is edited.

use std::time::{SystemTime, UNIX_EPOCH};

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::Response;

use crate::attachments::{Refusal, View};
use crate::db::quizzes::Answered;
use crate::domain::quiz::{MAX_CHARS, TextErrors};
use crate::error::Error;
use crate::locale;
use crate::upload::Form;
use crate::visitor::{Layout, Visitor};

const DAY_SECS: u64 = 24 * 60 * 60;

#[derive(Template)]
#[template(path = "quizzes/form.html")]
struct FormPage {
    page: Layout,
    form: Typed,
    /// None when the quiz is new.
    edited: Option<Edited>,
    max_chars: usize,
}

/// The quiz as it is before the change.
pub(super) struct Edited {
    pub id: i64,
    pub question: String,
    pub attachment: Option<View>,
}

/// What was typed, and what is wrong with it.
#[derive(Default)]
pub(super) struct Typed {
    pub question: String,
    pub answer: String,
    /// Is the attachment to stay?
    pub keep: bool,
    question_error: Option<String>,
    answer_error: Option<String>,
    image_error: Option<String>,
    /// What is wrong with none of the fields.
    limit_error: Option<String>,
}

/// Why a form comes back.
pub(super) enum Fault {
    Texts(TextErrors),
    File(Refusal),
    /// As many quizzes as this have been created on this day.
    TooMany(u32),
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::Texts(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::File(refusal) => refusal.status(),
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Until the quizzes of another day are counted, in seconds. Days are those of UTC.
fn rest_of_day(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    DAY_SECS - since.as_secs() % DAY_SECS
}

impl Typed {
    pub(super) fn new(form: &Form) -> Self {
        Self {
            question: form.text("question").unwrap_or_default().to_owned(),
            answer: form.text("answer").unwrap_or_default().to_owned(),
            keep: form
                .text("keepAttachment")
                .is_some_and(|value| !value.is_empty()),
            ..Self::default()
        }
    }

    /// The form with the texts of a quiz.
    pub(super) fn of(found: &Answered) -> Self {
        Self {
            question: found.quiz.question.clone(),
            answer: found.answer.clone(),
            keep: true,
            ..Self::default()
        }
    }

    fn explain(&mut self, fault: &Fault, t: &locale::Texts) {
        match fault {
            Fault::Texts(errors) => {
                self.question_error = errors.question.map(|error| error.about_question(t));
                self.answer_error = errors.answer.map(|error| error.about_answer(t));
            }
            Fault::File(refusal) => self.image_error = Some(refusal.text(t)),
            Fault::TooMany(max) => self.limit_error = Some((t.flash.too_many_quizzes)(*max)),
        }
    }

    fn has_errors(&self) -> bool {
        self.question_error.is_some()
            || self.answer_error.is_some()
            || self.image_error.is_some()
            || self.limit_error.is_some()
    }
}

/// Replies with the form; with the faults it explains what is wrong, under the status of the first.
pub(super) fn page(
    visitor: Visitor,
    mut form: Typed,
    edited: Option<Edited>,
    faults: &[Fault],
) -> Result<Response, Error> {
    for fault in faults {
        form.explain(fault, visitor.texts());
    }
    let here = if edited.is_some() { "quizzes" } else { "new" };
    let template = FormPage {
        page: visitor.layout(here),
        form,
        edited,
        max_chars: MAX_CHARS,
    };
    let status = faults.first().map_or(StatusCode::OK, Fault::status);
    let mut response = visitor.page(status, &template)?;
    if let Some(Fault::TooMany(_)) = faults.first() {
        let secs = HeaderValue::from(rest_of_day(SystemTime::now()));
        response.headers_mut().insert(RETRY_AFTER, secs);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_day_ends_at_midnight_in_utc() {
        let at = |secs| rest_of_day(UNIX_EPOCH + Duration::from_secs(20_000 * DAY_SECS + secs));
        assert_eq!(at(0), 24 * 60 * 60);
        assert_eq!(at(13 * 60 * 60), 11 * 60 * 60);
        assert_eq!(at(DAY_SECS - 1), 1);
    }
}
