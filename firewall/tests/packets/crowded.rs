//! A machine with two visitors, of whom one wants more than its share.

use quiz_firewall::nft::{counted, dropped_senders};
use quiz_firewall::nft_text;

use super::neighbour::Neighbour;
use super::{Reports, listen, nft, wait_until_all_answer};

/// What the machine under the test must be able to do.
pub(crate) const CABLES: &str = super::visited::CABLES;

/// Connections that the greedy visitor opens at once, and the modest one.
const GREEDY: usize = 12;
const MODEST: usize = 3;
/// How many the policies under test allow at once, which is between the two.
const ALLOWED: usize = 5;

pub(crate) fn be_the_guarded_machine(test: &'static str) {
    let greedy = Neighbour::plug_in(test, "greedy", 2);
    let modest = Neighbour::plug_in(test, "modest", 3);
    let listeners = listen(&[80]);
    for (visitor, net) in [(&greedy, 2), (&modest, 3)] {
        wait_until_all_answer(|| visitor.probe(&web_of(net)));
    }
    // While a dropped opening is sent again, another may be due.
    one_policy(
        &greedy,
        &modest,
        "openings_per_second = 1\nopenings_burst = 5\n",
        3,
    );
    assert!(packets("dropped_rate") > 0);
    assert!(dropped().iter().any(|sender| sender == "198.18.2.1"));
    one_policy(&greedy, &modest, "connections = 5\n", 0);
    assert!(packets("dropped_connections") > 0);

    greedy.probe(&[
        "tcp 198.18.2.2 22".to_owned(),
        "tcp fd00:18:2::2 22".to_owned(),
    ]);
    let addresses = dropped();
    for address in ["198.18.2.1", "fd00:18:2::"] {
        assert!(
            addresses.iter().any(|known| known == address),
            "{addresses:?}"
        );
    }
    drop(listeners);
}

fn one_policy(greedy: &Neighbour, modest: &Neighbour, limits: &str, late: usize) {
    nft(&nft_text(&format!("[web]\nport = 80\n[limits]\n{limits}")).expect("sound"));
    for address in ["198.18.2.2", "fd00:18:2::2"] {
        let opened = opened(greedy, address, GREEDY);
        assert!(
            (ALLOWED..=ALLOWED + late).contains(&opened),
            "{limits}: {opened} to {address}"
        );
    }
    for address in ["198.18.3.2", "fd00:18:3::2"] {
        assert_eq!(
            opened(modest, address, MODEST),
            MODEST,
            "{limits}: {address}"
        );
    }
}

/// How many of so many connections at once are opened.
fn opened(visitor: &Neighbour, address: &str, count: usize) -> usize {
    let name = format!("open {address} {count}");
    let reports: Reports = visitor.probe(std::slice::from_ref(&name));
    reports[&name].parse().expect("a number")
}

fn web_of(net: u8) -> Vec<String> {
    vec![
        format!("tcp 198.18.{net}.2 80"),
        format!("tcp fd00:18:{net}::2 80"),
    ]
}

/// Who was dropped, by `status`.
fn dropped() -> Vec<String> {
    let senders = dropped_senders().expect("nft lists them").into_iter();
    senders.map(|sender| sender.address.to_string()).collect()
}

fn packets(counter: &str) -> u64 {
    let counted = counted().expect("nft lists them");
    let counter = counted.into_iter().find(|one| one.name == counter);
    counter.expect("it is there").packets
}
