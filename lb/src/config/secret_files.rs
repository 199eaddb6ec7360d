//! Secrets in files: `NAME_FILE=/path` instead of `NAME`, for every setting whose value the help hides. A reload reads them
//! again.

use std::{ffi::OsString, fs, path::Path};

use clap::{
    Arg, Command, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::cli::Cli;

/// What the help says about it.
pub(super) const HELP: &str = "\
The token may be in a file: set LB_ADMIN_TOKEN_FILE=/path instead of LB_ADMIN_TOKEN; a newline at the end of the file is cut.";

/// The command line, with the files that `variable` names as defaults.
pub(super) fn parse(
    arguments: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Cli, clap::Error> {
    let (command, faults) = fill(Cli::command(), &variable);
    let matches = command
        .try_get_matches_from(arguments)
        .map_err(without_secret)?;
    let needed = !matches!(matches.subcommand_name(), Some("healthcheck" | "sample"));
    if needed && !faults.is_empty() {
        return Err(Cli::command().error(ErrorKind::ValueValidation, faults.join("\n")));
    }
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()))
}

/// The same error, but a secret that is of no use is not repeated.
fn without_secret(mut error: clap::Error) -> clap::Error {
    let refused = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    let mut command = Cli::command();
    // Without it, settings cannot be written as in messages.
    command.build();
    let mut secrets = command.get_arguments().filter(|arg| is_secret(arg));
    if secrets.any(|arg| refused == Some(arg.to_string())) {
        let instead = ContextValue::String("(not shown)".to_owned());
        error.insert(ContextKind::InvalidValue, instead);
    }
    error
}

/// The command with what the files hold, and what is wrong with them.
fn fill(command: Command, variable: &impl Fn(&str) -> Option<OsString>) -> (Command, Vec<String>) {
    let mut faults = Vec::new();
    let command = command.mut_args(|arg| match given(&arg, variable) {
        None => arg,
        Some(Ok(text)) => arg
            .default_value(text)
            .hide_default_value(true)
            .required(false),
        Some(Err(fault)) => {
            faults.push(fault);
            // Else only its absence would be told.
            arg.required(false)
        }
    });
    (command, faults)
}

/// What the file of this setting holds, if there may be one and it is named.
fn given(
    arg: &Arg,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Option<Result<String, String>> {
    let name = arg.get_env()?.to_str()?;
    if !is_secret(arg) {
        return None;
    }
    let file = format!("{name}_FILE");
    let path = variable(&file).filter(|path| !path.is_empty())?;
    if variable(name).is_some() {
        return Some(Err(format!("{name} and {file} are both set: unset one")));
    }
    Some(read(Path::new(&path)).map_err(|fault| format!("{file}: {}: {fault}", path.display())))
}

fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

fn read(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| {
        format!("cannot be read ({error}): name a text file that this user may read")
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.is_empty() {
        return Err("is empty: write the secret into it".to_owned());
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    /// A file with this text, in a folder that goes with the test.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn cli(variables: &[(&str, &str)], arguments: &[&str]) -> Result<Cli, String> {
        let arguments = [&["quiz-lb"], arguments].concat();
        let variable = |name: &str| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| OsString::from(value))
        };
        parse(
            arguments.into_iter().map(OsString::from).collect(),
            variable,
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn the_token_is_read_from_its_file_and_the_newline_is_cut() {
        for end in ["", "\n", "\r\n"] {
            let (_folder, path) = file(&format!("{TOKEN}{end}"));
            let by_file = ("LB_ADMIN_TOKEN_FILE", path.to_str().unwrap());
            let admin = cli(&[by_file], &[]).unwrap().admin().unwrap();
            assert!(admin.token.unwrap().is(TOKEN), "{end:?}");
        }
    }

    #[test]
    fn a_variable_beside_its_file_is_refused_by_both_names() {
        let (_folder, path) = file(TOKEN);
        let both = [
            ("LB_ADMIN_TOKEN_FILE", path.to_str().unwrap()),
            ("LB_ADMIN_TOKEN", "another"),
        ];
        let error = cli(&both, &[]).unwrap_err();
        assert!(
            error.contains("LB_ADMIN_TOKEN and LB_ADMIN_TOKEN_FILE are both set"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_named_with_its_variable_and_the_remedy() {
        let (folder, empty) = file("\n");
        let missing = folder.path().join("nowhere");
        for (path, remedy) in [
            (&missing, "that this user may read"),
            (&empty, "write the secret"),
        ] {
            let path = path.to_str().unwrap();
            let by_file = ("LB_ADMIN_TOKEN_FILE", path);
            let error = cli(&[by_file], &[]).unwrap_err();
            assert!(
                error.contains("LB_ADMIN_TOKEN_FILE: ")
                    && error.contains(path)
                    && error.contains(remedy),
                "{error}"
            );
            assert!(cli(&[by_file], &["healthcheck"]).is_ok());
        }
    }

    #[test]
    fn neither_help_nor_debug_output_nor_a_refusal_shows_the_token() {
        let (_folder, path) = file(TOKEN);
        let by_file = ("LB_ADMIN_TOKEN_FILE", path.to_str().unwrap());
        let help = cli(&[by_file], &["--help"]).unwrap_err();
        assert!(
            help.contains("LB_ADMIN_TOKEN_FILE") && !help.contains(TOKEN),
            "{help}"
        );
        let shown = format!("{:?}", cli(&[by_file], &[]).unwrap());
        assert!(
            shown.contains("Token(..)") && !shown.contains(TOKEN),
            "{shown}"
        );
        let (_folder, path) = file("short-secret\n");
        let by_file = ("LB_ADMIN_TOKEN_FILE", path.to_str().unwrap());
        let error = cli(&[by_file], &[]).unwrap_err();
        assert!(
            error.contains("--admin-token") && error.contains("16 or more"),
            "{error}"
        );
        assert!(!error.contains("short-secret"), "{error}");
    }
}
