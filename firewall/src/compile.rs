//! Policy to ruleset, purely. The order of the rules is the point: each comment says what would break elsewhere.

use crate::policy::{Balancer, Interface, Policy};
use crate::ruleset::{Chain, ChainName, Hook, Match, Rule, Ruleset, Table, Verdict};

/// The one table we own.
pub const TABLE: &str = "quizstack";
const LOG_PREFIX: &str = "quizstack drop: ";

/// The ruleset a policy stands for.
#[must_use]
pub fn ruleset(policy: &Policy) -> Ruleset {
    let chains = vec![edge(policy), web(), forward(policy), input(policy)];
    Ruleset {
        table: Table {
            name: TABLE,
            chains,
        },
    }
}

/// The first layer, and the one that decides: it sees IPv4 and IPv6, packets for this machine and for its containers.
fn edge(policy: &Policy) -> Chain {
    let mut rules = vec![accept("This machine talking to itself.", [Match::Loopback])];
    rules.extend(from_inside(policy));
    rules.extend(neighbours(
        "Before the check of the sender: a machine that looks for its own address sends from ::.",
    ));
    rules.push(drop(
        "Spoofed: no route leads back to the sender this way.",
        [Match::NoRouteBack],
    ));
    rules.extend(ping(policy, true));
    rules.push(accept(
        "Replies, and the errors about our own traffic (path MTU, unreachable), for IPv4 and IPv6.",
        [Match::EstablishedOrRelated],
    ));
    rules.push(drop(
        "Belongs to no connection, ICMP and ICMPv6 errors about nothing we sent included.",
        [Match::Invalid],
    ));
    for to in to_balancer(policy) {
        rules.push(rule(
            "What the visitor dialled, before destination NAT rewrites it.",
            [to, Match::TcpPort(policy.web_port)],
            Verdict::Jump(ChainName::Web),
        ));
    }
    if let Some(rate) = policy.drop_log {
        rules.push(Rule {
            limit: Some(rate),
            log: Some(LOG_PREFIX),
            ..rule(
                "A sample of what is dropped; metered, because a flood must not fill the disk.",
                [],
                Verdict::Continue,
            )
        });
    }
    rules.push(drop("Everything else.", []));
    Chain {
        name: ChainName::Edge,
        comment: "Before destination NAT, so that ports published by a container engine are filtered as well.",
        hook: Some(Hook::PreroutingBeforeDnat),
        rules,
    }
}

fn web() -> Chain {
    Chain {
        name: ChainName::Web,
        comment: "New connections of visitors.",
        hook: None,
        rules: vec![
            drop(
                "A new connection opens with SYN alone: FIN, NULL, Xmas and ACK scans end here.",
                [Match::NotAnOpeningSyn],
            ),
            accept("Welcome.", []),
        ],
    }
}

/// The second layer. An accept is final in its own chain only, so a drop here holds whatever another table accepts.
fn forward(policy: &Policy) -> Chain {
    let mut rules = from_inside(policy);
    rules.push(accept("Replies.", [Match::EstablishedOrRelated]));
    rules.push(accept(
        "The web port, redirected to a container by its engine.",
        [Match::TcpPortBeforeDnat(policy.web_port)],
    ));
    rules.push(drop("Everything else.", []));
    Chain {
        name: ChainName::Forward,
        comment: "Second layer, for what is passed on to a container.",
        hook: Some(Hook::Forward),
        rules,
    }
}

/// The third layer. Internal interfaces get no free pass: a container that was taken over must not reach this machine.
fn input(policy: &Policy) -> Chain {
    let mut rules = vec![accept("This machine talking to itself.", [Match::Loopback])];
    rules.extend(neighbours("IPv6 cannot find its neighbours without these."));
    rules.extend(ping(policy, false));
    rules.push(accept(
        "Replies and related errors.",
        [Match::EstablishedOrRelated],
    ));
    rules.extend(
        to_balancer(policy)
            .into_iter()
            .map(|to| accept("The balancer.", [to, Match::TcpPort(policy.web_port)])),
    );
    rules.push(drop("Everything else.", []));
    Chain {
        name: ChainName::Input,
        comment: "Third layer, for what ends on this machine, from inside as well.",
        hook: Some(Hook::Input),
        rules,
    }
}

fn from_inside(policy: &Policy) -> Vec<Rule> {
    let rule = |name: &Interface| {
        accept(
            "Inside, by name: every other interface is outside.",
            [Match::From(name.clone())],
        )
    };
    policy.internal.iter().map(rule).collect()
}

/// What IPv6 cannot live without. Connection tracking does not follow it, so it is matched by type.
fn neighbours(comment: &'static str) -> [Rule; 2] {
    [
        accept(comment, [Match::NeighbourDiscovery]),
        accept(
            "Switches that listen in on multicast groups stop neighbour discovery when this goes unanswered.",
            [Match::MulticastListenerQuery],
        ),
    ]
}

/// Echo requests to the balancer. Metered at the edge, before the shortcut for established traffic: the second
/// echo request of a sender counts as established and would pass unmetered.
fn ping(policy: &Policy, metered: bool) -> Vec<Rule> {
    let comment = if metered {
        "Ping. Before the shortcut for established traffic, which would let a flood pass unmetered."
    } else {
        "Ping, metered at the edge."
    };
    let mut rules = Vec::new();
    for to in to_balancer(policy) {
        let families: &[Match] = match to {
            Match::To4(_) => &[Match::EchoRequest4],
            Match::To6(_) => &[Match::EchoRequest6],
            _ => &[Match::EchoRequest4, Match::EchoRequest6],
        };
        for echo in families {
            let mut rule = accept(comment, [to.clone(), echo.clone()]);
            rule.limit = metered.then_some(policy.ping);
            rules.push(rule);
        }
    }
    if metered {
        let beyond = |echo| drop("Ping beyond the rate, or to another address.", [echo]);
        rules.extend([Match::EchoRequest4, Match::EchoRequest6].map(beyond));
    }
    rules
}

/// One match for each way a packet can be addressed to the balancer.
fn to_balancer(policy: &Policy) -> Vec<Match> {
    match &policy.balancer {
        Balancer::AnyLocalAddress => vec![Match::ToThisMachine],
        Balancer::Addresses { ipv4, ipv6 } => {
            let v4 = (!ipv4.is_empty()).then(|| Match::To4(ipv4.clone()));
            let v6 = (!ipv6.is_empty()).then(|| Match::To6(ipv6.clone()));
            v4.into_iter().chain(v6).collect()
        }
    }
}

fn accept(comment: &'static str, matches: impl IntoIterator<Item = Match>) -> Rule {
    rule(comment, matches, Verdict::Accept)
}

fn drop(comment: &'static str, matches: impl IntoIterator<Item = Match>) -> Rule {
    rule(comment, matches, Verdict::Drop)
}

fn rule(comment: &'static str, matches: impl IntoIterator<Item = Match>, verdict: Verdict) -> Rule {
    Rule {
        comment,
        matches: matches.into_iter().collect(),
        limit: None,
        log: None,
        verdict,
    }
}
