//! What several tests need: a way to skip by name, and a place for a policy file.

use std::fs::OpenOptions;
use std::io::Write as _;

use quiz_firewall::nft::{self, Judgement};

/// The sample that the crate ships.
pub(crate) const SAMPLE: &str = include_str!("../../config/firewall.toml");

/// Whether nft can be asked on this machine. When it cannot, the skip is recorded under the name of the test.
pub(crate) fn nft_or_skip(test: &str) -> bool {
    match nft::judge("").expect("nft can be asked") {
        Judgement::Accepted => true,
        Judgement::Refused(words) => panic!("nft refused an empty ruleset: {words}"),
        Judgement::Unavailable(reason) => {
            skip(test, &reason);
            false
        }
    }
}

/// Says that a test did not run, on standard error and in the file that `QUIZSTACK_SKIP_FILE` names.
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("{test}: {}", reason.replace('\n', " "));
    eprintln!("skipped {line}");
    if let Some(path) = std::env::var_os("QUIZSTACK_SKIP_FILE") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("QUIZSTACK_SKIP_FILE names a file that can be written");
        // One write, so that tests that run at the same time do not mix their lines.
        file.write_all(format!("{line}\n").as_bytes())
            .expect("the skip can be recorded");
    }
}
