//! The failure matrix: the balancer as it is shipped, three backends that are processes, a constant stream of requests, and
//! one thing that goes wrong. Prints Markdown tables and ends with 1 if a bar is missed.
//!
//! Run by `make matrix`, and in a short form by the tests. All of it happens in a network of its own that has no way out, with
//! addresses that no network has (RFC 2544), in a process namespace that ends with this program, whatever ends it. Where no
//! namespaces may be made it happens on the loopback addresses, and no cable is cut.
//!
//! `space.rs` makes that network, `backend.rs` is a backend, `balancer.rs` the balancer, `load.rs` the visitors. `faults.rs`,
//! `growth.rs` and `slow.rs` are the three tables.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

mod backend;
mod balancer;
mod faults;
mod growth;
mod load;
mod slow;
mod space;

use space::Space;

/// Measures what visitors notice when backends fail, come and go.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// The program `quiz-lb`; beside this one, unless given.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Fewer requests, shorter rows, quicker checks, and no bar for times and shares: for a busy machine.
    #[arg(long)]
    short: bool,
    /// Requests each second [default: 2000; 100 in the short form].
    #[arg(long)]
    rate: Option<u32>,
    /// Milliseconds that a row of the failure matrix takes [default: 10000; 1500 in the short form].
    #[arg(long)]
    row_ms: Option<u64>,
    /// Only rows whose name contains this, or the table `faults`, `growth` or `slow`.
    #[arg(long, default_value = "")]
    only: String,
    /// This is the process in the namespace.
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be a backend.
    #[command(hide = true)]
    Backend(backend::Role),
}

/// How it is measured.
struct Form {
    program: PathBuf,
    rate: u32,
    row: Duration,
    slow_start: Duration,
    linger: Duration,
    /// On top of the balancer's defaults: always, and where no backend falls silent.
    flags: &'static [&'static str],
    patient: &'static [&'static str],
    /// Whether times and shares have bars.
    strict: bool,
    only: String,
}

impl Form {
    fn new(args: &Args) -> Result<Self> {
        let program = args.program.clone().map_or_else(beside, Ok)?;
        let millis = Duration::from_millis;
        let flags: &[&str] = &[
            "--probe-interval",
            "100",
            "--probe-timeout",
            "300",
            "--dns-interval",
            "100",
        ];
        // On a busy machine a process may be late with everything.
        let patient: &[&str] = &[
            "--probe-timeout",
            "10000",
            "--connect-timeout",
            "10000",
            "--max-wait",
            "10000",
        ];
        let (rate, row, slow_start, linger) = match args.short {
            true => (100, 1500, 1000, 1500),
            false => (2000, 10_000, 10_000, 2000),
        };
        let (flags, patient) = match args.short {
            true => (flags, patient),
            false => (&[][..], &[][..]),
        };
        Ok(Self {
            program,
            rate: args.rate.unwrap_or(rate),
            row: millis(args.row_ms.unwrap_or(row)),
            slow_start: millis(slow_start),
            linger: millis(linger),
            flags,
            patient,
            strict: !args.short,
            only: args.only.clone(),
        })
    }

    fn wants(&self, table: &str, row: &str) -> bool {
        [table, row].iter().any(|name| name.contains(&self.only))
    }
}

/// Cargo puts examples into a folder beside the programs.
fn beside() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(|examples| examples.parent());
    let program = folder.context("there is no quiz-lb: name it with --program")?;
    Ok(program.join("quiz-lb"))
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(Role::Backend(role)) = args.role {
        return role.run().map(|()| ExitCode::SUCCESS);
    }
    if !args.inside
        && let Some(code) = space::enter()?
    {
        return Ok(code);
    }
    let space = Space::new(args.inside)?;
    let form = Form::new(&args)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let missed = runtime.block_on(async {
        tokio::select! {
            missed = measure(&form, &space) => missed,
            // The first of a process namespace is ended by no signal that it does not ask for.
            _ = tokio::signal::ctrl_c() => Ok(1),
        }
    })?;
    // What is left of the requests is nobody's concern any more.
    runtime.shutdown_background();
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("\n{missed} bars missed.");
        ExitCode::FAILURE
    })
}

/// How many bars were missed.
async fn measure(form: &Form, space: &Space) -> Result<usize> {
    let mut missed = faults::measure(form, space).await?;
    missed += growth::measure(form, space).await?;
    missed += slow::measure(form, space).await?;
    Ok(missed)
}
