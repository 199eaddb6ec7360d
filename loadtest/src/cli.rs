//! The command line, and the plan it stands for.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::Plan;
use crate::schedule::{LONGEST, Schedule};
use crate::target::{self, Target};

/// Sends requests to one URL at a constant rate and measures latency from the intended start of each.
///
/// Exit status: 0 done, 1 no request succeeded, the host has no address or the report cannot be written, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "quiz-loadtest", version)]
pub struct Cli {
    /// What to request, as `http://127.0.0.1:8080/quizzes`
    url: String,

    /// Requests per second, sent whether or not earlier ones were answered
    #[arg(long, env = "LOADTEST_RATE", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// How long to measure, as 500ms, 10s or 2m
    #[arg(long, env = "LOADTEST_DURATION", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,

    /// How long to send at the same rate before, without measuring, as 500ms, 10s, 2m or 0s
    #[arg(long, env = "LOADTEST_WARM_UP", default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,

    /// Keep-alive connections: as many requests can be under way at once
    #[arg(long, env = "LOADTEST_CONNECTIONS", default_value_t = 100,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,

    /// How long a request may take, and how long it may wait for a free connection before it is dropped
    #[arg(long, env = "LOADTEST_TIMEOUT", default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,

    /// How to print the report
    #[arg(long, env = "LOADTEST_FORMAT", value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Aim at an address that is neither loopback nor private; only do this to a server whose owner has agreed
    #[arg(long, env = "LOADTEST_ALLOW_PUBLIC")]
    allow_public: bool,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// A command line that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Target(#[from] target::Error),
    #[error("no request would be measured: make --duration or --rate larger")]
    NothingToMeasure,
    #[error("--timeout is 0, so every request would be dropped: give each at least 1ms")]
    NoTimeout,
}

impl Error {
    /// 2 when the usage is wrong, 1 when the world is.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Target(target::Error::NoAddress { .. }) => 1,
            _ => 2,
        }
    }
}

impl Cli {
    /// Resolves the host and checks everything that can be checked before the first request.
    ///
    /// # Errors
    /// What to change on the command line.
    pub async fn plan(&self) -> Result<Plan, Error> {
        let schedule = Schedule {
            rate_per_second: self.rate,
            warm_up: self.warm_up,
            duration: self.duration,
        };
        if schedule.measured() == 0 {
            return Err(Error::NothingToMeasure);
        }
        if self.timeout.is_zero() {
            return Err(Error::NoTimeout);
        }
        Ok(Plan {
            target: Target::resolve(&self.url, self.allow_public).await?,
            schedule,
            connections: usize::from(self.connections),
            timeout: self.timeout,
        })
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number
        .parse()
        .map_err(|_| "begin with a whole number, as in 10s".to_owned())?;
    let number = u64::from(number);
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        _ => return Err("end with a unit: ms, s or m, as in 10s".to_owned()),
    };
    if duration > LONGEST {
        return Err(format!(
            "write 24 hours at most, which are {}m",
            LONGEST.as_secs() / 60
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "-1s", "1.5s", "1h", "99999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_duration_is_a_day_at_most() {
        assert_eq!(parse_duration("1440m"), Ok(LONGEST));
        assert_eq!(parse_duration("86400s"), Ok(LONGEST));
        for bad in ["1441m", "86401s", "86400001ms", "4294967295m"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
