//! Whether another backend stands by for a request while one works on it.

use pingora::proxy::Session;

use crate::{
    downstream::Downstream,
    pool::{InFlight, Pool},
    retry,
};

/// Sees to it that a request that may go elsewhere does so when its backend is lost.
pub(super) fn arrange(pool: &Pool, session: &Session, serving: &mut InFlight, tries: usize) {
    let stream = session.as_downstream().stream();
    let Some(client) = stream.and_then(|io| (**io).as_any().downcast_ref::<Downstream>()) else {
        return;
    };
    let safe = retry::is_safe(&session.req_header().method);
    if safe && tries < pool.settings().retries.max_tries {
        serving.reach_by(client.recall());
        // It may have been lost between the choice and now.
        if pool.has_lost(serving.backend()) {
            client.recall().call();
        }
    }
}
