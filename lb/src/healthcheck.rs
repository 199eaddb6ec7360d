//! `healthcheck`: asks this program's own listener how it is, for container engines, whose images have no shell.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Connecting, asking and reading together: engines give a check a few seconds.
const LIMIT: Duration = Duration::from_secs(2);
/// More than any of our answers has.
const MOST_BYTES: usize = 16 * 1024;

/// Asks `/ready`, or `/live`. The error is one line that says what was answered instead of 200.
pub fn ask(listener: SocketAddr, live: bool) -> Result<(), String> {
    let path = if live { "/live" } else { "/ready" };
    let address = reachable(listener);
    let said = |what: &str| format!("http://{address}{path}: {what}");
    let reply = exchange(address, path, Instant::now() + LIMIT)
        .map_err(|error| said(&format!("no answer: {error}")))?;
    judge(&reply).map_err(|answer| said(&answer))
}

/// What listens on every address is asked at the loopback's.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        listener.set_ip(match listener.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listener
}

fn exchange(address: SocketAddr, path: &str, deadline: Instant) -> io::Result<String> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        let late = || io::Error::new(ErrorKind::TimedOut, format!("{LIMIT:?} are over"));
        (!left.is_zero()).then_some(left).ok_or_else(late)
    };
    let mut tcp = TcpStream::connect_timeout(&address, left()?)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    tcp.set_write_timeout(Some(left()?))?;
    tcp.write_all(request.as_bytes())?;
    let (mut reply, mut piece) = (Vec::new(), [0; 1024]);
    while reply.len() < MOST_BYTES {
        tcp.set_read_timeout(Some(left()?))?;
        match tcp.read(&mut piece) {
            Ok(0) => break,
            Ok(bytes) => reply.extend_from_slice(&piece[..bytes]),
            // How the limit of a read shows: `left` says the rest.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Anything but a 200 is an error that repeats the status and the first line of the text.
fn judge(reply: &str) -> Result<(), String> {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((reply, ""));
    let status = head.lines().next().and_then(|line| line.split_once(' '));
    match status {
        Some((http, status)) if http.starts_with("HTTP/1.") => {
            if status.split(' ').next() == Some("200") {
                return Ok(());
            }
            let answer = [status.trim(), body.lines().next().unwrap_or("").trim()];
            Err(answer.join(": ").trim_end_matches(": ").to_owned())
        }
        _ => Err("the answer is not HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Where one client is answered like this.
    fn answering(reply: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let bytes = tcp.read(&mut request).unwrap();
            assert!(bytes > 0);
            tcp.write_all(reply.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_200_is_healthy_and_another_answer_is_repeated_in_one_line() {
        assert_eq!(
            ask(answering("HTTP/1.1 200 OK\r\n\r\nready\n"), false),
            Ok(())
        );
        let address = answering("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nstarting\nmore\n");
        assert_eq!(
            ask(address, false),
            Err(format!(
                "http://{address}/ready: 503 Service Unavailable: starting"
            ))
        );
        let address = answering("HTTP/1.1 404 Not Found\r\n\r\n");
        assert_eq!(
            ask(address, true),
            Err(format!("http://{address}/live: 404 Not Found"))
        );
        let address = answering("SSH-2.0-OpenSSH 200\r\n");
        assert!(
            ask(address, true)
                .unwrap_err()
                .ends_with("the answer is not HTTP")
        );
    }

    #[test]
    fn nobody_there_is_told_with_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The other end of a connection: its port is taken, and nobody listens there.
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = client.local_addr().unwrap();
        let error = ask(address, false).unwrap_err();
        assert!(
            error.starts_with(&format!("http://{address}/ready: no answer: ")),
            "{error}"
        );
    }

    #[test]
    fn who_accepts_and_keeps_silent_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = ask(silent.local_addr().unwrap(), false).unwrap_err();
        assert!(error.ends_with("no answer: 2s are over"), "{error}");
    }

    #[test]
    fn what_listens_everywhere_is_asked_at_the_loopback() {
        for (listener, asked) in [
            ("0.0.0.0:9", "127.0.0.1:9"),
            ("[::]:9", "[::1]:9"),
            ("10.0.0.1:9", "10.0.0.1:9"),
        ] {
            let listener: SocketAddr = listener.parse().unwrap();
            assert_eq!(reachable(listener).to_string(), asked);
        }
    }
}
