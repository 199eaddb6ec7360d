//! How figures become words, in every format that people read: one unit and one name for each.

use time::OffsetDateTime;
use time::macros::format_description;

use super::{Errors, Report};

/// From here on the digits of a number say less than how many there are.
const BEYOND_REASON: f64 = 1e12;

/// Microseconds in the unit that suits them.
#[must_use]
pub fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// Seconds with no more digits than they need, two behind the point at most.
#[must_use]
pub fn seconds(secs: f64) -> String {
    format!("{} s", trimmed(secs))
}

/// Requests per second, with one digit behind the point.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        ..BEYOND_REASON => format!("{per_second:.1}/s"),
        _ => format!("{per_second:.1e}/s"),
    }
}

/// A share from 0 to 1 in percent. What is not nothing never looks like nothing, nor what is not all like all.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.005 {
        "<0.01 %".to_owned()
    } else if (99.995..100.0).contains(&percent) {
        ">99.99 %".to_owned()
    } else {
        format!("{percent:.2} %")
    }
}

#[must_use]
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A count with commas between the thousands.
#[must_use]
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut words = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// The count and its noun, which gets an `s` unless there is one of it.
#[must_use]
pub fn several(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// Seconds since 1970 as a date and a time.
#[must_use]
pub fn moment(unix_secs: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    i64::try_from(unix_secs)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| format!("{unix_secs} s after 1970"))
}

/// Text from outside, without what a terminal would obey: a server chooses some of the words in a report.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' | '\n' | '\r' => ' ',
            _ if character.is_control() => char::REPLACEMENT_CHARACTER,
            _ => character,
        })
        .collect()
}

/// Every kind of error with its name, also those that did not occur.
#[must_use]
pub fn kinds(errors: &Errors) -> [(&'static str, u64); 8] {
    [
        ("status 4xx", errors.status_4xx),
        ("status 5xx", errors.status_5xx),
        ("connect", errors.connect),
        ("timeout", errors.timeout),
        ("no reply", errors.no_reply),
        ("body", errors.body),
        ("check", errors.check),
        ("no port or file left", errors.local),
    ]
}

/// Failed and dropped requests of all that were planned, from 0 to 1; absent when none was planned.
#[must_use]
pub fn error_share(report: &Report) -> Option<f64> {
    let requests = &report.requests;
    (requests.planned > 0)
        .then(|| requests.failed.saturating_add(requests.dropped) as f64 / requests.planned as f64)
}

/// What was asked for, in one line.
#[must_use]
pub fn offered(report: &Report) -> String {
    let offered = &report.offered;
    let warm_up = if offered.warm_up_secs > 0.0 {
        format!(" after {} of warm-up", seconds(offered.warm_up_secs))
    } else {
        String::new()
    };
    format!(
        "{} for {}{warm_up}, {}, timeout {}",
        plain(&offered.load),
        seconds(offered.duration_secs),
        several(offered.users as u64, "user"),
        seconds(offered.timeout_secs)
    )
}

fn trimmed(number: f64) -> String {
    if !number.is_finite() || number.abs() >= BEYOND_REASON {
        return format!("{number:.1e}");
    }
    let digits = format!("{number:.2}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if digits == "-0" { "0" } else { digits }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_the_unit_that_suits_them() {
        let words = [0, 999, 1_000, 999_990, 1_000_000, 3_600_000_000].map(time);
        let expected = [
            "0 us",
            "999 us",
            "1.00 ms",
            "999.99 ms",
            "1.00 s",
            "3600.00 s",
        ];
        assert_eq!(words, expected);
        assert_eq!(
            [60.0, 0.25, 1.5, -0.0].map(seconds),
            ["60 s", "0.25 s", "1.5 s", "0 s"]
        );
        assert_eq!(
            [f64::MAX, f64::INFINITY].map(seconds),
            ["1.8e308 s", "inf s"]
        );
    }

    #[test]
    fn a_single_error_among_millions_is_not_rounded_away() {
        assert_eq!(percent(1e-7), "<0.01 %");
        assert_eq!(percent(1.0 - 1e-7), ">99.99 %");
        assert_eq!(
            [0.0, 0.5, 1.0].map(percent),
            ["0.00 %", "50.00 %", "100.00 %"]
        );
    }

    #[test]
    fn counts_have_commas_and_nouns_their_number() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(several(1, "user"), "1 user");
        assert_eq!(several(0, "user"), "0 users");
    }

    #[test]
    fn a_moment_is_a_date_unless_it_is_beyond_the_calendar() {
        assert_eq!(moment(1_767_225_600), "2026-01-01 00:00:00 UTC");
        assert_eq!(moment(u64::MAX), "18446744073709551615 s after 1970");
    }

    #[test]
    fn a_terminal_obeys_no_text_from_outside() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb c");
    }
}
