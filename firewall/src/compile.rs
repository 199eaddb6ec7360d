//! Policy to ruleset, purely. The order of the rules is the point: each comment says what would break elsewhere.

use crate::policy::{Balancer, Interface, Policy, ServiceName, Sources};
use crate::ruleset::{
    Chain, ChainName, Counter, Family, Hook, Match, Rule, Ruleset, Table, Verdict,
};

/// The one table we own.
pub const TABLE: &str = "quizstack";
const LOG_PREFIX: &str = "quizstack drop: ";

/// The ruleset a policy stands for.
#[must_use]
pub fn ruleset(policy: &Policy) -> Ruleset {
    let chains = vec![
        edge(policy),
        opening(policy),
        administration(),
        forward(policy),
        input(policy),
    ];
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
        Counter::DroppedSpoofed,
    ));
    rules.extend(ping(policy, true));
    rules.push(accept(
        "Replies, and the errors about our own traffic (path MTU, unreachable), for IPv4 and IPv6.",
        [Match::EstablishedOrRelated],
    ));
    rules.push(drop(
        "Belongs to no connection, ICMP and ICMPv6 errors about nothing we sent included.",
        [Match::Invalid],
        Counter::DroppedInvalid,
    ));
    let dialled = "What the visitor dialled, before destination NAT rewrites it.";
    let [visitors, named] = [ChainName::Opening, ChainName::Administration].map(Verdict::Jump);
    rules.extend(open(policy, visitors, named, dialled));
    rules.extend(Family::ALL.map(|family| {
        rule(
            "For a list of those who are dropped most.",
            [],
            Verdict::Note(family),
        )
    }));
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
    rules.push(drop("Everything else.", [], Counter::DroppedOther));
    Chain {
        name: ChainName::Edge,
        comment: "Before destination NAT, so that ports published by a container engine are filtered as well.",
        hook: Some(Hook::PreroutingBeforeDnat),
        rules,
    }
}

fn opening(policy: &Policy) -> Chain {
    let mut rules = vec![scan()];
    rules.extend(Family::ALL.map(|family| {
        drop(
            "One sender opens connections too fast.",
            [Match::OverRate(family, policy.openings)],
            Counter::DroppedRate,
        )
    }));
    rules.extend(Family::ALL.map(|family| {
        drop(
            "One sender has too many connections.",
            [Match::OverConnections(family, policy.connections)],
            Counter::DroppedConnections,
        )
    }));
    rules.push(welcome());
    Chain {
        name: ChainName::Opening,
        comment: "New connections of visitors.",
        hook: None,
        rules,
    }
}

/// Not under the limits of visitors: who spoofs an administrator's address, or shares it, could use up its share.
fn administration() -> Chain {
    Chain {
        name: ChainName::Administration,
        comment: "New connections of those who are named.",
        hook: None,
        rules: vec![scan(), welcome()],
    }
}

fn scan() -> Rule {
    drop(
        "A new connection opens with SYN alone: FIN, NULL, Xmas and ACK scans end here.",
        [Match::NotAnOpeningSyn],
        Counter::DroppedScan,
    )
}

fn welcome() -> Rule {
    Rule {
        counter: Some(Counter::AcceptedOpening),
        ..accept("Welcome.", [])
    }
}

/// The second layer. An accept is final in its own chain only, so a drop here holds whatever another table accepts.
fn forward(policy: &Policy) -> Chain {
    let mut rules = from_inside(policy);
    rules.push(accept("Replies.", [Match::EstablishedOrRelated]));
    let https = policy
        .services
        .iter()
        .filter(|service| service.name == ServiceName::Https);
    let ports = https.map(|service| service.port);
    rules.extend([policy.web_port].into_iter().chain(ports).map(|port| {
        accept(
            "What visitors may dial, redirected to a container by its engine.",
            [Match::TcpPortBeforeDnat(port)],
        )
    }));
    rules.push(drop("Everything else.", [], Counter::DroppedForward));
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
    rules.extend(open(
        policy,
        Verdict::Accept,
        Verdict::Accept,
        "The balancer.",
    ));
    rules.push(drop("Everything else.", [], Counter::DroppedInput));
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
            [Match::Through(name.clone())],
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
            rule.counter = metered.then_some(Counter::AcceptedPing);
            rules.push(rule);
        }
    }
    if metered {
        let beyond = |echo| {
            drop(
                "Ping beyond the rate, or to another address.",
                [echo],
                Counter::DroppedPing,
            )
        };
        rules.extend([Match::EchoRequest4, Match::EchoRequest6].map(beyond));
    }
    rules
}

/// The ports that are open, each for those who may connect.
fn open(policy: &Policy, visitors: Verdict, named: Verdict, web: &'static str) -> Vec<Rule> {
    let port = Match::TcpPort(policy.web_port);
    let receivers = to_balancer(policy).into_iter();
    let mut rules: Vec<Rule> = receivers
        .map(|to| rule(web, [to, port.clone()], visitors))
        .collect();
    for service in &policy.services {
        let (comment, receivers, verdict) = match service.name {
            ServiceName::Https => ("HTTPS.", to_balancer(policy), visitors),
            ServiceName::Ssh => (
                "SSH, for those who are named.",
                vec![Match::ToThisMachine],
                named,
            ),
            ServiceName::Monitoring => (
                "Monitoring, for those who are named.",
                vec![Match::ToThisMachine],
                named,
            ),
        };
        for to in &receivers {
            for from in from_sources(&service.sources) {
                // Of two families, they would never hold together, and nft refuses such a rule.
                let (to4, to6) = (matches!(to, Match::To4(_)), matches!(to, Match::To6(_)));
                match from {
                    Some(Match::From4(_)) if to6 => continue,
                    Some(Match::From6(_)) if to4 => continue,
                    _ => {}
                }
                let matches = [to.clone()].into_iter().chain(from);
                let matches = matches.chain([Match::TcpPort(service.port)]);
                rules.push(rule(comment, matches, verdict));
            }
        }
    }
    rules
}

/// One match for each family of senders; none at all for anybody.
fn from_sources(sources: &Sources) -> Vec<Option<Match>> {
    match sources {
        Sources::Anybody => vec![None],
        Sources::Networks { ipv4, ipv6 } => {
            let v4 = (!ipv4.is_empty()).then(|| Match::From4(ipv4.clone()));
            let v6 = (!ipv6.is_empty()).then(|| Match::From6(ipv6.clone()));
            v4.into_iter().chain(v6).map(Some).collect()
        }
    }
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

fn drop(comment: &'static str, matches: impl IntoIterator<Item = Match>, counter: Counter) -> Rule {
    Rule {
        counter: Some(counter),
        ..rule(comment, matches, Verdict::Drop)
    }
}

fn rule(comment: &'static str, matches: impl IntoIterator<Item = Match>, verdict: Verdict) -> Rule {
    Rule {
        comment,
        matches: matches.into_iter().collect(),
        limit: None,
        log: None,
        counter: None,
        verdict,
    }
}
