//! What a password that somebody chooses must be. Checked here, on the server: a browser can be told to say anything.

use std::fmt;

use zxcvbn::{Score, zxcvbn};

use crate::locale;

/// Shortest password, in characters.
pub const MIN_CHARS: usize = 8;

/// Longest password, in bytes: more is no safer, and hashing it would be work for nothing.
pub const MAX_BYTES: usize = 1024;

/// A password that keeps the rules.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(String);

/// The first rule that a password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    Empty,
    TooShort,
    TooLong,
    NoDigit,
    NoUpperCase,
    /// Among the first million that somebody would try.
    Common,
    /// The two fields differ.
    NotRepeated,
}

impl NewPassword {
    /// The password that a user of that name chose. Where the form has a field to repeat it, both must be equal.
    pub fn parse(
        typed: Option<&str>,
        repeated: Option<&str>,
        username: &str,
    ) -> Result<Self, PasswordError> {
        let typed = typed.unwrap_or_default();
        if typed.is_empty() {
            return Err(PasswordError::Empty);
        }
        if typed.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        if typed.chars().count() < MIN_CHARS {
            return Err(PasswordError::TooShort);
        }
        if !typed.contains(|c: char| c.is_ascii_digit()) {
            return Err(PasswordError::NoDigit);
        }
        if !typed.chars().any(char::is_uppercase) {
            return Err(PasswordError::NoUpperCase);
        }
        if is_common(typed, username) {
            return Err(PasswordError::Common);
        }
        if repeated.is_some_and(|repeated| repeated != typed) {
            return Err(PasswordError::NotRepeated);
        }
        Ok(Self(typed.to_owned()))
    }

    /// The password itself, to be hashed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword([redacted])")
    }
}

impl PasswordError {
    /// The message next to the field.
    pub fn text(self, t: &locale::Texts) -> String {
        match self {
            Self::Empty => t.users.password_empty.to_owned(),
            Self::TooShort => (t.users.password_too_short)(MIN_CHARS),
            Self::TooLong => (t.users.password_too_long)(MAX_BYTES),
            Self::NoDigit => t.users.password_no_digit.to_owned(),
            Self::NoUpperCase => t.users.password_no_upper_case.to_owned(),
            Self::Common => t.users.password_common.to_owned(),
            Self::NotRepeated => t.users.password_not_repeated.to_owned(),
        }
    }
}

/// A list alone would let `Password1` pass, which is `password` to anybody who guesses. The estimate undoes capitals,
/// digits at the end and the like, and knows the words of its lists, keyboard rows, dates, and the name of the user.
fn is_common(password: &str, username: &str) -> bool {
    let whole = username.replace(' ', "");
    let words: Vec<&str> = username
        .split(' ')
        .chain([whole.as_str(), "quizstack", "quiz"])
        .collect();
    zxcvbn(password, &words).score() < Score::Two
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(typed: &str) -> Option<PasswordError> {
        NewPassword::parse(Some(typed), Some(typed), "Marta Ruiz").err()
    }

    #[test]
    fn each_rule_has_its_message() {
        assert_eq!(error(""), Some(PasswordError::Empty));
        assert_eq!(error("x"), Some(PasswordError::TooShort));
        assert_eq!(error("Ab1cdef"), Some(PasswordError::TooShort));
        assert_eq!(error("Zebra-lamp"), Some(PasswordError::NoDigit));
        // Numbers, and not digits.
        assert_eq!(error("Zebra-lamp-½²Ⅷ"), Some(PasswordError::NoDigit));
        assert_eq!(error("zebra-lamp-7"), Some(PasswordError::NoUpperCase));
        assert_eq!(error(&"A1".repeat(513)), Some(PasswordError::TooLong));
        assert_eq!(error("Zebra-lamp-7"), None);
        let absent = NewPassword::parse(None, None, "marta");
        assert_eq!(absent, Err(PasswordError::Empty));
    }

    #[test]
    fn common_passwords_are_refused_in_their_disguises() {
        for common in [
            "Password1",
            "P4ssw0rd",
            "Qwerty123",
            "Abcdefg1",
            "Aaaaaaa1",
            "Iloveyou1",
            "Marta2020",
            "Martaruiz1",
            "Quizstack1",
        ] {
            assert_eq!(error(common), Some(PasswordError::Common), "{common}");
        }
    }

    #[test]
    fn it_must_be_typed_twice_where_there_are_two_fields() {
        let parse = |repeated| NewPassword::parse(Some("Zebra-lamp-7"), repeated, "marta");
        assert_eq!(parse(Some("Zebra-lamp-8")), Err(PasswordError::NotRepeated));
        assert!(parse(None).is_ok());
    }

    #[test]
    fn it_is_in_no_log() {
        let password = NewPassword::parse(Some("Zebra-lamp-7"), None, "marta").unwrap();
        assert_eq!(format!("{password:?}"), "NewPassword([redacted])");
    }

    proptest! {
        #[test]
        fn what_is_accepted_keeps_the_rules(typed in "\\PC{0,40}", name in "\\PC{0,20}") {
            if let Ok(password) = NewPassword::parse(Some(&typed), None, &name) {
                prop_assert_eq!(password.expose(), typed.as_str());
                prop_assert!(typed.chars().count() >= MIN_CHARS && typed.len() <= MAX_BYTES);
                prop_assert!(typed.contains(|c: char| c.is_ascii_digit()));
                prop_assert!(typed.chars().any(char::is_uppercase));
            }
        }
    }
}
