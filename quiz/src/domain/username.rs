//! The name of a user: what it may be. That nobody else has it is seen to by the database.

use crate::locale;

/// Longer names do not fit beside a question.
pub const MAX_CHARS: usize = 64;

/// A name fit for storage: trimmed, one space between words, and nothing in it that cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameError {
    Empty,
    TooLong,
    Invisible,
}

impl Username {
    /// The name that was typed. An absent field counts as an empty one.
    pub fn parse(typed: Option<&str>) -> Result<Self, UsernameError> {
        let name = tidy(typed.unwrap_or_default());
        if name.is_empty() {
            return Err(UsernameError::Empty);
        }
        if name.chars().any(is_invisible) {
            return Err(UsernameError::Invisible);
        }
        if name.chars().count() > MAX_CHARS {
            return Err(UsernameError::TooLong);
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UsernameError {
    /// The message next to the field.
    pub fn text(self, t: &locale::Texts) -> String {
        match self {
            Self::Empty => t.users.username_empty.to_owned(),
            Self::TooLong => (t.users.username_too_long)(MAX_CHARS),
            Self::Invisible => t.users.username_invisible.to_owned(),
        }
    }
}

/// Without the spaces that nobody means to type: none at the ends, one between words.
pub fn tidy(typed: &str) -> String {
    let words: Vec<&str> = typed.split_whitespace().collect();
    words.join(" ")
}

/// Characters that make two names look alike, or turn the text around them: controls, and of the format characters of
/// Unicode (category Cf) those that text uses.
pub fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_trimmed_and_its_words_are_one_space_apart() {
        let name = Username::parse(Some("  Ana \t María ")).unwrap();
        assert_eq!(name.as_str(), "Ana María");
    }

    #[test]
    fn an_absent_name_is_an_empty_one() {
        for typed in [None, Some(""), Some(" \t\n\u{a0}")] {
            assert_eq!(Username::parse(typed), Err(UsernameError::Empty));
        }
    }

    #[test]
    fn length_is_counted_in_characters_not_in_bytes() {
        let longest = "ñ".repeat(MAX_CHARS);
        assert!(Username::parse(Some(&longest)).is_ok());
        assert_eq!(
            Username::parse(Some(&format!("{longest}ñ"))),
            Err(UsernameError::TooLong)
        );
    }

    #[test]
    fn nobody_passes_for_another_by_characters_that_cannot_be_seen() {
        for typed in [
            "ad\u{200b}min",
            "admin\u{202e}",
            "\u{feff}admin",
            "ad\u{7}min",
            "\u{3164}",
        ] {
            assert_eq!(
                Username::parse(Some(typed)),
                Err(UsernameError::Invisible),
                "{typed:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_clean_and_stays_as_it_is(typed in "\\PC{0,80}") {
            if let Ok(name) = Username::parse(Some(&typed)) {
                let length = name.as_str().chars().count();
                prop_assert!((1..=MAX_CHARS).contains(&length));
                prop_assert_eq!(name.as_str().trim(), name.as_str());
                prop_assert!(!name.as_str().contains("  "));
                prop_assert_eq!(Username::parse(Some(name.as_str())), Ok(name.clone()));
            }
        }

        #[test]
        fn spaces_around_a_name_never_matter(name in "[a-zñA-Z0-9_.-]{1,20}", before in "[ \t]{0,3}", after in "[ \t]{0,3}") {
            let padded = format!("{before}{name}{after}");
            prop_assert_eq!(Username::parse(Some(&padded)), Username::parse(Some(&name)));
        }
    }
}
