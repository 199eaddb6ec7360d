//! The PROXY protocol, versions 1 and 2: what a proxy in front says before the first byte of its client.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

const V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const V1_MOST: usize = 107;
/// More in a header of version 2 than addresses and a few dozen fields is not worth reading.
const V2_MOST: usize = 4096;
/// Version 2 has this much before its addresses; no line of version 1 is shorter than its "UNKNOWN".
const START: usize = 15;

/// Reads a header to its end and not a byte further. No address: the proxy speaks for itself, or does not know.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; START];
    stream.read_exact(&mut header).await?;
    if header.starts_with(&V2) {
        let length = stream.read_u8().await?;
        let length = usize::from(u16::from_be_bytes([header[14], length]));
        if length > V2_MOST {
            return Err(wrong("a PROXY header that is too long"));
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return version_2(header[12], header[13], &rest).map_err(wrong);
    }
    if !header.starts_with(V1) {
        return Err(wrong("no PROXY header"));
    }
    // Byte by byte: the line says only at its end how long it is, and what follows is not ours.
    while !header.ends_with(b"\r\n") {
        if header.len() >= V1_MOST {
            return Err(wrong("a PROXY line that does not end"));
        }
        header.push(stream.read_u8().await?);
    }
    version_1(&header).map_err(wrong)
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// The client that a line names, its end included.
pub fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    let line = line
        .strip_suffix(b"\r\n")
        .ok_or("a PROXY line without end")?;
    let line = std::str::from_utf8(line).map_err(|_| "a PROXY line that is no text")?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err("no PROXY line");
    }
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let mut word = || words.next().ok_or("a PROXY line with too few words");
    let (source, target) = (word()?, word()?);
    let (port, target_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err("a PROXY line with too many words");
    }
    let ip = |text: &str| -> Result<IpAddr, &'static str> {
        let ip: IpAddr = text
            .parse()
            .map_err(|_| "a PROXY line with a wrong address")?;
        match (family, ip) {
            (Some("TCP4"), IpAddr::V4(_)) | (Some("TCP6"), IpAddr::V6(_)) => Ok(ip),
            _ => Err("a PROXY line with a wrong family"),
        }
    };
    let number = |text: &str| -> Result<u16, &'static str> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let port = text.parse().ok().filter(|_| plain);
        port.ok_or("a PROXY line with a wrong port")
    };
    ip(target)?;
    number(target_port)?;
    Ok(Some(SocketAddr::new(ip(source)?, number(port)?)))
}

/// The client that a header of version 2 names: its bytes 13 and 14, and what follows its length.
pub fn version_2(command: u8, family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    match command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err("a PROXY header of an unknown version or command"),
    }
    let short = "a PROXY header that is too short";
    match family {
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let all: &[u8; 12] = rest.first_chunk().ok_or(short)?;
            let ip = Ipv4Addr::new(all[0], all[1], all[2], all[3]);
            let port = u16::from_be_bytes([all[8], all[9]]);
            Ok(Some(SocketAddr::new(ip.into(), port)))
        }
        0x21 => {
            let all: &[u8; 36] = rest.first_chunk().ok_or(short)?;
            let ip: &[u8; 16] = all.first_chunk().ok_or(short)?;
            let port = u16::from_be_bytes([all[32], all[33]]);
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*ip).into(), port)))
        }
        // Unix sockets, UDP and whatever comes yet: not a client that we could name.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let mut left = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let found = runtime.block_on(read(&mut left));
        (found, left.len())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_name_the_client_and_leave_the_rest_unread() {
        let v4 = [&[192, 0, 2, 7, 10, 0, 0, 1][..], &[0x30, 0x39, 0, 80]].concat();
        let v6: Vec<u8> = [
            &"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets()[..],
            &[0; 16],
        ]
        .concat()
        .into_iter()
        .chain([0x30, 0x39, 0, 80])
        .collect();
        let tlv = [&v4[..], &[0x04, 0, 1, 0]].concat();
        for (header, client) in [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(),
                Some("192.0.2.7:12345"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 12345 80\r\n".to_vec(),
                Some("[2001:db8::7]:12345"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff:: :: 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("192.0.2.7:12345")),
            (v2(0x21, 0x11, &tlv), Some("192.0.2.7:12345")),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::7]:12345")),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let (found, left) = read_all(&[&header[..], b"GET /"].concat());
            let client = client.map(|client| client.parse().unwrap());
            assert_eq!((found.unwrap(), left), (client, 5), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        for header in [
            &b"GET / HTTP/1.1\r\nHost: quiz\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80 1\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 80\r\n",
            b"PROXY TCP4 ::1 ::1 12345 80\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0",
            &endless,
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; V2_MOST + 1]),
        ] {
            assert!(read_all(header).0.is_err(), "{}", header.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            start in prop_oneof![Just(V2.to_vec()), Just(V1.to_vec()), Just(Vec::new())],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = read_all(&[start, rest].concat());
        }
    }
}
