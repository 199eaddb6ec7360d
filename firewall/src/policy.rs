//! The intent: which interfaces are inside, and which traffic from outside is allowed. Every value in here is sound.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Longest interface name of Linux (`IFNAMSIZ` less its NUL).
const INTERFACE_NAME_MAX_BYTES: usize = 15;

/// What one machine allows. Sets are ordered, so that the order in the file does not show in the ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub topology: Topology,
    /// By name. Every interface that none of them has is outside. No interface is in two.
    pub networks: Vec<Network>,
    pub balancer: Balancer,
    /// `None`: this machine has no balancer, neither itself nor behind it.
    pub web_port: Option<u16>,
    /// What else is open.
    pub services: Vec<Service>,
    /// Openings of connections by one sender, which is an IPv4 address or an IPv6 network of 64 bits.
    pub openings: Rate,
    /// Connections that one sender may have at one time.
    pub connections: u32,
    pub ping: Rate,
    /// `None` writes no log lines.
    pub drop_log: Option<Rate>,
}

impl Policy {
    /// The ports of the balancer.
    pub fn visitor_ports(&self) -> impl Iterator<Item = u16> {
        let services = self.services.iter();
        let https = services.filter(|service| service.name == ServiceName::Https);
        (self.web_port.into_iter()).chain(https.map(|service| service.port))
    }
}

/// What kind of machine the rules are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// Serves itself and passes nothing on.
    Host,
    /// A container engine redirects ports to containers.
    ContainerHost,
    /// Passes on between networks. The balancer is behind it.
    Gateway {
        /// Where visitors of the gateway's own addresses are redirected to, one for each family. Both `None`: they dial
        /// the balancer's address.
        forward_to: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    },
}

impl Topology {
    /// Whether the address that visitors dial is one of this machine's own.
    #[must_use]
    pub fn is_dialled_here(&self) -> bool {
        !matches!(
            self,
            Self::Gateway {
                forward_to: (None, None)
            }
        )
    }
}

/// A network inside. Its hosts reach one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub name: String,
    /// Those of this machine that lead there.
    pub interfaces: BTreeSet<Interface>,
    pub reach: Reach,
}

/// Where the hosts of a network may open connections to through this machine (its egress policy). What nothing here
/// allows is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    pub everything: bool,
    /// Interfaces of other networks.
    pub interfaces: BTreeSet<Interface>,
    /// No network of a family is within another.
    pub ipv4: Vec<Ipv4Net>,
    pub ipv6: Vec<Ipv6Net>,
}

/// Where the balancer is, as visitors dial it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balancer {
    /// Any address of this machine, over IPv4 and IPv6.
    AnyLocalAddress,
    /// These addresses and no others. A family without an address is closed.
    Addresses {
        ipv4: BTreeSet<Ipv4Addr>,
        ipv6: BTreeSet<Ipv6Addr>,
    },
}

/// One more TCP port, and who may connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: ServiceName,
    pub port: u16,
    pub sources: Sources,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceName {
    /// The balancer's second port; a container may be behind it.
    Https,
    /// On any address of this machine itself.
    Ssh,
    /// On any address of this machine itself.
    Monitoring,
    /// One that the policy gives a name; on any address of this machine itself.
    Own(String),
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    Anybody,
    /// No network of a family is within another. A family without one is closed.
    Networks {
        ipv4: Vec<Ipv4Net>,
        ipv6: Vec<Ipv6Net>,
    },
}

impl Sources {
    /// `networks`, of which those within others are left out and neighbours are made one.
    #[must_use]
    pub fn of(networks: &[IpNet]) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(v4) => ipv4.push(*v4),
                IpNet::V6(v6) => ipv6.push(*v6),
            }
        }
        // nft refuses a set of which one member covers another.
        Self::Networks {
            ipv4: Ipv4Net::aggregate(&ipv4),
            ipv6: Ipv6Net::aggregate(&ipv6),
        }
    }

    /// Whether all addresses of a family are among them.
    #[must_use]
    pub fn has_everybody(&self) -> bool {
        match self {
            Self::Anybody => true,
            Self::Networks { ipv4, ipv6 } => {
                ipv4.iter().any(|v4| v4.prefix_len() == 0)
                    || ipv6.iter().any(|v6| v6.prefix_len() == 0)
            }
        }
    }
}

/// Reads a network, or one address.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that began with the text.
pub fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| "is neither a network nor an address")?,
    };
    if network.trunc() != network {
        return Err(
            "is an address within a network: the bits behind its prefix length are not zero",
        );
    }
    if network.prefix_len() == 0 {
        return Err("is everybody");
    }
    match network {
        IpNet::V6(v6) if v6.network().to_ipv4_mapped().is_some() => {
            Err("is an IPv4 address written as IPv6, which no packet carries")
        }
        _ => Ok(network),
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst_packets: u32,
}

/// An interface name, or the beginning of one followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface(String);

impl Interface {
    /// # Errors
    /// What is wrong with the name, as the end of a sentence that began with the name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        if stem.is_empty() {
            return Err("would make every interface internal or names none");
        }
        // The kernel would allow it in a name, but a rule for one that was copied from `ip link` matches no packet.
        if text.contains('@') {
            return Err("is a name with its peer or parent, as `ip link` shows them");
        }
        // nft counts the star as well: it refuses a pattern of 16 bytes.
        if text.len() > INTERFACE_NAME_MAX_BYTES {
            return Err("is longer than the 15 bytes of an interface name");
        }
        // Narrower than the kernel's rule on purpose: none of these needs escaping inside nft's quotes.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !stem.chars().all(plain) {
            return Err(
                "has a character that is not a letter, a digit or one of . _ - (a `*` may only be last)",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl Interface {
    /// Whether an interface of this name is meant.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.stem()
            .map_or(self.0 == name, |stem| name.starts_with(stem))
    }

    /// Whether some interface is meant by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.stem(), other.stem()) {
            (Some(one), Some(two)) => one.starts_with(two) || two.starts_with(one),
            (_, None) => self.covers(&other.0),
            (None, _) => other.covers(&self.0),
        }
    }

    /// What stands before the `*`.
    fn stem(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads an address that one machine can have and be reached by.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that began with the text.
pub fn parse_address(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| "is not an IPv4 or IPv6 address")?;
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast {
        return Err("is not an address at which another machine reaches this one");
    }
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err("is an IPv4 address written as IPv6, which no packet carries")
        }
        _ => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_star_is_refused_because_it_would_open_everything() {
        assert!(Interface::parse("*").is_err());
        assert!(Interface::parse("").is_err());
    }

    #[test]
    fn a_name_cannot_break_out_of_its_quotes() {
        for bad in ["eth0\" accept", "eth 0", "e*th", "eth0\n", "br-**", "eth/0"] {
            assert!(Interface::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_not_taken_together_with_its_peer() {
        for bad in ["veth1@veth2", "eth0@if3", "@", "eth0@*"] {
            assert!(Interface::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_or_pattern_of_fifteen_bytes_is_the_longest() {
        assert!(Interface::parse("abcdefghijklmno").is_ok());
        assert!(Interface::parse("abcdefghijklmn*").is_ok());
        assert!(Interface::parse("abcdefghijklmnop").is_err());
        assert!(Interface::parse("abcdefghijklmno*").is_err());
    }

    #[test]
    fn two_patterns_overlap_when_one_interface_can_be_meant_by_both() {
        let overlap = |one: &str, two: &str| {
            let [one, two] = [one, two].map(|text| Interface::parse(text).unwrap());
            assert_eq!(one.overlaps(&two), two.overlaps(&one), "{one} {two}");
            one.overlaps(&two)
        };
        assert!(overlap("eth0", "eth0"));
        assert!(overlap("br-*", "br-store"));
        assert!(overlap("br-*", "b*"));
        assert!(!overlap("br-*", "bridge0"));
        assert!(!overlap("eth0", "eth1"));
        assert!(!overlap("br-a*", "br-b*"));
    }

    #[test]
    fn an_address_nobody_can_dial_is_refused() {
        for bad in [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:10.0.0.1",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
        assert!(parse_address("198.18.2.2").is_ok());
        assert!(parse_address("fd00:18:2::2").is_ok());
    }
}
