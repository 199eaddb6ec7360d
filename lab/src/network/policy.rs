//! What each host's firewall lets in: policies for `quiz-firewall`. Pure.

use std::fmt::Write as _;

use super::topology::{
    Host, Lan, Leg, PEER_PORT, POSTGRES_PORT, QUIZ_PORT, Role, S3_PORT, Topology, WEB_PORT,
};

/// Front-ends in LAN 4, those that may yet come included: numbers 11 to 19 and few others. Inside, services listen on IPv4
/// alone, so nothing is open over IPv6.
const FRONT_ENDS: &str = "\"198.18.4.8/29\", \"198.18.4.16/30\"";

/// The policy of a host, as text of a policy file.
pub fn of(host: &Host, topology: &Topology) -> String {
    match host.role {
        Role::Firewall => format!(
            "# Between visitors (eth1, outside) and balancer (eth2).\n\
             topology = \"gateway\"\n\
             [networks.balancer]\n\
             interfaces = [\"eth2\"]\n\
             reach = []\n\
             [balancer]\n\
             addresses = [{}]\n\
             [web]\n\
             port = {WEB_PORT}\n",
            both(&topology.of(Role::Balancer), Lan(2)),
        ),
        Role::Balancer => format!(
            "topology = \"host\"\n\
             [balancer]\n\
             addresses = [{}]\n\
             [web]\n\
             port = {WEB_PORT}\n",
            both(std::slice::from_ref(host), Lan(2)),
        ),
        Role::Client => closed(&[]),
        Role::FrontEnd => {
            let balancer = v4(&topology.of(Role::Balancer), Lan(3));
            closed(&[("quiz", QUIZ_PORT, &balancer)])
        }
        Role::Storage => {
            let peers = v4(&topology.of(Role::Storage), Lan(4));
            closed(&[("s3", S3_PORT, FRONT_ENDS), ("peer", PEER_PORT, &peers)])
        }
        Role::Database => closed(&[("postgres", POSTGRES_PORT, FRONT_ENDS)]),
    }
}

/// A host without a balancer, with these services for these senders.
fn closed(services: &[(&str, u16, &str)]) -> String {
    let mut text = "topology = \"host\"\n[web]\nopen = false\n".to_owned();
    for (name, port, sources) in services {
        let written = write!(
            text,
            "[services.{name}]\nport = {port}\nsources = [{sources}]\n"
        );
        written.expect("a String takes all that is written to it");
    }
    text
}

/// The hosts' addresses of both families, in quotes.
fn both(hosts: &[Host], lan: Lan) -> String {
    let of = |leg: &Leg| vec![leg.v4().to_string(), leg.v6().to_string()];
    quoted(hosts, lan, of)
}

/// Those of IPv4.
fn v4(hosts: &[Host], lan: Lan) -> String {
    quoted(hosts, lan, |leg| vec![leg.v4().to_string()])
}

fn quoted(hosts: &[Host], lan: Lan, addresses: impl Fn(&Leg) -> Vec<String>) -> String {
    let legs = hosts.iter().flat_map(|host| &host.legs);
    let addresses = legs.filter(|leg| leg.lan == lan).flat_map(addresses);
    let quoted = addresses.map(|address| format!("\"{address}\""));
    quoted.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_front_ends_has_all_of_them_and_nobody_else() {
        let ranges: Vec<ipnet::Ipv4Net> = FRONT_ENDS
            .split(", ")
            .map(|range| range.trim_matches('"').parse().unwrap())
            .collect();
        for host in Topology::new(super::super::topology::MAX_SERVERS).hosts() {
            for leg in host.legs.iter().filter(|leg| leg.lan == Lan(4)) {
                let inside = ranges.iter().any(|range| range.contains(&leg.v4()));
                assert_eq!(inside, host.role == Role::FrontEnd, "{}", host.name);
            }
        }
    }

    #[test]
    fn a_storage_node_knows_front_ends_and_its_like() {
        let topology = Topology::new(3);
        let policy = of(&topology.host("nas2").unwrap(), &topology);
        assert_eq!(
            policy,
            "topology = \"host\"\n[web]\nopen = false\n\
             [services.s3]\nport = 9000\nsources = [\"198.18.4.8/29\", \"198.18.4.16/30\"]\n\
             [services.peer]\nport = 9100\nsources = [\"198.18.4.21\", \"198.18.4.22\", \"198.18.4.23\"]\n"
        );
    }
}
