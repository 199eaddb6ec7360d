//! Every setting of a node: a flag, its environment variable, its default. Nothing else reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::blobs::space::Reserve;
use crate::quorum::NODES;

mod check;
pub mod secret_files;

pub use check::Invalid;

/// Form of the log on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Settings of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Log {
    /// Form of the log on stderr; `RUST_LOG` is its filter.
    #[arg(
        long = "log-format",
        env = "STORAGE_LOG_FORMAT",
        default_value = "text",
        global = true
    )]
    pub format: LogFormat,
}

/// Which node this is and where it keeps its data.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Number of this node, 1 to 3.
    #[arg(long, env = "STORAGE_NODE", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub node: u8,
    /// Folder of this node's data; `init` prepares it.
    #[arg(long, env = "STORAGE_DIR")]
    pub dir: PathBuf,
}

/// Where a command asks a running node.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminUrl {
    /// Admin listener of a running node.
    #[arg(
        long = "admin",
        env = "STORAGE_ADMIN",
        default_value = "http://127.0.0.1:9200"
    )]
    pub url: http::Uri,
}

/// Where this machine's own node is asked how it is.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OwnAdmin {
    /// Address of the admin listener, as `serve` has it.
    #[arg(
        long = "admin-listen",
        env = "STORAGE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9200"
    )]
    pub listen: SocketAddr,
}

/// How a command reaches the objects.
#[derive(Clone, Debug, clap::Args)]
pub struct S3Access {
    /// S3 listener of any of the nodes; `http` only.
    #[arg(
        long,
        env = "STORAGE_ENDPOINT",
        default_value = "http://127.0.0.1:9000"
    )]
    pub endpoint: http::Uri,
    /// Access key id to sign with.
    #[arg(long, env = "STORAGE_ACCESS_KEY_ID")]
    pub access_key_id: String,
    /// Secret access key to sign with.
    #[arg(long, env = "STORAGE_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub secret_access_key: Secret,
    /// Name of the bucket.
    #[arg(long, env = "STORAGE_BUCKET", default_value = "quiz")]
    pub bucket: String,
}

/// Where a test has the node die; there is no such setting in a release build.
#[cfg(debug_assertions)]
#[derive(Clone, Debug, clap::Args)]
pub struct Crash {
    /// Place and passage: `NAME:N`.
    #[arg(long = "crash-at", env = "STORAGE_CRASH_AT", hide = true)]
    pub at: Option<String>,
}

/// Settings of `quiz-storage serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    #[command(flatten)]
    pub place: Place,
    /// Prepare an empty folder first, as `init` does. Only where an empty folder is a new one and never a disk that was
    /// not mounted, such as a volume of a container engine.
    #[arg(long, env = "STORAGE_INIT", default_value_t = false, action = clap::ArgAction::Set)]
    pub init: bool,
    /// Address of the S3 listener.
    #[arg(long, env = "STORAGE_LISTEN", default_value = "0.0.0.0:9000")]
    pub listen: SocketAddr,
    /// Address of the listener for the other nodes.
    #[arg(long, env = "STORAGE_PEER_LISTEN", default_value = "0.0.0.0:9100")]
    pub peer_listen: SocketAddr,
    /// Address of the listener for `/live`, `/ready`, `/metrics`, the status and the commands that ask a node. Nobody
    /// there is asked who they are: keep it private.
    #[arg(long, env = "STORAGE_ADMIN_LISTEN", default_value = "127.0.0.1:9200")]
    pub admin_listen: SocketAddr,
    /// The three nodes, this one included: `1=host:9100,2=host:9100,3=host:9100`; or, for development, node 1 alone,
    /// which then keeps the only copy. A folder stays with the number of nodes that it began with.
    #[arg(long, env = "STORAGE_PEERS")]
    pub peers: Peers,
    /// Shared by the three nodes, at least 32 characters: proves that a message comes from one of them.
    #[arg(long, env = "STORAGE_CLUSTER_SECRET", hide_env_values = true)]
    pub cluster_secret: Secret,
    /// Access key id that clients sign with.
    #[arg(long, env = "STORAGE_ACCESS_KEY_ID")]
    pub access_key_id: String,
    /// Secret access key that clients sign with.
    #[arg(long, env = "STORAGE_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub secret_access_key: Secret,
    /// Name of the one bucket.
    #[arg(long, env = "STORAGE_BUCKET", default_value = "quiz")]
    pub bucket: String,
    /// Whether objects may be read without a signature, by their keys; nothing may be listed without one.
    #[arg(long, env = "STORAGE_ANONYMOUS_READ", default_value_t = false, action = clap::ArgAction::Set)]
    pub anonymous_read: bool,
    /// Largest object, in bytes.
    #[arg(long, env = "STORAGE_MAX_OBJECT_BYTES", default_value_t = 5 * 1024 * 1024 * 1024)]
    pub max_object_bytes: u64,
    /// Uploads served at one time; the next is told to slow down before its body is read. Each holds up to two
    /// megabytes in memory, whatever its size.
    #[arg(long, env = "STORAGE_MAX_UPLOADS", default_value_t = 64)]
    pub max_uploads: usize,
    /// Slowest rate at which an upload may arrive, in bytes per second: with 10 s on top, it decides how long a slow
    /// client may keep its upload place.
    #[arg(long, env = "STORAGE_UPLOAD_MIN_BYTES_PER_SEC", default_value_t = 256 * 1024)]
    pub upload_min_bytes_per_sec: u64,
    /// Bytes of objects in memory for reads at one time; each takes its size, at most two megabytes, until it is
    /// sent. A read that finds no room for a second is told to slow down.
    #[arg(long, env = "STORAGE_MAX_READ_BYTES", default_value_t = 256 * 1024 * 1024)]
    pub max_read_bytes: u64,
    /// Bytes of objects being read from disk for somebody, and checked, at one time. More take turns, so that whoever asks
    /// for much leaves processors to those who ask for little, the other nodes among them. Reads of up to 64 KiB at a
    /// time do not queue.
    #[arg(long, env = "STORAGE_DISK_READ_BYTES", default_value_t = 4 * 1024 * 1024)]
    pub disk_read_bytes: u64,
    /// Slowest rate at which a reply may be taken, in bytes per second: who is more than 30 s behind it is cut off, as
    /// what is sent to a slow client stays in memory.
    #[arg(long, env = "STORAGE_READ_MIN_BYTES_PER_SEC", default_value_t = 64 * 1024)]
    pub read_min_bytes_per_sec: u64,
    /// Age at which an upload in parts that nobody has completed is removed, in seconds: a week.
    #[arg(long, env = "STORAGE_UPLOAD_EXPIRY_SECS", default_value_t = 7 * 24 * 60 * 60)]
    pub upload_expiry_secs: u64,
    /// Longest wait for another node's answer about a register, in milliseconds.
    #[arg(long, env = "STORAGE_RPC_DEADLINE_MS", default_value_t = 1_000)]
    pub rpc_deadline_ms: u64,
    /// Longest wait for another node to take a blob of one message, in milliseconds, beside the time its bytes take. One
    /// that is to give a blob has more time while it is believed up.
    #[arg(long, env = "STORAGE_BLOB_DEADLINE_MS", default_value_t = 1_000)]
    pub blob_deadline_ms: u64,
    /// Longest wait for another node to take a piece of a large blob, or its end, or to give a piece of any blob, in
    /// milliseconds. While two nodes keep up, a third that does not is left behind long before, and who reads asks the
    /// next one; this is for when none of them does.
    #[arg(long, env = "STORAGE_PIECE_DEADLINE_MS", default_value_t = 10_000)]
    pub piece_deadline_ms: u64,
    /// Slowest rate at which a blob between nodes still counts as moving, in bytes per second.
    #[arg(long, env = "STORAGE_BLOB_MIN_BYTES_PER_SEC", default_value_t = 4 * 1024 * 1024)]
    pub blob_min_bytes_per_sec: u64,
    /// Longest time a write may spend settling with writers of the same key, in milliseconds.
    #[arg(long, env = "STORAGE_CONTENTION_MS", default_value_t = 5_000)]
    pub contention_ms: u64,
    /// Pause between two heartbeats to another node, in milliseconds.
    #[arg(long, env = "STORAGE_HEARTBEAT_MS", default_value_t = 250)]
    pub heartbeat_ms: u64,
    /// Age at which a tombstone is collected, in seconds, provided that all three nodes confirm it.
    #[arg(long, env = "STORAGE_COLLECT_AFTER_SECS", default_value_t = 60)]
    pub collect_after_secs: u64,
    /// Age at which a blob file that no version names is deleted, in seconds. Whoever reads an overwritten or deleted
    /// object has this long to finish.
    #[arg(long, env = "STORAGE_SWEEP_AFTER_SECS", default_value_t = 60 * 60)]
    pub sweep_after_secs: u64,
    /// Pause between the starts of two scrubs, which verify every blob of this node, in seconds: two weeks.
    #[arg(long, env = "STORAGE_SCRUB_EVERY_SECS", default_value_t = 14 * 24 * 60 * 60)]
    pub scrub_every_secs: u64,
    /// Bytes per second that a scrub reads at most. What is stored should be read in far less than the pause between
    /// two scrubs.
    #[arg(long, env = "STORAGE_SCRUB_BYTES_PER_SEC", default_value_t = 16 * 1024 * 1024)]
    pub scrub_bytes_per_sec: u64,
    /// Bytes of the disk that blobs leave free, so that a node that takes no more blobs can still vote, delete and heal.
    #[arg(long, env = "STORAGE_RESERVE_BYTES", default_value_t = 1024 * 1024 * 1024)]
    pub reserve_bytes: u64,
    /// The same in percent of the disk; the larger of the two counts.
    #[arg(long, env = "STORAGE_RESERVE_PERCENT", default_value_t = 2)]
    pub reserve_percent: u64,
    /// Grace period: how long requests in flight may take to finish after SIGTERM or SIGINT, in seconds.
    #[arg(long, env = "STORAGE_GRACE_SECS", default_value_t = 5)]
    pub grace_secs: u64,
    /// Wait for the disk before acknowledging. `false` is for tests only: a power cut then loses acknowledged writes.
    #[arg(long, env = "STORAGE_FSYNC", default_value_t = true, action = clap::ArgAction::Set)]
    pub fsync: bool,
}

impl Config {
    pub(crate) fn upload_expiry(&self) -> Duration {
        Duration::from_secs(self.upload_expiry_secs)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_secs)
    }

    pub(crate) fn collect_after(&self) -> Duration {
        Duration::from_secs(self.collect_after_secs)
    }

    pub(crate) fn sweep_after(&self) -> Duration {
        Duration::from_secs(self.sweep_after_secs)
    }

    pub(crate) fn scrub_every(&self) -> Duration {
        Duration::from_secs(self.scrub_every_secs)
    }

    pub(crate) fn reserve(&self) -> Reserve {
        Reserve {
            bytes: self.reserve_bytes,
            percent: self.reserve_percent,
        }
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines {
            rpc: Duration::from_millis(self.rpc_deadline_ms),
            blob: Duration::from_millis(self.blob_deadline_ms),
            piece: Duration::from_millis(self.piece_deadline_ms),
            blob_bytes_per_sec: self.blob_min_bytes_per_sec,
            contention: Duration::from_millis(self.contention_ms),
            heartbeat: Duration::from_millis(self.heartbeat_ms),
        }
    }
}

/// How long to wait for other nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) rpc: Duration,
    blob: Duration,
    pub(crate) piece: Duration,
    blob_bytes_per_sec: u64,
    pub(crate) contention: Duration,
    pub(crate) heartbeat: Duration,
}

impl Deadlines {
    /// The same for everything, at a megabyte per second.
    #[cfg(test)]
    pub(crate) fn all(wait: Duration) -> Self {
        Self {
            rpc: wait,
            blob: wait,
            piece: wait,
            blob_bytes_per_sec: 1_000_000,
            contention: wait,
            heartbeat: wait,
        }
    }

    /// The longest wait for a blob of `len` bytes.
    pub(crate) fn blob(&self, len: u64) -> Duration {
        self.blob + Duration::from_millis(len.saturating_mul(1_000) / self.blob_bytes_per_sec)
    }
}

/// The nodes and their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers(pub BTreeMap<u8, String>);

impl FromStr for Peers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut peers = BTreeMap::new();
        for part in text.split(',') {
            let part = part.trim();
            let (node, address) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not NODE=HOST:PORT"))?;
            let node: u8 = node
                .parse()
                .map_err(|_| format!("`{node}` is not a node number"))?;
            let valid = address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !valid {
                return Err(format!("`{address}` is not HOST:PORT"));
            }
            if peers.insert(node, address.to_owned()).is_some() {
                return Err(format!("node {node} is listed twice"));
            }
        }
        let three = peers.keys().copied().eq(1..=NODES as u8);
        let single = peers.keys().copied().eq([1]);
        if !three && !single {
            return Err(
                "needs the nodes 1, 2 and 3, each once (or node 1 alone, for development)"
                    .to_owned(),
            );
        }
        Ok(Self(peers))
    }
}

/// A value that never shows itself in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_need_all_three_nodes_once() {
        let peers: Peers = "1=a:9100, 2=b:9100,3=[::1]:9100".parse().unwrap();
        assert_eq!(peers.0[&3], "[::1]:9100");
        for wrong in [
            "",
            "2=a:1",
            "1=a:1,2=b:1,2=c:1",
            "1=a:1,2=b:1,4=c:1",
            "1=a:1,2=b,3=c:1",
        ] {
            assert!(wrong.parse::<Peers>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let text = format!("{:?}", Secret::new("hunter2"));
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn a_blob_gets_time_for_its_size() {
        let deadlines = Deadlines::all(Duration::from_secs(1));
        assert_eq!(deadlines.blob(2_000_000), Duration::from_secs(3));
    }
}
