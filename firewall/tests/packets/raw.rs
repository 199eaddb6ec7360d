//! Whole packets, byte by byte, so that a neighbour can send what no socket would.

use std::net::{IpAddr, SocketAddr};

use quiz_firewall::packet::{Content, Packet, TcpFlags};
use socket2::{Domain, Protocol, Socket, Type};

/// Marks our packets among all others: a differentiated services code point that nobody else uses here.
pub(crate) const DSCP: u8 = 45;
/// As a raw socket takes whole packets.
const IPPROTO_RAW: i32 = 255;

/// The bytes of `packet`, of which no two have the same `number`, so that none belongs to a connection of another.
pub(crate) fn bytes(packet: &Packet, number: u16) -> Vec<u8> {
    let (protocol, mut payload, checksum_at) = match packet.content {
        Content::Tcp { port, flags } => (6, tcp(port, flags, number), 16),
        Content::Udp { port } => {
            let ports = [number.to_be_bytes(), port.to_be_bytes()].concat();
            (
                17,
                [ports.as_slice(), &[0, 12, 0, 0, 1, 2, 3, 4]].concat(),
                6,
            )
        }
        Content::Icmp4 { kind } => (1, icmp(kind, number), 2),
        Content::Icmp6 { kind, .. } => (58, icmp(kind, number), 2),
    };
    let sum = match (packet.sender, packet.receiver) {
        // ICMPv4 is the one whose checksum covers nothing else.
        (IpAddr::V4(_), IpAddr::V4(_)) if protocol == 1 => checksum(&payload),
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let len = (payload.len() as u16).to_be_bytes();
            let pseudo = [&from.octets()[..], &to.octets(), &[0, protocol], &len];
            checksum(&[pseudo.concat(), payload.clone()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let len = (payload.len() as u32).to_be_bytes();
            let pseudo = [&from.octets()[..], &to.octets(), &len, &[0, 0, 0, protocol]];
            checksum(&[pseudo.concat(), payload.clone()].concat())
        }
        _ => panic!("of two families: {packet:?}"),
    };
    payload[checksum_at..][..2].copy_from_slice(&sum.to_be_bytes());
    [header(packet, protocol, payload.len() as u16), payload].concat()
}

fn header(packet: &Packet, protocol: u8, len: u16) -> Vec<u8> {
    match (packet.sender, packet.receiver) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (20 + len).to_be_bytes();
            // The kernel fills in the checksum.
            let fixed = [
                0x45,
                DSCP << 2,
                total[0],
                total[1],
                0,
                0,
                0,
                0,
                64,
                protocol,
                0,
                0,
            ];
            [&fixed[..], &from.octets(), &to.octets()].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let hop_limit = match packet.content {
                Content::Icmp6 { hop_limit, .. } => hop_limit,
                _ => 64,
            };
            let (class, len) = (DSCP << 2, len.to_be_bytes());
            let fixed = [
                0x60 | class >> 4,
                class << 4,
                0,
                0,
                len[0],
                len[1],
                protocol,
                hop_limit,
            ];
            [&fixed[..], &from.octets(), &to.octets()].concat()
        }
        _ => panic!("of two families: {packet:?}"),
    }
}

fn tcp(port: u16, flags: TcpFlags, number: u16) -> Vec<u8> {
    let flags = match flags {
        TcpFlags::Fin => 0x01,
        TcpFlags::Syn => 0x02,
        TcpFlags::Ack => 0x10,
        TcpFlags::Null => 0,
        TcpFlags::Xmas => 0x29,
    };
    let ports = [number.to_be_bytes(), port.to_be_bytes()].concat();
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 4, 0, 0, 0, 0, 0];
    [ports.as_slice(), &rest].concat()
}

/// Long enough for whatever a type has after its identifier.
fn icmp(kind: u8, number: u16) -> Vec<u8> {
    let number = number.to_be_bytes();
    let mut bytes = vec![kind, 0, 0, 0, number[0], number[1], 0, 1];
    bytes.resize(28, 0);
    bytes
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A probe's name for a packet: its bytes in hexadecimal, after the word for its family.
pub(crate) fn name(packet: &Packet, number: u16) -> String {
    let hex: String = bytes(packet, number)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("raw {} {hex}", packet.receiver)
}

/// Sends what [`name`] stands for.
pub(crate) fn send(to: IpAddr, hex: &str) {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hexadecimal");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let domain = Domain::for_address(SocketAddr::new(to, 0));
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW)));
    let socket = socket.expect("root of this namespace may");
    let sent = socket.send_to(&bytes, &SocketAddr::new(to, 0).into());
    sent.expect("there is a way out");
}
