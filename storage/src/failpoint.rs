//! Places in a write where a test has the process die, as by `kill -9`, to see what is left. Debug builds only: in a
//! release build a place is nothing at all.

/// Every place, in the order in which a write passes them.
pub const PLACES: [&str; 9] = [
    "blob-written",
    "blob-synced",
    "blob-named",
    "blob-durable",
    "promise-begun",
    "promise-committed",
    "accept-begun",
    "accept-committed",
    "reply",
];

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::PLACES;

    static ARMED: OnceLock<(String, AtomicU64)> = OnceLock::new();

    /// Has this process die where `place` says: `NAME:N`, at the Nth passage. Only the first call counts.
    pub fn arm(place: &str) -> Result<(), String> {
        let parsed = place.split_once(':').and_then(|(name, passages)| {
            let passages: u64 = passages.parse().ok()?;
            (PLACES.contains(&name) && passages > 0).then_some((name, passages))
        });
        let (name, passages) = parsed.ok_or_else(|| format!("`{place}` is not NAME:N"))?;
        ARMED.get_or_init(|| (name.to_owned(), AtomicU64::new(passages)));
        Ok(())
    }

    pub(crate) fn pass(place: &str) {
        debug_assert!(PLACES.contains(&place), "{place} is not listed");
        if let Some((name, left)) = ARMED.get()
            && name == place
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }
}

#[cfg(debug_assertions)]
pub use armed::arm;
#[cfg(debug_assertions)]
pub(crate) use armed::pass;

#[cfg(not(debug_assertions))]
pub(crate) fn pass(_place: &str) {}
