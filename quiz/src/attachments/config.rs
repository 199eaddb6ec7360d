//! Settings of files that belong to quizzes and users.

use std::time::Duration;

use crate::config::{positive_secs, secs};

/// How files are taken, and when those that nothing refers to are removed.
#[derive(Clone, Debug, clap::Args)]
pub struct AttachmentConfig {
    /// Longest animation that is taken, in frames; all of them together have no more than `QUIZ_MAX_PIXELS` pixels
    #[arg(long, env = "QUIZ_MAX_FRAMES", value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..))]
    pub max_frames: u32,

    /// Time between two removals of files that nothing refers to, in seconds
    #[arg(long = "sweep-secs", value_name = "SECS", env = "QUIZ_SWEEP_SECS", default_value = "600", value_parser = positive_secs)]
    pub sweep: Duration,

    /// How long a file stays after nothing refers to it any more, in seconds; longer than any request, so that an upload
    /// has the time to be referred to
    #[arg(long = "sweep-grace-secs", value_name = "SECS", env = "QUIZ_SWEEP_GRACE_SECS", default_value = "3600", value_parser = secs)]
    pub sweep_grace: Duration,
}

impl AttachmentConfig {
    /// What is wrong with them, given the longest time of one request.
    pub(crate) fn check(&self, request_timeout: Duration) -> Result<(), String> {
        if self.sweep_grace > request_timeout {
            return Ok(());
        }
        Err(
            "QUIZ_SWEEP_GRACE_SECS is too short: give more than QUIZ_REQUEST_TIMEOUT_SECS, or an upload may be removed before \
             its quiz is written"
                .to_owned(),
        )
    }
}
