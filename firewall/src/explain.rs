//! What a ruleset does with a packet, and why: read off the rules, no packet is sent. No I/O.
//!
//! The packet goes through the hooks as it would in the kernel: first `prerouting`, and then `input` when it is for this
//! machine, or `forward` when it is for another one or redirected to a container. A drop ends its way; an accept is final
//! in its chain only.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::{
    Content, ECHO_REQUEST_4, ECHO_REQUEST_6, MULTICAST_LISTENER_QUERY, NEIGHBOUR_DISCOVERY, Packet,
    REDIRECT_4, REDIRECT_6, State, TcpFlags,
};
use crate::render;
use crate::ruleset::{Chain, Family, Hook, Match, Rule, Ruleset, Verdict};

/// How a packet ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Dropped,
}

/// One chain on a packet's way, and what it decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    pub chain: &'a Chain,
    /// `None`: no rule did, so the chain's policy, which is to drop.
    pub rule: Option<&'a Rule>,
    pub outcome: Outcome,
}

/// The chains that a packet passes, up to the one that drops it.
#[must_use]
pub fn explain<'a>(ruleset: &'a Ruleset, packet: &Packet) -> Vec<Step<'a>> {
    // What belongs to no connection is not redirected.
    let redirected = packet.published && packet.state != State::Invalid;
    let last = if packet.local && !redirected {
        Hook::Input
    } else {
        Hook::Forward
    };
    // Destination NAT comes between the two. Where an engine redirects to is not known; no rule names that address.
    let mut after = packet.clone();
    if redirected {
        let nobody = match packet.receiver {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        after.receiver = packet.redirected_to.unwrap_or(nobody);
    }
    let mut steps: Vec<Step<'a>> = Vec::new();
    for hook in [Hook::PreroutingBeforeDnat, last] {
        let chains = &ruleset.table.chains;
        for chain in chains.iter().filter(|chain| chain.hook == Some(hook)) {
            let now = if hook == Hook::Forward {
                &after
            } else {
                packet
            };
            let step = walk(ruleset, chain, now).unwrap_or(Step {
                chain,
                rule: None,
                outcome: Outcome::Dropped,
            });
            steps.push(step);
            if step.outcome == Outcome::Dropped {
                return steps;
            }
        }
    }
    steps
}

/// The first rule of a chain, or of those it jumps to, that decides.
fn walk<'a>(ruleset: &'a Ruleset, chain: &'a Chain, packet: &Packet) -> Option<Step<'a>> {
    for rule in &chain.rules {
        let holds = rule.matches.iter().all(|one| matches(one, packet));
        if !holds || (rule.limit.is_some() && !packet.within_limits) {
            continue;
        }
        let outcome = match rule.verdict {
            Verdict::Accept => Outcome::Accepted,
            Verdict::Drop => Outcome::Dropped,
            Verdict::Continue | Verdict::Note(_) | Verdict::RedirectTo(_) => continue,
            Verdict::Jump(name) => {
                let chains = &ruleset.table.chains;
                let target = chains.iter().find(|chain| chain.name == name)?;
                if let Some(step) = walk(ruleset, target, packet) {
                    return Some(step);
                }
                continue;
            }
        };
        return Some(Step {
            chain,
            rule: Some(rule),
            outcome,
        });
    }
    None
}

fn matches(one: &Match, packet: &Packet) -> bool {
    match one {
        Match::Loopback => packet.interface.as_deref() == Some("lo"),
        Match::Through(interface) => {
            (packet.interface.as_deref()).is_some_and(|name| interface.covers(name))
        }
        Match::OutThrough(interface) => {
            (packet.out.as_deref()).is_some_and(|name| interface.covers(name))
        }
        Match::Redirect4 => packet.content == Content::Icmp4 { kind: REDIRECT_4 },
        Match::Redirect6 => {
            matches!(packet.content, Content::Icmp6 { kind, .. } if kind == REDIRECT_6)
        }
        Match::NeighbourDiscovery => matches!(packet.content,
            Content::Icmp6 { kind, hop_limit: 255 } if NEIGHBOUR_DISCOVERY.contains(&kind)),
        Match::MulticastListenerQuery => {
            let asks = matches!(packet.content, Content::Icmp6 { kind, .. } if kind == MULTICAST_LISTENER_QUERY);
            asks && matches!(packet.sender, IpAddr::V6(v6) if v6.is_unicast_link_local())
        }
        Match::EchoRequest4 => {
            packet.content
                == Content::Icmp4 {
                    kind: ECHO_REQUEST_4,
                }
        }
        Match::EchoRequest6 => {
            matches!(packet.content, Content::Icmp6 { kind, .. } if kind == ECHO_REQUEST_6)
        }
        Match::NoRouteBack => !packet.route_back,
        Match::ToThisMachine => packet.local,
        Match::To4(addresses) => {
            matches!(packet.receiver, IpAddr::V4(v4) if addresses.iter().any(|net| net.contains(&v4)))
        }
        Match::To6(addresses) => {
            matches!(packet.receiver, IpAddr::V6(v6) if addresses.iter().any(|net| net.contains(&v6)))
        }
        Match::From4(networks) => matches!(packet.sender,
            IpAddr::V4(v4) if networks.iter().any(|network| network.contains(&v4))),
        Match::From6(networks) => matches!(packet.sender,
            IpAddr::V6(v6) if networks.iter().any(|network| network.contains(&v6))),
        Match::TcpPort(wanted) => {
            matches!(packet.content, Content::Tcp { port, .. } if port == *wanted)
        }
        Match::TcpPortBeforeDnat(wanted) => {
            let redirected = packet.published && packet.state != State::Invalid;
            redirected && matches!(packet.content, Content::Tcp { port, .. } if port == *wanted)
        }
        Match::NotAnOpeningSyn => {
            matches!(packet.content, Content::Tcp { flags, .. } if flags != TcpFlags::Syn)
        }
        Match::OverRate(family, _) | Match::OverConnections(family, _) => {
            !packet.within_limits && (packet.sender.is_ipv4() == (*family == Family::V4))
        }
        Match::EstablishedOrRelated => packet.state == State::EstablishedOrRelated,
        Match::Invalid => packet.state == State::Invalid,
    }
}

/// The steps in words: what `quiz-firewall explain` prints.
#[must_use]
pub fn in_words(packet: &Packet, steps: &[Step<'_>]) -> String {
    let dropped = steps.iter().any(|step| step.outcome == Outcome::Dropped);
    let mut text = if dropped { "DROPPED\n" } else { "ACCEPTED\n" }.to_owned();
    if !packet.local {
        let written = writeln!(
            text,
            "({} is taken for another machine's address; for this machine's own ask about `lb` or `here`.)",
            packet.receiver
        );
        written.expect("a String takes all that is written to it");
    }
    for step in steps {
        let chain = render::chain_name(step.chain.name);
        let verb = match step.outcome {
            Outcome::Accepted => "accepts",
            Outcome::Dropped => "drops",
        };
        let written = match step.rule {
            Some(rule) => writeln!(
                text,
                "\n  {chain} {verb} it: {}\n    {}",
                rule.comment,
                render::rule(rule)
            ),
            None => writeln!(
                text,
                "\n  {chain} {verb} it: none of its rules is about such a packet."
            ),
        };
        written.expect("a String takes all that is written to it");
    }
    text
}
