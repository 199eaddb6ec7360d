//! Flags and variables for `[cache]`.

use std::time::Duration;

use clap::Args;

use super::{count, millis, set};
use crate::config::cache::Cache;

/// Replies that are kept in memory.
#[derive(Clone, Debug, Args)]
#[group(id = "cache_flags")]
pub struct Flags {
    /// Whether replies that say `public` are kept in memory for whoever asks next [default: true].
    #[arg(long, env = "LB_CACHE", value_name = "LB_CACHE")]
    pub cache: Option<bool>,

    /// Comma list of the beginnings of paths whose replies are kept [default: /static/,/images/].
    #[arg(
        long,
        env = "LB_CACHE_PATHS",
        value_name = "LB_CACHE_PATHS",
        value_delimiter = ','
    )]
    pub cache_paths: Option<Vec<String>>,

    /// Bytes of memory that the cache takes at most [default: 67108864].
    #[arg(long, env = "LB_CACHE_MAX_BYTES", value_name = "LB_CACHE_MAX_BYTES", value_parser = count)]
    pub cache_max_bytes: Option<usize>,

    /// Replies with larger bodies are not kept [default: 4194304].
    #[arg(long, env = "LB_CACHE_MAX_OBJECT_BYTES", value_name = "LB_CACHE_MAX_OBJECT_BYTES", value_parser = count)]
    pub cache_max_object_bytes: Option<usize>,

    /// Milliseconds a request waits at most for the reply to another one that asked for the same; then it asks a backend itself [default: 3000].
    #[arg(long, env = "LB_CACHE_MAX_WAIT_MS", value_name = "LB_CACHE_MAX_WAIT_MS", value_parser = millis)]
    pub cache_max_wait: Option<Duration>,
}

impl Flags {
    pub(super) fn apply(&self, cache: &mut Cache) {
        set(&mut cache.enabled, self.cache);
        if let Some(paths) = &self.cache_paths {
            cache.paths.clone_from(paths);
        }
        set(&mut cache.max_bytes, self.cache_max_bytes);
        set(&mut cache.max_object_bytes, self.cache_max_object_bytes);
        set(&mut cache.max_wait, self.cache_max_wait);
    }
}
