//! The acceptor: one `CASPaxos` register per key, as pure functions from a row to the next row.
//!
//! This is the whole trusted core. It knows neither disk nor network; [`crate::index`] keeps the rows and makes each
//! change durable before it is answered, and [`crate::node`] upholds that a value's blobs are on disk before
//! [`accept`] is asked. Every message may be lost, repeated or late.

use serde::{Deserialize, Serialize};

use crate::ballot::Ballot;

#[cfg(test)]
mod tests;

/// One register's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Register<V> {
    /// No round below this ballot is answered any more.
    pub(crate) promised: Ballot,
    /// The ballot of `value`; [`Ballot::ZERO`] when nothing was accepted yet.
    pub(crate) accepted: Ballot,
    pub(crate) value: Option<V>,
}

/// What holds for a whole node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// An absent row is a promise at this ballot: rows are only ever dropped together with raising it.
    pub(crate) floor: Ballot,
    /// Ballots up to this one belong to a time before a node was rebuilt, and are refused for every key.
    pub(crate) fence: Ballot,
}

/// A refusal. A round above `at_least` may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nack {
    pub(crate) at_least: Ballot,
}

/// The row as the rules see it: an absent one is a promise at the floor.
fn get<V: Clone>(row: Option<&Register<V>>, limits: Limits) -> Register<V> {
    row.cloned().unwrap_or(Register {
        promised: limits.floor.max(limits.fence),
        accepted: Ballot::ZERO,
        value: None,
    })
}

/// Promises to answer no round below `ballot`. The new row must be durable before the promise is sent; it carries
/// what was accepted so far.
pub(crate) fn prepare<V: Clone>(
    row: Option<&Register<V>>,
    limits: Limits,
    ballot: Ballot,
) -> Result<Register<V>, Nack> {
    let now = get(row, limits);
    let at_least = now.promised.max(limits.fence);
    if ballot <= at_least {
        return Err(Nack { at_least });
    }
    Ok(Register {
        promised: ballot,
        ..now
    })
}

/// Accepts `value` in round `ballot`. The new row, and the value's blobs, must be durable before the answer is sent.
pub(crate) fn accept<V: Clone>(
    row: Option<&Register<V>>,
    limits: Limits,
    ballot: Ballot,
    value: V,
) -> Result<Register<V>, Nack> {
    let now = get(row, limits);
    let at_least = now.promised.max(limits.fence);
    // An absent row may have been dropped after a round at exactly the floor, so the floor itself is refused too.
    let forgotten = row.is_none() && ballot <= limits.floor;
    if ballot < now.promised || ballot <= limits.fence || forgotten {
        return Err(Nack { at_least });
    }
    Ok(Register {
        promised: ballot,
        accepted: ballot,
        value: Some(value),
    })
}

/// Whether nothing but the tombstone accepted in round `ballot` is known here, or not even that any more. When all
/// nodes say so, no older value of the key is left anywhere and [`collect`] may drop the row.
pub(crate) fn confirm<V: Clone>(
    row: Option<&Register<V>>,
    limits: Limits,
    ballot: Ballot,
    is_tombstone: impl Fn(&V) -> bool,
) -> bool {
    match row {
        Some(row) => row.accepted == ballot && row.value.as_ref().is_some_and(is_tombstone),
        None => limits.floor.max(limits.fence) >= ballot,
    }
}

/// The floor that lets the row of a tombstone be dropped which all nodes have confirmed; `None` when something newer
/// has been accepted since, and the row stays.
///
/// The floor takes the row's place, so it has to reach the row's promise: at the tombstone's own ballot, a round that
/// was promised in between could end twice.
pub(crate) fn collect<V>(row: &Register<V>, limits: Limits, ballot: Ballot) -> Option<Ballot> {
    (row.accepted == ballot).then(|| limits.floor.max(row.promised))
}

/// The floor that lets a row be dropped in which nothing was ever accepted: such a row is only a promise, and the
/// floor keeps it. Needs no other node.
pub(crate) fn forget_promise<V>(row: &Register<V>, limits: Limits) -> Option<Ballot> {
    row.value.is_none().then(|| limits.floor.max(row.promised))
}

/// The row of a node that is being rebuilt, from the newest that its peers have: `None` when they have none. `fence`
/// is above every ballot that any node may have promised before.
pub(crate) fn rebuild<V>(accepted: Ballot, value: V, fence: Ballot) -> Register<V> {
    Register {
        promised: fence.max(accepted),
        accepted,
        value: Some(value),
    }
}

/// What was accepted last.
pub(crate) fn read<V: Clone>(row: Option<&Register<V>>) -> (Ballot, Option<V>) {
    row.map_or((Ballot::ZERO, None), |row| {
        (row.accepted, row.value.clone())
    })
}
