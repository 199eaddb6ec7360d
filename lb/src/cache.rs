//! Replies that are kept in memory: which requests may be answered from there, which replies are kept, for whom.
//!
//! Pingora's cache is the state machine (locks, `Vary`, `Age`, ranges, revalidation); [`store`] is the memory behind it.
//! What is kept is the reply as the backend sent it: compression comes after the cache, for each visitor anew.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::{HeaderName, Method, StatusCode, header};
use pingora::{
    cache::{
        CacheKey, CacheMeta, CacheMetaDefaults, CacheOptionOverrides, HttpCache,
        NoCacheReason::{Custom, OriginNotCache, ResponseTooLarge},
        RespCacheable, VarianceBuilder,
        cache_control::CacheControl,
        filters::resp_cacheable,
        key::HashBinary,
        lock::CacheLock,
        predictor::Predictor,
    },
    http::{RequestHeader, ResponseHeader},
};

use crate::{config, forward::Origin, metrics::CacheNumbers};

pub mod store;

use store::Store;

/// Whoever fetches for others and takes longer is no longer waited for by those who come.
const FETCH: Duration = Duration::from_secs(10);

/// Addresses whose replies are not for keeping, for each of 16 parts: requests for them do not wait for each other.
const UNCACHEABLE: usize = 512;

/// Nothing is kept that does not say for how long, and nothing is served longer.
const DEFAULTS: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);

/// What is of one connection or one request, and not of the reply.
const PASSING: [HeaderName; 10] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::AGE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("server-timing"),
    crate::forward::X_REQUEST_ID,
    crate::forward::X_SERVED_BY,
];

/// The replies that are kept, and the rules.
pub struct Cache {
    settings: ArcSwap<config::Cache>,
    store: &'static Store,
    lock: &'static CacheLock,
    predictor: &'static Predictor<16>,
    numbers: CacheNumbers,
}

impl Cache {
    /// An empty one. Pingora wants what is behind it to live for ever, so there is one for each run of a balancer and its
    /// memory is not given back.
    pub fn new(settings: config::Cache, numbers: CacheNumbers) -> Self {
        let store = Store::new(room(&settings), numbers.clone());
        Self {
            settings: ArcSwap::from_pointee(settings),
            store: Box::leak(Box::new(store)),
            lock: Box::leak(Box::new(CacheLock::new(FETCH))),
            predictor: Box::leak(Box::new(Predictor::new(UNCACHEABLE, None))),
            numbers,
        }
    }

    /// Lets new settings hold; what no longer fits goes.
    pub fn adopt(&self, settings: config::Cache) {
        self.store.resize(room(&settings));
        self.settings.store(Arc::new(settings));
    }

    /// The settings that hold.
    pub fn settings(&self) -> Arc<config::Cache> {
        self.settings.load_full()
    }

    /// What was counted.
    pub fn numbers(&self) -> &CacheNumbers {
        &self.numbers
    }

    /// Whether a kept reply may answer this request, and its reply may be kept. Bodies and upgrades are for backends.
    pub fn admits(&self, request: &RequestHeader) -> bool {
        let settings = self.settings.load();
        let path = request.raw_path();
        let headers = &request.headers;
        settings.enabled
            && [Method::GET, Method::HEAD].contains(&request.method)
            && settings
                .paths
                .iter()
                .any(|start| path.starts_with(start.as_bytes()))
            && !headers.contains_key(header::CONTENT_LENGTH)
            && !headers.contains_key(header::TRANSFER_ENCODING)
            && !headers.contains_key(header::UPGRADE)
            && !names_headers(headers)
    }

    /// Has Pingora look here.
    pub fn enable(&self, cache: &mut HttpCache) {
        let mut patience = CacheOptionOverrides::default();
        patience.wait_timeout = Some(self.settings.load().max_wait);
        let (store, lock) = (self.store, self.lock);
        cache.enable(
            store,
            None,
            Some(self.predictor),
            Some(lock),
            Some(patience),
        );
    }

    /// Whether the reply to such a request is kept, and how long it is fresh.
    pub fn judge(&self, request: &RequestHeader, reply: &ResponseHeader) -> RespCacheable {
        let control = CacheControl::from_resp_headers(reply);
        let Some(control) = control.filter(|control| control.public() && !control.no_cache())
        else {
            return RespCacheable::Uncacheable(OriginNotCache);
        };
        if reply.status != StatusCode::OK {
            return RespCacheable::Uncacheable(OriginNotCache);
        }
        if knows_the_visitor(request) && !control.has_key("immutable") {
            return RespCacheable::Uncacheable(Custom("for a visitor"));
        }
        let varies = |name: &str| vary(&reply.headers).any(|varies| varies == name);
        let coded = reply.headers.contains_key(header::CONTENT_ENCODING);
        if reply.headers.contains_key(header::SET_COOKIE)
            || varies("*")
            || coded && !varies("accept-encoding")
        {
            return RespCacheable::Uncacheable(Custom("not for all"));
        }
        match length(reply) {
            Some(length) if length <= self.settings.load().max_object_bytes => {}
            _ => return RespCacheable::Uncacheable(ResponseTooLarge),
        }
        let mut kept = reply.clone();
        for name in &PASSING {
            kept.remove_header(name);
        }
        match resp_cacheable(Some(&control), kept, false, &DEFAULTS) {
            RespCacheable::Cacheable(meta) if !meta.is_fresh(SystemTime::now()) => {
                RespCacheable::Uncacheable(OriginNotCache)
            }
            judged => judged,
        }
    }
}

/// A cache that is off holds nothing.
fn room(settings: &config::Cache) -> usize {
    if settings.enabled {
        settings.max_bytes
    } else {
        0
    }
}

/// What all requests have in common that one reply may answer: all that backends are told, but for the visitor, who
/// counts by whether there is anything to know one by. Parts end with a byte that none of them can have.
pub fn key(pool: &str, origin: &Origin, request: &RequestHeader) -> CacheKey {
    let host = origin.host.as_ref();
    let host = host.or_else(|| request.headers.get(header::HOST));
    let host = host.map_or(&b""[..], |host| host.as_bytes());
    let visitor: &[u8] = if knows_the_visitor(request) {
        b"known"
    } else {
        b""
    };
    let scheme: &[u8] = if origin.https { b"https" } else { b"http" };
    let parts = [
        pool.as_bytes(),
        visitor,
        scheme,
        &host.to_ascii_lowercase(),
        request.raw_path(),
    ];
    CacheKey::new(parts.join(&0), "")
}

/// By which of its variants a reply answers this request.
pub fn variance(meta: &CacheMeta, request: &RequestHeader) -> Option<HashBinary> {
    let mut variance = VarianceBuilder::new();
    for name in vary(meta.headers()) {
        let mut value = Vec::new();
        for line in request.headers.get_all(name.as_str()) {
            value.extend_from_slice(line.as_bytes());
            value.push(b'\n');
        }
        variance.add_owned_name_value(name, value);
    }
    variance.finalize()
}

/// Whether it carries what may tell one visitor from another.
fn knows_the_visitor(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    headers.contains_key(header::COOKIE) || headers.contains_key(header::AUTHORIZATION)
}

/// Whether `Connection` names headers of this connection. Backends do not get these, so that the reply is not the one to the
/// request that is seen here.
fn names_headers(headers: &http::HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).into_iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.any(|option| {
        let option = option.trim_ascii();
        let plain = [&b""[..], b"keep-alive", b"close"];
        !plain.iter().any(|plain| option.eq_ignore_ascii_case(plain))
    })
}

fn vary(headers: &http::HeaderMap) -> impl Iterator<Item = String> {
    let lines = headers.get_all(header::VARY).into_iter();
    // What is no text could name anything.
    let lines = lines.map(|line| line.to_str().unwrap_or("*"));
    let names = lines.flat_map(|line| line.split(','));
    names.map(|name| name.trim().to_ascii_lowercase())
}

fn length(reply: &ResponseHeader) -> Option<usize> {
    let length = reply.headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
