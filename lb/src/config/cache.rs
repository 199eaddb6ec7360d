//! Settings of the cache.

use std::time::Duration;

use serde::Deserialize;

use super::{Problem, file, problem};

/// Replies that are kept in memory for whoever asks next.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Whether there is one.
    pub enabled: bool,
    /// Beginnings of the paths whose replies are kept, if they say so.
    pub paths: Vec<String>,
    /// What it holds at most, with what each reply costs beside its body.
    #[serde(deserialize_with = "file::count")]
    pub max_bytes: usize,
    /// Larger bodies are not kept.
    #[serde(deserialize_with = "file::count")]
    pub max_object_bytes: usize,
    /// So long a request waits at most for the reply to another one that asked for the same.
    #[serde(rename = "max_wait_ms", deserialize_with = "file::millis")]
    pub max_wait: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            enabled: true,
            paths: vec!["/static/".to_owned(), "/images/".to_owned()],
            max_bytes: 64 * 1024 * 1024,
            max_object_bytes: 4 * 1024 * 1024,
            max_wait: Duration::from_millis(3000),
        }
    }
}

impl Cache {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        if let Some(path) = self.paths.iter().find(|path| !path.starts_with('/')) {
            let message = format!(
                "(LB_CACHE_PATHS) names {path:?}: write beginnings of paths like \"/static/\""
            );
            return problem(&["cache", "paths"], &message);
        }
        if self.max_object_bytes > self.max_bytes {
            let message = format!(
                "(LB_CACHE_MAX_OBJECT_BYTES) is {}, more than max_bytes (LB_CACHE_MAX_BYTES): set {} or less",
                self.max_object_bytes, self.max_bytes
            );
            return problem(&["cache", "max_object_bytes"], &message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_could_keep_nothing_is_refused() {
        let no_path = Cache {
            paths: vec!["static/".to_owned()],
            ..Cache::default()
        };
        let no_room = Cache {
            max_bytes: 1000,
            ..Cache::default()
        };
        for (cache, remedy) in [(no_path, "LB_CACHE_PATHS"), (no_room, "set 1000 or less")] {
            let problem = cache.validate().unwrap_err();
            assert!(problem.message.contains(remedy), "{}", problem.message);
        }
        assert_eq!(Cache::default().validate(), Ok(()));
    }
}
