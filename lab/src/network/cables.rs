//! Namespaces, switches and cables of a lab, by `ip` (iproute2), which only this module runs.
//!
//! Each host is a network namespace. The switches are bridges without addresses in one more, so that neither they nor
//! the cables are in the namespace of this machine, and there is no route from a lab to anywhere else.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

use super::topology::{Host, LANS, Lan, Leg, Role};

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// The namespaces of one lab.
#[derive(Debug, Clone)]
pub struct Cables {
    prefix: String,
}

impl Cables {
    /// Those of the lab `name`, which has no `-` in it, so that no other lab's names begin like this one's.
    pub fn of(name: &str) -> Self {
        Self {
            prefix: format!("quizlab-{name}-"),
        }
    }

    /// The name of a host's namespace.
    pub fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    fn switches(&self) -> String {
        self.namespace("lans")
    }

    /// The file that stands for it.
    pub fn file(&self, host: &str) -> PathBuf {
        Path::new(NAMES).join(self.namespace(host))
    }

    /// Whether the host has a namespace.
    pub fn exist(&self, host: &str) -> bool {
        self.file(host).exists()
    }

    /// The switches; those that are there stay.
    ///
    /// # Errors
    /// `ip` fails, as without root.
    pub fn make_switches(&self) -> anyhow::Result<()> {
        let space = self.switches();
        if !self.exist("lans") {
            ip(&format!("netns add {space}"))?;
        }
        // A switch has no address of its own.
        sysctl(
            &space,
            &[
                ("ipv6/conf/all/disable_ipv6", 1),
                ("ipv6/conf/default/disable_ipv6", 1),
            ],
        )?;
        for lan in LANS {
            let bridge = bridge(lan);
            if ip(&format!("-n {space} link show {bridge}")).is_err() {
                ip(&format!(
                    "-n {space} link add {bridge} type bridge mcast_snooping 0"
                ))?;
            }
            ip(&format!("-n {space} link set {bridge} up"))?;
        }
        Ok(())
    }

    /// A host with its cables, addresses and routes, anew.
    ///
    /// # Errors
    /// As of [`Cables::make_switches`].
    pub fn make(&self, host: &Host) -> anyhow::Result<()> {
        self.unmake(&host.name)?;
        let space = self.namespace(&host.name);
        ip(&format!("netns add {space}"))?;
        ip(&format!("-n {space} link set lo up"))?;
        // A new namespace may begin with what this machine has: it forwards where a container engine runs.
        sysctl(
            &space,
            &[
                ("ipv4/ip_forward", 0),
                ("ipv6/conf/all/forwarding", 0),
                ("ipv6/conf/all/accept_ra", 0),
                ("ipv6/conf/default/accept_ra", 0),
                ("ipv4/tcp_syncookies", 1),
            ],
        )?;
        for (index, leg) in host.legs.iter().enumerate() {
            self.connect(host, &format!("eth{}", index + 1), *leg)?;
        }
        for (to, via) in routes(host.role) {
            ip(&format!("-n {space} route add {to} via {via}"))?;
        }
        Ok(())
    }

    /// One interface, its cable and its addresses.
    fn connect(&self, host: &Host, interface: &str, leg: Leg) -> anyhow::Result<()> {
        let (space, switches) = (self.namespace(&host.name), self.switches());
        let (port, bridge) = (port(&host.name, leg), bridge(leg.lan));
        // The same each time: neighbours remember it for half a minute, as they would that of a machine which starts again.
        let mac = format!("02:00:c6:12:{:02x}:{:02x}", leg.lan.0, leg.number);
        ip(&format!(
            "-n {space} link add {interface} address {mac} type veth peer {port} netns {switches}"
        ))?;
        ip(&format!("-n {switches} link set {port} master {bridge} up"))?;
        let (v4, v6) = (leg.v4(), leg.v6());
        ip(&format!("-n {space} address add {v4}/24 dev {interface}"))?;
        ip(&format!("-n {space} link set {interface} up"))?;
        ip(&format!(
            "-n {space} address add {v6}/64 dev {interface} nodad"
        ))?;
        Ok(())
    }

    /// Takes a host's namespace away, and its cables with it.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn unmake(&self, host: &str) -> anyhow::Result<()> {
        // At the switch first: the end in a namespace that is deleted goes later, and its name is taken until then.
        let begin = format!("{host}-");
        for (port, _) in self.ports()? {
            if port.starts_with(&begin) {
                ip(&format!("-n {} link delete {port}", self.switches()))?;
            }
        }
        if self.exist(host) {
            ip(&format!("netns delete {}", self.namespace(host)))?;
        }
        Ok(())
    }

    /// Names of all hosts that have a namespace, also of those that nobody remembers, and `lans`.
    pub fn all(&self) -> Vec<String> {
        let entries = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut ours: Vec<String> = names
            .filter_map(|name| name.strip_prefix(&self.prefix).map(str::to_owned))
            .collect();
        ours.sort();
        ours
    }

    /// The processes in a host's namespace.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn processes(&self, host: &str) -> anyhow::Result<Vec<i32>> {
        if !self.exist(host) {
            return Ok(Vec::new());
        }
        let said = ip(&format!("netns pids {}", self.namespace(host)))?;
        let words = String::from_utf8_lossy(&said.stdout).into_owned();
        Ok(words
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect())
    }

    /// Pulls or plugs a host's cable at the switch: the host keeps its addresses and routes, as with a real one.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn plug(&self, host: &Host, leg: Leg, plugged: bool) -> anyhow::Result<()> {
        let state = if plugged { "up" } else { "down" };
        let port = port(&host.name, leg);
        ip(&format!("-n {} link set {port} {state}", self.switches()))?;
        Ok(())
    }

    /// The switch's ends of the cables that are pulled, as `nas2-4`.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn pulled(&self) -> anyhow::Result<Vec<String>> {
        let ports = self.ports()?.into_iter();
        Ok(ports.filter(|(_, up)| !up).map(|(port, _)| port).collect())
    }

    /// The switch's ends of all cables, and whether each is plugged.
    fn ports(&self) -> anyhow::Result<Vec<(String, bool)>> {
        if !self.exist("lans") {
            return Ok(Vec::new());
        }
        let said = ip(&format!(
            "-n {} -brief link show type veth",
            self.switches()
        ))?;
        let words = String::from_utf8_lossy(&said.stdout).into_owned();
        let port = |line: &str| {
            let (name, rest) = line.split_once(['@', ' '])?;
            let state = rest
                .split_whitespace()
                .find(|word| ["UP", "DOWN", "LOWERLAYERDOWN"].contains(word));
            Some((name.to_owned(), state != Some("DOWN")))
        };
        Ok(words.lines().filter_map(port).collect())
    }

    /// `command` in a host's namespace.
    pub fn command(&self, host: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]);
        command
    }
}

/// The switch of a LAN.
fn bridge(lan: Lan) -> String {
    format!("lan{}", lan.0)
}

/// The end of a cable that is in the switch.
pub fn port(host: &str, leg: Leg) -> String {
    format!("{host}-{}", leg.lan.0)
}

/// The ways that are not direct. Visitors know one to all that is behind the firewall, and it knows one past the
/// balancer, which passes nothing on: so that it is rules that keep them out, and not the want of a route.
fn routes(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Client => &[
            ("198.18.0.0/16", "198.18.1.1"),
            ("fd00:18::/32", "fd00:18:1::1"),
        ],
        Role::Firewall => &[
            ("198.18.3.0/24", "198.18.2.2"),
            ("198.18.4.0/24", "198.18.2.2"),
            ("fd00:18:3::/64", "fd00:18:2::2"),
            ("fd00:18:4::/64", "fd00:18:2::2"),
        ],
        Role::Balancer => &[
            ("198.18.1.0/24", "198.18.2.1"),
            ("fd00:18:1::/64", "fd00:18:2::1"),
        ],
        Role::FrontEnd | Role::Storage | Role::Database => &[],
    }
}

/// Lets the host in whose namespace this runs pass packets on. For its supervisor, once it has its rules.
///
/// # Errors
/// The kernel does not let us.
pub(super) fn pass_on() -> anyhow::Result<()> {
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let path = format!("/proc/sys/net/{setting}");
        std::fs::write(&path, "1").with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

/// Kernel settings below `/proc/sys/net` of one namespace.
fn sysctl(space: &str, settings: &[(&str, u8)]) -> anyhow::Result<()> {
    let write = |(name, value): &(&str, u8)| format!("echo {value} >/proc/sys/net/{name}\n");
    let script: String = settings.iter().map(write).collect();
    run(Command::new("ip").args(["netns", "exec", space, "sh", "-ec", &script]))?;
    Ok(())
}

/// `ip` with these words.
fn ip(words: &str) -> anyhow::Result<Output> {
    run(Command::new("ip").args(words.split_whitespace()))
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip: `make setup-network` installs it (package iproute2)")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{command:?}: {}", words.trim());
    }
    Ok(output)
}
