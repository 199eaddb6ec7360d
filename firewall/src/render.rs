//! Ruleset to nft text: pure and deterministic. The text replaces our own table atomically and touches no other.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::Rate;
use crate::ruleset::{
    Chain, ChainName, Counted, Counter, Family, Hook, Match, Rule, Ruleset, Verdict,
};

/// A hop limit of 255 cannot survive a router: the packet comes from this link.
const NEIGHBOUR_DISCOVERY: &str = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } \
     ip6 hoplimit 255";
const MULTICAST_LISTENER_QUERY: &str = "ip6 saddr fe80::/10 icmpv6 type mld-listener-query";

/// Senders that a limit keeps in mind, of each family. Beyond them a limit limits nobody new.
const SENDERS_MOST: u32 = 65_536;
/// Senders in the list of those who were dropped, of each family.
const DROPPED_MOST: u32 = 4_096;

/// The nft text of a ruleset, to be loaded with `nft -f`. Its counters go on from `counted`.
#[must_use]
pub fn to_nft(ruleset: &Ruleset, counted: &[Counted]) -> String {
    let table = ruleset.table.name;
    let mut text = format!(
        "# Written by quiz-firewall. Change the policy and render again instead of editing this.\n\
         #\n\
         # Declared, deleted, declared again: nft loads one file as one transaction, so the old rules hold until the\n\
         # new ones do, whether the table existed or not. Other tables, such as a container engine's, stay as they are.\n\
         table inet {table}\n\
         delete table inet {table}\n\n\
         table inet {table} {{\n"
    );
    for name in Counter::ALL.map(counter_name) {
        let from = counted.iter().find(|counter| counter.name == name);
        let from = from.map_or_else(String::new, |Counted { packets, bytes, .. }| {
            format!("packets {packets} bytes {bytes} ")
        });
        push(&mut text, format_args!("  counter {name} {{ {from}}}\n"));
    }
    text.push('\n');
    for (name, what) in sets() {
        push(&mut text, format_args!("  set {name} {{ {what}; }}\n"));
    }
    text.push('\n');
    let chains: Vec<String> = ruleset.table.chains.iter().map(chain).collect();
    text.push_str(&chains.join("\n"));
    text.push_str("}\n");
    text
}

/// The nft text that takes a table away, whether it exists or not.
#[must_use]
pub fn removal(table: &str) -> String {
    format!("table inet {table}\ndelete table inet {table}\n")
}

fn chain(chain: &Chain) -> String {
    let mut text = comment("  ", chain.comment);
    push(
        &mut text,
        format_args!("  chain {} {{\n", chain_name(chain.name)),
    );
    if let Some(hook) = chain.hook {
        push(
            &mut text,
            format_args!("    type {};\n\n", hook_and_policy(hook)),
        );
    }
    let mut said = "";
    for one in &chain.rules {
        // Neighbours with one reason share its comment.
        if one.comment != said {
            text.push_str(&comment("    ", one.comment));
            said = one.comment;
        }
        push(&mut text, format_args!("    {}\n", rule(one)));
    }
    text.push_str("  }\n");
    text
}

fn comment(indent: &str, comment: &str) -> String {
    comment
        .lines()
        .map(|line| format!("{indent}# {line}\n"))
        .collect()
}

fn hook_and_policy(hook: Hook) -> &'static str {
    match hook {
        Hook::PreroutingBeforeDnat => "filter hook prerouting priority mangle; policy drop",
        Hook::DestinationNat => "nat hook prerouting priority dstnat; policy accept",
        Hook::Forward => "filter hook forward priority filter - 5; policy drop",
        Hook::Input => "filter hook input priority filter; policy drop",
    }
}

/// One rule in nft's words.
#[must_use]
pub fn rule(rule: &Rule) -> String {
    let mut parts: Vec<String> = rule.matches.iter().map(condition).collect();
    parts.extend(rule.limit.map(limit));
    parts.extend(rule.log.map(|prefix| format!("log prefix \"{prefix}\"")));
    let counter = rule.counter.map(counter_name);
    parts.extend(counter.map(|name| format!("counter name {name}")));
    match rule.verdict {
        Verdict::Accept => parts.push("accept".to_owned()),
        Verdict::Drop => parts.push("drop".to_owned()),
        Verdict::Jump(name) => parts.push(format!("jump {}", chain_name(name))),
        Verdict::RedirectTo(IpAddr::V4(v4)) => parts.push(format!("dnat ip to {v4}")),
        Verdict::RedirectTo(IpAddr::V6(v6)) => parts.push(format!("dnat ip6 to {v6}")),
        Verdict::Note(family) => {
            let (set, sender) = (dropped_set(family), sender(family));
            parts.push(format!("update @{set} {{ {sender} counter }}"));
        }
        // nft's way to say it is to say nothing.
        Verdict::Continue => {}
    }
    parts.join(" ")
}

fn condition(condition: &Match) -> String {
    match condition {
        Match::Loopback => "iifname \"lo\"".to_owned(),
        Match::Through(interface) => format!("iifname \"{interface}\""),
        Match::OutThrough(interface) => format!("oifname \"{interface}\""),
        Match::Redirect4 => "icmp type redirect".to_owned(),
        Match::Redirect6 => "icmpv6 type nd-redirect".to_owned(),
        Match::NeighbourDiscovery => NEIGHBOUR_DISCOVERY.to_owned(),
        Match::MulticastListenerQuery => MULTICAST_LISTENER_QUERY.to_owned(),
        Match::EchoRequest4 => "icmp type echo-request".to_owned(),
        Match::EchoRequest6 => "icmpv6 type echo-request".to_owned(),
        Match::NoRouteBack => "fib saddr . iif oif missing".to_owned(),
        Match::ToThisMachine => "fib daddr type local".to_owned(),
        Match::To4(networks) => format!("ip daddr {}", set(networks)),
        Match::To6(networks) => format!("ip6 daddr {}", set(networks)),
        Match::From4(networks) => format!("ip saddr {}", set(networks)),
        Match::From6(networks) => format!("ip6 saddr {}", set(networks)),
        Match::TcpPort(port) => format!("tcp dport {port}"),
        // nft 1.0.6 refuses `proto-dst` without the protocol in front of it.
        Match::TcpPortBeforeDnat(port) => {
            format!("meta l4proto tcp ct status dnat ct original proto-dst {port}")
        }
        Match::NotAnOpeningSyn => "tcp flags & (fin | syn | rst | ack) != syn".to_owned(),
        Match::OverRate(family, rate) => format!(
            "update @rate{} {{ {} limit rate over {}/second burst {} packets }}",
            version(*family),
            sender(*family),
            rate.per_second,
            rate.burst_packets
        ),
        Match::OverConnections(family, most) => format!(
            "add @connections{} {{ {} ct count over {most} }}",
            version(*family),
            sender(*family)
        ),
        Match::EstablishedOrRelated => "ct state established,related".to_owned(),
        Match::Invalid => "ct state invalid".to_owned(),
    }
}

/// A network of one address is written as the address.
fn set<N: Copy + Into<IpNet>>(networks: &[N]) -> String {
    let member = |network: &N| match (*network).into() {
        one if one.prefix_len() == one.max_prefix_len() => one.addr().to_string(),
        many => many.to_string(),
    };
    let members: Vec<String> = networks.iter().map(member).collect();
    format!("{{ {} }}", members.join(", "))
}

fn limit(rate: Rate) -> String {
    format!(
        "limit rate {}/second burst {} packets",
        rate.per_second, rate.burst_packets
    )
}

fn version(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// Whom a limit is for, and who is listed.
fn sender(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip saddr",
        Family::V6 => "ip6 saddr & ffff:ffff:ffff:ffff::",
    }
}

/// The name of the set of those who were dropped.
#[must_use]
pub fn dropped_set(family: Family) -> &'static str {
    match family {
        Family::V4 => "senders_dropped4",
        Family::V6 => "senders_dropped6",
    }
}

/// What the limits keep in mind, and who was dropped: the names of the sets and what they are.
fn sets() -> Vec<(String, String)> {
    let of = |family| {
        let version = version(family);
        let senders = |most| format!("type ipv{version}_addr; size {most}; flags dynamic");
        [
            (
                format!("rate{version}"),
                format!("{},timeout; timeout 1m", senders(SENDERS_MOST)),
            ),
            (format!("connections{version}"), senders(SENDERS_MOST)),
            (
                dropped_set(family).to_owned(),
                format!("{},timeout; timeout 10m", senders(DROPPED_MOST)),
            ),
        ]
    };
    Family::ALL.into_iter().flat_map(of).collect()
}

/// The name of a chain in nft's words.
#[must_use]
pub fn chain_name(name: ChainName) -> &'static str {
    match name {
        ChainName::Edge => "edge",
        ChainName::Opening => "opening",
        ChainName::Administration => "administration",
        ChainName::Pinging => "pinging",
        ChainName::Hurrying => "hurrying",
        ChainName::Hoarding => "hoarding",
        ChainName::Redirect => "redirection",
        ChainName::Forward => "forward",
        ChainName::Input => "input",
    }
}

/// The name of a counter in nft's words: what was done, and the reason.
#[must_use]
pub fn counter_name(counter: Counter) -> &'static str {
    match counter {
        Counter::AcceptedPing => "accepted_ping",
        Counter::AcceptedOpening => "accepted_opening",
        Counter::DroppedSpoofed => "dropped_spoofed",
        Counter::DroppedPing => "dropped_ping",
        Counter::DroppedInvalid => "dropped_invalid",
        Counter::DroppedScan => "dropped_scan",
        Counter::DroppedRate => "dropped_rate",
        Counter::DroppedConnections => "dropped_connections",
        Counter::DroppedOther => "dropped_other",
        Counter::DroppedForward => "dropped_forward",
        Counter::DroppedInput => "dropped_input",
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a String takes all that is written to it");
}
