//! What each setting may be, and what to do about one that is something else.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::Config;
use crate::wire::PIECE_BYTES;

/// Shortest cluster secret accepted: below this it could be guessed.
const MIN_SECRET_CHARS: usize = 32;
/// Largest object that can be asked for: its checksums, an 8192nd of it, are in memory while it is written.
const MOST_OBJECT_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Most uploads at one time that can be asked for: each holds up to two megabytes in memory.
const MOST_UPLOADS: u64 = 10_000;
/// Least memory for reads, which is what one may need, and the most that can be asked for.
const READ_BYTES: RangeInclusive<u64> = 2 * 1024 * 1024..=1024 * 1024 * 1024 * 1024;
/// Least and most read from disk at one time; one read may take a whole piece.
const DISK_READ_BYTES: RangeInclusive<u64> = PIECE_BYTES..=1024 * 1024 * 1024;
/// Longest wait that can be asked for, one day: beyond it is a slip, and clocks overflow.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1_000;
/// Longest life of an upload that can be asked for, ten years: beyond it is a slip.
const LONGEST_EXPIRY_SECS: u64 = 10 * 365 * 24 * 60 * 60;
/// Largest reserve that can be asked for, in percent of the disk: beyond it is a slip.
const LARGEST_RESERVE: u64 = 90;
/// Slowest scrub that can be asked for, in bytes per second: below it one blob could take days.
const SLOWEST_SCRUB: u64 = 64 * 1024;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable} {advice}")]
pub struct Invalid {
    variable: &'static str,
    advice: Cow<'static, str>,
}

impl Config {
    /// Looks at the settings as a whole. The error names the variable and says what to do.
    pub fn validate(&self) -> Result<(), Invalid> {
        let wrong = |variable, advice: &'static str| {
            Err(Invalid {
                variable,
                advice: advice.into(),
            })
        };
        if self.cluster_secret.expose().chars().count() < MIN_SECRET_CHARS {
            return wrong(
                "STORAGE_CLUSTER_SECRET",
                "needs at least 32 characters; `openssl rand -hex 32` makes one",
            );
        }
        if self.access_key_id.is_empty() {
            return wrong("STORAGE_ACCESS_KEY_ID", "must not be empty");
        }
        if self.secret_access_key.expose().is_empty() {
            return wrong("STORAGE_SECRET_ACCESS_KEY", "must not be empty");
        }
        let bucket = self.bucket.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        if !(3..=63).contains(&bucket.len()) || !bucket.iter().all(plain) {
            return wrong(
                "STORAGE_BUCKET",
                "needs 3 to 63 lower-case letters, digits or dashes",
            );
        }
        for (variable, value, range) in self.numbers() {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                return Err(Invalid {
                    variable,
                    advice: format!("must be {least} to {most}").into(),
                });
            }
        }
        Ok(())
    }

    /// Every number, and what it may be.
    fn numbers(&self) -> Vec<(&'static str, u64, RangeInclusive<u64>)> {
        let wait = 1..=LONGEST_MS;
        vec![
            (
                "STORAGE_MAX_OBJECT_BYTES",
                self.max_object_bytes,
                1..=MOST_OBJECT_BYTES,
            ),
            (
                "STORAGE_MAX_UPLOADS",
                self.max_uploads as u64,
                1..=MOST_UPLOADS,
            ),
            ("STORAGE_MAX_READ_BYTES", self.max_read_bytes, READ_BYTES),
            (
                "STORAGE_DISK_READ_BYTES",
                self.disk_read_bytes,
                DISK_READ_BYTES,
            ),
            (
                "STORAGE_UPLOAD_MIN_BYTES_PER_SEC",
                self.upload_min_bytes_per_sec,
                1..=u64::MAX,
            ),
            (
                "STORAGE_READ_MIN_BYTES_PER_SEC",
                self.read_min_bytes_per_sec,
                1..=u64::MAX,
            ),
            (
                "STORAGE_UPLOAD_EXPIRY_SECS",
                self.upload_expiry_secs,
                1..=LONGEST_EXPIRY_SECS,
            ),
            (
                "STORAGE_RPC_DEADLINE_MS",
                self.rpc_deadline_ms,
                wait.clone(),
            ),
            (
                "STORAGE_BLOB_DEADLINE_MS",
                self.blob_deadline_ms,
                wait.clone(),
            ),
            (
                "STORAGE_PIECE_DEADLINE_MS",
                self.piece_deadline_ms,
                wait.clone(),
            ),
            (
                "STORAGE_BLOB_MIN_BYTES_PER_SEC",
                self.blob_min_bytes_per_sec,
                1..=u64::MAX,
            ),
            ("STORAGE_CONTENTION_MS", self.contention_ms, wait.clone()),
            ("STORAGE_HEARTBEAT_MS", self.heartbeat_ms, wait),
            (
                "STORAGE_COLLECT_AFTER_SECS",
                self.collect_after_secs,
                0..=LONGEST_MS / 1_000,
            ),
            (
                "STORAGE_SWEEP_AFTER_SECS",
                self.sweep_after_secs,
                1..=LONGEST_EXPIRY_SECS,
            ),
            (
                "STORAGE_SCRUB_EVERY_SECS",
                self.scrub_every_secs,
                1..=LONGEST_EXPIRY_SECS,
            ),
            (
                "STORAGE_SCRUB_BYTES_PER_SEC",
                self.scrub_bytes_per_sec,
                SLOWEST_SCRUB..=u64::MAX,
            ),
            (
                "STORAGE_RESERVE_BYTES",
                self.reserve_bytes,
                0..=i64::MAX as u64,
            ),
            (
                "STORAGE_RESERVE_PERCENT",
                self.reserve_percent,
                0..=LARGEST_RESERVE,
            ),
            (
                "STORAGE_GRACE_SECS",
                self.grace_secs,
                0..=LONGEST_MS / 1_000,
            ),
        ]
    }
}
