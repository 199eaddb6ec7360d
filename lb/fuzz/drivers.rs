//! What is done with the bytes of a fuzzer, or of the corpus that it left (`tests/lb/fuzzed.rs`).

use futures::executor::block_on;
use pingora::http::RequestHeader;
use quiz_lb::{config::file, dns, framing, proxy_header};

/// A file of settings. An error names a line that there is.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match file::parse(text) {
        Ok(config) => {
            let _ = config.validate();
        }
        Err(problem) => {
            let line = problem.split(':').next().map(str::parse::<usize>);
            let lines = text.lines().count().max(1);
            // An error at the end of the file is in the line after the last.
            assert!(
                matches!(line, Some(Ok(line)) if (1..=lines + 1).contains(&line)),
                "{problem}"
            );
        }
    }
}

/// A PROXY header and what follows. Of that nothing is read.
pub(crate) fn proxy_header(bytes: &[u8]) {
    let mut left = bytes;
    if block_on(proxy_header::read(&mut left)).is_ok() {
        let header = &bytes[..bytes.len() - left.len()];
        let v2 = header.starts_with(b"\r\n\r\n\0\r\nQUIT\n")
            && header.len() == 16 + usize::from(u16::from_be_bytes([header[14], header[15]]));
        let v1 = header.starts_with(b"PROXY ") && header.ends_with(b"\r\n") && header.len() <= 107;
        assert!(v1 || v2, "{header:?}");
    }
}

/// An answer of a DNS server, and a `resolv.conf`.
pub(crate) fn dns(bytes: &[u8]) {
    if let Ok(found) = dns::read(bytes) {
        // A record takes 15 bytes at least.
        assert!(found.len() <= bytes.len() / 15);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        dns::servers(text);
    }
}

/// The head of a request: a target up to the first line end, then lines. What passes has at most one length, and a path or
/// URL that becomes a path.
pub(crate) fn framing(bytes: &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    let (target, lines) = bytes.split_at(end.unwrap_or(bytes.len()));
    let Ok(mut head) = RequestHeader::build("GET", target, None) else {
        return;
    };
    let _ = head.insert_header("host", "quiz");
    let raw = [b"GET ", target, b" HTTP/1.1", lines].concat();
    if framing::check(&raw, &head).is_ok() {
        let text = String::from_utf8_lossy(lines).to_ascii_lowercase();
        let framed = |name: &str| text.matches(&format!("\r\n{name}:")).count();
        assert!(
            framed("content-length") + framed("transfer-encoding") <= 1,
            "{text:?}"
        );
        framing::to_origin_form(&mut head);
        let path = head.raw_path();
        assert!(path.starts_with(b"/") || path == b"*", "{path:?}");
    }
}
