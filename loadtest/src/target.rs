//! Where the load goes: a URL, the addresses of its host, and the rule that keeps strangers out of it.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;

/// A URL whose host was resolved and found harmless. Connections go to these addresses and to no others, so a name
/// that changes its mind later cannot redirect the load.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: String,
    /// Tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// The value of the `Host` header.
    pub host: HeaderValue,
    /// Path and query.
    pub path: Uri,
}

/// Why there is nothing to aim at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0} is not a URL: write one as http://127.0.0.1:8080/, with a port from 1 to 65535 or none"
    )]
    NotAUrl(String),
    #[error(
        "https is not supported: aim at the http port of the server, or at the one behind its TLS"
    )]
    Https,
    #[error("{0} is not a scheme to send load over: write http://")]
    Scheme(String),
    #[error("credentials in the URL are not supported: remove what stands before the @")]
    Credentials,
    #[error("{host} has no address: {source}")]
    NoAddress {
        host: String,
        source: std::io::Error,
    },
    #[error(
        "{0} is neither a loopback nor a private address. Load on somebody else's server is an attack: \
         add --allow-public only when its owner has agreed"
    )]
    Public(IpAddr),
}

impl Target {
    /// Reads a URL and looks up its host.
    ///
    /// # Errors
    /// The URL is not one, it is not plain http, its host has no address, or one that is public while `allow_public`
    /// is not given.
    pub async fn resolve(url: &str, allow_public: bool) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_| Error::NotAUrl(url.to_owned()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(Error::Https),
            Some(other) => return Err(Error::Scheme(other.to_owned())),
            None => return Err(Error::NotAUrl(url.to_owned())),
        }
        let authority = uri
            .authority()
            .ok_or_else(|| Error::NotAUrl(url.to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(Error::Credentials);
        }
        let port = port(authority).ok_or_else(|| Error::NotAUrl(url.to_owned()))?;
        let addresses = look_up(authority.host(), port).await?;
        let public = addresses
            .iter()
            .map(SocketAddr::ip)
            .find(|address| !is_private(*address));
        if let (Some(address), false) = (public, allow_public) {
            return Err(Error::Public(address));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            addresses,
            host: HeaderValue::from_str(authority.as_str())
                .map_err(|_| Error::NotAUrl(url.to_owned()))?,
            path: path.parse().map_err(|_| Error::NotAUrl(url.to_owned()))?,
            url: url.to_owned(),
        })
    }
}

/// The port of a host without credentials, 80 when it names none. `None` when what it names is not a port: the `port`
/// of [`Authority`] would not tell that from one that is absent.
fn port(authority: &Authority) -> Option<u16> {
    let host = authority.host();
    match authority.as_str().strip_prefix(host)? {
        _ if host.is_empty() => None,
        "" => Some(80),
        rest => {
            let digits = rest.strip_prefix(':')?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|port| plain && *port > 0)
        }
    }
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let fail = |source| Error::NoAddress {
        host: host.to_owned(),
        source,
    };
    // A URL writes an IPv6 address in brackets, a resolver wants it without.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((bare, port))
        .await
        .map_err(fail)?
        .collect();
    if addresses.is_empty() {
        return Err(fail(std::io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

/// Loopback, RFC 1918, the benchmarking range 198.18.0.0/15 (RFC 2544), and IPv6 unique local addresses.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || (first == 198 && second & 0xfe == 18)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_private_and_benchmarking_addresses_are_harmless_and_no_others() {
        let harmless = [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
        ];
        for address in harmless.into_iter().chain([
            "198.18.0.1",
            "198.19.255.255",
            "fd00::1",
            "::ffff:10.0.0.1",
        ]) {
            assert!(
                is_private(address.parse().expect("an address")),
                "{address}"
            );
        }
        let public = [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "198.17.255.255",
            "198.20.0.0",
            "2001:db8::1",
        ];
        for address in
            public
                .into_iter()
                .chain(["0.0.0.0", "::", "169.254.1.1", "fe80::1", "::ffff:8.8.8.8"])
        {
            assert!(
                !is_private(address.parse().expect("an address")),
                "{address}"
            );
        }
    }

    #[tokio::test]
    async fn a_url_is_taken_apart_into_address_host_and_path() {
        let target = Target::resolve("http://[::1]:8080/quizzes?page=2#top", false)
            .await
            .expect("harmless");
        assert_eq!(
            target.addresses,
            ["[::1]:8080".parse().expect("an address")]
        );
        assert_eq!(target.host, "[::1]:8080");
        assert_eq!(target.path, "/quizzes?page=2");
        let bare = Target::resolve("http://127.0.0.1", false)
            .await
            .expect("harmless");
        assert_eq!(
            (bare.addresses[0].port(), bare.path.to_string()),
            (80, "/".to_owned())
        );
    }

    #[tokio::test]
    async fn what_cannot_be_aimed_at_is_refused_with_its_reason() {
        assert!(matches!(
            Target::resolve("https://127.0.0.1/", false).await,
            Err(Error::Https)
        ));
        assert!(matches!(
            Target::resolve("ftp://127.0.0.1/", false).await,
            Err(Error::Scheme(_))
        ));
        assert!(matches!(
            Target::resolve("127.0.0.1:80", false).await,
            Err(Error::NotAUrl(_))
        ));
        assert!(matches!(
            Target::resolve("/quizzes", false).await,
            Err(Error::NotAUrl(_))
        ));
        for bad in [
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:65536/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:/",
            "http://127.0.0.1:+80/",
            "http://[::1]:99999/",
            "http://[::1]:/",
            "http://[::1]x/",
            "http://:8080/",
        ] {
            let result = Target::resolve(bad, false).await;
            assert!(
                matches!(result, Err(Error::NotAUrl(_))),
                "{bad}: {result:?}"
            );
        }
        assert!(matches!(
            Target::resolve("http://me:secret@127.0.0.1/", false).await,
            Err(Error::Credentials)
        ));
        assert!(matches!(
            Target::resolve("http://192.0.2.1/", false).await,
            Err(Error::Public(_))
        ));
        assert!(Target::resolve("http://192.0.2.1/", true).await.is_ok());
    }
}
