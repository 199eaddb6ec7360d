//! What the machine's own nft and kernel say about our rulesets.

mod common;

use std::process::{Command, Output};

use common::{SAMPLE, nft_or_skip};
use quiz_firewall::nft::{Judgement, judge, search_path};
use quiz_firewall::nft_text;

/// The sample for a machine between two networks.
const GATEWAY: &str = include_str!("../config/gateway.toml");

/// One policy for each way the compiler can go.
const POLICIES: [&str; 9] = [
    "[web]\nport = 80\n",
    "[web]\nport = 65535\n[balancer]\naddresses = [\"198.18.2.2\", \"198.18.2.1\"]\n[drop_log]\nrate_per_second = 0\n",
    "[web]\nport = 1\n[balancer]\naddresses = [\"fd00::2\"]\n[ping]\nrate_per_second = 100000\nburst_packets = 1\n",
    "[web]\nport = 80\n[balancer]\naddresses = [\"fd00::2\", \"198.18.2.2\"]\n\
     [networks.a]\ninterfaces = [\"abcdefghijklmn*\", \"eth0.5\", \"wg_0\"]\nreach = [\"everything\"]\n",
    "[web]\nport = 80\n[balancer]\naddresses = [\"fd00::2\", \"198.18.2.2\"]\n\
     [https]\nsources = [\"192.0.2.0/25\", \"192.0.2.7\", \"2001:db8::/32\", \"2001:db8::7\"]\n\
     [ssh]\nport = 2222\nsources = [\"192.0.2.9\"]\n[monitoring]\nsources = [\"2001:db8::/64\"]\n",
    "topology = \"host\"\n[web]\nopen = false\n[services.postgres]\nport = 5432\nsources = [\"198.18.4.0/24\", \"fd00::7\"]\n",
    "topology = \"gateway\"\n[balancer]\nforward_to = [\"198.18.2.2\", \"fd00:18:2::2\"]\n[https]\n",
    "topology = \"gateway\"\n[balancer]\naddresses = [\"198.18.1.1\", \"fd00:18:1::1\"]\nforward_to = [\"198.18.2.2\"]\n\
     [networks.a]\ninterfaces = [\"eth2\", \"wg*\"]\nreach = [\"192.0.2.0/25\", \"192.0.2.7\", \"2001:db8::/32\", \"b\"]\n\
     [networks.b]\ninterfaces = [\"eth3\"]\n",
    GATEWAY,
];

/// Runs a shell script as root of a network namespace of its own, with `$1` the path of a file that holds `ruleset`.
fn in_namespace(ruleset: &str, script: &str) -> Output {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), ruleset).expect("the ruleset is written");
    Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-euc", script, "sh"])
        .arg(file.path())
        .env("PATH", search_path())
        .output()
        .expect("unshare runs")
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn nft_accepts_the_ruleset_of_every_kind_of_policy() {
    if !nft_or_skip("nft_accepts_the_ruleset_of_every_kind_of_policy") {
        return;
    }
    for policy in POLICIES.into_iter().chain([SAMPLE]) {
        let text = nft_text(policy).expect("the policy is sound");
        assert_eq!(
            judge(&text).expect("nft can be asked"),
            Judgement::Accepted,
            "{policy}"
        );
    }
}

#[test]
fn a_text_that_is_no_ruleset_is_refused_in_the_words_of_nft() {
    if !nft_or_skip("a_text_that_is_no_ruleset_is_refused_in_the_words_of_nft") {
        return;
    }
    let Judgement::Refused(words) =
        judge("table inet x { chain fwd { } }").expect("nft can be asked")
    else {
        panic!("nft took a keyword for the name of a chain");
    };
    assert!(words.contains("syntax error"), "{words}");
}

#[test]
fn the_kernel_takes_it_and_lists_it_back_the_same_after_a_second_load() {
    if !nft_or_skip("the_kernel_takes_it_and_lists_it_back_the_same_after_a_second_load") {
        return;
    }
    for policy in POLICIES.into_iter().chain([SAMPLE]) {
        let text = nft_text(policy).expect("the policy is sound");
        let once = stdout(&in_namespace(&text, "nft -f $1; nft -s list ruleset"));
        let twice = stdout(&in_namespace(
            &text,
            "nft -f $1; nft -f $1; nft -s list ruleset",
        ));
        assert_eq!(once, twice);
        // nft writes some rules in other words, but it neither drops nor merges one.
        let rules = |text: &str| {
            text.lines()
                .filter(|line| line.ends_with("accept") || line.ends_with(" drop"))
                .count()
        };
        assert_eq!(rules(&once), rules(&text), "{once}");
        assert_eq!(once.matches("policy drop;").count(), 3, "{once}");
    }
}

#[test]
fn loading_leaves_the_table_of_a_container_engine_alone() {
    if !nft_or_skip("loading_leaves_the_table_of_a_container_engine_alone") {
        return;
    }
    let text = nft_text(SAMPLE).expect("the sample is sound");
    let engine = "nft add table ip engine; nft add chain ip engine nat; nft list table ip engine";
    let before = stdout(&in_namespace(&text, engine));
    let after = stdout(&in_namespace(
        &text,
        &format!("{engine} >/dev/null; nft -f $1; nft list table ip engine"),
    ));
    assert_eq!(before, after);
}

#[test]
fn a_broken_file_leaves_the_old_rules_in_force() {
    if !nft_or_skip("a_broken_file_leaves_the_old_rules_in_force") {
        return;
    }
    let text = nft_text(SAMPLE).expect("the sample is sound");
    let good = stdout(&in_namespace(&text, "nft -f $1; nft -s list ruleset"));
    // The last chain jumps to one that does not exist: nft learns of it when all the rest is already said.
    let broken = "(cat $1; echo 'add rule inet quizstack input jump nowhere') | nft -f - 2>/dev/null && exit 1";
    let kept = stdout(&in_namespace(
        &text,
        &format!("nft -f $1; {broken}; nft -s list ruleset"),
    ));
    assert_eq!(good, kept);
}
