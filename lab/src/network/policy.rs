//! What each host's firewall lets in: policies for `quiz-firewall`. Pure.

use std::fmt::Write as _;

use super::topology::{
    Host, Lan, PEER_PORT, POSTGRES_PORT, QUIZ_PORT, Role, S3_PORT, Topology, WEB_PORT,
};

/// Front-ends in LAN 4, those that may yet come included: numbers 11 to 19 and few others.
const FRONT_ENDS: &str = "\"198.18.4.8/29\", \"198.18.4.16/30\", \"fd00:18:4::10/124\"";

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
            addresses(&topology.of(Role::Balancer), Lan(2)),
        ),
        Role::Balancer => format!(
            "topology = \"host\"\n\
             [balancer]\n\
             addresses = [{}]\n\
             [web]\n\
             port = {WEB_PORT}\n",
            addresses(std::slice::from_ref(host), Lan(2)),
        ),
        Role::Client => closed(&[]),
        Role::FrontEnd => {
            let balancer = addresses(&topology.of(Role::Balancer), Lan(3));
            closed(&[("quiz", QUIZ_PORT, &balancer)])
        }
        Role::Storage => {
            let peers = addresses(&topology.of(Role::Storage), Lan(4));
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

/// Of both families, in quotes.
fn addresses(hosts: &[Host], lan: Lan) -> String {
    let legs = hosts.iter().flat_map(|host| &host.legs);
    let legs = legs.filter(|leg| leg.lan == lan);
    let both = legs.flat_map(|leg| [format!("\"{}\"", leg.v4()), format!("\"{}\"", leg.v6())]);
    both.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_node_knows_front_ends_and_its_like() {
        let topology = Topology::new(3);
        let policy = of(&topology.host("nas2").unwrap(), &topology);
        assert_eq!(
            policy,
            "topology = \"host\"\n[web]\nopen = false\n\
             [services.s3]\nport = 9000\nsources = [\"198.18.4.8/29\", \"198.18.4.16/30\", \"fd00:18:4::10/124\"]\n\
             [services.peer]\nport = 9100\nsources = [\"198.18.4.21\", \"fd00:18:4::21\", \"198.18.4.22\", \
             \"fd00:18:4::22\", \"198.18.4.23\", \"fd00:18:4::23\"]\n"
        );
    }
}
