//! File descriptors: how many this process may have, and for how many clients they are enough.
//!
//! Whoever may hold as many connections as he likes would one day leave none for backends and their probes.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::config::Config;

/// Connections to the admin listener at a time.
pub(crate) const ADMIN_CONNECTIONS: usize = 16;

/// What no client may use up: 24 for the standard streams, the runtime, signals, listeners and what a successor is
/// offered of them, and the access log (17 are in use), those of the admin listener, and 32 for probes and look-ups.
const RESERVED: usize = 24 + ADMIN_CONNECTIONS + 32;

/// With less there is no room for one client, its backend and an idle connection to another.
const LEAST: usize = RESERVED + 4;

/// For what descriptors are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Client connections at a time; each may need one to a backend, and so may each request beside another one on it.
    pub(crate) clients: usize,
    /// Idle connections to backends.
    pub(crate) idle_upstreams: usize,
}

/// Raises the soft limit of this process to its hard one: the soft one is low for the sake of programs that we are
/// not, and nobody should have to know about it.
pub fn raise_limit() {
    let old = getrlimit(Resource::Nofile);
    if old.current == old.maximum {
        return;
    }
    let (soft, hard) = (words(old.current), words(old.maximum));
    let new = Rlimit {
        current: old.maximum,
        ..old
    };
    match setrlimit(Resource::Nofile, new) {
        Ok(()) => info!("file descriptors: {soft}, raised to {hard}"),
        Err(error) => {
            warn!(%error, "file descriptors: {soft}, cannot be raised to {hard}: {error}")
        }
    }
}

/// What of the configuration fits the limit of this process.
pub(crate) fn budget(config: &Config) -> Result<Budget> {
    let wish = Budget {
        clients: config.clients.max_connections,
        idle_upstreams: config.process.upstream_pool_size,
    };
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return Ok(wish);
    };
    let Some(fits) = wish.within(usize::try_from(limit).unwrap_or(usize::MAX)) else {
        bail!("{limit} file descriptors are not enough: allow at least {LEAST} (ulimit -n)");
    };
    for (variable, wished, fitting) in [
        ("LB_MAX_CONNECTIONS", wish.clients, fits.clients),
        (
            "LB_UPSTREAM_POOL_SIZE",
            wish.idle_upstreams,
            fits.idle_upstreams,
        ),
    ] {
        if fitting < wished {
            warn!(
                "{variable} is lowered from {wished} to {fitting}: more do not fit {limit} file descriptors (ulimit -n)"
            );
        }
    }
    Ok(fits)
}

impl Budget {
    /// The same or less, so that the sum never exceeds `limit`; nothing if that is impossible.
    ///
    /// Idle connections get what the clients leave, or a quarter: they only save time.
    fn within(self, limit: usize) -> Option<Self> {
        if limit < LEAST {
            return None;
        }
        let room = limit - RESERVED;
        let left = room.saturating_sub(self.clients.saturating_mul(2));
        let idle_upstreams = self.idle_upstreams.min(left.max(room / 4));
        Some(Self {
            clients: self.clients.min((room - idle_upstreams) / 2),
            idle_upstreams,
        })
    }
}

fn words(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(clients: usize, idle_upstreams: usize) -> Budget {
        Budget {
            clients,
            idle_upstreams,
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let wish = budget(10_000, 512);
        assert_eq!(wish.within(20_000 + 512 + RESERVED), Some(wish));
        assert_eq!(wish.within(usize::MAX), Some(wish));
        let few = budget(10, 512);
        assert_eq!(few.within(20 + 512 + RESERVED), Some(few));
    }

    #[test]
    fn whatever_the_wish_the_sum_fits_and_nobody_gets_nothing() {
        for limit in [LEAST, LEAST + 1, 100, 256, 1024, 20_000] {
            for wish in [
                budget(1, 1),
                budget(1, usize::MAX),
                budget(usize::MAX, 1),
                budget(usize::MAX, usize::MAX),
                budget(10_000, 512),
            ] {
                let fits = wish.within(limit).unwrap();
                assert!(
                    fits.clients > 0 && fits.idle_upstreams > 0,
                    "{limit} {fits:?}"
                );
                assert!(
                    fits.clients <= wish.clients && fits.idle_upstreams <= wish.idle_upstreams,
                    "{limit} {fits:?}"
                );
                let sum = 2 * fits.clients + fits.idle_upstreams + RESERVED;
                assert!(sum <= limit, "{limit} {fits:?}");
            }
        }
    }

    #[test]
    fn too_few_for_one_client_are_refused() {
        assert_eq!(budget(1, 1).within(LEAST - 1), None);
    }
}
