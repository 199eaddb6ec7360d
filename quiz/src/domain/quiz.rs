//! The texts of a quiz: what a question and an answer may be.

use crate::locale;

/// As long as the column of the original site: longer texts are a form error, never a database error.
pub const MAX_CHARS: usize = 255;

/// The question and the answer of a quiz, known to be fit for storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    pub question: String,
    pub answer: String,
}

/// What is wrong with each field of the form; at least one of them is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextErrors {
    pub question: Option<FieldError>,
    pub answer: Option<FieldError>,
}

/// What is wrong with one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    Blank,
    TooLong,
}

impl Texts {
    /// Both texts, or what is wrong with each. An absent field counts as a blank one.
    pub fn parse(question: Option<&str>, answer: Option<&str>) -> Result<Self, TextErrors> {
        match (text(question), text(answer)) {
            (Ok(question), Ok(answer)) => Ok(Self { question, answer }),
            (question, answer) => Err(TextErrors {
                question: question.err(),
                answer: answer.err(),
            }),
        }
    }
}

impl FieldError {
    /// The message next to the question.
    pub fn about_question(self, t: &locale::Texts) -> String {
        match self {
            Self::Blank => t.quizzes.question_empty.to_owned(),
            Self::TooLong => (t.quizzes.question_too_long)(MAX_CHARS),
        }
    }

    /// The message next to the answer.
    pub fn about_answer(self, t: &locale::Texts) -> String {
        match self {
            Self::Blank => t.quizzes.answer_empty.to_owned(),
            Self::TooLong => (t.quizzes.answer_too_long)(MAX_CHARS),
        }
    }
}

fn text(typed: Option<&str>) -> Result<String, FieldError> {
    // Browsers send the line ends of a textarea as CRLF, two characters for the one that was typed.
    let text = typed.unwrap_or_default().replace("\r\n", "\n");
    let text = text.trim();
    if text.is_empty() {
        return Err(FieldError::Blank);
    }
    if text.chars().count() > MAX_CHARS {
        return Err(FieldError::TooLong);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_trimmed_and_kept() {
        let texts = Texts::parse(Some(" What?\r\nReally? "), Some("Rome")).unwrap();
        assert_eq!(texts.question, "What?\nReally?");
        assert_eq!(texts.answer, "Rome");
    }

    #[test]
    fn an_absent_field_is_a_form_error_like_a_blank_one() {
        let errors = Texts::parse(None, Some(" \t ")).unwrap_err();
        assert_eq!(
            (errors.question, errors.answer),
            (Some(FieldError::Blank), Some(FieldError::Blank))
        );
    }

    #[test]
    fn length_is_counted_in_characters_not_in_bytes() {
        let longest = "ñ".repeat(MAX_CHARS);
        assert!(Texts::parse(Some(&longest), Some("x")).is_ok());
        let errors = Texts::parse(Some(&format!("{longest}ñ")), Some("x")).unwrap_err();
        assert_eq!(errors.question, Some(FieldError::TooLong));
        assert_eq!(errors.answer, None);
    }
}
