//! Whether a request begins and ends where everybody would say it does. Pure.
//!
//! Two programs that disagree about that can be made to see different requests in the same bytes ("request smuggling").
//! Pingora repairs some of what it could misread and forwards requests framed anew; a program in front of us may have
//! read the original otherwise. So what no honest client sends is refused, rather than repaired.

use http::{Method, Version, header::HOST, uri::Authority};
use pingora::http::RequestHeader;

/// The reason for which a head is refused, if there is one. `raw` is what the client sent of it.
pub fn check(raw: &[u8], request: &RequestHeader) -> Result<(), &'static str> {
    check_lines(raw)?;
    check_target(request)
}

/// Line ends, folded lines and lengths: what the parsed head does not show any more.
fn check_lines(raw: &[u8]) -> Result<(), &'static str> {
    let (mut lengths, mut encodings) = (0, 0);
    for line in raw.split_inclusive(|&byte| byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err("a line that does not end in CRLF");
        };
        if line.contains(&b'\r') || line.contains(&0) {
            return Err("a control character within a line");
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err("a folded line");
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err("a Content-Length that is no number");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a Transfer-Encoding other than chunked");
            }
        }
    }
    match (lengths, encodings) {
        (0 | 1, 0) | (0, 1) => Ok(()),
        (_, 0) => Err("several Content-Length"),
        (0, _) => Err("several Transfer-Encoding"),
        _ => Err("both Content-Length and Transfer-Encoding"),
    }
}

/// Whom and what it is for. Pingora has refused two hosts, and a Host that is not the one in the target.
fn check_target(request: &RequestHeader) -> Result<(), &'static str> {
    let target = request.raw_path();
    let origin = target.starts_with(b"/") || (target == b"*" && request.method == Method::OPTIONS);
    if !origin && !is_http(target) {
        return Err("a target that is neither a path nor an http URL");
    }
    match request.headers.get(HOST) {
        Some(host) if Authority::try_from(host.as_bytes()).is_ok() => Ok(()),
        Some(_) => Err("a Host that is none"),
        None if request.version == Version::HTTP_10 && origin => Ok(()),
        None => Err("no Host"),
    }
}

fn is_http(target: &[u8]) -> bool {
    let starts = |scheme: &[u8]| {
        let start = target.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    starts(b"http://") || starts(b"https://")
}

/// Servers expect a path; the host of an absolute target is that of the Host header.
pub fn to_origin_form(request: &mut RequestHeader) {
    if is_http(request.raw_path()) {
        let path = request.uri.path_and_query().cloned();
        let root = || http::uri::PathAndQuery::from_static("/");
        request.set_uri(path.unwrap_or_else(root).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "\r\n\r\n";

    fn lines(lines: &str) -> Result<(), &'static str> {
        check_lines(format!("POST / HTTP/1.1\r\nHost: quiz\r\n{lines}{END}").as_bytes())
    }

    #[test]
    fn what_browsers_send_is_fine() {
        for fine in [
            "Content-Length: 5",
            "content-length:5",
            "Transfer-Encoding: chunked",
            "transfer-encoding:\tCHUNKED ",
            "Cookie: a=b: c",
            "X-Empty:",
        ] {
            assert_eq!(lines(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not() {
        for wrong in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length:",
            "Content-Length: 5 5",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: \x0bchunked",
            "X-A: 1\nX-B: 2",
            "X-A: 1\r X-B: 2",
            "X-A: 1\0",
            "X-A: 1\r\n folded: 2",
            "X-A: 1\r\n\tfolded",
        ] {
            assert!(lines(wrong).is_err(), "{wrong:?}");
        }
    }

    fn target(target: &str, version: Version, host: Option<&str>) -> Result<(), &'static str> {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        request.set_version(version);
        if let Some(host) = host {
            request.insert_header(HOST, host).unwrap();
        }
        check_target(&request)
    }

    #[test]
    fn a_request_is_for_a_host_and_for_a_path() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        for (path, version, host) in [
            ("/a?b", new, Some("quiz.example:80")),
            ("/", new, Some("[::1]")),
            ("/", old, None),
            ("http://quiz/a", new, Some("quiz")),
            ("HTTPS://quiz/a", old, Some("quiz")),
        ] {
            assert_eq!(target(path, version, host), Ok(()), "{path}");
        }
        for (path, version, host) in [
            ("/", new, None),
            ("/", new, Some("")),
            ("/", new, Some("a b")),
            ("/", new, Some("quiz/evil")),
            ("http://quiz/", old, None),
            ("ftp://quiz/", new, Some("quiz")),
            ("*", new, Some("quiz")),
        ] {
            assert!(target(path, version, host).is_err(), "{path} {host:?}");
        }
    }

    #[test]
    fn an_absolute_target_becomes_a_path() {
        for (absolute, path) in [
            ("http://quiz/a/b?c=d", "/a/b?c=d"),
            ("http://quiz", "/"),
            ("/a?b", "/a?b"),
        ] {
            let mut request = RequestHeader::build("GET", absolute.as_bytes(), None).unwrap();
            to_origin_form(&mut request);
            assert_eq!(request.raw_path(), path.as_bytes());
        }
    }
}
