//! Policy to ruleset, purely. The order of the rules is the point: each comment says what would break elsewhere.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::policy::{
    Balancer, Interface, Network, Policy, Service, ServiceName, Sources, Topology,
};
use crate::ruleset::{
    Chain, ChainName, Counter, Family, Hook, Match, Rule, Ruleset, Table, Verdict,
};

/// The one table we own.
pub const TABLE: &str = "quizstack";
const LOG_PREFIX: &str = "quizstack drop: ";

/// The ruleset a policy stands for.
#[must_use]
pub fn ruleset(policy: &Policy) -> Ruleset {
    let mut chains = vec![edge(policy), opening(policy), administration()];
    chains.extend([
        beyond(
            ChainName::Pinging,
            "Ping beyond the rate, or to another address.",
            Counter::DroppedPing,
        ),
        beyond(
            ChainName::Hurrying,
            "One sender opens connections too fast.",
            Counter::DroppedRate,
        ),
        beyond(
            ChainName::Hoarding,
            "One sender has too many connections.",
            Counter::DroppedConnections,
        ),
    ]);
    chains.extend(redirection(policy));
    chains.extend([forward(policy), input(policy)]);
    Ruleset {
        table: Table {
            name: TABLE,
            chains,
        },
    }
}

/// The first layer, and the one that decides about strangers: it sees IPv4 and IPv6, packets for this machine and for
/// those behind it. What comes from inside is left to the layers after it.
fn edge(policy: &Policy) -> Chain {
    let mut rules = vec![accept("This machine talking to itself.", [Match::Loopback])];
    rules.extend(neighbours(
        "Before the check of the sender: a machine that looks for its own address sends from ::.",
    ));
    rules.push(drop(
        "Spoofed: no route leads back to the sender this way.",
        [Match::NoRouteBack],
        Counter::DroppedSpoofed,
    ));
    rules.extend([Match::Redirect4, Match::Redirect6].map(|redirect| {
        drop(
            "A router's advice to use another one, which may name a connection of ours and count as related to it.",
            [redirect],
            Counter::DroppedInvalid,
        )
    }));
    rules.extend(from_inside(policy));
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
    rules.extend(for_visitors(
        policy,
        Verdict::Jump(ChainName::Opening),
        "What the visitor dialled, before destination NAT rewrites it.",
    ));
    rules.extend(for_the_named(
        policy,
        Verdict::Jump(ChainName::Administration),
    ));
    rules.extend(noted());
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
        rule(
            "One sender opens connections too fast.",
            [Match::OverRate(family, policy.openings)],
            Verdict::Jump(ChainName::Hurrying),
        )
    }));
    rules.extend(Family::ALL.map(|family| {
        rule(
            "One sender has too many connections.",
            [Match::OverConnections(family, policy.connections)],
            Verdict::Jump(ChainName::Hoarding),
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

/// What is beyond a limit. Senders are noted by rules of their own: where the list is full, such a rule ends there, and a drop in
/// the same rule would not come about.
fn beyond(name: ChainName, comment: &'static str, counter: Counter) -> Chain {
    let mut rules = noted();
    rules.push(drop(comment, [], counter));
    Chain {
        name,
        comment,
        hook: None,
        rules,
    }
}

fn noted() -> Vec<Rule> {
    let note = |family| {
        rule(
            "For a list of those who are dropped most.",
            [],
            Verdict::Note(family),
        )
    };
    Family::ALL.map(note).to_vec()
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

/// A gateway's own redirection. The edge has let nothing else come here from outside.
fn redirection(policy: &Policy) -> Option<Chain> {
    let Topology::Gateway { forward_to } = policy.topology else {
        return None;
    };
    let to = (forward_to.0.map(IpAddr::from).into_iter()).chain(forward_to.1.map(IpAddr::from));
    let mut rules = Vec::new();
    for to in to {
        for dialled in to_balancer(policy) {
            let other_family = match dialled {
                Match::To4(_) => to.is_ipv6(),
                Match::To6(_) => to.is_ipv4(),
                _ => false,
            };
            if other_family {
                continue;
            }
            for port in policy.visitor_ports() {
                rules.push(rule(
                    "From the address that visitors dial to the balancer.",
                    [dialled.clone(), Match::TcpPort(port)],
                    Verdict::RedirectTo(to),
                ));
            }
        }
    }
    (!rules.is_empty()).then_some(Chain {
        name: ChainName::Redirect,
        comment: "Destination NAT to the balancer behind this machine.",
        hook: Some(Hook::DestinationNat),
        rules,
    })
}

/// The second layer. An accept is final in its own chain only, so a drop here holds whatever another table accepts.
fn forward(policy: &Policy) -> Chain {
    let mut rules = vec![accept("Replies.", [Match::EstablishedOrRelated])];
    rules.extend(policy.networks.iter().flat_map(egress));
    match policy.topology {
        Topology::Host => {}
        _ if policy.topology.is_dialled_here() => {
            rules.extend(policy.visitor_ports().map(|port| {
                accept(
                    "What visitors may dial, redirected to where the balancer is.",
                    [Match::TcpPortBeforeDnat(port)],
                )
            }));
        }
        _ => {
            rules.extend(ping(policy, false));
            rules.extend(for_visitors(policy, Verdict::Accept, "The balancer."));
        }
    }
    rules.push(drop("Everything else.", [], Counter::DroppedForward));
    Chain {
        name: ChainName::Forward,
        comment: "Second layer, for what is passed on.",
        hook: Some(Hook::Forward),
        rules,
    }
}

/// What the hosts of a network may reach through this machine. From each of its interfaces, as one list of names with
/// and without `*` is no set to nft.
fn egress(network: &Network) -> Vec<Rule> {
    let Network {
        interfaces, reach, ..
    } = network;
    let mut rules = Vec::new();
    for from in interfaces {
        let from = Match::Through(from.clone());
        if reach.everything {
            rules.push(accept("A network that may reach everything.", [from]));
            continue;
        }
        let nothing_else = drop(
            "And nothing else, not even what strangers may dial.",
            [from.clone()],
            Counter::DroppedForward,
        );
        rules.extend(interfaces.iter().map(|to| {
            let to = Match::OutThrough(to.clone());
            accept("Hosts of one network.", [from.clone(), to])
        }));
        let networks = reach.interfaces.iter().cloned().map(Match::OutThrough);
        let v4 = (!reach.ipv4.is_empty()).then(|| Match::To4(reach.ipv4.clone()));
        let v6 = (!reach.ipv6.is_empty()).then(|| Match::To6(reach.ipv6.clone()));
        rules.extend(networks.chain(v4).chain(v6).map(|to| {
            accept(
                "A network inside, and what it may reach.",
                [from.clone(), to],
            )
        }));
        rules.push(nothing_else);
    }
    rules
}

/// The third layer. Internal interfaces get no free pass: a container that was taken over must not reach this machine.
fn input(policy: &Policy) -> Chain {
    let mut rules = vec![accept("This machine talking to itself.", [Match::Loopback])];
    rules.extend(neighbours("IPv6 cannot find its neighbours without these."));
    // Visitors of a balancer behind this machine do not end here; if they dial it, it answers their pings.
    let serves = !matches!(policy.topology, Topology::Gateway { .. });
    if policy.topology.is_dialled_here() {
        rules.extend(ping(policy, false));
    }
    rules.push(accept(
        "Replies and related errors.",
        [Match::EstablishedOrRelated],
    ));
    if serves {
        rules.extend(for_visitors(policy, Verdict::Accept, "The balancer."));
    }
    rules.extend(for_the_named(policy, Verdict::Accept));
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
    let networks = policy.networks.iter();
    networks
        .flat_map(|network| &network.interfaces)
        .map(rule)
        .collect()
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
            rule(
                "Ping beyond the rate, or to another address.",
                [echo],
                Verdict::Jump(ChainName::Pinging),
            )
        };
        rules.extend([Match::EchoRequest4, Match::EchoRequest6].map(beyond));
    }
    rules
}

/// The ports of the balancer, each for those who may connect.
fn for_visitors(policy: &Policy, verdict: Verdict, web: &'static str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for to in to_balancer(policy) {
        let port = policy.web_port.map(Match::TcpPort);
        rules.extend(port.map(|port| rule(web, [to, port], verdict)));
    }
    let https = |service: &&Service| service.name == ServiceName::Https;
    for service in policy.services.iter().filter(https) {
        for to in to_balancer(policy) {
            rules.extend(open(service, "HTTPS.", &to, verdict));
        }
    }
    rules
}

/// The ports of this machine itself, for those who are named.
fn for_the_named(policy: &Policy, verdict: Verdict) -> Vec<Rule> {
    let rules = policy.services.iter().flat_map(|service| {
        let comment = match service.name {
            ServiceName::Https => return Vec::new(),
            ServiceName::Ssh => "SSH, for those who are named.",
            ServiceName::Monitoring => "Monitoring, for those who are named.",
            ServiceName::Own(_) => "A service of this machine, for those who are named.",
        };
        open(service, comment, &Match::ToThisMachine, verdict)
    });
    rules.collect()
}

fn open(service: &Service, comment: &'static str, to: &Match, verdict: Verdict) -> Vec<Rule> {
    let mut rules = Vec::new();
    for from in from_sources(&service.sources) {
        // Of two families, they would never hold together, and nft refuses such a rule.
        match (&from, to) {
            (Some(Match::From4(_)), Match::To6(_)) | (Some(Match::From6(_)), Match::To4(_)) => {
                continue;
            }
            _ => {}
        }
        let matches = [to.clone()].into_iter().chain(from);
        let matches = matches.chain([Match::TcpPort(service.port)]);
        rules.push(rule(comment, matches, verdict));
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

/// One match for each way a packet can be addressed to the balancer; none where there is no balancer.
fn to_balancer(policy: &Policy) -> Vec<Match> {
    if policy.visitor_ports().next().is_none() {
        return Vec::new();
    }
    match &policy.balancer {
        Balancer::AnyLocalAddress => vec![Match::ToThisMachine],
        Balancer::Addresses { ipv4, ipv6 } => {
            let v4 = ipv4.iter().copied().map(Ipv4Net::from).collect::<Vec<_>>();
            let v6 = ipv6.iter().copied().map(Ipv6Net::from).collect::<Vec<_>>();
            let v4 = (!v4.is_empty()).then_some(Match::To4(v4));
            let v6 = (!v6.is_empty()).then_some(Match::To6(v6));
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
