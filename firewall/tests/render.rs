//! The text of the ruleset, as a reader would review it.

#[expect(dead_code, reason = "each test binary uses its own part")]
mod common;

use common::SAMPLE;
use quiz_firewall::nft_text;

/// The rules of one chain, without comments.
fn rules(text: &str, chain: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| line.trim() != format!("chain {chain} {{"))
        .skip(1)
        .map(str::trim)
        .take_while(|line| *line != "}")
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_sample_policy_gives_the_ruleset_that_was_reviewed() {
    insta::assert_snapshot!(nft_text(SAMPLE).expect("the sample is sound"));
}

#[test]
fn the_same_policy_in_another_order_gives_the_same_bytes() {
    let one = "[web]\nport = 80\n[balancer]\naddresses = [\"198.18.2.2\", \"198.18.1.1\"]\n\
               [interfaces]\ninternal = [\"eth1\", \"br-*\"]\n";
    let other = "[interfaces]\ninternal = [\"br-*\", \"eth1\", \"br-*\"]\n[balancer]\n\
                 addresses = [\"198.18.1.1\", \"198.18.2.2\"]\n[web]\nport = 80\n";
    assert_eq!(
        nft_text(one).expect("sound"),
        nft_text(other).expect("sound")
    );
}

#[test]
fn it_replaces_its_own_table_and_flushes_nothing() {
    let text = nft_text(SAMPLE).expect("the sample is sound");
    let statements: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with([' ', '#', '}']) && !line.is_empty())
        .collect();
    assert_eq!(
        statements,
        [
            "table inet quizstack",
            "delete table inet quizstack",
            "table inet quizstack {"
        ]
    );
    assert!(!text.contains("flush"));
}

#[test]
fn without_internal_interfaces_only_loopback_is_trusted() {
    let text = nft_text("[web]\nport = 80\n").expect("sound");
    let trusted: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("iifname"))
        .map(str::trim)
        .collect();
    assert_eq!(trusted, ["iifname \"lo\" accept"; 2]);
}

#[test]
fn a_family_without_an_address_of_the_balancer_stays_closed() {
    let text =
        nft_text("[web]\nport = 8080\n[balancer]\naddresses = [\"198.18.2.2\"]\n").expect("sound");
    insta::assert_snapshot!(rules(&text, "input").join("\n"), @r#"
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
    ip6 saddr fe80::/10 icmpv6 type mld-listener-query accept
    ip daddr { 198.18.2.2 } icmp type echo-request accept
    ct state established,related accept
    ip daddr { 198.18.2.2 } tcp dport 8080 accept
    counter name dropped_input drop
    "#);
    assert!(!text.contains("ip6 daddr"));
}

#[test]
fn addresses_of_both_families_open_both() {
    let text = nft_text(
        "[web]\nport = 80\n[balancer]\naddresses = [\"fd00::2\", \"198.18.2.2\", \"198.18.2.1\"]\n",
    )
    .expect("sound");
    insta::assert_snapshot!(rules(&text, "edge").join("\n"), @r#"
    type filter hook prerouting priority mangle; policy drop;
    iifname "lo" accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
    ip6 saddr fe80::/10 icmpv6 type mld-listener-query accept
    fib saddr . iif oif missing counter name dropped_spoofed drop
    ip daddr { 198.18.2.1, 198.18.2.2 } icmp type echo-request limit rate 20/second burst 40 packets counter name accepted_ping accept
    ip6 daddr { fd00::2 } icmpv6 type echo-request limit rate 20/second burst 40 packets counter name accepted_ping accept
    icmp type echo-request counter name dropped_ping drop
    icmpv6 type echo-request counter name dropped_ping drop
    ct state established,related accept
    ct state invalid counter name dropped_invalid drop
    ip daddr { 198.18.2.1, 198.18.2.2 } tcp dport 80 jump opening
    ip6 daddr { fd00::2 } tcp dport 80 jump opening
    update @senders_dropped4 { ip saddr counter }
    update @senders_dropped6 { ip6 saddr & ffff:ffff:ffff:ffff:: counter }
    limit rate 5/second burst 5 packets log prefix "quizstack drop: "
    counter name dropped_other drop
    "#);
}

#[test]
fn a_log_rate_of_zero_logs_nothing() {
    let quiet = nft_text("[web]\nport = 80\n[drop_log]\nrate_per_second = 0\n").expect("sound");
    assert!(!quiet.contains("log prefix"));
    let default = nft_text("[web]\nport = 80\n").expect("sound");
    assert!(default.contains("limit rate 5/second burst 5 packets log prefix"));
}

#[test]
fn services_are_open_to_those_whom_the_policy_names() {
    let text = nft_text(
        "[web]\nport = 80\n[balancer]\naddresses = [\"198.18.2.2\", \"fd00::2\"]\n\
         [https]\n[ssh]\nsources = [\"192.0.2.0/25\", \"192.0.2.7\", \"2001:db8::7\"]\n\
         [monitoring]\nport = 9000\nsources = [\"192.0.2.9\"]\n",
    )
    .expect("sound");
    let open = |chain: &str| {
        let rules = rules(&text, chain).into_iter();
        let open = rules.filter(|rule| rule.contains("dport") || rule.contains("proto-dst"));
        open.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(open("edge"), @r#"
    ip daddr { 198.18.2.2 } tcp dport 80 jump opening
    ip6 daddr { fd00::2 } tcp dport 80 jump opening
    ip daddr { 198.18.2.2 } tcp dport 443 jump opening
    ip6 daddr { fd00::2 } tcp dport 443 jump opening
    fib daddr type local ip saddr { 192.0.2.0/25 } tcp dport 22 jump administration
    fib daddr type local ip6 saddr { 2001:db8::7/128 } tcp dport 22 jump administration
    fib daddr type local ip saddr { 192.0.2.9/32 } tcp dport 9000 jump administration
    "#);
    insta::assert_snapshot!(open("forward"), @r#"
    meta l4proto tcp ct status dnat ct original proto-dst 80 accept
    meta l4proto tcp ct status dnat ct original proto-dst 443 accept
    "#);
    insta::assert_snapshot!(open("input"), @r#"
    ip daddr { 198.18.2.2 } tcp dport 80 accept
    ip6 daddr { fd00::2 } tcp dport 80 accept
    ip daddr { 198.18.2.2 } tcp dport 443 accept
    ip6 daddr { fd00::2 } tcp dport 443 accept
    fib daddr type local ip saddr { 192.0.2.0/25 } tcp dport 22 accept
    fib daddr type local ip6 saddr { 2001:db8::7/128 } tcp dport 22 accept
    fib daddr type local ip saddr { 192.0.2.9/32 } tcp dport 9000 accept
    "#);
}
