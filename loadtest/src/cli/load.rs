//! What to send, where and how fast.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper::header::{HeaderName, HeaderValue};

use super::Error;
use crate::connection::Call;
use crate::content::{Account, Wanted};
use crate::duration::parse_duration;
use crate::limits::Limits;
use crate::scenario::{Journey, Scenario};
use crate::schedule::{Arrivals, Schedule, Shape, read_trace};
use crate::target::{self, Target};
use crate::{Load, Plan};

/// See the fields.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// What to request, as `http://127.0.0.1:8080/quizzes`; for journeys, the site
    pub url: String,

    /// What virtual users do: url, visitor, player, author, api, login, mix, or journeys with weights as
    /// visitor:8,player:2. Journeys make accounts and quizzes of their own and remove them afterwards
    #[arg(long, env = "LOADTEST_SCENARIO", default_value = "url")]
    pub scenario: Scenario,

    /// Requests per second, sent whether or not earlier ones were answered
    #[arg(long, env = "LOADTEST_RATE", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,

    /// A rate that changes, instead of --rate: ramp:10..500, step:100,200,400, spike:100,1000,at=5s,for=2s,
    /// sine:100,50,period=10s, or trace:FILE with seconds from the beginning on each line
    #[arg(
        long,
        env = "LOADTEST_LOAD",
        value_name = "SHAPE",
        conflicts_with = "closed"
    )]
    pub load: Option<String>,

    /// How requests are spread within the rate
    #[arg(long, env = "LOADTEST_ARRIVALS", value_enum, default_value_t = Arrivals::Even)]
    pub arrivals: Arrivals,

    /// Of what is drawn by lot: gaps, journeys, quizzes
    #[arg(long, env = "LOADTEST_SEED", default_value_t = 1)]
    pub seed: u64,

    /// A closed loop: each virtual user sends when its last request was answered, at no particular rate
    #[arg(long, env = "LOADTEST_CLOSED")]
    pub closed: bool,

    /// Pause of a virtual user before each request of a closed loop, as 500ms or 2s
    #[arg(long, env = "LOADTEST_THINK", default_value = "0s", value_parser = parse_duration)]
    pub think: Duration,

    /// How long to measure, as 500ms, 10s or 2m; a trace lasts as long as it does
    #[arg(long, env = "LOADTEST_DURATION", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,

    /// How long to send before, without measuring, as 500ms, 10s, 2m or 0s
    #[arg(long, env = "LOADTEST_WARM_UP", default_value = "2s", value_parser = parse_duration)]
    pub warm_up: Duration,

    /// Virtual users, each with one keep-alive connection: as many requests can be under way at once
    #[arg(long, env = "LOADTEST_USERS", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,

    /// Threads that send [default: as many as there are processors]
    #[arg(long, env = "LOADTEST_THREADS", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub threads: Option<u16>,

    /// How long a request may take, and how long it may wait for a free user before it is dropped
    #[arg(long, env = "LOADTEST_TIMEOUT", default_value = "5s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// A header of the scenario url, as 'Cookie: name=value'; may be given again
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// Accounts to make for journeys that log in; each plays one game at a time
    #[arg(long, env = "LOADTEST_ACCOUNTS", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub accounts: u16,

    /// Quizzes to make for journeys that play; every other one has a picture
    #[arg(long, env = "LOADTEST_QUIZZES", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub quizzes: u16,

    /// An account that exists, with `LOADTEST_PASSWORD`: that of an admin makes those for the journeys, where the site lets
    /// nobody else do so; any other is used itself, and no account is made
    #[arg(long, env = "LOADTEST_ACCOUNT", value_name = "NAME")]
    pub account: Option<String>,

    /// Its password. As an argument everybody on this machine can see it: prefer the variable
    #[arg(
        long,
        env = "LOADTEST_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub password: Option<String>,

    /// Aim at an address that is neither loopback nor private; only do this to a server whose owner has agreed
    #[arg(long, env = "LOADTEST_ALLOW_PUBLIC")]
    pub allow_public: bool,
}

impl LoadArgs {
    /// How long the measured part lasts, as far as the command line says.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Resolves the host and checks everything that can be checked before the first request.
    ///
    /// # Errors
    /// What to change on the command line, or in the machine.
    pub async fn plan(&self) -> Result<Plan, Error> {
        let load = self.load()?;
        if self.timeout.is_zero() {
            return Err(Error::usage(
                "--timeout is 0, so every request would be dropped: give each at least 1ms",
            ));
        }
        let is_url = self
            .scenario
            .journeys()
            .all(|journey| journey == Journey::Url);
        if !self.headers.is_empty() && !is_url {
            return Err(Error::usage(
                "--header is for the scenario url: journeys send their own",
            ));
        }
        let users = self.users as usize;
        Limits::of_this_machine()
            .check(users)
            .map_err(Error::world)?;
        let target = Target::resolve(&self.url, self.allow_public)
            .await
            .map_err(|error| match error {
                target::Error::NoAddress { .. } => Error::world(error),
                _ => Error::usage(error),
            })?;
        let mut call = Call::get(target.path.clone());
        call.headers.clone_from(&self.headers);
        Ok(Plan {
            target: Arc::new(target),
            scenario: Arc::new(self.scenario.clone()),
            call: Arc::new(call),
            load,
            users,
            threads: self.threads.map_or_else(processors, usize::from),
            timeout: self.timeout,
            wanted: self.wanted()?,
            seed: self.seed,
        })
    }

    fn load(&self) -> Result<Load, Error> {
        if self.closed {
            if self.duration.is_zero() {
                return Err(nothing_to_measure());
            }
            return Ok(Load::Closed {
                think: self.think,
                warm_up: self.warm_up,
                duration: self.duration,
            });
        }
        if !self.think.is_zero() {
            return Err(Error::usage("--think is for a closed loop: add --closed"));
        }
        let shape = match &self.load {
            None => Shape::Constant(f64::from(self.rate)),
            Some(text) => match text.strip_prefix("trace:") {
                Some(path) => trace(Path::new(path))?,
                None => text
                    .parse()
                    .map_err(|error| Error::Usage(format!("--load: {error}")))?,
            },
        };
        let duration = match &shape {
            // Its last request, and a moment to have a rate.
            Shape::Trace(starts) => {
                starts.last().copied().unwrap_or_default() + Duration::from_millis(1)
            }
            _ => self.duration,
        };
        if let Shape::Spike { at, .. } = &shape
            && *at >= duration
        {
            return Err(Error::usage(
                "--load: the spike would come after the end: make --duration longer",
            ));
        }
        if matches!(shape, Shape::Trace(_)) && self.arrivals == Arrivals::Poisson {
            return Err(Error::usage(
                "--arrivals is for shapes: a trace says itself when each request starts",
            ));
        }
        let schedule = Schedule {
            shape,
            arrivals: self.arrivals,
            warm_up: self.warm_up,
            duration,
            seed: self.seed,
        };
        if !schedule.starts().any(|start| schedule.is_measured(start)) {
            return Err(nothing_to_measure());
        }
        Ok(Load::Open(schedule))
    }

    fn wanted(&self) -> Result<Wanted, Error> {
        let existing = match (&self.account, &self.password) {
            (None, None) => None,
            (Some(name), Some(password)) => Some(Account {
                name: name.clone(),
                password: password.clone(),
                token: None,
            }),
            (Some(_), None) => {
                return Err(Error::usage(
                    "--account needs its password: set LOADTEST_PASSWORD",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::usage("--password needs --account, whose it is"));
            }
        };
        Ok(Wanted {
            accounts: usize::from(self.accounts).min(self.users as usize),
            quizzes: usize::from(self.quizzes),
            existing,
        })
    }
}

fn nothing_to_measure() -> Error {
    Error::usage("no request would be measured: make --duration or --rate larger")
}

fn trace(path: &Path) -> Result<Shape, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::World(format!("cannot read {}: {error}", path.display())))?;
    Ok(Shape::Trace(
        read_trace(&text).map_err(Error::usage)?.into(),
    ))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    const FORM: &str = "write a header as 'Cookie: name=value'";
    let (name, value) = text.split_once(':').ok_or(FORM)?;
    Ok((
        name.trim().parse().map_err(|_| FORM)?,
        value.trim().parse().map_err(|_| FORM)?,
    ))
}
