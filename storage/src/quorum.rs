//! The decisions of a coordinator, without any I/O: are there enough answers, which value is current, did a write
//! of uncertain fate take effect.

use crate::ballot::Ballot;
use crate::error::Error;
use crate::version::{State, Version};
use crate::wire::Promise;

/// Replication factor: every node holds everything. The one other choice is a single node, for development.
pub(crate) const NODES: usize = 3;

/// Read and write quorum of so many nodes: any two of three share a node with any other two.
pub(crate) const fn quorum_of(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// Whether to go on waiting for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wait,
    Reached,
    Failed,
}

/// Counts the answers of one fan-out to all nodes.
#[derive(Debug)]
pub(crate) struct Tracker {
    nodes: usize,
    yes: usize,
    no: usize,
}

impl Tracker {
    pub(crate) fn of(nodes: usize) -> Self {
        Self {
            nodes,
            yes: 0,
            no: 0,
        }
    }

    pub(crate) fn yes(&mut self) -> Verdict {
        self.yes += 1;
        self.verdict()
    }

    pub(crate) fn no(&mut self) -> Verdict {
        self.no += 1;
        self.verdict()
    }

    fn verdict(&self) -> Verdict {
        let quorum = quorum_of(self.nodes);
        if self.yes >= quorum {
            Verdict::Reached
        } else if self.no > self.nodes - quorum {
            Verdict::Failed
        } else {
            Verdict::Wait
        }
    }
}

/// What a quorum says a register holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) accepted: Ballot,
    pub(crate) version: Option<Version>,
    /// All answers agree, so a quorum has accepted it: it can be acted on without another round. Answers that differ
    /// prove nothing, not even where both mean "absent": a tombstone seen on one node may never be chosen.
    pub(crate) chosen: bool,
    /// Rounds up to this ballot may have left no trace: a tombstone that followed them was collected.
    pub(crate) forgotten: Ballot,
}

/// The newest of a quorum's answers.
pub(crate) fn current(answers: Vec<(Ballot, Option<Version>)>) -> Current {
    let chosen = answers.windows(2).all(|pair| pair[0].0 == pair[1].0);
    let (accepted, version) = answers
        .into_iter()
        .max_by_key(|(accepted, _)| *accepted)
        .unwrap_or((Ballot::ZERO, None));
    Current {
        accepted,
        version,
        chosen,
        forgotten: Ballot::ZERO,
    }
}

/// The newest of what a quorum showed with its promises.
pub(crate) fn promised(promises: Vec<Promise>) -> Current {
    let forgotten = promises.iter().map(|promise| promise.forgotten).max();
    let shown = promises.into_iter().map(|p| (p.accepted, p.version));
    Current {
        forgotten: forgotten.unwrap_or(Ballot::ZERO),
        ..current(shown.collect())
    }
}

/// What became of a write whose round did not get its quorum of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is, or was, the register's value.
    Applied,
    /// It is not, but an accept of it may still be about: only once a later round is chosen will it never be.
    NotApplied,
    /// Nobody can tell.
    Unknown,
}

/// The fate of the rounds `tried`, judged by what a quorum that promised a later round holds.
///
/// After such a promise no lower round can be chosen any more, so what the quorum shows is all there is: a current
/// ballot below all of ours means none was chosen; above, the current version's own history tells, as far as it goes.
pub(crate) fn fate(tried: &[Ballot], current: &Current) -> Fate {
    let Some(first) = tried.iter().min() else {
        return Fate::NotApplied;
    };
    let Some(version) = &current.version else {
        // Ours may have been written, deleted by somebody else, and the tombstone collected.
        return if current.forgotten < *first {
            Fate::NotApplied
        } else {
            Fate::Unknown
        };
    };
    if current.accepted < *first {
        return Fate::NotApplied;
    }
    if tried.contains(&version.written) || version.before.iter().any(|b| tried.contains(b)) {
        return Fate::Applied;
    }
    // The history is whole as far back as our first round if it reaches below it or begins with the register.
    if version.history_reaches_below(*first) {
        Fate::NotApplied
    } else {
        Fate::Unknown
    }
}

/// What a writer wants done with the current version.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every step writes")]
pub(crate) enum Step {
    Write(State),
    /// Nothing: the answer follows from what is there.
    Keep,
    /// Nothing, but every node is to accept what is there anew, whether or not it is known to be chosen.
    Refresh,
}

/// How a change ended.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The register's value, known to be chosen.
    pub(crate) version: Option<Version>,
    /// This change's own write took effect.
    pub(crate) wrote: bool,
}

/// What a round does after its promises.
#[derive(Debug)]
pub(crate) enum Next {
    Settled(Settled),
    /// Make chosen what is there; and then, whether the change has been written.
    CarryOn(Version, bool),
    Write(Version),
}

/// What to propose in round `ballot`, after a quorum promised it and showed `now`; `tried` are the rounds in which
/// this change was proposed before and may have been accepted somewhere.
pub(crate) fn next_value(
    tried: &[Ballot],
    now: &Current,
    ballot: Ballot,
    decide: &dyn Fn(Option<&Version>) -> Step,
) -> Result<Next, Error> {
    let (wrote, refresh) = match fate(tried, now) {
        Fate::Unknown => return Err(Error::Unknown),
        Fate::Applied => (true, false),
        Fate::NotApplied => match decide(now.version.as_ref()) {
            Step::Write(state) => {
                let version = Version::after(now.version.as_ref(), now.forgotten, ballot, state);
                return Ok(Next::Write(version));
            }
            Step::Keep => (false, false),
            Step::Refresh => (false, true),
        },
    };
    // "Not written" is final only once a round above the tries is chosen, as what is shown here may be already.
    // Otherwise a node that is not heard now may have accepted one of them, and the next reader that hears it would
    // make it chosen.
    let unfinished = !wrote && tried.iter().any(|ballot| *ballot > now.accepted);
    Ok(match &now.version {
        // An answer that rests on what is there may be given only when that is known to be chosen.
        Some(version) if !now.chosen || unfinished || refresh => {
            Next::CarryOn(version.clone(), wrote)
        }
        // There is nothing to make chosen above the tries.
        None if unfinished => return Err(Error::Unknown),
        version => Next::Settled(Settled {
            version: version.clone(),
            wrote,
        }),
    })
}

#[cfg(test)]
mod tests;
