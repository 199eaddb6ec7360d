//! The command `quiz-firewall`: see [`quiz_firewall::cli`].

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use quiz_firewall::cli::{Cli, run};

fn main() -> ExitCode {
    // clap itself leaves with status 2 on a usage error.
    let answer = match run(&Cli::parse()) {
        Ok(answer) => answer,
        Err(error) => {
            complain(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = print(&answer.text) {
        complain(&format!("cannot write the output: {error}"));
        return ExitCode::FAILURE;
    }
    ExitCode::from(answer.exit_status)
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
    let _ = writeln!(io::stderr(), "quiz-firewall: {words}");
}
