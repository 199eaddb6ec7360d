//! What the containers may do, and what they cannot.

use serde_json::Value;

use crate::common::compose::{Compose, inspect};

/// The bit of the one capability that the firewall has (capabilities(7)).
const NET_ADMIN: u64 = 1 << 12;

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn each_container_may_do_what_it_has_to_and_no_more() {
    let stack = Compose::prepare("compose-hardening", 2);
    stack
        .compose(&["up", "--detach", "--wait", "--scale", "quiz=2"])
        .await;
    let services = stack.compose(&["config", "--services"]).await;
    let mut published = Vec::new();
    for service in services.lines() {
        for container in stack.containers(service).await {
            let seen = inspect(&container).await;
            is_confined(service, &seen);
            knows_no_secret(&stack, service, &seen);
            if service != "migrate" {
                runs_confined(service, &seen);
            }
            let ports = seen["NetworkSettings"]["Ports"].as_object();
            for (port, bindings) in ports.into_iter().flatten() {
                if !bindings.is_null() {
                    published.push(format!("{service} {port}"));
                }
            }
        }
    }
    assert_eq!(published, ["firewall 80/tcp"]);
    for network in ["front", "back", "store"] {
        let network = inspect(&stack.network(network)).await;
        assert_eq!(network["Internal"], true, "{network}");
    }
}

/// What the engine was told.
fn is_confined(service: &str, seen: &Value) {
    let host = &seen["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true, "{service}");
    assert_eq!(host["Privileged"], false, "{service}");
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{service}");
    let more = match service {
        "firewall" => serde_json::json!(["NET_ADMIN"]),
        _ => Value::Null,
    };
    assert_eq!(host["CapAdd"], more, "{service}");
    let options = host["SecurityOpt"].to_string();
    assert!(
        options.contains("no-new-privileges:true"),
        "{service}: {options}"
    );
    for limit in ["Memory", "NanoCpus", "PidsLimit"] {
        assert!(host[limit].as_i64() > Some(0), "{service} {limit}");
    }
    let log = &host["LogConfig"]["Config"];
    assert!(
        log["max-size"].is_string() && log["max-file"].is_string(),
        "{service}: {log}"
    );
    assert_eq!(
        host["Init"].as_bool().unwrap_or(false),
        service == "db",
        "{service}"
    );
    let grace = seen["Config"]["StopTimeout"].as_i64();
    assert!(
        service == "migrate" || grace.is_some(),
        "{service} has a stop grace period"
    );
}

/// What the kernel says of its process.
fn runs_confined(service: &str, seen: &Value) {
    let pid = seen["State"]["Pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    };
    let capabilities = u64::from_str_radix(&field("CapEff"), 16).unwrap();
    let bounds = u64::from_str_radix(&field("CapBnd"), 16).unwrap();
    let (allowed, root) = match service {
        "firewall" => (NET_ADMIN, true),
        _ => (0, false),
    };
    assert_eq!((capabilities, bounds), (allowed, allowed), "{service}");
    assert_eq!(
        field("Uid").starts_with("0\t"),
        root,
        "{service}: {}",
        field("Uid")
    );
    assert_eq!(
        (field("NoNewPrivs"), field("Seccomp")),
        ("1".to_owned(), "2".to_owned()),
        "{service}"
    );
    // Through its own view of the file system, and with all the powers of who runs this.
    let inside = format!("/proc/{pid}/root/usr/bin/intruder");
    let refused = std::fs::write(inside, "x").unwrap_err();
    assert_eq!(
        refused.kind(),
        std::io::ErrorKind::ReadOnlyFilesystem,
        "{service}"
    );
    if service != "db" {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        assert_eq!(children.unwrap().trim(), "", "{service} is one process");
    }
}

/// Neither in its variables nor in its arguments, where anybody reads it who may ask the engine.
fn knows_no_secret(stack: &Compose, service: &str, seen: &Value) {
    let told = seen.to_string();
    for name in [
        "database_password",
        "database_url",
        "quiz_secret",
        "cluster_secret",
        "storage_secret",
        "site_password",
        "lb_token",
    ] {
        assert!(!told.contains(&stack.secret(name)), "{service}: {name}");
    }
}
