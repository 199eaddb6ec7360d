//! The numbers of one node, in a registry of its own.

use std::time::Duration;

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::node::Node;
use crate::standing::Standing;

/// Upper bounds in seconds: a local read is far below a millisecond, a frozen cluster answers within two seconds.
const BUCKETS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// What a node counts beside requests.
#[derive(Clone)]
pub(crate) struct Counters {
    pub(crate) local_failures: IntCounter,
    pub(crate) pulls: IntCounter,
    pub(crate) collected: IntCounter,
    pub(crate) rebuilds: IntCounter,
    pub(crate) swept: IntCounter,
    pub(crate) swept_bytes: IntCounter,
    pub(crate) scrubbed_bytes: IntCounter,
    pub(crate) scrub_found: IntCounter,
    pub(crate) scrub_repaired: IntCounter,
}

impl Counters {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            local_failures: IntCounter::new(
                "storage_local_failures_total",
                "Reads and writes that failed on this node's own disk; somebody should look at it.",
            )?,
            collected: IntCounter::new(
                "storage_tombstones_collected_total",
                "Tombstones dropped after all three nodes had confirmed them.",
            )?,
            rebuilds: IntCounter::new(
                "storage_rebuilds_total",
                "Times this node was rebuilt because its folder was replaced or set back.",
            )?,
            swept: IntCounter::new(
                "storage_blobs_swept_total",
                "Blobs deleted because no version had named them for the grace period.",
            )?,
            swept_bytes: IntCounter::new(
                "storage_blob_bytes_swept_total",
                "Bytes on disk of the blobs deleted because no version named them.",
            )?,
            scrubbed_bytes: IntCounter::new(
                "storage_scrubbed_bytes_total",
                "Bytes of blobs read to verify them.",
            )?,
            scrub_found: IntCounter::new(
                "storage_scrub_found_total",
                "Blobs that scrubbing has found missing or damaged on this node.",
            )?,
            scrub_repaired: IntCounter::new(
                "storage_scrub_repaired_total",
                "Blobs that scrubbing has found missing or damaged and replaced by a peer's.",
            )?,
            pulls: IntCounter::new(
                "storage_blob_pulls_total",
                "Blobs fetched from another node because they were missing or damaged here.",
            )?,
        })
    }
}

pub(crate) struct Metrics {
    registry: Registry,
    operations: IntCounterVec,
    durations: HistogramVec,
    peers: IntGaugeVec,
    counts_on: IntGaugeVec,
    to_heal: IntGaugeVec,
    objects: IntGauge,
    object_bytes: IntGauge,
    tombstones: IntGauge,
    votes: IntGauge,
    rebuilding: IntGauge,
    blobs: IntGauge,
    blob_bytes: IntGauge,
    disk_free: IntGauge,
    disk_total: IntGauge,
    disk_reserve: IntGauge,
    full: IntGauge,
}

impl Metrics {
    pub(crate) fn new(counters: &Counters) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| IntGauge::new(name, help);
        let metrics = Self {
            registry: Registry::new(),
            operations: IntCounterVec::new(
                Opts::new(
                    "storage_operations_total",
                    "S3 operations by kind and outcome.",
                ),
                &["operation", "outcome"],
            )?,
            durations: HistogramVec::new(
                HistogramOpts::new(
                    "storage_operation_duration_seconds",
                    "Time of S3 operations by kind.",
                )
                .buckets(BUCKETS.to_vec()),
                &["operation"],
            )?,
            peers: IntGaugeVec::new(
                Opts::new("storage_peer_up", "1 when the other node answers, by node."),
                &["node"],
            )?,
            counts_on: IntGaugeVec::new(
                Opts::new(
                    "storage_peer_counts",
                    "1 when this node and the other take part in each other's rounds, by node.",
                ),
                &["node"],
            )?,
            to_heal: IntGaugeVec::new(
                Opts::new(
                    "storage_entries_to_heal",
                    "Changes of this node that the other node has yet to look at, by node; it may be down.",
                ),
                &["node"],
            )?,
            objects: gauge("storage_objects", "Live objects in this node's index.")?,
            object_bytes: gauge(
                "storage_object_bytes",
                "Bytes of live objects in this node's index.",
            )?,
            votes: gauge(
                "storage_votes",
                "1 when this node takes part in rounds: its folder is the one that is known of it.",
            )?,
            rebuilding: gauge(
                "storage_rebuilding",
                "1 while this node is being rebuilt, for which it needs both others.",
            )?,
            tombstones: gauge(
                "storage_tombstones",
                "Deleted objects that this node still remembers, until all nodes have confirmed.",
            )?,
            blobs: gauge(
                "storage_blobs",
                "Blob files on this node's disk, superseded ones included.",
            )?,
            blob_bytes: gauge(
                "storage_blob_bytes",
                "Bytes of blob files on this node's disk.",
            )?,
            disk_free: gauge(
                "storage_disk_free_bytes",
                "Bytes free on this node's disk, the reserve included.",
            )?,
            disk_total: gauge("storage_disk_bytes", "Bytes of this node's disk.")?,
            disk_reserve: gauge(
                "storage_disk_reserve_bytes",
                "Bytes of this node's disk that blobs leave free.",
            )?,
            full: gauge(
                "storage_full",
                "1 while this node takes no blobs for want of room; it votes, deletes and serves what it has.",
            )?,
        };
        metrics
            .registry
            .register(Box::new(metrics.operations.clone()))?;
        metrics
            .registry
            .register(Box::new(metrics.durations.clone()))?;
        metrics.registry.register(Box::new(metrics.peers.clone()))?;
        let counts_on = Box::new(metrics.counts_on.clone());
        metrics.registry.register(counts_on)?;
        metrics
            .registry
            .register(Box::new(metrics.to_heal.clone()))?;
        for gauge in [
            &metrics.objects,
            &metrics.object_bytes,
            &metrics.tombstones,
            &metrics.votes,
            &metrics.rebuilding,
            &metrics.blobs,
            &metrics.blob_bytes,
            &metrics.disk_free,
            &metrics.disk_total,
            &metrics.disk_reserve,
            &metrics.full,
        ] {
            metrics.registry.register(Box::new(gauge.clone()))?;
        }
        for counter in [
            &counters.local_failures,
            &counters.pulls,
            &counters.collected,
            &counters.rebuilds,
            &counters.swept,
            &counters.swept_bytes,
            &counters.scrubbed_bytes,
            &counters.scrub_found,
            &counters.scrub_repaired,
        ] {
            metrics.registry.register(Box::new(counter.clone()))?;
        }
        Ok(metrics)
    }

    pub(crate) fn observe(&self, operation: &str, outcome: &str, took: Duration) {
        self.operations
            .with_label_values(&[operation, outcome])
            .inc();
        self.durations
            .with_label_values(&[operation])
            .observe(took.as_secs_f64());
    }

    /// All numbers, with those of `node` as they are now.
    pub(crate) fn render(&self, node: &Node) -> Result<String, prometheus::Error> {
        for peer in node.peers() {
            let label = peer.node().to_string();
            self.peers
                .with_label_values(&[&label])
                .set(i64::from(peer.is_up()));
            self.counts_on
                .with_label_values(&[&label])
                .set(i64::from(node.counts_on(peer)));
            self.to_heal
                .with_label_values(&[&label])
                .set(node.behind(peer.node()) as i64);
        }
        let (objects, object_bytes) = node.objects();
        let (blobs, blob_bytes) = node.usage();
        self.objects.set(objects as i64);
        self.object_bytes.set(object_bytes as i64);
        let standing = node.standing().get();
        self.votes.set(i64::from(standing == Standing::Voting));
        self.rebuilding
            .set(i64::from(standing == Standing::Rebuilding));
        self.tombstones.set(node.tombstones() as i64);
        self.blobs.set(blobs as i64);
        self.blob_bytes.set(blob_bytes as i64);
        let room = node.space();
        self.disk_free.set(room.free as i64);
        self.disk_total.set(room.total as i64);
        self.disk_reserve.set(room.reserve as i64);
        self.full.set(i64::from(room.full));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}
