//! A machine with two addresses that routes for another one behind it, of which a visitor knows the way.
//!
//! The layers of the ruleset cover for each other, so each is tried without the other: what one lets through by
//! mistake would otherwise be stopped by the next, and no test would notice.

use quiz_firewall::nft_text;

use super::neighbour::Neighbour;
use super::probe::{ANSWERED, SILENT};
use super::{Reports, listen, nft, sh, wait_until_all_answer};

/// What the machine under the test must be able to do.
pub(crate) const CABLES: &str = "nsenter --version; ip link add name v0 type veth peer name v1; \
                                 ip -6 address add ::2/64 dev v0; \
                                 echo 1 >/proc/sys/net/ipv4/ip_forward; \
                                 echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";

const EXPLICIT: &str = "[web]\nport = 80\n[networks.a]\ninterfaces = [\"inside\"]\nreach = [\"everything\"]\n\
                        [balancer]\naddresses = [\"198.18.2.2\", \"fd00:18:2::2\"]\n";
const ANY_ADDRESS: &str =
    "[web]\nport = 80\n[networks.a]\ninterfaces = [\"inside\"]\nreach = [\"everything\"]\n";

/// What the visitor tries, without the beginning of the address.
const BALANCER: [&str; 2] = ["tcp 2.2 80", "ping 2.2"];
const SECOND_ADDRESS: [&str; 2] = ["tcp 2.3 80", "ping 2.3"];
const MACHINE_BEHIND: [&str; 1] = ["tcp 3.1 80"];
/// What the machine behind tries.
const OUT: [&str; 1] = ["tcp 2.1 80"];
const GUARDED_ITSELF: [&str; 1] = ["tcp 3.2 22"];

struct Neighbours {
    visitor: Neighbour,
    behind: Neighbour,
}

pub(crate) fn be_the_guarded_machine(test: &'static str) {
    let neighbours = Neighbours::plug_in(test);
    let listeners = listen(&[80, 22]);
    wait_until_all_answer(|| neighbours.probe(&everything()));

    nft(&(nft_text(EXPLICIT).expect("sound") + &without(&["forward", "input"])));
    neighbours.expect(
        "the edge alone, balancer at one address",
        &[&BALANCER, &OUT, &GUARDED_ITSELF],
    );
    nft(&(nft_text(ANY_ADDRESS).expect("sound") + &without(&["forward", "input"])));
    neighbours.expect(
        "the edge alone, balancer at any address",
        &[&BALANCER, &SECOND_ADDRESS, &OUT, &GUARDED_ITSELF],
    );
    nft(&(nft_text(EXPLICIT).expect("sound") + &without(&["edge"])));
    neighbours.expect(
        "forward and input alone, balancer at one address",
        &[&BALANCER, &OUT],
    );
    // More layers can only drop more, so there is no silence to wait for here.
    nft(&nft_text(EXPLICIT).expect("sound"));
    let allowed = [&BALANCER[..], &OUT].concat();
    assert_eq!(
        neighbours.probe(&allowed),
        reports(&allowed, &allowed),
        "all layers"
    );
    drop(listeners);
}

impl Neighbours {
    fn plug_in(test: &'static str) -> Self {
        let visitor = Neighbour::plug_in(test, "outside", 2);
        let behind = Neighbour::plug_in(test, "inside", 3);
        sh("ip address add 198.18.2.3/24 dev outside
            ip address add fd00:18:2::3/64 dev outside nodad
            echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
        for (neighbour, here, there) in [(&visitor, 2, 3), (&behind, 3, 2)] {
            neighbour.sh(&format!(
                "ip route add 198.18.{there}.0/24 via 198.18.{here}.2
                 ip route add fd00:18:{there}::/64 via fd00:18:{here}::2"
            ));
        }
        Self { visitor, behind }
    }

    /// Tries everything; what is listed must answer, and nothing else may.
    fn expect(&self, situation: &str, answering: &[&[&str]]) {
        let expected = reports(&everything(), &answering.concat());
        assert_eq!(self.probe(&everything()), expected, "{situation}");
    }

    /// Both at the same time, because silence takes long.
    fn probe(&self, probes: &[&str]) -> Reports {
        let (from_behind, from_outside): (Vec<&str>, Vec<&str>) = probes
            .iter()
            .partition(|name| OUT.contains(name) || GUARDED_ITSELF.contains(name));
        std::thread::scope(|scope| {
            let outside = scope.spawn(|| self.visitor.probe(&both_families(&from_outside)));
            let mut reports = self.behind.probe(&both_families(&from_behind));
            reports.extend(outside.join().expect("the visitor reports"));
            reports
        })
    }
}

fn everything() -> Vec<&'static str> {
    [
        &BALANCER[..],
        &SECOND_ADDRESS,
        &MACHINE_BEHIND,
        &OUT,
        &GUARDED_ITSELF,
    ]
    .concat()
}

fn reports(probes: &[&str], answering: &[&str]) -> Reports {
    let report = |name: &&str| {
        let answer = if answering.contains(name) {
            ANSWERED
        } else {
            SILENT
        };
        both_families(&[*name])
            .into_iter()
            .map(|name| (name, answer.to_owned()))
    };
    probes.iter().flat_map(report).collect()
}

/// `tcp 2.3 80` becomes `tcp 198.18.2.3 80` and `tcp fd00:18:2::3 80`.
pub(crate) fn both_families(probes: &[&str]) -> Vec<String> {
    let spell = |probe: &&str| {
        let (kind, rest) = probe.split_once(' ').expect("a kind and an address");
        let (net, host) = rest.split_once('.').expect("a network and a host");
        [
            format!("{kind} 198.18.{net}.{host}"),
            format!("{kind} fd00:18:{net}::{host}"),
        ]
    };
    probes.iter().flat_map(spell).collect()
}

/// Takes layers out again, in the transaction that loads them.
fn without(chains: &[&str]) -> String {
    let delete = |chain: &&str| {
        format!(
            "flush chain inet quizstack {chain}\n\
             delete chain inet quizstack {chain}\n"
        )
    };
    chains.iter().map(delete).collect()
}
