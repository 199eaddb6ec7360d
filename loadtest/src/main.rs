//! The command `quiz-loadtest`: see [`quiz_loadtest::cli`].

use std::process::ExitCode;

use clap::Parser;
use quiz_loadtest::cli::{Cli, Format};
use quiz_loadtest::report::{json, text};
use quiz_loadtest::run;

#[tokio::main]
async fn main() -> ExitCode {
    // clap itself leaves with status 2 on a usage error.
    let cli = Cli::parse();
    let plan = match cli.plan().await {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("quiz-loadtest: {error}");
            return ExitCode::from(error.exit_status());
        }
    };
    let report = run(plan).await;
    match cli.format {
        Format::Text => print!("{}", text::render(&report)),
        Format::Json => println!("{}", json::render(&report)),
    }
    if report.requests.succeeded == 0 {
        eprintln!("quiz-loadtest: no request succeeded");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
