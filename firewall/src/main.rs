//! Firewall compiler of Quizstack: a typed policy to an nftables ruleset.

fn main() {}
