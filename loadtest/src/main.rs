//! The command `quiz-loadtest`: see [`quiz_loadtest::cli`].

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use quiz_loadtest::cli::Cli;

/// As in the balancer and the front-end: requests and replies are made of small pieces of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // clap itself leaves with status 2 on a usage error.
    match Cli::parse().carry_out(complain).await {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            error.exit_code()
        }
    }
}

fn complain(words: &str) {
    // Where nobody listens, the exit status says it.
    let _ = writeln!(io::stderr(), "quiz-loadtest: {words}");
}
