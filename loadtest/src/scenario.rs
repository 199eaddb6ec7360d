//! What virtual users do: one URL, a journey over the site, or several journeys by weight.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// A way over the site. [`crate::journey`] has their steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Journey {
    /// One URL, again and again.
    Url,
    /// Looks around, searches, plays, without an account.
    Visitor,
    /// Logged in; random play, then single quizzes.
    Player,
    /// Logged in; writes a quiz with a picture, changes and deletes it.
    Author,
    /// A program with a token.
    Api,
    /// Logs in and out.
    Login,
}

impl Journey {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Url, "url"),
        (Self::Visitor, "visitor"),
        (Self::Player, "player"),
        (Self::Author, "author"),
        (Self::Api, "api"),
        (Self::Login, "login"),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(journey, _)| *journey == self)
            .map_or("url", |(_, name)| name)
    }

    /// Does it need an account?
    #[must_use]
    pub fn needs_account(self) -> bool {
        matches!(self, Self::Player | Self::Author | Self::Api | Self::Login)
    }

    /// Does it play quizzes whose answers are known?
    #[must_use]
    pub fn needs_quizzes(self) -> bool {
        matches!(self, Self::Visitor | Self::Player | Self::Api)
    }
}

/// Journeys and how often each is begun in comparison with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario(Vec<(Journey, u32)>);

/// A scenario that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write url, visitor, player, author, api, login or mix, or journeys with weights as visitor:8,player:2 (whole \
     numbers from 1 to 1000)"
)]
pub struct Error;

/// What a site sees on a usual day, more or less: most people look and play, few write.
const MIX: &str = "visitor:70,player:20,api:8,author:2";

impl Scenario {
    /// One URL only.
    #[must_use]
    pub fn url() -> Self {
        Self(vec![(Journey::Url, 1)])
    }

    pub fn journeys(&self) -> impl Iterator<Item = Journey> {
        self.0.iter().map(|(journey, _)| *journey)
    }

    /// Which journey to begin now.
    #[must_use]
    pub fn choose(&self, rng: &mut StdRng) -> Journey {
        let total: u32 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut lot = rng.random_range(0..total);
        for (journey, weight) in &self.0 {
            match lot.checked_sub(*weight) {
                Some(rest) => lot = rest,
                None => return *journey,
            }
        }
        Journey::Url
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = if text == "mix" { MIX } else { text };
        let mut journeys: Vec<(Journey, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once(':').unwrap_or((part, "1"));
            let journey = Journey::ALL
                .into_iter()
                .find(|(_, known)| *known == name)
                .map(|(journey, _)| journey)
                .ok_or(Error)?;
            let weight = weight
                .parse()
                .ok()
                .filter(|weight| (1..=1000).contains(weight));
            if journeys.iter().any(|(known, _)| *known == journey) {
                return Err(Error);
            }
            journeys.push((journey, weight.ok_or(Error)?));
        }
        Ok(Self(journeys))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(journey, _)] = self.0[..] {
            return f.write_str(journey.name());
        }
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(journey, weight)| format!("{}:{weight}", journey.name()))
            .collect();
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn journeys_are_begun_as_often_as_their_weights_say() {
        let scenario: Scenario = "visitor:3,api:1".parse().expect("a scenario");
        let mut rng = StdRng::seed_from_u64(1);
        let visitors = (0..10_000)
            .filter(|_| scenario.choose(&mut rng) == Journey::Visitor)
            .count();
        // 43 is the standard deviation.
        assert!(visitors.abs_diff(7_500) < 260, "{visitors}");
    }

    #[test]
    fn a_scenario_is_written_as_it_is_read() {
        for text in ["url", "visitor", "visitor:70,player:20,api:8,author:2"] {
            assert_eq!(
                text.parse::<Scenario>().map(|read| read.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!("mix".parse::<Scenario>(), MIX.parse());
        for bad in [
            "",
            "guest",
            "visitor:0",
            "visitor:x",
            "api,api",
            "api:1001",
            "api,",
        ] {
            assert_eq!(bad.parse::<Scenario>(), Err(Error), "{bad:?}");
        }
    }
}
