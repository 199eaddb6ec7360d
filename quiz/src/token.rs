//! Secrets that are shown to one bearer: 256 bits from the system's generator, of which the database knows the hash. The
//! hash needs no salt and no cost, because nobody can guess 256 bits.

use std::fmt;

use sha2::{Digest, Sha256};

/// A secret that names its bearer: a session, an API token, a game.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// A fresh one from the system's generator.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// Reads its text.
    pub fn parse(value: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(value, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Its text, for the bearer alone.
    pub fn text(&self) -> String {
        hex::encode(self.0)
    }

    /// What the database knows of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_survives_its_text_and_is_stored_as_a_hash() {
        let token = Token::generate();
        let read = Token::parse(&token.text()).unwrap();
        assert_eq!(read.hash(), token.hash());
        assert_ne!(hex::encode(token.hash()), token.text());
        assert!(Token::parse("short").is_none());
    }

    #[test]
    fn two_tokens_differ() {
        assert_ne!(Token::generate().text(), Token::generate().text());
    }
}
