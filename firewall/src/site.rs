//! The policy file: TOML to [`Policy`], with every fault named by line, key and remedy. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toml::Spanned;

mod tables;

use self::tables::{BalancerTable, NetworkTable, ServiceTable, Site, Web};
use crate::error::{Fault, Faults};
use crate::policy::{
    Balancer, Interface, Network, Policy, Rate, Reach, Service, ServiceName, Sources, Topology,
    parse_address, parse_network,
};

/// More is a typing error: the limit exists to keep floods away.
const RATE_MAX_PER_SECOND: u32 = 100_000;
/// More is no limit.
const LIMIT_MAX: u32 = 1_000_000;
/// A thousand lines per second are a log nobody reads and a disk that fills.
const LOG_RATE_MAX_PER_SECOND: u32 = 1_000;

const REMEDY_EMPTY: &str = "begin with `topology = \"host\"`, or copy config/firewall.toml";
const REMEDY_TOPOLOGY: &str = "write \"host\", \"container-host\" or \"gateway\"";
const REMEDY_CLOSED: &str = "remove one of the two";
const REMEDY_NO_PORT: &str = "write the TCP port of the service";
const REMEDY_SERVICE_NAME: &str = "use letters, digits, - and _";
const REMEDY_HOST: &str = "remove it, or choose the topology of a machine that passes something on";
const REMEDY_BEHIND: &str = "write the balancer's `addresses`, or where to redirect visitors: \
                             `forward_to = [\"198.18.2.2\"]`";
const REMEDY_FORWARD: &str =
    "write one address of the balancer for each family, as [\"198.18.2.2\"]";
const REMEDY_ITSELF: &str = "remove it here, or write this machine's own addresses as `addresses`";
const REMEDY_NO_GATEWAY: &str = "remove it, or choose `topology = \"gateway\"`";
const REMEDY_NO_INTERFACE: &str = "write which interfaces lead there, as [\"eth2\"]";
const REMEDY_OTHER_NAME: &str = "give the network another name";
const REMEDY_OVERLAP: &str = "let each interface lead to one network";
const REMEDY_REACH: &str =
    "write \"everything\", the name of another network, or an address or network of them";
const REMEDY_INTERFACE: &str = "write a name as `ip link` shows it, or its beginning and a `*`";
const REMEDY_PEER: &str = "write only what stands before the @";
const REMEDY_ADDRESS: &str = "write one address of the balancer without prefix length or port, \
                              as \"198.18.2.2\" or \"fd00::2\"";

const REMEDY_SOURCE: &str = "write who may connect, as [\"192.0.2.0/24\", \"2001:db8::7\"]";
const REMEDY_SAME_PORT: &str = "give each service a port of its own";

/// Reads a policy file.
///
/// # Errors
/// All faults of its values at once; of a file whose shape is wrong, the first.
pub fn parse(text: &str) -> Result<Policy, Faults> {
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Err(Faults(vec![Fault {
            line: 1,
            key: String::new(),
            problem: "the file says nothing".to_owned(),
            remedy: REMEDY_EMPTY.to_owned(),
        }]));
    }
    let site: Site =
        toml::from_str(text).map_err(|error| Faults(vec![shape_fault(text, &error)]))?;
    Reader {
        text,
        faults: Vec::new(),
    }
    .policy(&site)
}

/// Collects faults while it reads values, so that one run names them all.
struct Reader<'a> {
    text: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn policy(mut self, site: &Site) -> Result<Policy, Faults> {
        let topology = self.topology(site);
        let networks = self.networks(&topology, &site.networks);
        let balancer = self.balancer(&site.balancer.addresses);
        let web_port = self.web_port(site.web.as_ref());
        let services = self.services(site, web_port);
        let limit = |this: &mut Self, key: &str, value, default| {
            this.number(&format!("limits.{key}"), value, default, 1..=LIMIT_MAX)
        };
        let limits = &site.limits;
        let openings = Rate {
            per_second: limit(
                &mut self,
                "openings_per_second",
                limits.openings_per_second.as_ref(),
                2_000,
            ),
            burst_packets: limit(
                &mut self,
                "openings_burst",
                limits.openings_burst.as_ref(),
                4_000,
            ),
        };
        let connections = limit(&mut self, "connections", limits.connections.as_ref(), 2_000);
        let ping = Rate {
            per_second: self.number(
                "ping.rate_per_second",
                site.ping.rate_per_second.as_ref(),
                20,
                1..=RATE_MAX_PER_SECOND,
            ),
            burst_packets: self.number(
                "ping.burst_packets",
                site.ping.burst_packets.as_ref(),
                40,
                1..=RATE_MAX_PER_SECOND,
            ),
        };
        let logged = self.number(
            "drop_log.rate_per_second",
            site.drop_log.rate_per_second.as_ref(),
            5,
            0..=LOG_RATE_MAX_PER_SECOND,
        );
        if !self.faults.is_empty() {
            self.faults.sort_by_key(|fault| fault.line);
            return Err(Faults(self.faults));
        }
        Ok(Policy {
            topology,
            networks,
            balancer,
            web_port,
            services,
            openings,
            connections,
            ping,
            drop_log: (logged > 0).then_some(Rate {
                per_second: logged,
                burst_packets: logged,
            }),
        })
    }

    fn topology(&mut self, site: &Site) -> Topology {
        let said = site.topology.as_ref();
        let topology = match said.map_or("container-host", |said| said.get_ref()) {
            "host" => Topology::Host,
            "container-host" => Topology::ContainerHost,
            "gateway" => Topology::Gateway {
                forward_to: self.forward_to(&site.balancer),
            },
            other => {
                let problem = format!("{other:?} is no kind of machine");
                let said = said.expect("the default is one");
                self.fault("topology", said, problem, REMEDY_TOPOLOGY);
                return Topology::Host;
            }
        };
        if !matches!(topology, Topology::Gateway { .. })
            && let Some(first) = site.balancer.forward_to.first()
        {
            let problem = "is of a gateway".to_owned();
            self.fault("balancer.forward_to", first, problem, REMEDY_NO_GATEWAY);
        }
        let has_balancer = site
            .web
            .as_ref()
            .is_none_or(|web| web.get_ref().open != Some(false));
        if !topology.is_dialled_here()
            && site.balancer.addresses.is_empty()
            && (has_balancer || site.https.is_some())
            && let Some(said) = said
        {
            let problem = "does not know where the balancer is".to_owned();
            self.fault("topology", said, problem, REMEDY_BEHIND);
        }
        topology
    }

    fn forward_to(&mut self, balancer: &BalancerTable) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        const KEY: &str = "balancer.forward_to";
        let (mut ipv4, mut ipv6) = (None, None);
        let dialled = balancer.addresses.iter();
        let dialled: Vec<_> = dialled
            .filter_map(|address| parse_address(address.get_ref()).ok())
            .collect();
        for address in &balancer.forward_to {
            let itself = parse_address(address.get_ref());
            if itself.is_ok_and(|address| dialled.contains(&address)) {
                let problem = format!("{:?} is what visitors dial already", address.get_ref());
                self.fault(KEY, address, problem, REMEDY_ITSELF);
            }
            let twice = match parse_address(address.get_ref()) {
                Ok(IpAddr::V4(v4)) => ipv4.replace(v4).is_some(),
                Ok(IpAddr::V6(v6)) => ipv6.replace(v6).is_some(),
                Err(problem) => {
                    let problem = format!("{:?} {problem}", address.get_ref());
                    self.fault(KEY, address, problem, REMEDY_FORWARD);
                    false
                }
            };
            if twice {
                let problem = "has two addresses of one family".to_owned();
                self.fault(KEY, address, problem, REMEDY_FORWARD);
            }
        }
        (ipv4, ipv6)
    }

    fn networks(
        &mut self,
        topology: &Topology,
        tables: &BTreeMap<String, Spanned<NetworkTable>>,
    ) -> Vec<Network> {
        if let Some(table) = tables
            .values()
            .next()
            .filter(|_| *topology == Topology::Host)
        {
            let problem = "a host passes nothing on".to_owned();
            self.fault("networks", table, problem, REMEDY_HOST);
        }
        let mut networks: Vec<Network> = Vec::new();
        for (name, table) in tables {
            if name == "everything" {
                let problem = "is a word that `reach` knows".to_owned();
                self.fault("networks.everything", table, problem, REMEDY_OTHER_NAME);
            }
            let key = format!("networks.{name}.interfaces");
            let interfaces = self.interfaces(&key, &table.get_ref().interfaces);
            if table.get_ref().interfaces.is_empty() {
                self.fault(&key, table, "names none".to_owned(), REMEDY_NO_INTERFACE);
            }
            for other in &networks {
                let mut pairs = (other.interfaces.iter())
                    .flat_map(|one| interfaces.iter().map(move |two| (one, two)));
                if let Some((one, two)) = pairs.find(|(one, two)| one.overlaps(two)) {
                    let other = &other.name;
                    let problem =
                        format!("{two} is among {one} of networks.{other}, or the other way round");
                    self.fault(&key, table, problem, REMEDY_OVERLAP);
                }
            }
            networks.push(Network {
                name: name.clone(),
                interfaces,
                reach: Reach::default(),
            });
        }
        for index in 0..networks.len() {
            let table = &tables[&networks[index].name];
            networks[index].reach = self.reach(index, &networks, &table.get_ref().reach);
        }
        networks
    }

    /// Where the hosts of the network `of` may go.
    fn reach(&mut self, of: usize, networks: &[Network], entries: &[Spanned<String>]) -> Reach {
        let mut reach = Reach::default();
        let mut addresses = Vec::new();
        for entry in entries {
            let text = entry.get_ref();
            if text == "everything" {
                reach.everything = true;
            } else if let Some(other) = networks.iter().find(|other| other.name == *text) {
                reach.interfaces.extend(other.interfaces.iter().cloned());
            } else {
                match parse_network(text) {
                    Ok(network) => addresses.push(network),
                    Err(problem) => {
                        let key = format!("networks.{}.reach", networks[of].name);
                        let problem = format!("{text:?} {problem}, and no network has that name");
                        self.fault(&key, entry, problem, REMEDY_REACH);
                    }
                }
            }
        }
        if let Sources::Networks { ipv4, ipv6 } = Sources::of(&addresses) {
            (reach.ipv4, reach.ipv6) = (ipv4, ipv6);
        }
        reach
    }

    fn web_port(&mut self, web: Option<&Spanned<Web>>) -> Option<u16> {
        let port = web.and_then(|web| web.get_ref().port.as_ref());
        let closed = web.is_some_and(|web| web.get_ref().open == Some(false));
        if let Some(port) = port.filter(|_| closed) {
            let problem = "is closed and has a port".to_owned();
            self.fault("web.port", port, problem, REMEDY_CLOSED);
        }
        (!closed).then(|| self.port("web.port", port, 80))
    }

    fn port(&mut self, key: &str, port: Option<&Spanned<i64>>, default: u16) -> u16 {
        let port = self.number(key, port, default.into(), 1..=65_535);
        u16::try_from(port).expect("it is in the range, or the default")
    }

    fn services(&mut self, site: &Site, web_port: Option<u16>) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        let known = [
            (ServiceName::Https, "https", 443, &site.https),
            (ServiceName::Ssh, "ssh", 22, &site.ssh),
            (
                ServiceName::Monitoring,
                "monitoring",
                9100,
                &site.monitoring,
            ),
        ];
        let known = known.into_iter().filter_map(|(name, key, default, table)| {
            Some((name, key.to_owned(), Some(default), table.as_ref()?))
        });
        let own = site.services.iter().map(|(name, table)| {
            let key = format!("services.{name}");
            (ServiceName::Own(name.clone()), key, None, table)
        });
        for (name, key, default, table) in known.chain(own) {
            if let ServiceName::Own(name) = &name
                && !name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            {
                let problem = "is no plain name".to_owned();
                self.fault(&key, table, problem, REMEDY_SERVICE_NAME);
            }
            if default.is_none() && table.get_ref().port.is_none() {
                let problem = "is missing".to_owned();
                self.fault(&format!("{key}.port"), table, problem, REMEDY_NO_PORT);
            }
            let service = self.service(name, &key, default.unwrap_or(0), table);
            let mut taken = services.iter().map(|other| other.port).chain(web_port);
            if service.port != 0 && taken.any(|port| port == service.port) {
                let problem = format!("port {} is open for something else", service.port);
                self.fault(&key, table, problem, REMEDY_SAME_PORT);
            }
            services.push(service);
        }
        services
    }

    fn service(
        &mut self,
        name: ServiceName,
        key: &str,
        default: u16,
        table: &Spanned<ServiceTable>,
    ) -> Service {
        let port = self.port(
            &format!("{key}.port"),
            table.get_ref().port.as_ref(),
            default,
        );
        let key = format!("{key}.sources");
        let mut networks = Vec::new();
        let sources = table.get_ref().sources.as_deref();
        for source in sources.unwrap_or_default() {
            match parse_network(source.get_ref()) {
                Ok(network) => networks.push(network),
                Err(problem) => {
                    let problem = format!("{:?} {problem}", source.get_ref());
                    self.fault(&key, source, problem, REMEDY_SOURCE);
                }
            }
        }
        // An empty list opens nothing to anybody, and is not what somebody means who writes it.
        let nobody = sources.map_or(name != ServiceName::Https, <[_]>::is_empty);
        if nobody {
            self.fault(&key, table, "names nobody".to_owned(), REMEDY_SOURCE);
        }
        let networks = Sources::of(&networks);
        if networks.has_everybody() {
            let problem = "together are everybody".to_owned();
            self.fault(&key, table, problem, REMEDY_SOURCE);
        }
        Service {
            name,
            port,
            sources: if sources.is_none() {
                Sources::Anybody
            } else {
                networks
            },
        }
    }

    fn interfaces(&mut self, key: &str, names: &[Spanned<String>]) -> BTreeSet<Interface> {
        let mut internal = BTreeSet::new();
        for name in names {
            match Interface::parse(name.get_ref()) {
                Ok(interface) => {
                    internal.insert(interface);
                }
                Err(problem) => self.fault(
                    key,
                    name,
                    format!("{:?} {problem}", name.get_ref()),
                    if name.get_ref().contains('@') {
                        REMEDY_PEER
                    } else {
                        REMEDY_INTERFACE
                    },
                ),
            }
        }
        internal
    }

    fn balancer(&mut self, addresses: &[Spanned<String>]) -> Balancer {
        let (mut ipv4, mut ipv6) = (BTreeSet::new(), BTreeSet::new());
        for address in addresses {
            match parse_address(address.get_ref()) {
                Ok(IpAddr::V4(v4)) => {
                    ipv4.insert(v4);
                }
                Ok(IpAddr::V6(v6)) => {
                    ipv6.insert(v6);
                }
                Err(problem) => self.fault(
                    "balancer.addresses",
                    address,
                    format!("{:?} {problem}", address.get_ref()),
                    REMEDY_ADDRESS,
                ),
            }
        }
        if addresses.is_empty() {
            Balancer::AnyLocalAddress
        } else {
            Balancer::Addresses { ipv4, ipv6 }
        }
    }

    fn number(
        &mut self,
        key: &str,
        value: Option<&Spanned<i64>>,
        default: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> u32 {
        let Some(value) = value else { return default };
        let fits = u32::try_from(*value.get_ref())
            .ok()
            .filter(|number| range.contains(number));
        fits.unwrap_or_else(|| {
            let (low, high) = (range.start(), range.end());
            self.fault(
                key,
                value,
                format!("{} is out of range", value.get_ref()),
                &format!("write a number from {low} to {high}"),
            );
            default
        })
    }

    fn fault<T>(&mut self, key: &str, at: &Spanned<T>, problem: String, remedy: &str) {
        self.faults.push(Fault {
            line: line_of(self.text, at.span().start),
            key: key.to_owned(),
            problem,
            remedy: remedy.to_owned(),
        });
    }
}

/// A fault that the TOML reader found: broken syntax, an unknown or missing key, a value of the wrong kind.
fn shape_fault(text: &str, error: &toml::de::Error) -> Fault {
    let start = error.span().map_or(0, |span| span.start);
    let message = error.message();
    let remedy = if message.starts_with("unknown field") {
        "correct its spelling or remove it"
    } else if message.starts_with("invalid type") {
        "write the kind of value that config/firewall.toml shows"
    } else {
        "correct the TOML syntax of this line"
    };
    Fault {
        line: line_of(text, start),
        key: key_at(text, start),
        problem: message
            .replace("field", "key")
            .replace("expected i64", "expected a whole number"),
        remedy: remedy.to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// The dotted key in whose definition `offset` lies. The TOML reader keeps it to itself, so it is read off the
/// lines above: the last table header, and the last `key =` since.
fn key_at(text: &str, offset: usize) -> String {
    let (mut table, mut key) = ("", "");
    for line in text.lines().take(line_of(text, offset)).map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            (table, key) = (header.0.trim(), "");
        } else if let Some((name, _)) = line.split_once('=')
            && !line.starts_with('#')
        {
            key = name.trim();
        }
    }
    let parts = [table, key].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(".")
}
