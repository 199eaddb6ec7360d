//! What a neighbour tries. Every probe says `answered` or `silent`, but for one that says a number.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// In front of each report, to tell it from what the test harness prints.
pub(crate) const MARK: &str = "probe> ";
/// The variable with the names of the probes, separated by commas.
pub(crate) const NAMES: &str = "QUIZ_FIREWALL_TEST_PROBES";
pub(crate) const ANSWERED: &str = "answered";
pub(crate) const SILENT: &str = "silent";
pub(crate) const UDP_PORT: u16 = 5353;
/// Far more than the burst that the policy under test allows.
const FLOOD_PACKETS: u16 = 200;
/// A dropped packet is known by silence. On a cable inside one machine this is a thousand times the way there and back,
/// and an opening SYN is sent a second time before it is over.
const SILENCE: Duration = Duration::from_secs(2);

/// Runs the probes that [`NAMES`] lists, as in `tcp 198.18.2.2 80` or `ping fd00:18:2::2`, and reports each on a line of
/// its own.
pub(crate) fn report_all() {
    let names = std::env::var_os(NAMES).expect("a prober is told what to try");
    let names = names.to_str().expect("the names are text").split(',');
    let probe = |name: &str| {
        let answer = match name.strip_prefix("open ") {
            Some(open) => open_many(open).to_string(),
            None => if run(name) { ANSWERED } else { SILENT }.to_owned(),
        };
        // One call, one line: the probes run side by side.
        println!("\n{MARK}{name}: {answer}");
    };
    // Ping before the flood, which uses up what the policy allows.
    let (floods, others): (Vec<&str>, Vec<&str>) =
        names.partition(|name| name.starts_with("flood"));
    for round in [others, floods] {
        std::thread::scope(|scope| {
            for name in round {
                scope.spawn(move || probe(name));
            }
        });
    }
}

fn run(name: &str) -> bool {
    let words: Vec<&str> = name.split(' ').collect();
    let address: IpAddr = words[1].parse().expect("probes are named by address");
    match words[0] {
        "tcp" => {
            let port = words[2].parse().expect("a TCP probe is named by port");
            TcpStream::connect_timeout(&SocketAddr::new(address, port), SILENCE).is_ok()
        }
        "raw" => {
            super::raw::send(address, words[2]);
            true
        }
        "udp" => udp_echoes(address),
        "ping" => pings(address, 1) == 1,
        "flood" => pings(address, FLOOD_PACKETS) == FLOOD_PACKETS,
        other => panic!("no such probe: {other}"),
    }
}

/// Opens a number of connections to the web port at once, as in `198.18.2.2 12`; how many are open at one time.
fn open_many(what: &str) -> usize {
    let (address, count) = what.split_once(' ').expect("an address and a number");
    let to = SocketAddr::new(address.parse().expect("an address"), 80);
    std::thread::scope(|scope| {
        let count = 0..count.parse().expect("a number");
        let opening =
            count.map(|_: usize| scope.spawn(move || TcpStream::connect_timeout(&to, SILENCE)));
        let opening: Vec<_> = opening.collect();
        let opened = opening.into_iter().map(|one| one.join().expect("it ends"));
        let open: Vec<TcpStream> = opened.flatten().collect();
        open.len()
    })
}

fn udp_echoes(address: IpAddr) -> bool {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).expect("a free port");
    socket
        .set_read_timeout(Some(SILENCE))
        .expect("a timeout can be set");
    socket.connect((address, UDP_PORT)).expect("a route");
    socket.send(b"hello").expect("it is sent");
    socket.recv(&mut [0; 8]).is_ok()
}

/// Sends echo requests one after the other and counts the replies.
fn pings(address: IpAddr, count: u16) -> u16 {
    let (domain, protocol, request, reply) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let mut socket =
        Socket::new(domain, Type::RAW, Some(protocol)).expect("root of the namespace may");
    socket
        .connect(&SocketAddr::new(address, 0).into())
        .expect("a route");
    socket
        .set_read_timeout(Some(SILENCE))
        .expect("a timeout can be set");
    // Tells the replies to this probe from those to another.
    let id = (std::process::id() as u16 ^ count).to_be_bytes();
    let mut replies = 0;
    for _ in 0..count {
        socket.send(&echo_request(request, id)).expect("it is sent");
        let mut packet = [0; 128];
        // A raw IPv4 socket hands out the IP header too, twenty bytes when it has no options.
        let start = if address.is_ipv4() { 20 } else { 0 };
        loop {
            match socket.read(&mut packet) {
                Err(_) => return replies,
                Ok(_) if packet[start] == reply && packet[start + 4..start + 6] == id => break,
                Ok(_) => {}
            }
        }
        replies += 1;
    }
    replies
}

fn echo_request(kind: u8, id: [u8; 2]) -> [u8; 8] {
    let mut packet = [kind, 0, 0, 0, id[0], id[1], 0, 0];
    // The Internet checksum. For ICMPv6 the kernel writes its own over it.
    let words = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet
}
