//! The text of the ruleset, as a reader would review it.

#[expect(dead_code, reason = "each test binary uses its own part")]
mod common;

use common::SAMPLE;
use quiz_firewall::nft_text;

/// The sample for a machine between two networks.
const GATEWAY: &str = include_str!("../config/gateway.toml");

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
fn the_sample_of_a_gateway_gives_the_ruleset_that_was_reviewed() {
    insta::assert_snapshot!(nft_text(GATEWAY).expect("the sample is sound"));
}

#[test]
fn a_host_passes_nothing_on_and_without_a_balancer_answers_only_those_who_are_named() {
    let text = nft_text(
        "topology = \"host\"\n[web]\nopen = false\n[services.postgres]\nport = 5432\n\
         sources = [\"198.18.4.0/24\", \"fd00:18:4::/64\"]\n",
    )
    .expect("sound");
    insta::assert_snapshot!(rules(&text, "edge").join("\n"), @r#"
    type filter hook prerouting priority mangle; policy drop;
    iifname "lo" accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
    ip6 saddr fe80::/10 icmpv6 type mld-listener-query accept
    fib saddr . iif oif missing counter name dropped_spoofed drop
    icmp type redirect counter name dropped_invalid drop
    icmpv6 type nd-redirect counter name dropped_invalid drop
    icmp type echo-request jump pinging
    icmpv6 type echo-request jump pinging
    ct state established,related accept
    ct state invalid counter name dropped_invalid drop
    fib daddr type local ip saddr { 198.18.4.0/24 } tcp dport 5432 jump administration
    fib daddr type local ip6 saddr { fd00:18:4::/64 } tcp dport 5432 jump administration
    update @senders_dropped4 { ip saddr counter }
    update @senders_dropped6 { ip6 saddr & ffff:ffff:ffff:ffff:: counter }
    limit rate 5/second burst 5 packets log prefix "quizstack drop: "
    counter name dropped_other drop
    "#);
    insta::assert_snapshot!(rules(&text, "forward").join("\n"), @"
    type filter hook forward priority filter - 5; policy drop;
    ct state established,related accept
    counter name dropped_forward drop
    ");
    insta::assert_snapshot!(rules(&text, "input").join("\n"), @r#"
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
    ip6 saddr fe80::/10 icmpv6 type mld-listener-query accept
    ct state established,related accept
    fib daddr type local ip saddr { 198.18.4.0/24 } tcp dport 5432 accept
    fib daddr type local ip6 saddr { fd00:18:4::/64 } tcp dport 5432 accept
    counter name dropped_input drop
    "#);
}

#[test]
fn a_gateway_can_redirect_visitors_of_its_own_addresses() {
    let text = nft_text(
        "topology = \"gateway\"\n[balancer]\naddresses = [\"198.18.1.1\"]\n\
         forward_to = [\"198.18.2.2\", \"fd00:18:2::2\"]\n[https]\n[networks.lb]\ninterfaces = [\"eth2\"]\n",
    )
    .expect("sound");
    insta::assert_snapshot!(rules(&text, "redirection").join("\n"), @"
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr { 198.18.1.1 } tcp dport 80 dnat ip to 198.18.2.2
    ip daddr { 198.18.1.1 } tcp dport 443 dnat ip to 198.18.2.2
    ");
    insta::assert_snapshot!(rules(&text, "forward").join("\n"), @r#"
    type filter hook forward priority filter - 5; policy drop;
    ct state established,related accept
    iifname "eth2" oifname "eth2" accept
    iifname "eth2" counter name dropped_forward drop
    meta l4proto tcp ct status dnat ct original proto-dst 80 accept
    meta l4proto tcp ct status dnat ct original proto-dst 443 accept
    counter name dropped_forward drop
    "#);
    let any = nft_text("topology = \"gateway\"\n[balancer]\nforward_to = [\"fd00:18:2::2\"]\n")
        .expect("sound");
    insta::assert_snapshot!(rules(&any, "redirection").join("\n"), @"
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local tcp dport 80 dnat ip6 to fd00:18:2::2
    ");
}

#[test]
fn a_network_reaches_what_its_policy_says() {
    let text = nft_text(
        "[networks.front]\ninterfaces = [\"br-front\"]\nreach = [\"store\", \"198.18.4.31\", \"fd00:18:4::/64\"]\n\
         [networks.store]\ninterfaces = [\"br-store\", \"wg*\"]\n[networks.tools]\ninterfaces = [\"tools0\"]\n\
         reach = [\"everything\"]\n",
    )
    .expect("sound");
    insta::assert_snapshot!(rules(&text, "forward").join("\n"), @r#"
    type filter hook forward priority filter - 5; policy drop;
    ct state established,related accept
    iifname "br-front" oifname "br-front" accept
    iifname "br-front" oifname "br-store" accept
    iifname "br-front" oifname "wg*" accept
    iifname "br-front" ip daddr { 198.18.4.31 } accept
    iifname "br-front" ip6 daddr { fd00:18:4::/64 } accept
    iifname "br-front" counter name dropped_forward drop
    iifname "br-store" oifname "br-store" accept
    iifname "br-store" oifname "wg*" accept
    iifname "br-store" counter name dropped_forward drop
    iifname "wg*" oifname "br-store" accept
    iifname "wg*" oifname "wg*" accept
    iifname "wg*" counter name dropped_forward drop
    iifname "tools0" accept
    meta l4proto tcp ct status dnat ct original proto-dst 80 accept
    counter name dropped_forward drop
    "#);
}

#[test]
fn a_full_list_of_senders_is_no_way_around_a_drop() {
    // Where the list is full, a rule that notes a sender ends there.
    let text = nft_text(SAMPLE).expect("the sample is sound");
    let noting: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("update @senders_dropped"))
        .collect();
    assert!(!noting.is_empty());
    assert!(noting.iter().all(|line| line.ends_with('}')), "{noting:?}");
}

#[test]
fn the_same_policy_in_another_order_gives_the_same_bytes() {
    let one = "[web]\nport = 80\n[balancer]\naddresses = [\"198.18.2.2\", \"198.18.1.1\"]\n\
               [networks.a]\ninterfaces = [\"eth1\", \"br-*\"]\nreach = [\"everything\"]\n";
    let other = "[networks.a]\ninterfaces = [\"br-*\", \"eth1\", \"br-*\"]\nreach = [\"everything\"]\n[balancer]\n\
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
fn without_networks_inside_only_loopback_is_trusted() {
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
    icmp type redirect counter name dropped_invalid drop
    icmpv6 type nd-redirect counter name dropped_invalid drop
    ip daddr { 198.18.2.1, 198.18.2.2 } icmp type echo-request limit rate 20/second burst 40 packets counter name accepted_ping accept
    ip6 daddr { fd00::2 } icmpv6 type echo-request limit rate 20/second burst 40 packets counter name accepted_ping accept
    icmp type echo-request jump pinging
    icmpv6 type echo-request jump pinging
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
    fib daddr type local ip6 saddr { 2001:db8::7 } tcp dport 22 jump administration
    fib daddr type local ip saddr { 192.0.2.9 } tcp dport 9000 jump administration
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
    fib daddr type local ip6 saddr { 2001:db8::7 } tcp dport 22 accept
    fib daddr type local ip saddr { 192.0.2.9 } tcp dport 9000 accept
    "#);
}
