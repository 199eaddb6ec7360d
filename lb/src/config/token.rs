//! The secret that operators prove themselves with.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// Shorter ones can be guessed.
const LEAST: usize = 16;

/// The secret that operators prove themselves with. It is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Token(String);

impl Token {
    /// Whether this is it; the time it takes tells nothing about where it differs.
    pub fn is(&self, other: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), other.as_bytes());
        let differences = own.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
        own.len() == other.len() && differences == 0
    }

    /// As it stands in a request.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() >= LEAST && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "the token needs {LEAST} or more letters, digits or signs, no spaces: take one from `openssl rand -hex 16`"
        ))
    }
}

impl TryFrom<String> for Token {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_never_shown() {
        for short in ["", "fifteen-letters", "with a space in the middle"] {
            assert!(short.parse::<Token>().is_err(), "{short}");
        }
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcdeF") && !token.is("0123456789abcdef0") && !token.is(""));
    }
}
