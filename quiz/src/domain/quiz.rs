//! The texts of a quiz: what a question and an answer may be.

use std::fmt;

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

/// What is wrong with one text. `Display` is the message next to the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    Blank { field: &'static str },
    TooLong { field: &'static str },
}

impl Texts {
    /// Both texts, or what is wrong with each. An absent field counts as a blank one.
    pub fn parse(question: Option<&str>, answer: Option<&str>) -> Result<Self, TextErrors> {
        match (text("Question", question), text("Answer", answer)) {
            (Ok(question), Ok(answer)) => Ok(Self { question, answer }),
            (question, answer) => Err(TextErrors {
                question: question.err(),
                answer: answer.err(),
            }),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank { field } => write!(f, "{field} must not be empty"),
            Self::TooLong { field } => {
                write!(f, "{field} must have at most {MAX_CHARS} characters")
            }
        }
    }
}

fn text(field: &'static str, typed: Option<&str>) -> Result<String, FieldError> {
    // Browsers send the line ends of a textarea as CRLF, two characters for the one that was typed.
    let text = typed.unwrap_or_default().replace("\r\n", "\n");
    let text = text.trim();
    if text.is_empty() {
        return Err(FieldError::Blank { field });
    }
    if text.chars().count() > MAX_CHARS {
        return Err(FieldError::TooLong { field });
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
            errors.question.unwrap().to_string(),
            "Question must not be empty"
        );
        assert_eq!(
            errors.answer.unwrap().to_string(),
            "Answer must not be empty"
        );
    }

    #[test]
    fn length_is_counted_in_characters_not_in_bytes() {
        let longest = "ñ".repeat(MAX_CHARS);
        assert!(Texts::parse(Some(&longest), Some("x")).is_ok());
        let errors = Texts::parse(Some(&format!("{longest}ñ")), Some("x")).unwrap_err();
        assert_eq!(
            errors.question,
            Some(FieldError::TooLong { field: "Question" })
        );
        assert_eq!(errors.answer, None);
    }
}
