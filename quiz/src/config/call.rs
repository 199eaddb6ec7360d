//! What the program is called for. Its first argument may say so; without one it serves, and all of them are settings.

use std::ffi::OsString;
use std::iter;
use std::net::SocketAddr;

use clap::Parser;

use super::{Config, secret_files};
use crate::fill::FillConfig;

/// What to do.
#[derive(Debug)]
pub enum Call {
    Serve(Box<Config>),
    /// Prepare the database and end.
    Migrate(Box<Config>),
    /// Fill the database with what nobody has written.
    Fill(Box<Config>, FillConfig),
    Healthcheck(Healthcheck),
}

/// Ask the front-end of this machine whether it is ready: ends with 0 when /ready of its admin listener answers 200, else with
/// 1 and what it said, after two seconds at most.
#[derive(Clone, Copy, Debug, Parser)]
pub struct Healthcheck {
    /// Address of the admin listener, as the front-end has it
    #[arg(
        long,
        env = "QUIZ_ADMIN_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:3001"
    )]
    pub admin_listen: SocketAddr,

    /// Ask /live: whether it runs at all
    #[arg(long)]
    pub live: bool,
}

/// Fill a database with made-up users, quizzes and favourites, to measure the site with: never one that others reach. Migrates
/// and seeds it first, as a front-end does, whose other settings it takes as well. Adds everything or nothing.
#[derive(Debug, Parser)]
struct Fill {
    #[command(flatten, next_help_heading = "Filling")]
    fill: FillConfig,

    #[command(flatten, next_help_heading = "Settings of a front-end")]
    config: Config,
}

impl Call {
    /// Of the command line and the environment. Leaves with help, or with what is wrong, as [`Parser::parse`] does.
    pub fn parse() -> Self {
        let call = Self::try_of(std::env::args_os().collect(), |name| std::env::var_os(name));
        call.unwrap_or_else(|error| error.exit())
    }

    fn try_of(
        arguments: Vec<OsString>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, clap::Error> {
        match arguments.get(1).and_then(|first| first.to_str()) {
            Some("healthcheck") => {
                let rest = arguments.into_iter().skip(2);
                let named = iter::once("quiz-web healthcheck".into()).chain(rest);
                Healthcheck::try_parse_from(named).map(Self::Healthcheck)
            }
            Some("migrate") => {
                let rest = arguments.into_iter().skip(2);
                let named = iter::once("quiz-web migrate".into()).chain(rest);
                let config = secret_files::parse(named.collect(), variable)?;
                Ok(Self::Migrate(Box::new(config)))
            }
            Some("fill") => {
                let rest = arguments.into_iter().skip(2);
                let named = iter::once("quiz-web fill".into()).chain(rest);
                let Fill { fill, config } = secret_files::parse(named.collect(), variable)?;
                Ok(Self::Fill(Box::new(config), fill))
            }
            _ => {
                let config = secret_files::parse(arguments, variable)?;
                Ok(Self::Serve(Box::new(config)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str]) -> Result<Call, String> {
        let arguments = iter::once(&"quiz-web").chain(arguments);
        let call = Call::try_of(arguments.map(OsString::from).collect(), |_| None);
        call.map_err(|error| error.to_string())
    }

    #[test]
    fn a_health_check_needs_no_other_setting() {
        let arguments = ["healthcheck", "--live", "--admin-listen", "0.0.0.0:7"];
        let Ok(Call::Healthcheck(check)) = call(&arguments) else {
            panic!("it is no health check");
        };
        assert!(check.live && check.admin_listen.port() == 7);
        let refused = call(&["healthcheck", "--secret", "x"]).unwrap_err();
        assert!(refused.contains("quiz-web healthcheck"), "{refused}");
    }

    #[test]
    fn a_migration_takes_the_settings_of_a_front_end() {
        let settings = [
            "migrate",
            "--database-url",
            "postgres://db/q",
            "--secret",
            "x",
        ];
        let store = ["--store-url", "memory:///", "--prepare", "false"];
        let Ok(Call::Migrate(config)) = call(&[&settings[..], &store].concat()) else {
            panic!("it does not migrate");
        };
        assert_eq!(config.database_url.expose(), "postgres://db/q");
        assert!(call(&["migrate"]).unwrap_err().contains("--database-url"));
    }

    #[test]
    fn filling_takes_sizes_besides_the_settings_of_a_front_end() {
        let settings = ["fill", "--database-url", "postgres://db/q", "--secret", "x"];
        let store = ["--store-url", "memory:///", "--quizzes", "7"];
        let password = ["--fill-password", "Known-to-all-7"];
        let given = [&settings[..], &store, &password].concat();
        let Ok(Call::Fill(config, fill)) = call(&given) else {
            panic!("it does not fill");
        };
        assert_eq!(config.database_url.expose(), "postgres://db/q");
        assert_eq!((fill.quizzes, fill.add), (7, false));
        let refused = call(&[&settings[..], &store].concat()).unwrap_err();
        assert!(refused.contains("--fill-password"), "{refused}");
        let help = call(&["fill", "--help"]).unwrap_err();
        assert!(help.starts_with("Fill a database"), "{help}");
    }

    #[test]
    fn without_a_command_it_serves_with_the_settings_given() {
        let settings = ["--database-url", "postgres://db/q", "--secret", "x"];
        let Ok(Call::Serve(config)) =
            call(&[&settings[..], &["--store-url", "memory:///"]].concat())
        else {
            panic!("it does not serve");
        };
        assert_eq!(config.secret.expose(), "x");
        assert!(call(&["serve"]).is_err());
    }
}
