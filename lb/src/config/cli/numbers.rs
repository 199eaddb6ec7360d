//! Numbers on the command line and in variables, refused in the words of the file.

use std::time::Duration;

use crate::config::file;

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(file::FROM_ONE.to_owned()),
    }
}

pub(super) fn millis(text: &str) -> Result<Duration, String> {
    count(text).map(|ms| Duration::from_millis(ms as u64))
}

pub(super) fn secs_or_none(text: &str) -> Result<Duration, String> {
    let secs = text.parse().map(Duration::from_secs);
    secs.map_err(|_| "write a whole number from 0 up".to_owned())
}

pub(super) fn secs(text: &str) -> Result<Duration, String> {
    count(text).map(|secs| Duration::from_secs(secs as u64))
}
