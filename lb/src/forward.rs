//! The headers the balancer vouches for, in both directions. A stranger's copy of any of them is replaced.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST, HeaderName};
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

/// Everything by which a client could pretend to be a proxy we trust.
const UNTRUSTED: [HeaderName; 8] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_REQUEST_ID,
    X_SERVED_BY,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// Makes the request say who sent it. Called after hop-by-hop headers were removed, so that no `Connection`
/// header of the client can nominate ours away.
pub fn vouch(request: &mut RequestHeader, client: Option<IpAddr>, id: &str) -> Result<()> {
    for name in &UNTRUSTED {
        request.remove_header(name);
    }
    if let Some(client) = client {
        request.insert_header(X_FORWARDED_FOR, client.to_canonical().to_string())?;
    }
    // HTTP only, until there is a TLS listener.
    request.insert_header(X_FORWARDED_PROTO, "http")?;
    if let Some(host) = request.headers.get(HOST).cloned() {
        request.insert_header(X_FORWARDED_HOST, host)?;
    }
    request.insert_header(X_REQUEST_ID, id)
}

/// Makes the reply say which request it answers and who answered.
pub fn sign(reply: &mut ResponseHeader, id: &str, backend: Option<String>) -> Result<()> {
    reply.remove_header(&X_SERVED_BY);
    if let Some(backend) = backend {
        reply.insert_header(X_SERVED_BY, backend)?;
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
    fn a_strangers_claims_are_replaced() {
        let mut request = request(&[
            ("host", "quiz.example"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "theirs"),
            ("x-real-ip", "3.3.3.3"),
            ("forwarded", "for=4.4.4.4"),
        ]);
        vouch(
            &mut request,
            Some("::ffff:192.0.2.7".parse().unwrap()),
            "ours",
        )
        .unwrap();
        assert_eq!(all(&request, "x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all(&request, "x-forwarded-host"), ["quiz.example"]);
        assert_eq!(all(&request, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&request, "x-request-id"), ["ours"]);
        assert!(all(&request, "x-real-ip").is_empty() && all(&request, "forwarded").is_empty());
        assert_eq!(all(&request, "host"), ["quiz.example"]);
    }

    #[test]
    fn a_backend_cannot_speak_for_another() {
        let mut reply = ResponseHeader::build(200, None).unwrap();
        reply.append_header("x-served-by", "liar").unwrap();
        reply.append_header("x-request-id", "other").unwrap();
        sign(&mut reply, "ours", Some("10.0.0.1:3000".to_owned())).unwrap();
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
