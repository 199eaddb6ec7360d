//! What answers whom: nmap from a container on a network of its own before the firewall, which leads nowhere else.

use std::collections::BTreeSet;

use tokio::process::Command;

use crate::common::compose::{Compose, docker, inspect, repository};
use crate::common::{eventually, skip};

/// What our programs and the database listen on.
const OURS: &str = "80,443,3000,3001,5432,8081,9000,9091,9100,9200";

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn ping_and_port_80_of_the_balancer_answer_and_nothing_else_does() {
    let name = "ping_and_port_80_of_the_balancer_answer_and_nothing_else_does";
    if std::process::Command::new("nmap")
        .arg("--version")
        .output()
        .is_err()
    {
        return skip(name, "nmap is not installed");
    }
    let stack = Compose::prepare("compose-outside", 3);
    let overlay = repository().join("lab/tests/compose/scanner.yaml");
    std::fs::copy(overlay, stack.root().join("compose/scanner.yaml")).unwrap();
    let files = "COMPOSE_FILE=compose/stack.yaml:compose/scanner.yaml\n";
    std::fs::write(stack.root().join(".env"), files).unwrap();
    stack
        .compose(&["up", "--detach", "--wait", "--scale", "quiz=2"])
        .await;

    let scanner = stack.containers("scanner").await.remove(0);
    let space = stack.pid(&scanner).await;
    let firewall = stack.containers("firewall").await.remove(0);
    let balancer = address(&firewall, "_scan").await;
    // Whoever is there would try the balancer's machine as the way to everything else.
    let route = ["ip", "route", "add", "198.18.0.0/15", "via", &balancer];
    inside(space, &route).await;

    // The scanner is a client like any other, and reaches the balancer.
    let url = format!("http://{balancer}/quizzes");
    let page = [
        "curl",
        "--silent",
        "--fail",
        "--retry",
        "20",
        "--retry-delay",
        "1",
        "--retry-all-errors",
    ];
    let page = inside(
        space,
        &[&page[..], &["--output", "/dev/null", &url]].concat(),
    )
    .await;
    assert_eq!(page, "");
    // A refused connection would be an answer: nmap calls that closed, and silence filtered.
    let all = scan(
        space,
        &["-sS", "-p-", "--min-rate", "20000"],
        std::slice::from_ref(&balancer),
    )
    .await;
    assert_eq!(all, BTreeSet::from([format!("{balancer} 80/tcp open")]));
    let udp = scan(
        space,
        &["-sU", "--top-ports", "100", "--min-rate", "3000"],
        std::slice::from_ref(&balancer),
    )
    .await;
    assert_eq!(udp, BTreeSet::new());
    assert!(answers_ping(space, &balancer).await);

    let mut others = vec![
        address(&firewall, "_front").await,
        address(&firewall, "_edge").await,
    ];
    for service in ["quiz", "db", "nas1", "nas2", "nas3"] {
        for container in stack.containers(service).await {
            for network in ["_front", "_back", "_store"] {
                let address = address(&container, network).await;
                others.extend((!address.is_empty()).then_some(address));
            }
        }
    }
    let answers = scan(
        space,
        &["-sS", "-p", &format!("{OURS},1-1024"), "--min-rate", "5000"],
        &others,
    )
    .await;
    // The balancer's machine is the same one by each of its addresses.
    let own = others[..2]
        .iter()
        .map(|address| format!("{address} 80/tcp open"));
    let own: BTreeSet<_> = own.collect();
    assert!(answers.is_subset(&own), "{answers:?}");
    for address in &others[2..] {
        assert!(!answers_ping(space, address).await, "{address}");
    }

    // Without the rules the same scan sees more: it is they that keep the rest silent.
    // By its own nft: an older one may not understand what a newer one has written.
    docker(&[
        "exec",
        &firewall,
        "/usr/sbin/nft",
        "delete",
        "table",
        "inet",
        "quizstack",
    ])
    .await;
    let open = scan(
        space,
        &["-sS", "-p", "1-100", "--min-rate", "5000"],
        std::slice::from_ref(&balancer),
    )
    .await;
    assert!(
        open.iter().any(|answer| answer.contains("closed (99)")),
        "{open:?}"
    );
    // And the firewall puts them back.
    eventually("the rules are back", async || {
        let open = scan(
            space,
            &["-sS", "-p", "70-90"],
            std::slice::from_ref(&balancer),
        )
        .await;
        open == BTreeSet::from([format!("{balancer} 80/tcp open")])
    })
    .await;
}

async fn address(container: &str, network: &str) -> String {
    let seen = inspect(container).await;
    let networks = seen["NetworkSettings"]["Networks"].as_object().unwrap();
    let found = networks.iter().find(|(name, _)| name.ends_with(network));
    found.map_or_else(String::new, |(_, network)| {
        network["IPAddress"].as_str().unwrap().to_owned()
    })
}

/// Runs a program of this machine in the network namespace of a process; returns its output.
async fn inside(pid: i32, command: &[&str]) -> String {
    let mut enter = Command::new("nsenter");
    enter.arg(format!("--net=/proc/{pid}/ns/net")).args(command);
    let output = enter.output().await.unwrap();
    // A scan that did not happen would find nothing.
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn answers_ping(pid: i32, address: &str) -> bool {
    let pinged = inside(
        pid,
        &[
            "nmap",
            "-n",
            "-sn",
            "-PE",
            "--max-retries",
            "1",
            "-oG",
            "-",
            address,
        ],
    )
    .await;
    pinged.contains("Status: Up")
}

/// The ports that answer, as `ADDRESS 80/tcp open`.
async fn scan(pid: i32, how: &[&str], targets: &[String]) -> BTreeSet<String> {
    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
    let nmap = ["nmap", "-n", "-Pn", "-T4", "--max-retries", "2", "-oG", "-"];
    let output = inside(pid, &[&nmap, how, &targets].concat()).await;
    let mut found = BTreeSet::new();
    for line in output.lines().filter(|line| line.contains("Ports: ")) {
        let address = line.split(' ').nth(1).unwrap();
        // Many of one kind are summed up.
        if let Some((_, many)) = line.split_once("Ignored State: ")
            && !many.contains("filtered")
        {
            found.insert(format!("{address} {many}"));
        }
        let ports = line.split_once("Ports: ").unwrap().1;
        for port in ports.split('\t').next().unwrap().split(", ") {
            let parts: Vec<_> = port.trim().split('/').collect();
            // A host without any has an empty list.
            if parts.len() > 2 && matches!(parts[1], "open" | "closed" | "unfiltered") {
                found.insert(format!("{address} {}/{} {}", parts[0], parts[2], parts[1]));
            }
        }
    }
    found
}
