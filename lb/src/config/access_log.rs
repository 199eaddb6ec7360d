//! Settings of the access log.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use serde::Deserialize;

use super::file;

/// A line for each request.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// Where the lines go.
    pub output: Output,
    /// Of so many requests one is written; those that failed are written all.
    #[serde(deserialize_with = "file::count")]
    pub sample: usize,
    /// So many lines may wait to be written; further ones are dropped, so that no request waits for a disk.
    #[serde(deserialize_with = "file::count")]
    pub max_waiting: usize,
}

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Output {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output; the log of events is on standard error.
    Stdout,
    /// The end of a file. It is opened again at every SIGHUP.
    File(PathBuf),
    /// Syslog after RFC 5424, one datagram each, as RFC 5426 has it.
    Udp(SocketAddr),
    /// The same to a unix socket like `/dev/log`.
    Unix(PathBuf),
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            output: Output::Off,
            sample: 1,
            max_waiting: 8192,
        }
    }
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no place for the access log: write off, stdout, /a/file, udp://127.0.0.1:514 or unix:///dev/log"
            )
        };
        match text.split_once("://") {
            None if text == "off" => Ok(Self::Off),
            None if text == "stdout" => Ok(Self::Stdout),
            None if text.starts_with('/') => Ok(Self::File(text.into())),
            Some(("udp", addr)) => addr.parse().map(Self::Udp).map_err(|_| wrong()),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Output {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Udp(addr) => write!(f, "udp://{addr}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_written_as_it_is_shown() {
        for text in [
            "off",
            "stdout",
            "/var/log/lb.log",
            "udp://[::1]:514",
            "unix:///dev/log",
        ] {
            assert_eq!(text.parse::<Output>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "on",
            "lb.log",
            "udp://loghost:514",
            "tcp://127.0.0.1:1",
            "unix://log",
        ] {
            let told = text.parse::<Output>().unwrap_err();
            assert!(told.contains("stdout"), "{told}");
        }
    }
}
