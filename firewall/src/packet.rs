//! One packet, as far as a ruleset can tell packets apart, and the words in which a person asks about it. No I/O.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::policy::{Balancer, Policy, Topology};

/// What the words may look like; part of every complaint about them.
pub const GRAMMAR: &str = "write it as \"198.51.100.7 -> lb tcp/80\": SENDER [via INTERFACE] -> RECEIVER [via INTERFACE] WHAT. \
     SENDER is an address. RECEIVER is `lb` for the balancer, `here` for another address of this machine, or the address of another machine, \
     to which the packet leaves `via` an interface. \
     WHAT is tcp/PORT [ack|fin|null|xmas], udp/PORT, ping, icmp/TYPE or icmpv6/TYPE; after it may stand `reply` \
     (of a connection that exists), `spoofed` (no route leads back to the sender), `published` (an engine has \
     redirected the port to a container) or `flood` (more than the limits allow)";

/// Which connection a packet belongs to, by the kernel's tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    New,
    /// Part of one that exists, or an error about it.
    EstablishedOrRelated,
    /// Of none that could be.
    Invalid,
    /// Neighbour discovery and the like are not tracked.
    Untracked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Tcp { port: u16, flags: TcpFlags },
    Udp { port: u16 },
    Icmp4 { kind: u8 },
    Icmp6 { kind: u8, hop_limit: u8 },
}

/// The flags of one TCP segment that say what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpFlags {
    Syn,
    Ack,
    Fin,
    /// None at all.
    Null,
    /// FIN, PSH and URG.
    Xmas,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it came in; `None` for an interface that no policy names.
    pub interface: Option<String>,
    /// Where it goes out if it is passed on; `None` for an interface that no policy names.
    pub out: Option<String>,
    pub sender: IpAddr,
    pub receiver: IpAddr,
    /// The receiver is an address of this machine, before any destination NAT.
    pub local: bool,
    pub content: Content,
    pub state: State,
    /// A route leads back to the sender through the interface that the packet came from.
    pub route_back: bool,
    /// The connection is redirected, by a container engine or by the policy of a gateway.
    pub published: bool,
    /// Where to, as far as it is known.
    pub redirected_to: Option<IpAddr>,
    /// No limit is used up.
    pub within_limits: bool,
}

pub const ECHO_REQUEST_4: u8 = 8;
pub const ECHO_REQUEST_6: u8 = 128;
pub const REDIRECT_4: u8 = 5;
pub const REDIRECT_6: u8 = 137;
pub const MULTICAST_LISTENER_QUERY: u8 = 130;
/// Router advertisement, neighbour solicitation and advertisement (RFC 4861).
pub const NEIGHBOUR_DISCOVERY: [u8; 3] = [134, 135, 136];
/// Requests that an ICMP answer is tracked by: echo, timestamp, information, mask.
const TRACKED_REQUESTS_4: [u8; 4] = [ECHO_REQUEST_4, 13, 15, 17];
/// Requests that an answer over IPv6 is tracked by: echo, node information.
const TRACKED_REQUESTS_6: [u8; 2] = [ECHO_REQUEST_6, 139];
/// What the kernel does not track (`noct_valid_new` of its `nf_conntrack_proto_icmpv6.c`): multicast listeners, router and
/// neighbour discovery, and reports of listeners of version 2.
const UNTRACKED_6: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

impl Packet {
    /// Reads the words of a question about a machine with this policy.
    ///
    /// # Errors
    /// What is wrong with them, and [`GRAMMAR`].
    pub fn parse(words: &str, policy: &Policy) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}; {GRAMMAR}");
        let (sender, rest) = words
            .split_once("->")
            .ok_or_else(|| wrong("there is no -> in the question"))?;
        let mut sender = sender.split_whitespace();
        let from = sender.next().ok_or_else(|| wrong("no sender is named"))?;
        let from: IpAddr = (from.parse()).map_err(|_| wrong(&format!("{from:?} is no address")))?;
        let interface = match (sender.next(), sender.next(), sender.next()) {
            (None, _, _) => None,
            (Some("via"), Some(interface), None) => Some(interface.to_owned()),
            _ => return Err(wrong("only `via INTERFACE` may stand after the sender")),
        };
        let mut rest = rest.split_whitespace();
        let to = rest.next().ok_or_else(|| wrong("no receiver is named"))?;
        let (receiver, local) = receiver(to, from.is_ipv6(), policy).map_err(|why| wrong(&why))?;
        if receiver.is_ipv4() != from.is_ipv4() {
            return Err(wrong(&format!(
                "{from} and {receiver} are not of one family"
            )));
        }
        let mut what = rest.next();
        let out = if what == Some("via") {
            let out = rest.next();
            what = rest.next();
            out.map(str::to_owned)
        } else {
            None
        };
        let what = what.ok_or_else(|| wrong("what is sent is not said"))?;
        let content = content(what, from.is_ipv6()).map_err(|why| wrong(&why))?;
        let mut packet = Self {
            interface,
            out,
            sender: from,
            receiver,
            local,
            content,
            state: content.state(),
            route_back: true,
            published: false,
            redirected_to: None,
            within_limits: true,
        };
        packet.redirect(policy);
        let (replies, others): (Vec<&str>, Vec<&str>) = rest.partition(|word| *word == "reply");
        for word in others {
            packet.note(word).map_err(|why| wrong(&why))?;
        }
        if !replies.is_empty() {
            packet.state = State::EstablishedOrRelated;
        }
        Ok(packet)
    }

    /// Lets the policy of a gateway redirect it, if that does so.
    pub fn redirect(&mut self, policy: &Policy) {
        let Topology::Gateway { forward_to } = &policy.topology else {
            return;
        };
        let dialled = match (&policy.balancer, self.receiver) {
            (Balancer::AnyLocalAddress, _) => self.local,
            (Balancer::Addresses { ipv4, .. }, IpAddr::V4(v4)) => ipv4.contains(&v4),
            (Balancer::Addresses { ipv6, .. }, IpAddr::V6(v6)) => ipv6.contains(&v6),
        };
        let to = match self.receiver {
            IpAddr::V4(_) => forward_to.0.map(IpAddr::from),
            IpAddr::V6(_) => forward_to.1.map(IpAddr::from),
        };
        let Content::Tcp { port, .. } = self.content else {
            return;
        };
        if dialled && to.is_some() && policy.visitor_ports().any(|open| open == port) {
            self.published = true;
            self.redirected_to = to;
        }
    }

    fn note(&mut self, word: &str) -> Result<(), String> {
        match (word, &mut self.content) {
            ("spoofed", _) => self.route_back = false,
            ("published", _) => self.published = true,
            ("flood", _) => self.within_limits = false,
            (_, Content::Tcp { flags, .. }) => {
                *flags = match word {
                    "ack" => TcpFlags::Ack,
                    "fin" => TcpFlags::Fin,
                    "null" => TcpFlags::Null,
                    "xmas" => TcpFlags::Xmas,
                    _ => return Err(format!("{word:?} says nothing of a packet")),
                };
                self.state = self.content.state();
            }
            _ => return Err(format!("{word:?} says nothing of such a packet")),
        }
        Ok(())
    }
}

impl Content {
    /// What the kernel takes the first packet of its kind between two machines for, with its default settings.
    #[must_use]
    pub fn state(self) -> State {
        match self {
            // An ACK may belong to a connection from before the tracking began (`nf_conntrack_tcp_loose`).
            Self::Tcp { flags, .. } => match flags {
                TcpFlags::Syn | TcpFlags::Ack => State::New,
                TcpFlags::Fin | TcpFlags::Null | TcpFlags::Xmas => State::Invalid,
            },
            Self::Udp { .. } => State::New,
            Self::Icmp4 { kind } if TRACKED_REQUESTS_4.contains(&kind) => State::New,
            Self::Icmp6 { kind, .. } if TRACKED_REQUESTS_6.contains(&kind) => State::New,
            Self::Icmp6 { kind, .. } if UNTRACKED_6.contains(&kind) => State::Untracked,
            Self::Icmp4 { .. } | Self::Icmp6 { .. } => State::Invalid,
        }
    }
}

/// The address that a receiver's name stands for, and whether it is this machine's.
fn receiver(name: &str, v6: bool, policy: &Policy) -> Result<(IpAddr, bool), String> {
    // Of no machine; stands for an address that the policy does not know.
    let some = if v6 {
        IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1))
    } else {
        IpAddr::from([192, 0, 2, 1])
    };
    let here = policy.topology.is_dialled_here();
    match name {
        "here" => Ok((some, true)),
        "lb" => match &policy.balancer {
            Balancer::AnyLocalAddress => Ok((some, here)),
            Balancer::Addresses { ipv4, ipv6 } => {
                let first = if v6 {
                    ipv6.first().copied().map(IpAddr::V6)
                } else {
                    ipv4.first().copied().map(IpAddr::V4)
                };
                let first = first.ok_or("the balancer has no address of the sender's family")?;
                Ok((first, here))
            }
        },
        address => {
            let address = IpAddr::from_str(address)
                .map_err(|_| format!("{address:?} is neither an address nor `lb` nor `here`"))?;
            let local = match (&policy.balancer, address) {
                (Balancer::AnyLocalAddress, _) => false,
                (Balancer::Addresses { ipv4, .. }, IpAddr::V4(v4)) => ipv4.contains(&v4),
                (Balancer::Addresses { ipv6, .. }, IpAddr::V6(v6)) => ipv6.contains(&v6),
            };
            Ok((address, local && here))
        }
    }
}

fn content(what: &str, v6: bool) -> Result<Content, String> {
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| format!("{text:?} is no number"))
    };
    let kind = |text: &str| {
        text.parse::<u8>()
            .map_err(|_| format!("{text:?} is no ICMP type"))
    };
    match what.split_once('/').unwrap_or((what, "")) {
        ("tcp", port) => Ok(Content::Tcp {
            port: number(port)?,
            flags: TcpFlags::Syn,
        }),
        ("udp", port) => Ok(Content::Udp {
            port: number(port)?,
        }),
        ("ping", "") if v6 => Ok(Content::Icmp6 {
            kind: ECHO_REQUEST_6,
            hop_limit: 64,
        }),
        ("ping", "") => Ok(Content::Icmp4 {
            kind: ECHO_REQUEST_4,
        }),
        ("icmp", text) if !v6 => Ok(Content::Icmp4 { kind: kind(text)? }),
        ("icmpv6", text) if v6 => {
            let kind = kind(text)?;
            // As neighbours send it; from further away it would have passed a router.
            let hop_limit = if NEIGHBOUR_DISCOVERY.contains(&kind) {
                255
            } else {
                64
            };
            Ok(Content::Icmp6 { kind, hop_limit })
        }
        _ => Err(format!("{what:?} is nothing that is sent")),
    }
}
