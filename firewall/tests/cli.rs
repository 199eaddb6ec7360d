//! The commands as a user types them, and what they say to a policy that is not sound.

mod common;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::{SAMPLE, nft_or_skip};

const BINARY: &str = env!("CARGO_BIN_EXE_quiz-firewall");
const SAMPLE_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/firewall.toml");

fn firewall(arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// What `check` says to a policy it must refuse.
fn complaint(policy: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("site.toml");
    std::fs::write(&path, policy).expect("the policy is written");
    let output = firewall(&["check", path.to_str().expect("the path is text")]);
    assert_eq!(output.status.code(), Some(1), "{policy}");
    assert!(output.stdout.is_empty());
    let words = String::from_utf8(output.stderr).expect("text");
    words.replace(folder.path().to_str().expect("the path is text"), "")
}

#[test]
fn render_prints_the_ruleset_and_nothing_else() {
    let output = firewall(&["render", SAMPLE_PATH]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        text,
        quiz_firewall::nft_text(SAMPLE).expect("the sample is sound")
    );
}

#[test]
fn check_accepts_the_sample() {
    if !nft_or_skip("check_accepts_the_sample") {
        return;
    }
    let output = firewall(&["check", SAMPLE_PATH]);
    assert_eq!(output.status.code(), Some(0));
    let words = String::from_utf8(output.stdout).expect("text");
    assert!(words.ends_with("nft accepts its ruleset\n"), "{words}");
}

/// A folder with an `unshare` in it that does not do what it is asked: our own binary, which knows no such option.
fn folder_with_a_useless_unshare() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for tool in ["unshare", "nft"] {
        std::os::unix::fs::symlink(BINARY, folder.path().join(tool)).expect("a link can be made");
    }
    folder
}

#[test]
fn check_ends_with_status_three_when_nft_cannot_be_asked() {
    // Found first, wherever the real one is.
    let folder = folder_with_a_useless_unshare();
    let output = Command::new(BINARY)
        .args(["check", SAMPLE_PATH])
        .env("PATH", folder.path())
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8(output.stdout).expect("text");
    assert!(words.contains("was not shown to nft"), "{words}");
    assert!(words.contains("unexpected argument"), "{words}");
}

#[test]
fn tools_are_never_looked_for_in_the_current_folder() {
    let folder = folder_with_a_useless_unshare();
    for path in [None, Some(""), Some(":"), Some("/nonexistent:"), Some(".")] {
        let mut command = Command::new(BINARY);
        command
            .args(["check", SAMPLE_PATH])
            .current_dir(folder.path())
            .env_remove("PATH");
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let output = command.output().expect("the binary runs");
        let words = String::from_utf8(output.stdout).expect("text");
        assert!(words.contains("the policy is sound"), "{path:?}: {words}");
        assert!(!words.contains("--map-root-user"), "{path:?}: {words}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(BINARY)
        .args(["render", SAMPLE_PATH])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .expect("the binary runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_ruleset_that_cannot_be_written_ends_with_status_one() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has a device that is always full");
    let output = Command::new(BINARY)
        .args(["render", SAMPLE_PATH])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .expect("the binary runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("cannot write the output"), "{words}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_standard_error_that_nobody_reads_does_not_change_the_status() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = Command::new(BINARY)
        .args(["render", "no-such-site.toml"])
        .stderr(writer)
        .status()
        .expect("the binary runs");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_keys_that_exist() {
    insta::assert_snapshot!(complaint("[web]\nport = 80\nprot = 81\n"), @"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `web.prot`: unknown key `prot`, expected `open` or `port`; correct its spelling or remove it
    ");
    insta::assert_snapshot!(complaint("[web]\nport = 80\n\n[pings]\nrate_per_second = 1\n"), @"
    quiz-firewall: /site.toml: the policy is not usable:
      line 4: `pings`: unknown key `pings`, expected one of `topology`, `networks`, `balancer`, `web`, `https`, `ssh`, `monitoring`, `services`, `limits`, `ping`, `drop_log`; correct its spelling or remove it
    ");
}

#[test]
fn a_bad_address_is_named_with_its_line() {
    insta::assert_snapshot!(complaint("[web]\nport = 80\n[balancer]\naddresses = [\n  \"198.18.2.2\",\n  \"198.18.2.300\",\n  \"10.0.0.0/8\",\n]\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 6: `balancer.addresses`: "198.18.2.300" is not an IPv4 or IPv6 address; write one address of the balancer without prefix length or port, as "198.18.2.2" or "fd00::2"
      line 7: `balancer.addresses`: "10.0.0.0/8" is not an IPv4 or IPv6 address; write one address of the balancer without prefix length or port, as "198.18.2.2" or "fd00::2"
    "#);
}

#[test]
fn port_zero_and_port_65536_are_out_of_range() {
    insta::assert_snapshot!(complaint("[web]\nport = 0\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `web.port`: 0 is out of range; write a number from 1 to 65535
    "#);
    insta::assert_snapshot!(complaint("[web]\nport = 65536\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `web.port`: 65536 is out of range; write a number from 1 to 65535
    "#);
}

#[test]
fn an_empty_file_is_not_a_policy() {
    insta::assert_snapshot!(complaint(""), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 1: the file says nothing; begin with `topology = "host"`, or copy config/firewall.toml
    "#);
    insta::assert_snapshot!(complaint("# nothing yet\n\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 1: the file says nothing; begin with `topology = "host"`, or copy config/firewall.toml
    "#);
}

#[test]
fn limits_that_limit_nobody_or_everybody_are_out_of_range() {
    insta::assert_snapshot!(complaint(
        "[limits]\nopenings_per_second = 0\nopenings_burst = 1000001\nconnections = -1\n"
    ), @"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `limits.openings_per_second`: 0 is out of range; write a number from 1 to 1000000
      line 3: `limits.openings_burst`: 1000001 is out of range; write a number from 1 to 1000000
      line 4: `limits.connections`: -1 is out of range; write a number from 1 to 1000000
    ");
}

#[test]
fn a_topology_that_does_not_fit_the_rest_is_named_with_the_remedy() {
    insta::assert_snapshot!(complaint("topology = \"router\"\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 1: `topology`: "router" is no kind of machine; write "host", "container-host" or "gateway"
    "#);
    insta::assert_snapshot!(complaint("topology = \"gateway\"\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 1: `topology`: does not know where the balancer is; write the balancer's `addresses`, or where to redirect visitors: `forward_to = ["198.18.2.2"]`
    "#);
    insta::assert_snapshot!(complaint("topology = \"host\"\n[networks.a]\ninterfaces = [\"eth1\"]\n"), @"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `networks`: a host passes nothing on; remove it, or choose the topology of a machine that passes something on
    ");
    insta::assert_snapshot!(complaint("[balancer]\nforward_to = [\"198.18.2.2\"]\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `balancer.forward_to`: is of a gateway; remove it, or choose `topology = "gateway"`
    "#);
    insta::assert_snapshot!(
        complaint("topology = \"gateway\"\n[balancer]\nforward_to = [\"198.18.2.2\", \"198.18.2.3\", \"lb\"]\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `balancer.forward_to`: has two addresses of one family; write one address of the balancer for each family, as ["198.18.2.2"]
      line 3: `balancer.forward_to`: "lb" is not an IPv4 or IPv6 address; write one address of the balancer for each family, as ["198.18.2.2"]
    "#);
}

#[test]
fn a_balancer_that_is_dialled_itself_is_nowhere_to_redirect_to() {
    insta::assert_snapshot!(complaint(
        "topology = \"gateway\"\n[balancer]\naddresses = [\"198.18.1.1\", \"198.18.2.2\"]\nforward_to = [\"198.18.2.2\"]\n"
    ), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 4: `balancer.forward_to`: "198.18.2.2" is what visitors dial already; remove it here, or write this machine's own addresses as `addresses`
    "#);
}

#[test]
fn a_network_that_cannot_be_told_from_another_or_leads_nowhere_is_named() {
    insta::assert_snapshot!(complaint(
        "[networks.a]\ninterfaces = [\"br-*\"]\n[networks.b]\ninterfaces = [\"br-store\"]\n[networks.c]\n\
         reach = [\"a\", \"nobody\", \"0.0.0.0/0\"]\n[networks.everything]\ninterfaces = [\"eth7\"]\n"
    ), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `networks.b.interfaces`: br-store is among br-* of networks.a, or the other way round; let each interface lead to one network
      line 5: `networks.c.interfaces`: names none; write which interfaces lead there, as ["eth2"]
      line 6: `networks.c.reach`: "nobody" is neither a network nor an address, and no network has that name; write "everything", the name of another network, or an address or network of them
      line 6: `networks.c.reach`: "0.0.0.0/0" is everybody, and no network has that name; write "everything", the name of another network, or an address or network of them
      line 7: `networks.everything`: is a word that `reach` knows; give the network another name
    "#);
}

#[test]
fn a_service_of_ones_own_needs_a_port_and_somebody_who_may_connect() {
    insta::assert_snapshot!(complaint(
        "[web]\nopen = false\nport = 80\n[services.postgres]\nsources = [\"198.18.4.0/24\"]\n[services.s3]\nport = 9000\n\
         [services.\"x y\"]\nport = 9000\nsources = [\"198.18.4.1\"]\n"
    ), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `web.port`: is closed and has a port; remove one of the two
      line 4: `services.postgres.port`: is missing; write the TCP port of the service
      line 6: `services.s3.sources`: names nobody; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
      line 8: `services.x y`: is no plain name; use letters, digits, - and _
      line 8: `services.x y`: port 9000 is open for something else; give each service a port of its own
    "#);
}

#[test]
fn a_value_of_the_wrong_kind_and_broken_syntax_are_named_with_their_line() {
    insta::assert_snapshot!(complaint("[web]\nport = \"80\"\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `web.port`: invalid type: string "80", expected a whole number; write the kind of value that config/firewall.toml shows
    "#);
    insta::assert_snapshot!(complaint("[web]\nport = \n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `web.port`: string values must be quoted, expected literal string; correct the TOML syntax of this line
    "#);
}

#[test]
fn all_bad_values_are_named_at_once() {
    insta::assert_snapshot!(complaint("[networks.a]\ninterfaces = [\"*\", \"eth 0\"]\n[web]\nport = 80\n[ping]\nrate_per_second = -1\nburst_packets = 0\n[drop_log]\nrate_per_second = 5000\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `networks.a.interfaces`: "*" would make every interface internal or names none; write a name as `ip link` shows it, or its beginning and a `*`
      line 2: `networks.a.interfaces`: "eth 0" has a character that is not a letter, a digit or one of . _ - (a `*` may only be last); write a name as `ip link` shows it, or its beginning and a `*`
      line 6: `ping.rate_per_second`: -1 is out of range; write a number from 1 to 100000
      line 7: `ping.burst_packets`: 0 is out of range; write a number from 1 to 100000
      line 9: `drop_log.rate_per_second`: 5000 is out of range; write a number from 0 to 1000
    "#);
}

#[test]
fn an_interface_written_with_its_peer_is_refused_because_no_packet_comes_from_it() {
    insta::assert_snapshot!(complaint("[networks.a]\ninterfaces = [\"veth1@veth2\", \"eth0.5@container-engine*\"]\n[web]\nport = 80\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 2: `networks.a.interfaces`: "veth1@veth2" is a name with its peer or parent, as `ip link` shows them; write only what stands before the @
      line 2: `networks.a.interfaces`: "eth0.5@container-engine*" is a name with its peer or parent, as `ip link` shows them; write only what stands before the @
    "#);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = firewall(&["render", "no-such-site.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).expect("text");
    assert!(words.contains("cannot read no-such-site.toml"), "{words}");
    assert!(!Path::new("no-such-site.toml").exists());
}

#[test]
fn wrong_usage_ends_with_status_two() {
    assert_eq!(firewall(&["render"]).status.code(), Some(2));
    assert_eq!(firewall(&["explain", SAMPLE_PATH]).status.code(), Some(2));
}

/// What `explain` says to a question about the sample policy.
fn explained(question: &[&str]) -> Output {
    firewall(&[&["explain", SAMPLE_PATH], question].concat())
}

#[test]
fn explain_names_the_rule_that_decides() {
    for (question, verdict, rule) in [
        (
            "203.0.113.7 -> lb tcp/80",
            "ACCEPTED",
            "fib daddr type local tcp dport 80 accept",
        ),
        (
            "203.0.113.7 -> lb tcp/5432",
            "DROPPED",
            "Everything else.\n    counter name dropped_other drop",
        ),
        (
            "203.0.113.7 -> lb tcp/5432 published",
            "DROPPED",
            "edge drops it",
        ),
        (
            "203.0.113.7 -> lb tcp/80 published",
            "ACCEPTED",
            "ct original proto-dst 80 accept",
        ),
        (
            "203.0.113.7 via br-app -> lb tcp/5432",
            "DROPPED",
            "input drops it: Everything else.",
        ),
        (
            "203.0.113.7 -> lb tcp/80 ack",
            "DROPPED",
            "opening drops it",
        ),
        ("203.0.113.7 -> lb tcp/80 spoofed", "DROPPED", "Spoofed"),
        ("2001:db8::7 -> lb ping", "ACCEPTED", "icmpv6 type echo"),
        ("2001:db8::7 -> lb ping flood", "DROPPED", "beyond the rate"),
        ("203.0.113.7 -> lb icmp/13", "DROPPED", "Everything else."),
        (
            "203.0.113.7 -> lb tcp/80 reply ack",
            "ACCEPTED",
            "Replies and related errors.",
        ),
        (
            "203.0.113.7 -> 198.18.2.2 tcp/80",
            "DROPPED",
            "taken for another machine's address",
        ),
        (
            "203.0.113.7 -> here udp/53 reply",
            "ACCEPTED",
            "Replies and related errors.",
        ),
    ] {
        let output = explained(&[question]);
        let words = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{question}");
        assert!(words.starts_with(verdict), "{question}: {words}");
        assert!(words.contains(rule), "{question}: {words}");
    }
    let words = ["203.0.113.7", "->", "lb", "tcp/80"];
    let (apart, together) = (explained(&words), explained(&[&words.join(" ")]));
    assert_eq!(apart.stdout, together.stdout);
}

#[test]
fn a_question_that_cannot_be_read_is_told_what_one_looks_like() {
    for (question, complaint) in [
        ("203.0.113.7 lb tcp/80", "there is no ->"),
        ("-> lb tcp/80", "no sender"),
        ("me -> lb tcp/80", "\"me\" is no address"),
        ("203.0.113.7 -> tcp/80", "neither an address"),
        ("203.0.113.7 -> lb", "what is sent is not said"),
        ("203.0.113.7 -> lb tcp/http", "\"http\" is no number"),
        ("203.0.113.7 -> lb icmpv6/128", "nothing that is sent"),
        ("203.0.113.7 -> lb udp/80 ack", "says nothing of such"),
        ("203.0.113.7 -> fd00::1 tcp/80", "not of one family"),
        (
            "203.0.113.7 from eth0 -> lb tcp/80",
            "only `via INTERFACE` may",
        ),
    ] {
        let output = explained(&[question]);
        let words = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{question}");
        assert!(words.contains(complaint), "{question}: {words}");
        assert!(
            words.contains("198.51.100.7 -> lb tcp/80"),
            "{question}: {words}"
        );
    }
}

#[test]
fn a_service_says_who_may_connect_and_has_a_port_of_its_own() {
    insta::assert_snapshot!(complaint("[web]\nport = 80\n[ssh]\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `ssh.sources`: names nobody; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
    "#);
    insta::assert_snapshot!(complaint("[web]\nport = 80\n[ssh]\nsources = [\"192.0.2.1/24\", \"0.0.0.0/0\", \"office\"]\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 4: `ssh.sources`: "192.0.2.1/24" is an address within a network: the bits behind its prefix length are not zero; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
      line 4: `ssh.sources`: "0.0.0.0/0" is everybody; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
      line 4: `ssh.sources`: "office" is neither a network nor an address; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
    "#);
    insta::assert_snapshot!(complaint("[web]\nport = 80\n[https]\nsources = []\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `https.sources`: names nobody; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
    "#);
    insta::assert_snapshot!(complaint("[web]\nport = 80\n[ssh]\nsources = [\"0.0.0.0/1\", \"128.0.0.0/1\", \"::ffff:192.0.2.1\"]\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `ssh.sources`: together are everybody; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
      line 4: `ssh.sources`: "::ffff:192.0.2.1" is an IPv4 address written as IPv6, which no packet carries; write who may connect, as ["192.0.2.0/24", "2001:db8::7"]
    "#);
    insta::assert_snapshot!(complaint("[web]\nport = 80\n[https]\nport = 80\n[monitoring]\nport = 0\nsources = [\"192.0.2.1\"]\n"), @r#"
    quiz-firewall: /site.toml: the policy is not usable:
      line 3: `https`: port 80 is open for something else; give each service a port of its own
      line 6: `monitoring.port`: 0 is out of range; write a number from 1 to 65535
    "#);
}
