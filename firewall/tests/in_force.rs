//! `apply`, `plan`, `status` and `remove` on the rules of a machine: a network namespace of each test's own.

mod common;

use std::process::Command;

use common::{SAMPLE, nft_or_skip};
use quiz_firewall::nft::search_path;

/// Opens what the sample does not.
const OTHER: &str = "[web]\nport = 8080\n[ssh]\nsources = [\"192.0.2.0/24\"]\n";

/// Runs a shell script as root of a network namespace of its own. In it, `fw` is the program, `$sample` and `$other` are
/// policy files, and `until_so COMMAND` waits for a command to succeed. Returns what it says on both outputs.
fn script(test: &str, script: &str) -> Option<String> {
    if !nft_or_skip(test) {
        return None;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = env!("CARGO_BIN_EXE_quiz-firewall");
    for (name, policy) in [("sample", SAMPLE), ("other", OTHER)] {
        std::fs::write(folder.path().join(name), policy).expect("the policy is written");
    }
    let prelude = format!(
        "exec 2>&1; cd {}; sample=sample other=other program={program}\n\
         fw() {{ $program \"$@\"; }}\n\
         until_so() {{ for i in $(seq 400); do \"$@\" >/dev/null && return; sleep 0.05; done; echo \"never: $*\"; exit 9; }}\n",
        folder.path().display()
    );
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "bash", "-uc"])
        .arg(prelude + script)
        .env("PATH", search_path())
        .env_remove("SSH_CONNECTION")
        .output()
        .expect("unshare runs");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_is_applied_is_in_force_and_applying_it_again_changes_nothing() {
    let test = "what_is_applied_is_in_force_and_applying_it_again_changes_nothing";
    let said = script(
        test,
        "fw status $sample | head -1; fw plan $sample >/dev/null; echo $?
         fw apply $sample; nft -s list ruleset >before; fw apply $sample; nft -s list ruleset | cmp - before
         fw plan $sample; fw status $sample | head -1; fw remove; fw remove; nft list ruleset",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    NOT IN FORCE: this machine has no rules of quiz-firewall
    4
    applied: the rules of the policy are in force
    applied: the rules of the policy are in force
    nothing to change: the rules in force are those of the policy
    in force, as the policy says
    removed: this machine has no rules of quiz-firewall
    removed: this machine has no rules of quiz-firewall
    ");
}

#[test]
fn a_rule_that_somebody_else_added_or_took_away_is_shown_and_mended() {
    let test = "a_rule_that_somebody_else_added_or_took_away_is_shown_and_mended";
    let said = script(
        test,
        "fw apply $sample; nft insert rule inet quizstack input tcp dport 22 accept; nft delete rule inet quizstack opening handle $(nft -a list chain inet quizstack opening | sed -n \"s/.*accept # handle //p\")
         fw status $sample | head -1; fw plan $sample; echo $?; fw plan --json $sample | head -4
         fw apply $sample; fw plan $sample; echo $?",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r#"
    applied: the rules of the policy are in force
    DRIFTED: lines in which the rules in force differ from the policy: 2; `plan` shows them
    + counter name "accepted_opening" accept
    - tcp dport 22 accept
    4
    [
      {
        "sign": "+",
        "line": "counter name \"accepted_opening\" accept"
    applied: the rules of the policy are in force
    nothing to change: the rules in force are those of the policy
    0
    "#);
}

#[test]
fn the_status_can_be_read_by_a_program() {
    let test = "the_status_can_be_read_by_a_program";
    let said = script(
        test,
        "fw status --json; echo $?; fw apply $sample; fw status --json $sample | head -9; fw status --json $other | head -9 | tail -7",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r#"
    {
      "in_force": false,
      "drift": null,
      "counters": [],
      "dropped_senders": []
    }
    4
    applied: the rules of the policy are in force
    {
      "in_force": true,
      "drift": [],
      "counters": [
        {
          "name": "accepted_ping",
          "packets": 0,
          "bytes": 0
        },
      "drift": [
        {
          "sign": "-",
          "line": "iifname \"br-*\" accept"
        },
        {
          "sign": "-",
    "#);
}

#[test]
fn without_a_confirmation_the_rules_before_come_back() {
    let test = "without_a_confirmation_the_rules_before_come_back";
    let said = script(
        test,
        "mkfifo nobody; exec 3<>nobody; fw apply $sample
         fw apply $other --confirm 1 <nobody | tail -1; fw plan $sample
         fw remove; fw apply $other --confirm 1 <nobody | tail -1; fw status",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    applied: the rules of the policy are in force
    not confirmed: the rules before are in force again
    nothing to change: the rules in force are those of the policy
    removed: this machine has no rules of quiz-firewall
    not confirmed: the rules before are in force again
    NOT IN FORCE: this machine has no rules of quiz-firewall
    ");
}

#[test]
fn a_confirmation_keeps_the_new_rules() {
    let test = "a_confirmation_keeps_the_new_rules";
    let said = script(
        test,
        "fw apply $sample; (echo; echo keep) | fw apply $other --confirm 60 | tail -1; fw plan $other",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    applied: the rules of the policy are in force
    applied: the rules of the policy are in force
    nothing to change: the rules in force are those of the policy
    ");
}

/// As when its terminal goes away, long before the time is over.
#[test]
fn the_rules_before_come_back_when_who_asked_for_new_ones_is_killed() {
    let test = "the_rules_before_come_back_when_who_asked_for_new_ones_is_killed";
    let said = script(
        test,
        "mkfifo nobody; exec 3<>nobody; fw apply $sample
         exec 4<&3; $program apply $other --confirm 3600 <&4 >/dev/null & disown
         until_so fw plan $other
         kill -9 $!; until_so fw plan $sample; echo back",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    applied: the rules of the policy are in force
    back
    ");
}

#[test]
fn the_rules_before_come_back_when_who_was_to_bring_them_back_is_killed() {
    let test = "the_rules_before_come_back_when_who_was_to_bring_them_back_is_killed";
    let said = script(
        test,
        "mkfifo nobody; exec 3<>nobody; fw apply $sample
         exec 4<&3; $program apply $other --confirm 3600 <&4 >said & asker=$!
         until_so fw plan $other; kill -9 $(pgrep -P $asker -f keep-or-revert); until_so fw plan $sample; wait $asker; echo $?; tail -1 said",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    applied: the rules of the policy are in force
    5
    not confirmed: the rules before are in force again
    ");
}

#[test]
fn rules_that_would_cut_off_the_session_are_refused_unless_forced() {
    let test = "rules_that_would_cut_off_the_session_are_refused_unless_forced";
    let said = script(
        test,
        "from() { export SSH_CONNECTION=\"$1 50000 198.18.2.2 22\"; bash -c \"$2\"; unset SSH_CONNECTION; }
         export program; export -f fw
         from 203.0.113.7 'fw apply other'; fw status
         from 192.0.2.7 'fw apply other'
         from 203.0.113.7 'env -u SSH_CONNECTION $program apply other; true'; from here 'fw apply other'
         from 203.0.113.7 'fw apply --force sample'",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r#"
    quiz-firewall: these rules let nobody from 203.0.113.7 in at port 22, which is how the session came that this command runs in: name the address under `sources` of `[ssh]`, with `port = 22`, or say --force
    NOT IN FORCE: this machine has no rules of quiz-firewall
    applied: the rules of the policy are in force
    quiz-firewall: these rules let nobody from 203.0.113.7 in at port 22, which is how the session came that this command runs in: name the address under `sources` of `[ssh]`, with `port = 22`, or say --force
    quiz-firewall: the SSH session that this command runs in says "here 50000 198.18.2.2 22" of itself, from which nobody can tell whether the rules would cut it off: say --force if they do not
    applied: the rules of the policy are in force
    "#);
}

/// As of an older version of the program, or of somebody else.
#[test]
fn a_table_that_looks_quite_different_is_replaced_whole() {
    let test = "a_table_that_looks_quite_different_is_replaced_whole";
    let said = script(
        test,
        "nft add table inet quizstack; nft add counter inet quizstack dropped_scan '{ packets 7 bytes 8 ; }'
         nft add chain inet quizstack opening; nft add chain inet quizstack theirs
         nft add rule inet quizstack theirs jump opening; nft add set inet quizstack rate4 '{ type inet_service; }'
         fw status; fw apply $sample; fw plan $sample; fw status | grep scan",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    in force

    counter                    packets              bytes
    dropped_scan                     7                  8
    applied: the rules of the policy are in force
    nothing to change: the rules in force are those of the policy
    dropped_scan                     7                  8
    ");
}

#[test]
fn what_was_counted_goes_on_when_rules_are_undone() {
    let test = "what_was_counted_goes_on_when_rules_are_undone";
    let said = script(
        test,
        "nft add table inet quizstack; nft add counter inet quizstack dropped_scan '{ packets 7 bytes 8 ; }'
         mkfifo nobody; exec 3<>nobody; fw apply $sample; fw apply $other --confirm 1 <nobody | tail -1
         fw plan $sample; fw status | grep scan",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    applied: the rules of the policy are in force
    not confirmed: the rules before are in force again
    nothing to change: the rules in force are those of the policy
    dropped_scan                     7                  8
    ");
}

#[test]
fn while_a_change_waits_for_its_confirmation_nobody_else_makes_one() {
    let test = "while_a_change_waits_for_its_confirmation_nobody_else_makes_one";
    let said = script(
        test,
        "mkfifo answer; exec 3<>answer; fw apply $sample
         $program apply $other --confirm 3600 <answer >said & asker=$!
         until_so fw plan $other; until_so test -s said; fw apply $sample; fw remove; echo keep >answer
         wait $asker; echo $?; tail -1 said; fw plan $other",
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r"
    applied: the rules of the policy are in force
    quiz-firewall: another quiz-firewall is changing the rules, or waits for a confirmation: end that first
    quiz-firewall: another quiz-firewall is changing the rules, or waits for a confirmation: end that first
    0
    applied: the rules of the policy are in force
    nothing to change: the rules in force are those of the policy
    ");
}

#[test]
fn a_watched_policy_follows_its_file_outlives_a_bad_one_and_is_mended() {
    let test = "a_watched_policy_follows_its_file_outlives_a_bad_one_and_is_mended";
    let said = script(
        test,
        r#"ip link set lo up; cp $sample watched
         $program watch watched --listen 127.0.0.1:9091 --interval 1 2>log & watcher=$!
         metrics() { exec 5<>/dev/tcp/127.0.0.1/9091 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&5 && cat <&5; }
         has() { metrics 2>/dev/null | tr -d '\r' | grep -qxF "$1"; }
         until_so has 'firewall_in_force 1'; fw plan $sample
         cp $other new; mv new watched; until_so has 'firewall_loads_total 2'; fw plan $other
         echo 'nonsense = 1' >new; mv new watched; until_so has 'firewall_policy_sound 0'; fw plan $other
         nft delete table inet quizstack; until_so has 'firewall_mends_total 1'; fw plan $other
         until_so has 'firewall_drift_lines 0'
         cp $sample new; mv new watched; until_so has 'firewall_policy_sound 1'; fw plan $sample
         metrics | grep -F 'firewall_packets_total{' | sed 's/ [0-9]*$//' | sort
         kill $watcher; wait $watcher; echo "ended with $?"; fw plan $sample
         grep -c 'is not usable: the last policy stays' log; grep -o 'unknown key `nonsense`' log"#,
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r#"
    nothing to change: the rules in force are those of the policy
    nothing to change: the rules in force are those of the policy
    nothing to change: the rules in force are those of the policy
    nothing to change: the rules in force are those of the policy
    nothing to change: the rules in force are those of the policy
    firewall_packets_total{reason="connections",verdict="dropped"}
    firewall_packets_total{reason="forward",verdict="dropped"}
    firewall_packets_total{reason="input",verdict="dropped"}
    firewall_packets_total{reason="invalid",verdict="dropped"}
    firewall_packets_total{reason="opening",verdict="accepted"}
    firewall_packets_total{reason="other",verdict="dropped"}
    firewall_packets_total{reason="ping",verdict="accepted"}
    firewall_packets_total{reason="ping",verdict="dropped"}
    firewall_packets_total{reason="rate",verdict="dropped"}
    firewall_packets_total{reason="scan",verdict="dropped"}
    firewall_packets_total{reason="spoofed",verdict="dropped"}
    ended with 0
    nothing to change: the rules in force are those of the policy
    1
    unknown key `nonsense`
    "#);
}

#[test]
fn a_watcher_does_nothing_while_another_change_waits_for_its_confirmation() {
    let test = "a_watcher_does_nothing_while_another_change_waits_for_its_confirmation";
    let said = script(
        test,
        r#"ip link set lo up; mkfifo answers; exec 3<>answers
         $program watch $sample --listen 127.0.0.1:9091 --interval 1 2>log & watcher=$!
         metrics() { exec 5<>/dev/tcp/127.0.0.1/9091 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&5 && cat <&5; }
         has() { metrics 2>/dev/null | tr -d '\r' | grep -qxF "$1"; }
         until_so has 'firewall_drift_lines 0'
         $program apply $other --confirm 60 <answers >said & applying=$!
         drifted() { metrics 2>/dev/null | grep -qE '^firewall_drift_lines [1-9]'; }
         until_so drifted; fw plan $other; has 'firewall_mends_total 0' && echo 'not mended'
         healthy() { $program healthcheck 2>/dev/null; }; unready() { ! healthy; }
         until_so unready; fw healthcheck; echo "with $?"; fw healthcheck --live; echo "with $?"
         echo keep >&3; wait $applying; until_so has 'firewall_mends_total 1'; fw plan $sample
         until_so healthy; kill $watcher; wait $watcher; fw healthcheck 2>gone; echo "with $?"
         grep -o 'no answer: Connection refused' gone"#,
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @"
    nothing to change: the rules in force are those of the policy
    not mended
    quiz-firewall: http://127.0.0.1:9091/ready: 503 Service Unavailable: the rules in force are not those of the policy
    with 1
    with 0
    nothing to change: the rules in force are those of the policy
    with 1
    no answer: Connection refused
    ");
}

#[test]
fn a_watcher_names_its_network_namespace_only_while_its_rules_are_in_force() {
    let test = "a_watcher_names_its_network_namespace_only_while_its_rules_are_in_force";
    let said = script(
        test,
        r#"ip link set lo up; echo 'net:[1]' >where
         watch() { $program watch $1 --listen 127.0.0.1:9091 --namespace-file where 2>>log; }
         named() { [ "$(cat where 2>/dev/null)" = "$(readlink /proc/self/ns/net)" ]; }
         echo 'nonsense = 1' >bad; watch bad; echo "ended with $?"; ls where
         watch $sample & until_so named; fw plan $sample; ls | grep -c where
         kill $(pgrep -P $!); wait $!; echo "ended with $?"; ls where"#,
    );
    let Some(said) = said else { return };
    insta::assert_snapshot!(said, @r#"
    ended with 1
    ls: cannot access 'where': No such file or directory
    nothing to change: the rules in force are those of the policy
    1
    ended with 0
    ls: cannot access 'where': No such file or directory
    "#);
}
