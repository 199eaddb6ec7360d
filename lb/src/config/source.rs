//! Where backends come from: one address, all addresses of a name, or the lines of a file.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use serde::Deserialize;

/// The most a backend may weigh; more would only make the others starve.
pub const MAX_WEIGHT: u32 = 1000;

/// Where backends come from, and what each of them weighs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Source {
    /// Where they come from.
    pub place: Place,
    /// Its share in comparison with others: 1 unless given.
    pub weight: u32,
}

/// Where backends come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One fixed address.
    Static(SocketAddr),
    /// All addresses of a name, looked up again and again.
    Dns {
        /// Host name.
        name: String,
        /// Port of every backend of that name.
        port: u16,
    },
    /// A file with one backend per line, read again and again.
    File(PathBuf),
}

impl Source {
    /// The fixed address, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Static(addr) => Some(*addr),
            Place::Dns { .. } | Place::File(_) => None,
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((place, weight)) = text.trim().split_once(char::is_whitespace) else {
            return text.parse().map(|place| Self { place, weight: 1 });
        };
        let number = weight.trim().strip_prefix("weight=");
        let number = number.and_then(|number| number.parse().ok());
        match number.filter(|weight| (1..=MAX_WEIGHT).contains(weight)) {
            Some(weight) => place.parse().map(|place| Self { place, weight }),
            None => Err(format!(
                "{:?} is no weight: write weight=1 to weight={MAX_WEIGHT} after the address, or nothing",
                weight.trim()
            )),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |why: &str| {
            format!(
                "{text:?} is {why}: write ip:port (10.0.0.1:3000, [::1]:3000) dns:name:port (dns:quiz:3000) or file:path"
            )
        };
        if let Some(path) = text.strip_prefix("file:") {
            return match path {
                "" => Err(wrong("a file without a name")),
                path => Ok(Self::File(path.into())),
            };
        }
        let Some(rest) = text.strip_prefix("dns:") else {
            return match text.parse::<SocketAddr>() {
                Ok(addr) if addr.port() != 0 => Ok(Self::Static(addr)),
                _ => Err(wrong("not an address with a port")),
            };
        };
        let (name, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| wrong("a name without a port"))?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong("a name without a port from 1 to 65535"))?;
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || !name.chars().all(letter) {
            return Err(wrong("not a host name"));
        }
        Ok(Self::Dns {
            name: name.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(addr) => write!(f, "{addr}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Dns { name, port } => write!(f, "dns:{name}:{port}"),
        }
    }
}
