//! One visitor, and a machine with several services and a container engine.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};

use quiz_firewall::nft::counted;
use quiz_firewall::{compile, nft_text, render, site};

use super::neighbour::Neighbour;
use super::probe::{ANSWERED, SILENT, UDP_PORT};
use super::{PATIENCE, Reports, listen, nft, wait_until_all_answer};

/// What the machine under the test must be able to do.
pub(crate) const CABLES: &str = "nsenter --version; ip link add name v0 type veth peer name v1; \
                                 ip -6 address add ::2/64 dev v0";

/// The web port, and two services that a machine has.
const TCP_PORTS: [u16; 3] = [80, 22, 5432];
/// A port that a container engine publishes by redirecting it to the web port.
const PUBLISHED: u16 = 9999;
const ADDRESSES: [&str; 2] = ["198.18.2.2", "fd00:18:2::2"];

pub(crate) fn be_the_guarded_machine(test: &'static str) {
    let visitor = Neighbour::plug_in(test, "guarded", 2);
    let listeners = listen(&TCP_PORTS);
    serve_udp_echo();
    nft(&format!(
        "table inet engine {{ chain publish {{ type nat hook prerouting priority dstnat; \
         tcp dport {PUBLISHED} redirect to :80; }}; }}"
    ));
    wait_until_all_answer(|| visitor.probe(&probes()));

    let policy = "[web]\nport = 80\n[ping]\nrate_per_second = 1\nburst_packets = 10\n";
    nft(&nft_text(policy).expect("sound"));
    // A flood of pings is answered in full only where nothing limits it.
    let answers = |name: &str| name.starts_with("ping ") || name.ends_with(" 80");
    let word = |name: &str| if answers(name) { ANSWERED } else { SILENT };
    let expected: Reports = probes()
        .into_iter()
        .map(|name| (name.clone(), word(&name).to_owned()))
        .collect();
    assert_eq!(visitor.probe(&probes()), expected, "behind the firewall");

    errors_about_our_own_traffic_come_in();
    what_was_counted_outlives_the_rules(policy);
    drop(listeners);
}

/// Each probe has left its mark, and loading the rules anew does not wipe it off.
fn what_was_counted_outlives_the_rules(policy: &str) {
    let packets = || -> BTreeMap<String, u64> {
        let counted = counted().expect("nft lists them").into_iter();
        counted
            .map(|counter| (counter.name, counter.packets))
            .collect()
    };
    let before = packets();
    for name in [
        "accepted_ping",
        "accepted_opening",
        "dropped_ping",
        "dropped_other",
    ] {
        assert!(before[name] > 0, "{name}: {before:?}");
    }
    let ruleset = compile::ruleset(&site::parse(policy).expect("sound"));
    nft(&render::to_nft(
        &ruleset,
        &counted().expect("nft lists them"),
    ));
    let after = packets();
    assert!(
        before.iter().all(|(name, packets)| after[name] >= *packets),
        "{before:?} {after:?}"
    );
}

fn probes() -> Vec<String> {
    let of_one = |address: &str| {
        let tcp = TCP_PORTS.into_iter().chain([PUBLISHED]);
        let tcp: Vec<String> = tcp.map(|port| format!("tcp {address} {port}")).collect();
        let others = ["udp", "ping", "flood"].map(|kind| format!("{kind} {address}"));
        tcp.into_iter().chain(others)
    };
    ADDRESSES.into_iter().flat_map(of_one).collect()
}

fn serve_udp_echo() {
    let socket = UdpSocket::bind(("::", UDP_PORT)).expect("the namespace is ours alone");
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // A send can fail while the visitor's address is not yet known; it asks again.
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
}

/// A datagram of ours to a closed port draws an ICMP error, which must reach us: path MTU discovery rides on the same.
fn errors_about_our_own_traffic_come_in() {
    for (ours, theirs) in [
        ("0.0.0.0:0", "198.18.2.1:4"),
        ("[::]:0", "[fd00:18:2::1]:4"),
    ] {
        let socket = UdpSocket::bind(ours).expect("a free port");
        socket
            .connect(theirs.parse::<SocketAddr>().expect("an address"))
            .expect("a route");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        socket.send(b"anybody there?").expect("it is sent");
        let error = socket.recv(&mut [0; 8]).expect_err("nobody answers");
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "{theirs}"
        );
    }
}
