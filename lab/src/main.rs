//! `quiz-lab`: runs the whole stack on this machine. See [`quiz_lab`].

use std::process::ExitCode;

use clap::Parser as _;
use quiz_lab::cli::Cli;

// One thread: a child dies with the thread that started it (see `supervise.rs`), and this one lives to the end.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match quiz_lab::cli::run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quiz-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
