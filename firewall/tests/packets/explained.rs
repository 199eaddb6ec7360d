//! What `explain` says of a packet against what the kernel does with it: for policies and packets drawn by lot.
//!
//! The machine has one neighbour outside and one inside, for which it routes, and an engine that redirects one port to
//! the inside. A table of our own, behind that of the policy at each hook, counts the packets that came so far.

use std::net::IpAddr;
use std::process::Command;
use std::time::Instant;

use quiz_firewall::explain::{Outcome, explain};
use quiz_firewall::packet::{Content, Packet, TcpFlags};
use quiz_firewall::{compile, nft_text, site};

use super::neighbour::Neighbour;
use super::routed::both_families;
use super::{PATIENCE, nft, raw, sh, wait_until_all_answer};

/// What the machine under the test must be able to do.
pub(crate) const CABLES: &str = super::routed::CABLES;

const POLICIES: u64 = 24;
const PACKETS: u64 = 16;
const ENOUGH: u32 = 20;
/// The port that the engine redirects.
const PUBLISHED: u16 = 8080;

pub(crate) fn be_the_guarded_machine(test: &'static str) {
    let outside = Neighbour::plug_in(test, "outside", 2);
    let inside = Neighbour::plug_in(test, "inside", 3);
    sh("ip address add 198.18.2.3/24 dev outside
        ip address add fd00:18:2::3/64 dev outside nodad
        for all in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$all; done
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
    for (neighbour, here, there) in [(&outside, 2, 3), (&inside, 3, 2)] {
        neighbour.sh(&format!(
            "ip route add default via 198.18.{here}.2
             ip route add default via fd00:18:{here}::2
             ip route add 198.18.{there}.0/24 via 198.18.{here}.2
             ip route add fd00:18:{there}::/64 via fd00:18:{here}::2"
        ));
    }
    // Whoever has yet to be found is sent nothing, and neighbours find nobody before their own addresses are settled.
    for (neighbour, pings) in [
        (&outside, &["ping 2.2", "ping 2.3"][..]),
        (&inside, &["ping 3.2"]),
    ] {
        wait_until_all_answer(|| neighbour.probe(&both_families(pings)));
    }
    nft(&observer());
    let seed = std::env::var_os("QUIZ_FIREWALL_TEST_SEED").map_or_else(
        || u64::from(std::process::id()),
        |seed| {
            seed.to_str()
                .and_then(|seed| seed.parse().ok())
                .expect("a number")
        },
    );
    println!("QUIZ_FIREWALL_TEST_SEED={seed} draws the same again");
    let mut lot = Lot(seed);
    let mut number = 1_024;
    let (mut accepted, mut dropped) = (0, 0);
    let mut policies = 0;
    // Of few that pass or few that do not, little can be learnt: then more are drawn.
    while policies < POLICIES || accepted.min(dropped) < ENOUGH {
        assert!(policies < 10 * POLICIES, "{accepted} {dropped}");
        policies += 1;
        let toml = lot.policy();
        nft(&nft_text(&toml).expect("sound"));
        let policy = site::parse(&toml).expect("sound");
        let ruleset = compile::ruleset(&policy);
        for _ in 0..PACKETS {
            let mut packet = lot.packet();
            packet.redirect(&policy);
            if packet.published {
                packet.out = Some("inside".to_owned());
            }
            number += 1;
            let steps = explain(&ruleset, &packet);
            let from = if packet.interface.as_deref() == Some("inside") {
                &inside
            } else {
                &outside
            };
            from.probe(&[raw::name(&packet, number)]);
            let said: Vec<Outcome> = steps.iter().map(|step| step.outcome).collect();
            assert_eq!(done(&packet), said, "{toml}\n{packet:?}\n{steps:#?}");
            let end = said.last().expect("every packet passes a hook");
            *(if *end == Outcome::Accepted {
                &mut accepted
            } else {
                &mut dropped
            }) += 1;
        }
    }
    println!("{accepted} accepted, {dropped} dropped, all as explained");
}

/// Counters at each hook, behind the table of the policy, and the first of all before it.
fn observer() -> String {
    let hooks = [
        ("came", "prerouting priority raw - 10"),
        ("edge", "prerouting priority mangle + 1"),
        ("forwarding", "forward priority filter - 10"),
        ("forwarded", "forward priority filter + 10"),
        ("inputting", "input priority filter - 10"),
        ("inputted", "input priority filter + 10"),
    ];
    let dscp = raw::DSCP;
    let chain = |(name, hook): (&str, &str)| {
        format!(
            "counter {name} {{ }}\nchain at_{name} {{ type filter hook {hook}; policy accept;\n\
             ip dscp {dscp} counter name {name}\nip6 dscp {dscp} counter name {name}\n}}\n"
        )
    };
    let chains: String = hooks.into_iter().map(chain).collect();
    format!(
        "table inet observer {{\n{chains}\nchain engine {{ type nat hook prerouting priority dstnat;\n\
         fib daddr type local meta nfproto ipv4 tcp dport {PUBLISHED} dnat ip to 198.18.3.1:80\n\
         fib daddr type local meta nfproto ipv6 tcp dport {PUBLISHED} dnat ip6 to [fd00:18:3::1]:80\n}}\n}}\n"
    )
}

/// What the kernel did with the packet that was just sent: its outcome at each of the hooks that it came to.
fn done(packet: &Packet) -> Vec<Outcome> {
    let counted = |name: &str, text: &str| {
        let counter = text
            .split(&format!("counter {name} {{"))
            .nth(1)
            .expect("it is listed");
        let packets = counter.split_whitespace().nth(1).expect("it has a number");
        packets.parse::<u64>().expect("a number")
    };
    let deadline = Instant::now() + PATIENCE;
    while counted("came", &counters("list")) == 0 {
        assert!(Instant::now() < deadline, "it never came: {packet:?}");
    }
    // It was through before the question for it was answered; this one takes longer still.
    let text = counters("reset");
    let passed = |name| match counted(name, &text) {
        0 => Outcome::Dropped,
        _ => Outcome::Accepted,
    };
    let mut done = vec![passed("edge")];
    for (came, through) in [("forwarding", "forwarded"), ("inputting", "inputted")] {
        if counted(came, &text) > 0 {
            done.push(passed(through));
        }
    }
    done
}

fn counters(verb: &str) -> String {
    let output = Command::new("nft")
        .args([verb, "counters", "table", "inet", "observer"])
        .output()
        .expect("nft runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Draws lots: `SplitMix64` (Steele, Lea, Flood 2014).
struct Lot(u64);

impl Lot {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn policy(&mut self) -> String {
        let port = self.one(&[80, 80, 22, PUBLISHED]);
        let topology = self.one(&[
            "host",
            "container-host",
            "container-host",
            "gateway",
            "gateway",
        ]);
        let interfaces = self.one(&[
            "\"inside\"",
            "\"ins*\"",
            "\"eth9\"",
            "\"inside\", \"outsider\"",
        ]);
        let reach = self.one(&[
            "\"everything\"",
            "",
            "\"y\"",
            "\"198.18.2.0/24\"",
            "\"198.18.3.1\", \"fd00:18:3::/64\"",
            "\"fd00:18:2::1\", \"198.18.77.0/24\"",
        ]);
        // The third leads to where the second reaches, or is a network of its own.
        let other = self.one(&["eth8", "outside"]);
        let networks = if topology == "host" {
            String::new()
        } else {
            format!(
                "[networks.x]\ninterfaces = [{interfaces}]\nreach = [{reach}]\n[networks.y]\ninterfaces = [\"{other}\"]\n"
            )
        };
        let addresses = self.one(&[
            "",
            "\"198.18.2.2\"",
            "\"fd00:18:2::2\"",
            "\"198.18.2.2\", \"fd00:18:2::2\"",
            "\"198.18.2.3\", \"fd00:18:2::3\", \"198.18.2.2\"",
            "\"198.18.3.1\", \"fd00:18:3::1\", \"198.18.2.2\"",
        ]);
        let forward_to = match topology {
            "gateway" if addresses.is_empty() => "\"198.18.3.1\"",
            // Visitors dial the balancer itself.
            _ if addresses.contains("198.18.3.1") => "",
            "gateway" => self.one(&["", "\"198.18.3.1\", \"fd00:18:3::1\"", "\"fd00:18:3::1\""]),
            _ => "",
        };
        let services = self.one(&[
            "",
            "[https]\n[ssh]\nport = 5432\nsources = [\"198.18.2.0/24\", \"fd00:18:2::/64\"]\n",
            "[services.database]\nport = 5432\nsources = [\"198.18.3.1\", \"fd00:18:2::/64\"]\n",
            "[https]\nport = 5432\nsources = [\"198.18.3.0/24\", \"fd00:18:2::1\"]\n",
            "[monitoring]\nport = 5432\nsources = [\"198.18.2.1\", \"fd00:18:77::/64\"]\n",
        ]);
        // No limit of a policy is used up here: only one packet at a time is on its way.
        format!(
            "topology = \"{topology}\"\n[web]\nport = {port}\n{networks}[balancer]\naddresses = [{addresses}]\n\
             forward_to = [{forward_to}]\n{services}[ping]\nrate_per_second = 1000\nburst_packets = 1000\n"
        )
    }

    fn packet(&mut self) -> Packet {
        let v6 = self.below(2) == 1;
        let here = self.one(&[2, 3]);
        let address = |net: u8, host: u8| -> IpAddr {
            let text = if v6 {
                format!("fd00:18:{net}::{host}")
            } else {
                format!("198.18.{net}.{host}")
            };
            text.parse().expect("an address")
        };
        // The neighbour itself, the one on the other side, and somebody to whom there is no way at all.
        let sender = self.below(8);
        let (sender, route_back) = match sender {
            0..6 => (address(here, 1), true),
            6 => (address(5 - here, 1), false),
            _ => (address(77, 1), false),
        };
        let (receiver, local) = match self.below(4) {
            0 | 1 => (address(2, 2), true),
            2 => (address(2, 3), true),
            _ => (address(5 - here, 1), false),
        };
        let content = self.content(v6);
        let published = local
            && matches!(
                content,
                Content::Tcp {
                    port: PUBLISHED,
                    ..
                }
            );
        let out = if published || here == 2 {
            "inside"
        } else {
            "outside"
        };
        Packet {
            out: Some(out.to_owned()),
            interface: Some(if here == 2 { "outside" } else { "inside" }.to_owned()),
            sender,
            receiver,
            local,
            state: content.state(),
            content,
            route_back,
            published,
            redirected_to: published.then(|| address(3, 1)),
            within_limits: true,
        }
    }

    fn content(&mut self, v6: bool) -> Content {
        let port = self.one(&[80, 80, 22, PUBLISHED, 5432]);
        let flags = [
            TcpFlags::Syn,
            TcpFlags::Syn,
            TcpFlags::Syn,
            TcpFlags::Syn,
            TcpFlags::Ack,
            TcpFlags::Fin,
            TcpFlags::Null,
            TcpFlags::Xmas,
        ];
        match self.below(5) {
            0..3 => Content::Tcp {
                port,
                flags: self.one(&flags),
            },
            3 => Content::Udp { port },
            // Echo, timestamp and mask requests, an answer to nothing; solicitations from near and far, a listener query.
            _ if v6 => Content::Icmp6 {
                kind: self.one(&[128, 128, 129, 135, 130, 137, 139, 143]),
                hop_limit: self.one(&[64, 255]),
            },
            _ => Content::Icmp4 {
                kind: self.one(&[8, 8, 0, 5, 13, 17]),
            },
        }
    }
}
