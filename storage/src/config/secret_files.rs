//! Secrets in files: `NAME_FILE=/path` instead of `NAME`, for every setting whose value the help hides, and for access keys.
//! A command looks only at the files of its own settings.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Arg, Command, Parser};

/// What the help says about it.
pub const HELP: &str = "\
Secrets (STORAGE_CLUSTER_SECRET, STORAGE_ACCESS_KEY_ID, STORAGE_SECRET_ACCESS_KEY) may be in files: set NAME_FILE=/path instead of \
NAME; a newline at the end of the file is cut.";

/// A file that is of no use to a command.
struct Fault {
    command: String,
    text: String,
}

/// Reads command line, environment and files. Leaves with help, or with what is wrong, as [`Parser::parse`] does.
pub fn parse<P: Parser>() -> P {
    let arguments = std::env::args_os().collect();
    try_parse(arguments, |name| std::env::var_os(name)).unwrap_or_else(|error| error.exit())
}

/// The same for these arguments, with the files that `variable` names as defaults.
fn try_parse<P: Parser>(
    arguments: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<P, clap::Error> {
    let (command, faults) = fill(P::command(), &variable);
    let matches = command.try_get_matches_from(arguments)?;
    let called = matches.subcommand_name().unwrap_or_default();
    let faults = faults.iter().filter(|fault| fault.command == called);
    let faults: Vec<_> = faults.map(|fault| fault.text.as_str()).collect();
    if !faults.is_empty() {
        return Err(P::command().error(ErrorKind::ValueValidation, faults.join("\n")));
    }
    P::from_arg_matches(&matches).map_err(|error| error.format(&mut P::command()))
}

/// The command and those below it, with what the files hold, and what is wrong with them.
fn fill(command: Command, variable: &impl Fn(&str) -> Option<OsString>) -> (Command, Vec<Fault>) {
    let mut faults = Vec::new();
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| match given(&arg, variable) {
        None => arg,
        Some(Ok(text)) => arg
            .default_value(text)
            .hide_default_value(true)
            .required(false),
        Some(Err(text)) => {
            let command = name.clone();
            faults.push(Fault { command, text });
            // Else only its absence would be told.
            arg.required(false)
        }
    });
    let command = command.mut_subcommands(|below| {
        let (below, more) = fill(below, variable);
        faults.extend(more);
        below
    });
    (command, faults)
}

/// What the file of this setting holds, if there may be one and it is named.
fn given(
    arg: &Arg,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Option<Result<String, String>> {
    let name = arg.get_env()?.to_str()?;
    if !arg.is_hide_env_values_set() && !name.ends_with("_ACCESS_KEY_ID") {
        return None;
    }
    let file = format!("{name}_FILE");
    let path = variable(&file).filter(|path| !path.is_empty())?;
    if variable(name).is_some() {
        return Some(Err(format!("{name} and {file} are both set: unset one")));
    }
    Some(read(Path::new(&path)).map_err(|fault| format!("{file}: {}: {fault}", path.display())))
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

    use clap::CommandFactory as _;

    use super::super::{Config, S3Access};
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[derive(Debug, Parser)]
    #[command(after_help = HELP)]
    enum Cli {
        Serve(Box<Config>),
        Export(S3Access),
        Status,
    }

    /// A file with this text, in a folder that goes with the test.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn call(variables: &[(&str, &str)], arguments: &[&str]) -> Result<Cli, String> {
        let arguments = [&["quiz-storage"], arguments].concat();
        let variable = |name: &str| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| OsString::from(value))
        };
        try_parse(
            arguments.into_iter().map(OsString::from).collect(),
            variable,
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_the_newline_is_cut() {
        for (text, secret) in [
            ("one\n", "one"),
            ("one\r\n", "one"),
            ("one", "one"),
            (" o \n\n", " o \n"),
        ] {
            let (_folder, path) = file(text);
            let path = path.to_str().unwrap();
            let variables = [
                ("STORAGE_ACCESS_KEY_ID_FILE", path),
                ("STORAGE_SECRET_ACCESS_KEY_FILE", path),
            ];
            let Cli::Export(access) = call(&variables, &["export"]).unwrap() else {
                panic!("another command");
            };
            assert_eq!(
                (
                    access.access_key_id.as_str(),
                    access.secret_access_key.expose()
                ),
                (secret, secret)
            );
        }
    }

    #[test]
    fn a_variable_beside_its_file_is_refused_by_both_names() {
        let (_folder, path) = file(SECRET);
        let both = [
            ("STORAGE_SECRET_ACCESS_KEY_FILE", path.to_str().unwrap()),
            ("STORAGE_SECRET_ACCESS_KEY", "another"),
        ];
        let error = call(&both, &["export", "--access-key-id", "x"]).unwrap_err();
        let names = "STORAGE_SECRET_ACCESS_KEY and STORAGE_SECRET_ACCESS_KEY_FILE are both set";
        assert!(
            error.contains(names) && !error.contains("another"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_named_by_the_commands_that_need_it_alone() {
        let (folder, empty) = file("\n");
        let missing = folder.path().join("nowhere");
        for (path, remedy) in [
            (&missing, "that this user may read"),
            (&empty, "write the secret"),
        ] {
            let path = path.to_str().unwrap();
            let variables = [("STORAGE_SECRET_ACCESS_KEY_FILE", path)];
            let error = call(&variables, &["export", "--access-key-id", "x"]).unwrap_err();
            assert!(
                error.contains("STORAGE_SECRET_ACCESS_KEY_FILE: ")
                    && error.contains(path)
                    && error.contains(remedy),
                "{error}"
            );
            assert!(matches!(call(&variables, &["status"]), Ok(Cli::Status)));
        }
    }

    #[test]
    fn neither_help_nor_debug_output_shows_what_a_file_holds() {
        let (_folder, path) = file(SECRET);
        let path = path.to_str().unwrap();
        let variables = [
            ("STORAGE_CLUSTER_SECRET_FILE", path),
            ("STORAGE_SECRET_ACCESS_KEY_FILE", path),
        ];
        for help in [&["--help"][..], &["serve", "--help"]] {
            let help = call(&variables, help).unwrap_err();
            assert!(help.contains("Usage: ") && !help.contains(SECRET), "{help}");
        }
        assert!(call(&[], &["--help"]).unwrap_err().contains("NAME_FILE"));
        let arguments = [
            "serve",
            "--node",
            "1",
            "--dir",
            "/d",
            "--peers",
            "1=a:1",
            "--access-key-id",
            "x",
        ];
        let shown = format!("{:?}", call(&variables, &arguments).unwrap());
        assert!(!shown.contains(SECRET), "{shown}");
    }

    #[test]
    fn every_setting_that_is_called_a_secret_is_hidden() {
        for command in Cli::command().get_subcommands() {
            for arg in command.get_arguments() {
                let name = arg
                    .get_env()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                assert_eq!(
                    arg.is_hide_env_values_set(),
                    name.contains("SECRET"),
                    "{name}"
                );
            }
        }
    }
}
