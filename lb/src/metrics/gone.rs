//! What was counted of backends that are gone. It is shown for a while, so that whoever scrapes sees the end of it, and
//! then forgotten: where addresses come and go, there would be more series with every day.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::proto::MetricFamily;

/// How long series outlive their backend. Scrapes come every minute or more often.
pub(super) const KEPT: Duration = Duration::from_mins(10);

/// Pool and address of a backend.
pub(super) type Name = (String, String);

/// Since when backends have been seen to be gone.
#[derive(Debug, Default)]
pub(super) struct Gone(Mutex<BTreeMap<Name, Instant>>);

impl Gone {
    /// The backends among those shown that are not here any more, and were not for long enough to be forgotten.
    pub(super) fn over(
        &self,
        shown: &[MetricFamily],
        here: &BTreeSet<Name>,
        now: Instant,
    ) -> Vec<Name> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *since);
        for name in names(shown) {
            if !here.contains(&name) {
                let first = before.get(&name).copied().unwrap_or(now);
                since.insert(name, first);
            }
        }
        let over = since.extract_if(.., |_, first| now.saturating_duration_since(*first) >= KEPT);
        over.map(|(name, _)| name).collect()
    }
}

/// Those that any of these series is of.
fn names(shown: &[MetricFamily]) -> impl Iterator<Item = Name> {
    shown
        .iter()
        .flat_map(MetricFamily::get_metric)
        .filter_map(|metric| {
            let labels = metric.get_label();
            let value = |name| labels.iter().find(|label| label.name() == name);
            let name = (value("pool")?.value(), value("backend")?.value());
            Some((name.0.to_owned(), name.1.to_owned()))
        })
}
