//! One question to one DNS server: all addresses of a name, whatever their TTL.
//!
//! The system's resolver obeys the TTL, or a cache that does, and container engines say ten minutes. The coding of
//! messages is that of `hickory-proto`; what is here is the conversation: UDP with EDNS0, and TCP for what does not fit.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// What we take in one datagram: room for 200 addresses, where 512 bytes hold 24.
const MAX_DATAGRAM: u16 = 4096;

/// All addresses of this name. An empty list is an answer: nobody knows the name, or it has no address.
pub async fn addresses(server: SocketAddr, name: &str, ipv6: bool) -> io::Result<Vec<IpAddr>> {
    let mut name = Name::from_ascii(name).map_err(io::Error::other)?;
    name.set_fqdn(true);
    let v4 = ask(server, Query::query(name.clone(), RecordType::A));
    let v6 = async {
        if ipv6 {
            ask(server, Query::query(name, RecordType::AAAA)).await
        } else {
            Ok(Vec::new())
        }
    };
    // Half an answer would look as if the other half had left.
    let (mut all, v6) = tokio::try_join!(v4, v6)?;
    all.extend(v6);
    Ok(all)
}

async fn ask(server: SocketAddr, query: Query) -> io::Result<Vec<IpAddr>> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_DATAGRAM);
    question.set_edns(edns);
    let (id, bytes) = (
        question.metadata.id,
        question.to_vec().map_err(io::Error::other)?,
    );
    let answers = |answer: &Message| {
        let meta = &answer.metadata;
        meta.id == id
            && meta.message_type == MessageType::Response
            && answer.queries.first() == Some(&query)
    };
    let mut answer = over_udp(server, &bytes, answers).await?;
    if answer.metadata.truncation {
        answer = over_tcp(server, &bytes).await?;
        if !answers(&answer) {
            return Err(io::Error::other("the answer is to another question"));
        }
    }
    said(&answer)
}

/// The addresses in an answer as it comes over the wire, whatever the question was.
pub fn read(answer: &[u8]) -> io::Result<Vec<IpAddr>> {
    said(&Message::from_vec(answer).map_err(io::Error::other)?)
}

fn said(answer: &Message) -> io::Result<Vec<IpAddr>> {
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(a) => Some(IpAddr::from(a.0)),
                RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
                _ => None,
            })
            .collect()),
        other => Err(io::Error::other(format!("the DNS server says {other}"))),
    }
}

/// Whatever is no answer to this question (a late one, a forged one, garbage) is passed over.
async fn over_udp(
    server: SocketAddr,
    question: &[u8],
    answers: impl Fn(&Message) -> bool,
) -> io::Result<Message> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = [0; MAX_DATAGRAM as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answers(&answer) => return Ok(answer),
            _ => {}
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut tcp = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    tcp.write_all(&[&length.to_be_bytes(), question].concat())
        .await?;
    let mut answer = vec![0; usize::from(tcp.read_u16().await?)];
    tcp.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(io::Error::other)
}

/// The servers in a `resolv.conf`.
pub fn servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_prefix("nameserver"));
    names
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_those_of_resolv_conf() {
        let text = "# nameserver 9.9.9.9\nsearch home\nnameserver 127.0.0.11\n nameserver\t::1\nnameserver x\n";
        let found = servers(text);
        let expected: [SocketAddr; 2] = [
            "127.0.0.11:53".parse().unwrap(),
            "[::1]:53".parse().unwrap(),
        ];
        assert_eq!(found, expected);
    }
}
