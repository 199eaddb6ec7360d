//! M5: what answers whom, found out by nmap on the four networks.
//!
//! `QUIZ_LAB_SCAN=full` scans all 65,535 ports from everywhere and over both families; without it, from `c1` over IPv4, and
//! else the first thousand and those that something may listen on.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;

use common::scenario::Scenario;
use common::skip;
use quiz_lab::network::topology::{Host, Topology};

/// All ports that anything of ours or of a machine like these listens on, beside nmap's thousand.
const OURS: &str = "22,53,80,111,443,2049,3000,5432,8081,9000,9100,9200,9300,24007";
/// The foreign network: its host, and the leg of the firewall that nobody named.
const FOREIGN: [&str; 2] = ["198.18.9.9", "198.18.9.1"];

/// Somewhere in the last of the 65,535 ports.
const HIGH_PORT: u16 = 60_443;
/// How long a connection may not come about before it counts as kept out: an opening is sent twice meanwhile.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// By target, what answered: `80/tcp`, `echo`.
type Answers = BTreeMap<String, BTreeSet<String>>;

/// One kind of scan: its name in the table, and nmap's options.
struct Scan {
    name: &'static str,
    options: Vec<String>,
    /// nmap knows it for IPv6.
    v6: bool,
}

fn scans(all_ports: bool) -> Vec<Scan> {
    let scan = |name, options: &str, v6| Scan {
        name,
        options: options.split_whitespace().map(str::to_owned).collect(),
        v6,
    };
    let syn = if all_ports {
        "-sS -p- --min-rate 40000".to_owned()
    } else {
        format!("-sS --min-rate 5000 -p {OURS},1-1024")
    };
    let some = format!("--min-rate 5000 -p {OURS}");
    vec![
        scan("SYN", &syn, true),
        scan("UDP", "-sU --top-ports 100 --min-rate 3000", true),
        scan("ACK", &format!("-sA {some}"), true),
        scan("FIN", &format!("-sF {some}"), true),
        scan("NULL", &format!("-sN {some}"), true),
        scan("Xmas", &format!("-sX {some}"), true),
        scan("Maimon", &format!("-sM {some}"), true),
        scan("SYN from port 53", &format!("-sS -g 53 {some}"), true),
        scan("SYN in fragments", &format!("-sS -f {some}"), false),
        // Not TCP (6), which the scans above try: the balancer's own connections to s1 would count as its answer.
        scan("protocols", "-sO -p 0-5,7-255 --min-rate 3000", false),
    ]
}

/// The pings that nmap knows; each alone decides whether a host is up.
const PINGS: [(&str, &[&str], bool); 2] = [
    ("echo", &["-PE"], true),
    ("timestamp or mask", &["-PP", "-PM"], false),
];

#[test]
fn m5_ping_and_port_80_of_the_balancer_answer_and_nothing_else_does() {
    let name = "m5_ping_and_port_80_of_the_balancer_answer_and_nothing_else_does";
    if Command::new("nmap").arg("--version").output().is_err() {
        return skip(name, "nmap is not installed");
    }
    let Some(scenario) = Scenario::create(name, 2) else {
        return;
    };
    let topology = scenario.lab().topology().unwrap();
    a_foreign_network_beside(&scenario);
    // Whoever took s1 over would find the way.
    for (network, via) in [
        ("198.18.0.0/16", "198.18.3.1"),
        ("fd00:18::/32", "fd00:18:3::1"),
    ] {
        scenario.exec("s1", &["ip", "route", "add", network, "via", via]);
    }
    let full = std::env::var_os("QUIZ_LAB_SCAN").is_some_and(|how| how == "full");
    let scan_from = |from: &str| {
        let space = name_of(&scenario, from);
        let mut table = String::new();
        for v6 in [false, true] {
            let targets = targets(&topology, from, v6);
            let all_ports = full || (from == "c1" && !v6);
            let answers = look(&space, &targets, v6, &scans(all_ports));
            let family = if v6 { 6 } else { 4 };
            writeln!(table, "from {from}, IPv{family}:").unwrap();
            for target in &targets {
                let what = answers.get(target).into_iter().flatten().cloned();
                let what = what.collect::<Vec<_>>().join(", ");
                let what = if what.is_empty() { "-" } else { &what };
                writeln!(table, "  {target:<15} {what}").unwrap();
            }
            assert_eq!(answers, expected(&topology, from, v6), "{table}");
        }
        table
    };
    // At the same time, as most of it is waiting for answers that do not come.
    std::thread::scope(|scope| {
        let scans = ["c1", "s1", "x1"].map(|from| scope.spawn(move || scan_from(from)));
        for scan in scans {
            match scan.join() {
                Ok(table) => println!("{table}"),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });

    an_inner_address_from_outside_gets_nowhere(&scenario);

    // Were it not the rules that keep them silent, all this would prove nothing.
    for host in ["fw", "lb"] {
        scenario.exec(host, &["nft", "delete", "table", "inet", "quizstack"]);
    }
    let space = name_of(&scenario, "c1");
    let balancer = ["198.18.2.2".to_owned()];
    let unguarded = look(&space, &balancer, false, &scans(false));
    assert!(unguarded[&balancer[0]].len() > 5, "{unguarded:?}");
    // And the scan of all ports sees one that is far up.
    scenario.on("lb", async || {
        let _listener = std::net::TcpListener::bind(("198.18.2.2", HIGH_PORT)).unwrap();
        let all = look(&space, &balancer, false, &scans(true)[..1]);
        let high = format!("{HIGH_PORT}/tcp");
        assert!(all[&balancer[0]].contains(&high), "{all:?}");
    });
}

fn name_of(scenario: &Scenario, host: &str) -> String {
    let file = scenario.lab().namespace(host);
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

/// All addresses of the hosts but those of the scanner itself.
fn targets(topology: &Topology, from: &str, v6: bool) -> Vec<String> {
    let hosts = topology
        .hosts()
        .into_iter()
        .filter(|host| host.name != from);
    let legs = hosts.flat_map(|host: Host| host.legs);
    let address = |leg: quiz_lab::network::topology::Leg| match v6 {
        false => leg.v4().to_string(),
        true => leg.v6().to_string(),
    };
    legs.map(address).collect()
}

/// The balancer for everybody; the database and the storage nodes for a front-end.
fn expected(topology: &Topology, from: &str, v6: bool) -> Answers {
    let set = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut answers = Answers::new();
    let leg = |name: &str| topology.host(name).unwrap().legs[0];
    let address = |name: &str| match v6 {
        false => leg(name).v4().to_string(),
        true => leg(name).v6().to_string(),
    };
    let mut balancer = vec!["80/tcp", "echo"];
    if !v6 {
        balancer.push("protocol 1");
    }
    answers.insert(address("lb"), set(&balancer));
    if from == "s1" && !v6 {
        answers.insert(address("db"), set(&["5432/tcp"]));
        for node in ["nas1", "nas2", "nas3"] {
            answers.insert(address(node), set(&["9000/tcp"]));
        }
    }
    answers
}

fn look(space: &str, targets: &[String], v6: bool, scans: &[Scan]) -> Answers {
    let mut answers = Answers::new();
    for scan in scans.iter().filter(|scan| scan.v6 || !v6) {
        let ports = scan.options.iter().map(String::as_str);
        let options: Vec<&str> = ["-Pn", "-T5", "--max-retries", "1"]
            .into_iter()
            .chain(ports)
            .collect();
        for line in nmap(space, &options, targets, v6).lines() {
            note_ignored(&mut answers, line, scan.name);
            let found = line
                .split_once("Ports: ")
                .or_else(|| line.split_once("Protocols: "));
            let Some((host, ports)) = found else {
                continue;
            };
            let host = host.split_whitespace().nth(1).unwrap().to_owned();
            let ports = ports.split('\t').next().unwrap().split(", ");
            for port in ports.filter(|port| !port.trim().is_empty()) {
                let parts: Vec<&str> = port.trim().split('/').collect();
                // Silence is "filtered" or "open|filtered"; all else is an answer.
                if parts[1].contains("filtered") && parts[1] != "unfiltered" {
                    continue;
                }
                let what = if scan.name == "protocols" {
                    format!("protocol {}", parts[0])
                } else if parts[1] == "open" {
                    format!("{}/{}", parts[0], parts[2])
                } else {
                    format!("{}/{} {} ({})", parts[0], parts[2], parts[1], scan.name)
                };
                answers.entry(host.clone()).or_default().insert(what);
            }
        }
    }
    for (name, options, for_v6) in PINGS {
        if v6 && !for_v6 {
            continue;
        }
        let options = [&["-sn"], options].concat();
        for line in nmap(space, &options, targets, v6).lines() {
            if let Some((host, _)) = line.split_once("Status: Up") {
                let host = host.split_whitespace().nth(1).unwrap().to_owned();
                answers.entry(host).or_default().insert(name.to_owned());
            }
        }
    }
    answers
}

/// Ports that nmap only counts, because most were alike: silence again, or else something answers everywhere.
fn note_ignored(answers: &mut Answers, line: &str, scan: &str) {
    let Some((_, ignored)) = line.split_once("Ignored State: ") else {
        return;
    };
    let state = ignored.split(' ').next().unwrap();
    if state == "unfiltered" || !state.contains("filtered") {
        let host = line.split_whitespace().nth(1).unwrap().to_owned();
        answers
            .entry(host)
            .or_default()
            .insert(format!("many {state} ({scan})"));
    }
}

/// What nmap says in its form for programs.
fn nmap(space: &str, options: &[&str], targets: &[String], v6: bool) -> String {
    let output = Command::new("ip")
        .args([
            "netns",
            "exec",
            space,
            "nmap",
            "-n",
            "--disable-arp-ping",
            "-oG",
            "-",
        ])
        .args(v6.then_some("-6"))
        .args(options)
        .args(targets)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && words.contains("# Nmap done"),
        "{options:?}: {words}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    words
}

/// A machine `x1` in a network of its own, on a leg of the firewall that its policy does not name.
fn a_foreign_network_beside(scenario: &Scenario) {
    // With the lab's own prefix it goes when the lab is destroyed.
    let namespace = name_of(scenario, "x1");
    let (fw, lb) = (name_of(scenario, "fw"), name_of(scenario, "lb"));
    let [host, leg] = FOREIGN;
    let script = format!(
        "ip netns add {namespace}
             ip -n {namespace} link set lo up
             ip -n {fw} link add eth3 type veth peer eth1 netns {namespace}
             ip -n {fw} address add {leg}/24 dev eth3
             ip -n {fw} link set eth3 up
             ip -n {fw} address add fd00:18:9::1/64 dev eth3 nodad
             ip -n {namespace} address add {host}/24 dev eth1
             ip -n {namespace} link set eth1 up
             ip -n {namespace} route add 198.18.0.0/16 via {leg}
             ip -n {namespace} address add fd00:18:9::9/64 dev eth1 nodad
             ip -n {namespace} route add fd00:18::/32 via fd00:18:9::1
             ip -n {lb} route add 198.18.9.0/24 via 198.18.2.1
             ip -n {lb} route add fd00:18:9::/64 via fd00:18:2::1"
    );
    let status = Command::new("sh").args(["-ec", &script]).status().unwrap();
    assert!(status.success());
}

/// A packet that claims to come from LAN 4 is counted as spoofed at the firewall.
fn an_inner_address_from_outside_gets_nowhere(scenario: &Scenario) {
    let spoofed = || scenario.counter("fw", "dropped_spoofed");
    let before = spoofed();
    scenario.exec(
        "c1",
        &["ip", "address", "add", "198.18.4.11/32", "dev", "eth1"],
    );
    scenario.on("c1", async || {
        for to in ["198.18.2.2:80", "198.18.4.31:5432"] {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("198.18.4.11:0".parse().unwrap()).unwrap();
            let connect = socket.connect(to.parse().unwrap());
            let connected = tokio::time::timeout(SILENCE, connect).await;
            assert!(!matches!(connected, Ok(Ok(_))), "{to}");
        }
    });
    assert!(spoofed() >= before + 2, "{before} {}", spoofed());
}
