//! `find-capacity`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::output::print;
use super::{Error, Format, LoadArgs, braked_by_signals};
use crate::capacity::{Capacity, Ended, Search, line};
use crate::content::Content;
use crate::drive::{self, Disturbance};
use crate::duration::parse_duration;
use crate::schedule::Schedule;
use crate::slo::Slo;
use crate::{Load, Plan};

/// The flags of `run` as well; --duration is how long each rate is tried, and --rate, --load and --closed have no meaning.
#[derive(Debug, Args)]
pub(super) struct CapacityArgs {
    #[command(flatten)]
    load: LoadArgs,

    /// What the server must meet at a rate
    #[arg(
        long,
        env = "LOADTEST_SLO",
        default_value = "p99<200ms,errors<0.1%,achieved>98%"
    )]
    slo: Slo,

    /// Requests per second to begin with
    #[arg(long, default_value_t = 50.0, value_parser = parse_rate)]
    from: f64,

    /// Highest requests per second to try
    #[arg(long, default_value_t = 20_000.0, value_parser = parse_rate)]
    to: f64,

    /// From one rate to the next while the objective holds, 1.1 to 10
    #[arg(long, default_value_t = 2.0)]
    factor: f64,

    /// How exactly to find it, as a share of the rate, 0.01 to 0.5
    #[arg(long, default_value_t = 0.05)]
    precision: f64,

    /// Searches, to see how far they differ
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    repeat: u8,

    /// How long 80 % of what was found must be held, as 20s
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    hold: Duration,

    /// How to print what was found
    #[arg(long, env = "LOADTEST_FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl CapacityArgs {
    pub(super) async fn carry_out(&self, complain: &impl Fn(&str)) -> Result<ExitCode, Error> {
        let search = self.search()?;
        let plan = self.load.plan().await?;
        let brake = braked_by_signals();
        let setting = drive::preparing(&plan);
        let content = Content::prepare(&plan.scenario, &plan.wanted, &setting, &brake)
            .await
            .map_err(Error::world)?;
        let content = Arc::new(content);
        let mut rounds = Vec::new();
        for _ in 0..search.repeat {
            let attempt = async |rate: f64, duration: Duration| {
                let plan = at(&plan, rate, duration);
                let report = drive::measure(&plan, &content, Disturbance::default(), &brake).await;
                (!brake.is_pulled()).then_some(report)
            };
            let round = search.round(attempt, |trial| complain(&line(trial))).await;
            let stopped = round.ended == Ended::Stopped;
            rounds.push(round);
            if stopped {
                break;
            }
        }
        if let Err(error) = content.remove(&setting).await {
            complain(&error.to_string());
        }
        let capacity = Capacity::new(
            plan.target.url.clone(),
            plan.scenario.to_string(),
            &search.slo,
            rounds,
        );
        print(&match self.format {
            Format::Text => capacity.text(),
            Format::Json => serde_json::to_string_pretty(&capacity).map_err(Error::world)? + "\n",
        })?;
        Ok(if capacity.median.is_some() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn search(&self) -> Result<Search, Error> {
        if self.load.closed || self.load.load.is_some() {
            return Err(Error::usage(
                "a search chooses the rate itself: leave out --closed and --load",
            ));
        }
        if self.from > self.to {
            return Err(Error::usage("--from is above --to"));
        }
        if !(1.1..=10.0).contains(&self.factor) || !(0.01..=0.5).contains(&self.precision) {
            return Err(Error::usage(
                "--factor is from 1.1 to 10, --precision from 0.01 to 0.5",
            ));
        }
        if self.hold.is_zero() {
            return Err(Error::usage("--hold is at least 1ms"));
        }
        Ok(Search {
            slo: self.slo.clone(),
            from: self.from,
            to: self.to,
            factor: self.factor,
            precision: self.precision,
            repeat: usize::from(self.repeat),
            each: self.load.duration,
            hold: self.hold,
        })
    }
}

/// The same plan at another constant rate.
fn at(plan: &Plan, rate: f64, duration: Duration) -> Plan {
    let schedule = match &plan.load {
        Load::Open(schedule) => schedule.clone(),
        Load::Closed { warm_up, .. } => Schedule::constant(rate, *warm_up, duration),
    };
    Plan {
        load: Load::Open(Schedule {
            shape: crate::schedule::Shape::Constant(rate),
            duration,
            ..schedule
        }),
        ..plan.clone()
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| *rate > 0.0 && *rate <= crate::schedule::HIGHEST_RATE)
        .ok_or_else(|| "write requests per second, above 0".to_owned())
}
