//! Whether another backend stands by for a request while one works on it.

use pingora::proxy::Session;

use crate::{
    downstream::recall_in,
    pool::{InFlight, Pool},
    retry,
};

/// Sees to it that a request that may go elsewhere does so when its backend is lost.
pub(super) fn arrange(pool: &Pool, session: &Session, serving: &mut InFlight, tries: usize) {
    let Some(recall) = recall_in(session.as_downstream()) else {
        return;
    };
    let safe = retry::is_safe(&session.req_header().method);
    if safe && tries < pool.settings().retries.max_tries {
        serving.reach_by(recall);
        // It may have been lost between the choice and now.
        if pool.has_lost(serving.backend()) {
            recall.call();
        }
    }
}
