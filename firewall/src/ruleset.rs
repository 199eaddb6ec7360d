//! An nftables ruleset as data: table, chain, rule, verdict. It can express what [`crate::compile`] needs and no more.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::policy::{Interface, Rate};

/// Everything that is loaded in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    pub table: Table,
}

/// A table of the `inet` family: one list of rules for IPv4 and IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    pub chains: Vec<Chain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub name: ChainName,
    /// Why the chain exists, for the reader of the text.
    pub comment: &'static str,
    /// `None` for a chain that others jump to. A chain with a hook, but for that of destination
    /// NAT, drops what none of its rules decided.
    pub hook: Option<Hook>,
    pub rules: Vec<Rule>,
}

/// nft 1.0.6 takes some plain words (`fwd`) for keywords, so the names are a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainName {
    Edge,
    Opening,
    Administration,
    /// Of pings, beyond the rate or to another address.
    Pinging,
    /// Of openings, beyond the rate of one sender.
    Hurrying,
    /// Of connections, more than one sender may have.
    Hoarding,
    Redirect,
    Forward,
    Input,
}

/// Packets and bytes of what was decided, by reason. They are objects of their own in the table, so that several rules can
/// count with one, and a new ruleset can go on from what an old one counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    AcceptedPing,
    /// Openings of connections.
    AcceptedOpening,
    DroppedSpoofed,
    /// Beyond the rate, or to another address.
    DroppedPing,
    DroppedInvalid,
    /// To an open port, and no opening of a connection.
    DroppedScan,
    /// Openings of connections beyond the rate of one sender.
    DroppedRate,
    /// More connections than one sender may have.
    DroppedConnections,
    /// Allowed by nothing.
    DroppedOther,
    /// Accepted at the edge, and not to be forwarded.
    DroppedForward,
    /// Accepted at the edge, and not for this machine.
    DroppedInput,
}

/// What a counter has counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counted {
    /// In nft's words.
    pub name: String,
    pub packets: u64,
    pub bytes: u64,
}

impl Counter {
    pub const ALL: [Self; 11] = [
        Self::AcceptedPing,
        Self::AcceptedOpening,
        Self::DroppedSpoofed,
        Self::DroppedPing,
        Self::DroppedInvalid,
        Self::DroppedScan,
        Self::DroppedRate,
        Self::DroppedConnections,
        Self::DroppedOther,
        Self::DroppedForward,
        Self::DroppedInput,
    ];
}

/// What a set has for senders: IPv4 addresses, or IPv6 networks of 64 bits, of which one user has many addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

/// A hook with the priority we use there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `mangle` (-150): after connection tracking (-200), before destination NAT (-100).
    PreroutingBeforeDnat,
    /// Where destination NAT belongs. What none of its rules decides goes on.
    DestinationNat,
    /// Just before the container engine's own forward chains at `filter`.
    Forward,
    Input,
}

/// All matches must hold, and the limit must not be used up, before it logs and decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Why the rule exists and, where it matters, why it stands here.
    pub comment: &'static str,
    pub matches: Vec<Match>,
    pub limit: Option<Rate>,
    /// Writes a line with this prefix to the kernel log.
    pub log: Option<&'static str>,
    pub counter: Option<Counter>,
    pub verdict: Verdict,
}

/// What becomes of the packets a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Final in this base chain only: a later hook can still drop the packet.
    Accept,
    /// Final.
    Drop,
    Jump(ChainName),
    /// Destination NAT, and no later rule of the chain.
    RedirectTo(IpAddr),
    /// Notes the sender, if it is of this family, and goes on to the next rule.
    Note(Family),
    /// On to the next rule.
    Continue,
}

/// One condition on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    Loopback,
    Through(Interface),
    OutThrough(Interface),
    /// A router's advice to use another one.
    Redirect4,
    Redirect6,
    /// Neighbour discovery and router advertisements that no router has forwarded.
    NeighbourDiscovery,
    MulticastListenerQuery,
    EchoRequest4,
    EchoRequest6,
    /// No route leads back to the sender through the interface the packet came from.
    NoRouteBack,
    ToThisMachine,
    To4(Vec<Ipv4Net>),
    To6(Vec<Ipv6Net>),
    From4(Vec<Ipv4Net>),
    From6(Vec<Ipv6Net>),
    /// The destination port as the packet carries it now.
    TcpPort(u16),
    /// Destination NAT has redirected the connection, and this is the TCP port that was dialled before it.
    TcpPortBeforeDnat(u16),
    /// TCP flags of which the opening SYN is not the only one.
    NotAnOpeningSyn,
    /// The sender has used up its rate.
    OverRate(Family, Rate),
    /// The sender has more connections than this.
    OverConnections(Family, u32),
    EstablishedOrRelated,
    Invalid,
}
