//! Secrets in files: `NAME_FILE=/path` instead of `NAME`, for every setting whose value the help hides, and for access keys.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Arg, Command, Parser};

/// What the help says about it.
pub(super) const HELP: &str = "\
Secrets (DATABASE_URL, QUIZ_SECRET, passwords, keys, client secrets) may be in files: set NAME_FILE=/path instead of NAME; a \
newline at the end of the file is cut.";

/// Reads the settings as [`Parser::try_parse_from`] does, with the files that `variable` names as defaults.
pub(super) fn parse<P: Parser>(
    arguments: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<P, clap::Error> {
    let (command, faults) = fill(P::command(), &variable);
    let matches = command.try_get_matches_from(arguments)?;
    if !faults.is_empty() {
        return Err(P::command().error(ErrorKind::ValueValidation, faults.join("\n")));
    }
    P::from_arg_matches(&matches).map_err(|error| error.format(&mut P::command()))
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

    use super::super::Config;
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    /// A file with this text, in a folder that goes with the test.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    /// With these variables, and the flags that are needed besides.
    fn config(variables: &[(&str, &str)], more: &[&str]) -> Result<Config, String> {
        let given = [
            "quiz-web",
            "--database-url",
            "postgres://db/q",
            "--store-url",
            "memory:///",
        ];
        let arguments = [&given[..], more].concat();
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
    fn a_secret_is_read_from_its_file_and_the_newline_is_cut() {
        for (text, secret) in [
            ("one\n", "one"),
            ("one\r\n", "one"),
            ("one", "one"),
            (" o n e \n\n", " o n e \n"),
        ] {
            let (_folder, path) = file(text);
            let path = path.to_str().unwrap();
            let config = config(
                &[("QUIZ_SECRET_FILE", path), ("AWS_ACCESS_KEY_ID_FILE", path)],
                &[],
            );
            let config = config.unwrap();
            assert_eq!(config.secret.expose(), secret);
            assert_eq!(config.store.access_key_id.as_deref(), Some(secret));
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_a_variable_beside_it_is_refused_by_both_names() {
        let (_folder, path) = file(SECRET);
        let by_file = ("QUIZ_SECRET_FILE", path.to_str().unwrap());
        let flag = config(&[by_file], &["--secret", "by flag"]).unwrap();
        assert_eq!(flag.secret.expose(), "by flag");
        for value in ["another", ""] {
            let error = config(&[by_file, ("QUIZ_SECRET", value)], &[]).unwrap_err();
            assert!(
                error.contains("QUIZ_SECRET and QUIZ_SECRET_FILE are both set"),
                "{error}"
            );
        }
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
            let error = config(&[("QUIZ_SECRET_FILE", path)], &[]).unwrap_err();
            assert!(
                error.contains("QUIZ_SECRET_FILE: ")
                    && error.contains(path)
                    && error.contains(remedy),
                "{error}"
            );
        }
    }

    #[test]
    fn neither_help_nor_debug_output_nor_a_refusal_shows_what_a_file_holds() {
        let (_folder, path) = file(SECRET);
        let by_file = ("QUIZ_SECRET_FILE", path.to_str().unwrap());
        let help = config(&[by_file], &["--help"]).unwrap_err();
        assert!(
            help.contains("NAME_FILE") && !help.contains(SECRET),
            "{help}"
        );
        let refused = config(&[by_file], &["--drain-secs", "soon"]).unwrap_err();
        assert!(!refused.contains(SECRET), "{refused}");
        let shown = format!("{:?}", config(&[by_file], &[]).unwrap());
        assert!(!shown.contains(SECRET), "{shown}");
    }

    #[test]
    fn every_setting_that_is_called_a_secret_or_a_password_is_hidden() {
        use clap::CommandFactory as _;
        for arg in Config::command().get_arguments() {
            let name = arg
                .get_env()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let secret = name == "DATABASE_URL"
                || ["_SECRET", "_PASSWORD", "_SECRET_ACCESS_KEY"]
                    .iter()
                    .any(|end| name.ends_with(end));
            assert_eq!(arg.is_hide_env_values_set(), secret, "{name}");
        }
    }
}
