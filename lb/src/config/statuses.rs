//! Statuses of replies that say that the backend failed, rather than the request.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error};

const REMEDY: &str = "write statuses from 500 to 599";

/// A set of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<u16>);

impl Statuses {
    /// Whether this is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.contains(&status)
    }

    fn of(statuses: Vec<u16>) -> Result<Self, String> {
        match statuses.iter().find(|it| !(500..600).contains(*it)) {
            Some(wrong) => Err(format!("{wrong} is no server error: {REMEDY}")),
            None => Ok(Self(statuses)),
        }
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![500, 502, 503, 504])
    }
}

/// As in a variable: a comma list, or `none`.
impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let parsed = text.split(',').map(|status| status.trim().parse());
        match parsed.collect() {
            Ok(statuses) => Self::of(statuses),
            Err(_) => Err(format!("{REMEDY}, separated by commas, or none")),
        }
    }
}

/// As in a file: a list, empty for none.
impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        Self::of(Vec::deserialize(value)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_server_errors_and_may_be_empty() {
        let parsed = |text: &str| text.parse::<Statuses>();
        assert_eq!(parsed("503, 500"), Ok(Statuses(vec![503, 500])));
        assert_eq!(parsed("none"), Ok(Statuses(Vec::new())));
        for wrong in ["", "404", "503,600", "503 504", "5xx"] {
            assert!(parsed(wrong).unwrap_err().contains(REMEDY), "{wrong}");
        }
    }
}
