//! What the cache counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, core::Collector};

/// How a request fared that the cache might have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It was there.
    Hit,
    /// Another request fetched it meanwhile.
    Collapsed,
    /// It was there and no longer fresh; it was sent while it is fetched again, or because it cannot be.
    Stale,
    /// It was there and no longer fresh, and a backend said that it still holds.
    Revalidated,
    /// It was fetched and is there now.
    Miss,
    /// It is not for keeping.
    Pass,
}

/// What the cache counts.
#[derive(Clone)]
pub struct CacheNumbers {
    requests: IntCounterVec,
    bytes: IntGauge,
    objects: IntGauge,
    evictions: IntCounter,
}

impl Lookup {
    /// In the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Hit,
        Self::Collapsed,
        Self::Stale,
        Self::Revalidated,
        Self::Miss,
        Self::Pass,
    ];

    /// In metrics and in `X-Cache`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Collapsed => "collapsed",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Pass => "pass",
        }
    }
}

impl CacheNumbers {
    /// All of them at 0.
    pub fn new() -> prometheus::Result<Self> {
        let requests = Opts::new(
            "lb_cache_requests_total",
            "Requests that the cache might have answered, by result: hit, collapsed, stale, revalidated, miss, pass.",
        );
        let numbers = Self {
            requests: IntCounterVec::new(requests, &["result"])?,
            bytes: IntGauge::new("lb_cache_bytes", "Memory that the cache takes.")?,
            objects: IntGauge::new("lb_cache_objects", "Replies in the cache.")?,
            evictions: IntCounter::new(
                "lb_cache_evictions_total",
                "Replies that had to go so that others fit into the cache.",
            )?,
        };
        for lookup in Lookup::ALL {
            numbers.requests.with_label_values(&[lookup.name()]);
        }
        Ok(numbers)
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 4] {
        [
            Box::new(self.requests.clone()),
            Box::new(self.bytes.clone()),
            Box::new(self.objects.clone()),
            Box::new(self.evictions.clone()),
        ]
    }

    /// Counts a request.
    pub fn looked_up(&self, lookup: Lookup) {
        self.requests.with_label_values(&[lookup.name()]).inc();
    }

    /// Requests that fared like this.
    pub fn requests(&self, lookup: Lookup) -> u64 {
        self.requests.with_label_values(&[lookup.name()]).get()
    }

    /// Says how full it is.
    pub fn holds(&self, bytes: usize, objects: usize) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// Counts a reply that had to go.
    pub fn evicted(&self) {
        self.evictions.inc();
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> i64 {
        self.bytes.get()
    }

    /// Replies in it.
    pub fn objects(&self) -> i64 {
        self.objects.get()
    }
}
