//! The command `quiz-loadtest`: see [`quiz_loadtest::cli`].

use std::io::{self, Write as _};
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
            complain(&error.to_string());
            return ExitCode::from(error.exit_status());
        }
    };
    let report = run(plan).await;
    let output = match cli.format {
        Format::Text => text::render(&report),
        Format::Json => json::render(&report) + "\n",
    };
    if let Err(error) = print(&output) {
        complain(&format!("cannot write the report: {error}"));
        return ExitCode::FAILURE;
    }
    if report.requests.succeeded == 0 {
        complain("no request succeeded");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Writes to standard output. A reader that has gone, as `head` does, wants no more: this is no error.
fn print(output: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(output.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn complain(words: &str) {
    // Where nobody listens, the exit status says it.
    let _ = writeln!(io::stderr(), "quiz-loadtest: {words}");
}
