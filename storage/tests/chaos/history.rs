//! What clients did and saw, and whether one store that does one thing at a time could have shown them that.

use std::collections::{BTreeMap, HashMap};

/// A value, unique among all that are written.
pub(crate) type Value = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put(Value),
    /// `If-None-Match: *`
    Create(Value),
    /// `If-Match` with the tag of the value that was seen.
    Update {
        seen: Value,
        to: Value,
    },
    Delete,
    Get,
}

impl Kind {
    fn writes(self) -> Option<Value> {
        match self {
            Self::Put(value) | Self::Create(value) | Self::Update { to: value, .. } => Some(value),
            Self::Delete | Self::Get => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The condition did not hold.
    Failed,
    Saw(Option<Value>),
    /// It may take effect at any time after its call, or never.
    Unknown,
}

/// One operation on one key. Times are microseconds since the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) node: usize,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    pub(crate) called: u64,
    pub(crate) returned: u64,
}

impl Operation {
    /// When it certainly was over.
    fn ended(&self) -> u64 {
        if self.outcome == Outcome::Unknown {
            u64::MAX
        } else {
            self.returned
        }
    }

    /// What becomes of the key, if it can have gone like this from `now`.
    fn apply(&self, now: Option<Value>) -> Option<Option<Value>> {
        let (next, outcome) = match self.kind {
            Kind::Put(value) => (Some(value), Outcome::Done),
            Kind::Create(value) if now.is_none() => (Some(value), Outcome::Done),
            Kind::Update { seen, to } if now == Some(seen) => (Some(to), Outcome::Done),
            Kind::Create(_) | Kind::Update { .. } => (now, Outcome::Failed),
            Kind::Delete => (None, Outcome::Done),
            Kind::Get => (now, Outcome::Saw(now)),
        };
        (self.outcome == Outcome::Unknown || self.outcome == outcome).then_some(next)
    }
}

/// Whether some order of the operations on one key, each between its call and its return, explains what all of them
/// saw. After Wing and Gong, "Testing and verifying concurrent objects" (1993).
pub(crate) fn linearizable(history: &[Operation]) -> bool {
    assert!(history.len() <= 64, "too long to search");
    search(history, 0, None, &mut HashMap::new())
}

fn search(
    history: &[Operation],
    done: u64,
    now: Option<Value>,
    known: &mut HashMap<(u64, Option<Value>), bool>,
) -> bool {
    if let Some(known) = known.get(&(done, now)) {
        return *known;
    }
    let left = || (0..history.len()).filter(|at| done & (1 << at) == 0);
    // Nothing can come before what was over before it was called.
    let first = left().map(|at| history[at].ended()).min();
    let Some(first) = first.filter(|ended| *ended < u64::MAX) else {
        return true; // what is left may never take effect
    };
    let explained =
        left()
            .filter(|at| history[*at].called <= first)
            .any(|at| match history[at].apply(now) {
                Some(next) => search(history, done | 1 << at, next, known),
                None => false,
            });
    known.insert((done, now), explained);
    explained
}

/// What a listing showed: keys and tags.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) node: usize,
    pub(crate) prefix: String,
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) seen: BTreeMap<String, String>,
}

/// Everything that was done and seen.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) keys: BTreeMap<String, Vec<Operation>>,
    pub(crate) listings: Vec<Listing>,
    /// The values behind the tags that were told.
    pub(crate) tags: HashMap<String, Value>,
}

impl History {
    /// All that is wrong with it, with the operations that show it.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let keys = self.keys.iter();
        let broken = keys.filter(|(_, operations)| !linearizable(operations));
        let broken = broken
            .map(|(key, operations)| format!("{key} is not linearizable:\n{}", lines(operations)));
        let listings = self.listings.iter().flat_map(|listing| {
            let keys = self.keys.range(listing.prefix.clone()..);
            let keys = keys.take_while(|(key, _)| key.starts_with(&listing.prefix));
            keys.filter_map(move |(key, operations)| {
                let tag = listing.seen.get(key);
                let value = tag.map(|tag| self.tags.get(tag).copied());
                let wrong = unlisted(operations, listing, value)?;
                Some(format!(
                    "{key} in the listing of node {} from {} to {}: {wrong}\n{}",
                    listing.node,
                    listing.called,
                    listing.returned,
                    lines(operations)
                ))
            })
        });
        broken.chain(listings).collect()
    }
}

fn lines(operations: &[Operation]) -> String {
    let mut sorted: Vec<_> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.called);
    let line = |o: &&Operation| {
        let (called, returned) = (o.called, o.returned);
        let (node, kind, outcome) = (o.node, o.kind, o.outcome);
        format!("  {called:>10} .. {returned:>10} node {node} {kind:?} -> {outcome:?}\n")
    };
    sorted.iter().map(line).collect()
}

/// What is wrong with how a listing shows a key: `shown` is nothing, or a value, which may be one that nobody else saw.
/// A key is shown when its write was over before the listing began and no delete can have come after it, and not shown
/// when a delete was over and no write can have come after it; and never with a value that was replaced before.
fn unlisted(
    operations: &[Operation],
    listing: &Listing,
    shown: Option<Option<Value>>,
) -> Option<&'static str> {
    let over = |o: &&Operation| o.ended() < listing.called && o.outcome == Outcome::Done;
    let may_count =
        |o: &&Operation| o.called <= listing.returned && !matches!(o.outcome, Outcome::Failed);
    let deletes = || operations.iter().filter(|o| o.kind == Kind::Delete);
    let writes = || operations.iter().filter(|o| o.kind.writes().is_some());
    // Nothing of `others` that may count can have come after `one`.
    let last = |one: &Operation, mut others: Box<dyn Iterator<Item = &Operation> + '_>| {
        !others.any(|other| may_count(&other) && other.ended() >= one.called)
    };
    match shown {
        None => {
            let stays = writes().filter(over).any(|w| last(w, Box::new(deletes())));
            stays.then_some("it should be there")
        }
        Some(value) => {
            if !writes().any(|write| may_count(&write)) {
                return Some("nobody had written it");
            }
            if deletes().filter(over).any(|d| last(d, Box::new(writes()))) {
                return Some("it should be gone");
            }
            let from = writes().find(|w| value.is_some() && w.kind.writes() == value)?;
            let replaced = operations.iter().filter(over).any(|o| {
                let changes = o.kind != Kind::Get;
                changes && o.called > from.ended()
            });
            replaced.then_some("it had been replaced before")
        }
    }
}

#[cfg(test)]
#[path = "history/tests.rs"]
mod tests;
