//! The headers the balancer vouches for, in both directions. A stranger's copy of any of them is replaced.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, HeaderName, HeaderValue};
use pingora::{
    Result,
    http::{RequestHeader, ResponseHeader},
};

/// Name of the header that carries the id of a request through every process and back to the visitor.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Name of the header that tells which backend answered.
pub const X_SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// By what else a client could pretend to be a proxy we trust, beside the headers that are replaced anyway.
static UNTRUSTED: [HeaderName; 9] = [
    X_SERVED_BY,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("true-client-ip"),
];

/// Where a request comes from, as far as anybody can be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client: the connection's other end, or whom the last trusted proxy names.
    pub client: Option<IpAddr>,
    /// The request left the browser over HTTPS.
    pub https: bool,
    /// What the browser asked for, if a trusted proxy says so.
    pub host: Option<HeaderValue>,
    /// The id that a trusted proxy gave it.
    pub id: Option<String>,
}

impl Origin {
    /// Believes what the headers say if the connection is `trusted`, and walks the chain of proxies towards the client
    /// up to the first that is not.
    pub fn of(
        request: &RequestHeader,
        peer: Option<IpAddr>,
        trusted: bool,
        trusts: impl Fn(IpAddr) -> bool,
    ) -> Self {
        let peer = peer.map(|peer| peer.to_canonical());
        if !trusted {
            return Self {
                client: peer,
                ..Self::default()
            };
        }
        let mut client = peer;
        for hop in list(request, &X_FORWARDED_FOR).into_iter().rev() {
            let Some(hop) = address(hop) else {
                break;
            };
            client = Some(hop.to_canonical());
            if !trusts(hop) {
                break;
            }
        }
        let scheme = list(request, &X_FORWARDED_PROTO).pop();
        let host = list(request, &X_FORWARDED_HOST).pop();
        let id = list(request, &X_REQUEST_ID).pop();
        Self {
            client,
            https: scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: host
                .filter(|host| {
                    http::uri::Authority::try_from(*host).is_ok_and(|_| !host.contains('@'))
                })
                .and_then(|host| HeaderValue::from_str(host).ok()),
            id: id.filter(|id| well_formed(id)).map(str::to_owned),
        }
    }
}

/// The address of a hop, which some proxies write with its port, and in brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse().map(|hop: SocketAddr| hop.ip()).ok();
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// The values of a list header in the order in which they were added.
fn list<'a>(request: &'a RequestHeader, name: &HeaderName) -> Vec<&'a str> {
    let lines = request.headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect()
}

/// Ids go into logs, pages and headers: only what needs no escaping in any of them.
fn well_formed(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (8..=64).contains(&id.len()) && id.bytes().all(plain)
}

/// Makes the request say who sent it. Called after hop-by-hop headers were removed, so that no `Connection`
/// header of the client can nominate ours away.
pub fn vouch(request: &mut RequestHeader, origin: &Origin, id: &str) -> Result<()> {
    // Hardly anybody sends one, and looking at the names that came costs less than looking up those that did not.
    let claims = request
        .headers
        .keys()
        .filter(|name| UNTRUSTED.contains(name));
    for name in claims.cloned().collect::<Vec<_>>() {
        request.remove_header(&name);
    }
    let proto = if origin.https { "https" } else { "http" };
    let host = origin.host.clone();
    let host = host.or_else(|| request.headers.get(HOST).cloned());
    let client = origin.client.map(|client| client.to_string());
    let forwarded = forwarded(client.as_deref(), proto, host.as_ref());
    request.insert_header(FORWARDED, forwarded)?;
    let client = client.and_then(|client| HeaderValue::try_from(client).ok());
    replace(request, X_FORWARDED_FOR, client)?;
    request.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(proto))?;
    replace(request, X_FORWARDED_HOST, host)?;
    request.insert_header(X_REQUEST_ID, id)
}

/// Ours instead of all that the client sent; none if we have none.
fn replace(request: &mut RequestHeader, name: HeaderName, ours: Option<HeaderValue>) -> Result<()> {
    match ours {
        Some(ours) => request.insert_header(name, ours),
        None => {
            request.remove_header(&name);
            Ok(())
        }
    }
}

/// RFC 7239: what is no token is quoted, and an IPv6 address has brackets.
fn forwarded(client: Option<&str>, proto: &str, host: Option<&HeaderValue>) -> String {
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.filter(|host| !host.contains(['"', '\\']));
    let parts = match client {
        Some(client) if client.contains(':') => ["for=\"[", client, "]\";proto=", proto],
        Some(client) => ["for=", client, ";proto=", proto],
        None => ["for=", "unknown", ";proto=", proto],
    };
    match host {
        Some(host) => [&parts[..], &[";host=\"", host, "\""]].concat().concat(),
        None => parts.concat(),
    }
}

/// Makes the reply say which request it answers and who answered.
pub fn sign(reply: &mut ResponseHeader, id: &str, backend: Option<HeaderValue>) -> Result<()> {
    match backend {
        Some(backend) => reply.insert_header(X_SERVED_BY, backend)?,
        None => drop(reply.remove_header(&X_SERVED_BY)),
    }
    reply.insert_header(X_REQUEST_ID, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn all<'a>(request: &'a RequestHeader, name: &str) -> Vec<&'a str> {
        request
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }

    #[test]
    fn a_trusted_proxy_may_write_the_port_of_its_client() {
        for hop in [
            "203.0.113.7",
            "203.0.113.7:51234",
            "[::ffff:203.0.113.7]",
            "[::ffff:203.0.113.7]:51234",
        ] {
            let mut request = request(&[]);
            request.append_header("x-forwarded-for", hop).unwrap();
            let origin = Origin::of(&request, "192.0.2.7".parse().ok(), true, |_| false);
            assert_eq!(origin.client, "203.0.113.7".parse().ok(), "{hop}");
        }
    }

    #[test]
    fn a_strangers_claims_are_replaced() {
        let mut request = request(&[
            ("host", "quiz.example"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "theirs"),
            ("x-real-ip", "3.3.3.3"),
            ("true-client-ip", "3.3.3.3"),
            ("x-forwarded-prefix", "/evil"),
            ("forwarded", "for=4.4.4.4"),
        ]);
        let peer = "::ffff:192.0.2.7".parse().unwrap();
        let origin = Origin::of(&request, Some(peer), false, |_| false);
        vouch(&mut request, &origin, "ours").unwrap();
        assert_eq!(all(&request, "x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all(&request, "x-forwarded-host"), ["quiz.example"]);
        assert_eq!(all(&request, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&request, "x-request-id"), ["ours"]);
        for name in ["x-real-ip", "true-client-ip", "x-forwarded-prefix"] {
            assert!(all(&request, name).is_empty(), "{name}");
        }
        assert_eq!(
            all(&request, "forwarded"),
            [r#"for=192.0.2.7;proto=http;host="quiz.example""#]
        );
        assert_eq!(all(&request, "host"), ["quiz.example"]);
    }

    #[test]
    fn a_backend_cannot_speak_for_another() {
        let mut reply = ResponseHeader::build(200, None).unwrap();
        reply.append_header("x-served-by", "liar").unwrap();
        reply.append_header("x-request-id", "other").unwrap();
        sign(
            &mut reply,
            "ours",
            Some(HeaderValue::from_static("10.0.0.1:3000")),
        )
        .unwrap();
        assert_eq!(
            reply
                .headers
                .get_all("x-served-by")
                .iter()
                .collect::<Vec<_>>(),
            ["10.0.0.1:3000"]
        );
        assert_eq!(
            reply
                .headers
                .get_all("x-request-id")
                .iter()
                .collect::<Vec<_>>(),
            ["ours"]
        );
    }
}
