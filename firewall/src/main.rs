//! The command `quiz-firewall`: see [`quiz_firewall::cli`].

use std::process::ExitCode;

use clap::Parser;
use quiz_firewall::cli::{Cli, run};

fn main() -> ExitCode {
    // clap itself leaves with status 2 on a usage error.
    match run(&Cli::parse()) {
        Ok(answer) => {
            print!("{}", answer.text);
            ExitCode::from(answer.exit_status)
        }
        Err(error) => {
            eprintln!("quiz-firewall: {error:#}");
            ExitCode::FAILURE
        }
    }
}
