//! Requests that the cache may answer.

use pingora::{
    Error, ErrorSource,
    ErrorType::HTTPStatus,
    cache::{CachePhase, NoCacheReason},
    proxy::Session,
};

use super::{Ctx, Proxy};
use crate::metrics::Lookup;

/// How the request fared in the cache; nothing if it was none of its business.
pub(super) fn lookup(session: &Session) -> Option<Lookup> {
    let waited = session.cache.lock_duration().is_some();
    match session.cache.phase() {
        CachePhase::Disabled(NoCacheReason::NeverEnabled)
        | CachePhase::Uninit
        | CachePhase::CacheKey => None,
        CachePhase::Disabled(_) | CachePhase::Bypass => Some(Lookup::Pass),
        CachePhase::Hit if waited => Some(Lookup::Collapsed),
        CachePhase::Hit => Some(Lookup::Hit),
        CachePhase::Stale | CachePhase::StaleUpdating => Some(Lookup::Stale),
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => Some(Lookup::Revalidated),
        CachePhase::Miss | CachePhase::Expired => Some(Lookup::Miss),
    }
}

/// Whether no backend had to do with the reply.
pub(super) fn answered(session: &Session) -> bool {
    let lookup = lookup(session);
    lookup.is_some_and(|lookup| [Lookup::Hit, Lookup::Collapsed, Lookup::Stale].contains(&lookup))
}

impl Proxy {
    /// Whether a reply may be sent that is no longer fresh; how long after, the backend said in it.
    ///
    /// To fetch it again Pingora makes a request without a client, whose proxies nobody can ask: what one of them vouched
    /// for is fetched by the visitor's own request.
    pub(super) fn sends_stale(&self, ctx: &Ctx, error: Option<&Error>) -> bool {
        match error {
            None => ctx.origin.host.is_none() && ctx.origin.https == self.https,
            Some(error) => {
                *error.esource() == ErrorSource::Upstream || *error.etype() == HTTPStatus(503)
            }
        }
    }
}
