//! Tells when a trouble begins, so that a thousand of a kind are one line in the log.

use std::time::{Duration, Instant};

/// A trouble that has not been seen for so long is over; the next one is news.
const QUIET: Duration = Duration::from_secs(10);

/// One kind of trouble.
#[derive(Debug, Default)]
pub(crate) struct Episode {
    last: Option<Instant>,
}

impl Episode {
    /// Whether the trouble met `now` is the first of its episode.
    pub(crate) fn begins(&mut self, now: Instant) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.duration_since(last) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_begins_once_and_lasts_as_long_as_the_trouble_does() {
        let mut episode = Episode::default();
        let start = Instant::now();
        let begins: Vec<_> = [0, 9, 18, 27, 37, 38]
            .map(|secs| episode.begins(start + Duration::from_secs(secs)))
            .into();
        assert_eq!(begins, [true, false, false, false, true, false]);
    }
}
