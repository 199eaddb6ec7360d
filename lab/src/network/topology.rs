//! The hosts of the scenario, the LANs between them and their addresses. Pure.
//!
//! Addresses are of 198.18.0.0/15, which RFC 2544 keeps for benchmarks: no router of the world passes them on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::stack::STORAGE_NODES;

/// The four networks: clients, between firewall and balancer, front-ends, data.
pub const LANS: [Lan; 4] = [Lan(1), Lan(2), Lan(3), Lan(4)];
/// The most front-ends: what the other hosts let in is a range of addresses.
pub const MAX_SERVERS: u8 = 9;

/// Where visitors connect to the balancer.
pub const WEB_PORT: u16 = 80;
/// Where the balancer connects to a front-end.
pub const QUIZ_PORT: u16 = 3000;
/// Where front-ends connect to a storage node.
pub const S3_PORT: u16 = 9000;
/// Where storage nodes connect to one another.
pub const PEER_PORT: u16 = 9100;
/// Where front-ends connect to the database.
pub const POSTGRES_PORT: u16 = 5432;

/// One of [`LANS`], by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lan(pub u8);

impl Lan {
    /// Its IPv4 network, of 24 bits.
    pub fn v4(self) -> String {
        format!("198.18.{}.0/24", self.0)
    }

    /// Its IPv6 network, of 64 bits.
    pub fn v6(self) -> String {
        format!("fd00:18:{}::/64", self.0)
    }
}

/// What a host is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A visitor's machine.
    Client,
    /// Between visitors and balancer.
    Firewall,
    /// `quiz-lb`.
    Balancer,
    /// `quiz-web`.
    FrontEnd,
    /// `quiz-storage`.
    Storage,
    /// PostgreSQL.
    Database,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `c1`, `fw`, `s2`.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// Its interfaces `eth1`, `eth2`, in this order.
    pub legs: Vec<Leg>,
}

/// An interface of a host in a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The LAN.
    pub lan: Lan,
    /// The host's number in it, the end of both addresses.
    pub number: u8,
}

impl Leg {
    /// 198.18.LAN.NUMBER.
    pub fn v4(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.lan.0, self.number)
    }

    /// `fd00:18:LAN::NUMBER`, with the digits of the number.
    pub fn v6(self) -> Ipv6Addr {
        let text = format!("fd00:18:{}::{}", self.lan.0, self.number);
        text.parse().expect("digits are hexadecimal digits")
    }
}

impl Host {
    fn new(name: &str, role: Role, legs: &[(u8, u8)]) -> Self {
        Self {
            name: name.to_owned(),
            role,
            legs: legs
                .iter()
                .map(|&(lan, number)| Leg {
                    lan: Lan(lan),
                    number,
                })
                .collect(),
        }
    }

    /// Where it serves in this LAN, over IPv4.
    pub fn at(&self, lan: Lan, port: u16) -> SocketAddr {
        let leg = self.legs.iter().find(|leg| leg.lan == lan);
        (leg.expect("asked for a LAN that the host is in").v4(), port).into()
    }
}

/// Which hosts there are, and what is special about them: what a lab remembers of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    servers: Vec<u8>,
    #[serde(default)]
    quiz_settings: Vec<(String, String)>,
}

impl Topology {
    /// With front-ends `s1` to `sN`, of which there may be [`MAX_SERVERS`].
    pub fn new(servers: u8) -> Self {
        Self {
            servers: (1..=servers).collect(),
            quiz_settings: Vec::new(),
        }
    }

    /// How many front-ends there are.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// With more settings of the front-ends, as environment variables.
    #[must_use]
    pub fn with_quiz_settings(mut self, settings: Vec<(String, String)>) -> Self {
        self.quiz_settings = settings;
        self
    }

    /// These settings.
    pub fn quiz_settings(&self) -> &[(String, String)] {
        &self.quiz_settings
    }

    /// All hosts, from the visitors to the data.
    pub fn hosts(&self) -> Vec<Host> {
        let mut hosts = vec![
            Host::new("c1", Role::Client, &[(1, 11)]),
            Host::new("c2", Role::Client, &[(1, 12)]),
            Host::new("fw", Role::Firewall, &[(1, 1), (2, 1)]),
            Host::new("lb", Role::Balancer, &[(2, 2), (3, 1)]),
        ];
        let servers = self.servers.iter();
        hosts.extend(servers.map(|n| {
            let legs = [(3, 10 + n), (4, 10 + n)];
            Host::new(&format!("s{n}"), Role::FrontEnd, &legs)
        }));
        hosts.extend(
            (1..=STORAGE_NODES as u8)
                .map(|n| Host::new(&format!("nas{n}"), Role::Storage, &[(4, 20 + n)])),
        );
        hosts.push(Host::new("db", Role::Database, &[(4, 31)]));
        hosts
    }

    /// The host of this name.
    ///
    /// # Errors
    /// There is none; the error names those that are there.
    pub fn host(&self, name: &str) -> anyhow::Result<Host> {
        let hosts = self.hosts();
        if let Some(host) = hosts.iter().find(|host| host.name == name) {
            return Ok(host.clone());
        }
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        bail!("there is no host {name}, but {}", names.join(", "))
    }

    /// Those of one role.
    pub fn of(&self, role: Role) -> Vec<Host> {
        let mut hosts = self.hosts();
        hosts.retain(|host| host.role == role);
        hosts
    }

    /// The front-end of this name.
    ///
    /// # Errors
    /// The name is not of a front-end, or there is none.
    pub fn front_end(&self, name: &str) -> anyhow::Result<Host> {
        server(name)?;
        self.host(name)
    }

    /// One more front-end.
    ///
    /// # Errors
    /// The name is not of a front-end, or is taken.
    pub fn add(&mut self, name: &str) -> anyhow::Result<()> {
        let number = server(name)?;
        if self.servers.contains(&number) {
            bail!("{name} is there already");
        }
        self.servers.push(number);
        self.servers.sort_unstable();
        Ok(())
    }

    /// One front-end less.
    ///
    /// # Errors
    /// The name is not of a front-end, is not there, or is the last one.
    pub fn remove(&mut self, name: &str) -> anyhow::Result<()> {
        let number = server(name)?;
        self.host(name)?;
        if self.servers.len() == 1 {
            bail!("{name} is the last front-end: add another one first");
        }
        self.servers.retain(|other| *other != number);
        Ok(())
    }
}

fn server(name: &str) -> anyhow::Result<u8> {
    match (1..=MAX_SERVERS).find(|number| name == format!("s{number}")) {
        Some(number) => Ok(number),
        None => bail!("only front-ends come and go: give a name from s1 to s{MAX_SERVERS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_those_of_the_scenario() {
        let topology = Topology::new(3);
        let at =
            |name: &str, lan: u8, port| topology.host(name).unwrap().at(Lan(lan), port).to_string();
        assert_eq!(at("lb", 2, 80), "198.18.2.2:80");
        assert_eq!(at("s3", 3, 3000), "198.18.3.13:3000");
        assert_eq!(at("nas1", 4, 9000), "198.18.4.21:9000");
        assert_eq!(at("db", 4, 5432), "198.18.4.31:5432");
        let legs = topology.host("fw").unwrap().legs;
        assert_eq!(legs[0].v6().to_string(), "fd00:18:1::1");
        assert_eq!(topology.hosts().len(), 4 + 3 + 3 + 1);
    }

    #[test]
    fn no_two_legs_share_an_address() {
        let hosts = Topology::new(MAX_SERVERS).hosts();
        let mut all: Vec<Ipv4Addr> = hosts
            .iter()
            .flat_map(|host| &host.legs)
            .map(|leg| leg.v4())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn only_front_ends_come_and_go_and_one_stays() {
        let mut topology = Topology::new(1);
        topology.add("s4").unwrap();
        assert!(topology.add("s4").is_err());
        for name in ["s0", "s10", "nas4", "s", "db", "s-1", "s04", "s+4"] {
            let message = topology.add(name).unwrap_err().to_string();
            assert!(message.contains("s1 to s9"), "{name}: {message}");
        }
        assert!(
            topology
                .remove("s2")
                .unwrap_err()
                .to_string()
                .contains("s1, s4")
        );
        topology.remove("s1").unwrap();
        assert!(
            topology
                .remove("s4")
                .unwrap_err()
                .to_string()
                .contains("last")
        );
    }
}
