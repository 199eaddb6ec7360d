//! The checks find what is wrong, and nothing else.

use super::*;

fn operation(kind: Kind, outcome: Outcome, called: u64, returned: u64) -> Operation {
    Operation {
        node: 1,
        kind,
        outcome,
        called,
        returned,
    }
}

fn put(value: Value, called: u64, returned: u64) -> Operation {
    operation(Kind::Put(value), Outcome::Done, called, returned)
}

fn unknown_put(value: Value, called: u64) -> Operation {
    operation(Kind::Put(value), Outcome::Unknown, called, called + 1)
}

fn get(saw: Option<Value>, called: u64, returned: u64) -> Operation {
    operation(Kind::Get, Outcome::Saw(saw), called, returned)
}

fn delete(called: u64, returned: u64) -> Operation {
    operation(Kind::Delete, Outcome::Done, called, returned)
}

#[test]
fn what_happens_at_the_same_time_may_be_seen_in_any_order() {
    for saw in [None, Some(1), Some(2)] {
        let history = [put(1, 0, 10), put(2, 0, 10), get(saw, 5, 7)];
        assert!(linearizable(&history), "{saw:?}");
    }
    assert!(!linearizable(&[
        put(1, 0, 10),
        put(2, 0, 10),
        get(None, 11, 12)
    ]));
}

#[test]
fn a_stale_read_is_found() {
    assert!(linearizable(&[
        put(1, 0, 1),
        put(2, 2, 3),
        get(Some(2), 4, 5)
    ]));
    assert!(!linearizable(&[
        put(1, 0, 1),
        put(2, 2, 3),
        get(Some(1), 4, 5)
    ]));
}

#[test]
fn a_deleted_object_that_comes_back_is_found() {
    assert!(!linearizable(&[
        put(1, 0, 1),
        delete(2, 3),
        get(Some(1), 4, 5)
    ]));
}

#[test]
fn two_creates_of_one_object_are_found() {
    let create = |value, outcome, at| operation(Kind::Create(value), outcome, at, at + 1);
    assert!(linearizable(&[
        create(1, Outcome::Done, 0),
        create(2, Outcome::Failed, 2)
    ]));
    assert!(!linearizable(&[
        create(1, Outcome::Done, 0),
        create(2, Outcome::Done, 2)
    ]));
    assert!(!linearizable(&[create(1, Outcome::Failed, 0)]));
}

#[test]
fn a_lost_update_is_found() {
    let update = |seen, to, at| operation(Kind::Update { seen, to }, Outcome::Done, at, at + 10);
    assert!(linearizable(&[
        put(1, 0, 1),
        update(1, 2, 2),
        update(2, 3, 5)
    ]));
    assert!(!linearizable(&[
        put(1, 0, 1),
        update(1, 2, 2),
        update(1, 3, 5)
    ]));
}

#[test]
fn what_nobody_was_told_of_may_show_at_any_later_time_but_once() {
    let late = [unknown_put(1, 0), delete(5, 6), get(Some(1), 7, 8)];
    assert!(linearizable(&late));
    assert!(linearizable(&[unknown_put(1, 0), get(None, 7, 8)]));
    assert!(!linearizable(&[get(Some(1), 0, 1), unknown_put(1, 2)]));
    let twice = [
        unknown_put(1, 0),
        get(Some(1), 2, 3),
        delete(4, 5),
        get(Some(1), 6, 7),
    ];
    assert!(!linearizable(&twice));
}

/// What a listing at 10 to 20 may show of a key.
fn listed(operations: &[Operation], shown: Option<Option<Value>>) -> Option<&'static str> {
    let listing = Listing {
        node: 1,
        prefix: String::new(),
        called: 10,
        returned: 20,
        seen: BTreeMap::new(),
    };
    unlisted(operations, &listing, shown)
}

#[test]
fn a_listing_without_a_completed_write_is_found() {
    assert_eq!(listed(&[put(1, 0, 5)], None), Some("it should be there"));
    assert_eq!(listed(&[put(1, 0, 5)], Some(Some(1))), None);
    // Under way, either is right.
    for write in [put(1, 0, 15), put(1, 12, 30), unknown_put(1, 0)] {
        assert_eq!(listed(&[write], None), None);
        assert_eq!(listed(&[write], Some(Some(1))), None);
    }
    assert_eq!(listed(&[put(1, 0, 5), delete(15, 16)], None), None);
}

#[test]
fn a_listing_with_a_deleted_key_is_found() {
    let gone = Some("it should be gone");
    assert_eq!(listed(&[put(1, 0, 5), delete(6, 7)], Some(Some(1))), gone);
    assert_eq!(listed(&[put(1, 0, 5), delete(6, 7)], Some(None)), gone);
    assert_eq!(listed(&[put(1, 0, 5), delete(6, 11)], Some(Some(1))), None);
    let again = [put(1, 0, 5), delete(6, 7), unknown_put(2, 7)];
    assert_eq!(listed(&again, Some(Some(2))), None);
    assert_eq!(
        listed(&[put(1, 21, 22)], Some(Some(1))),
        Some("nobody had written it")
    );
}

#[test]
fn a_listing_with_a_replaced_value_is_found() {
    let history = [put(1, 0, 1), put(2, 2, 3)];
    assert_eq!(
        listed(&history, Some(Some(1))),
        Some("it had been replaced before")
    );
    assert_eq!(listed(&history, Some(Some(2))), None);
}
