//! `Range` and `If-Range` (RFC 9110, 13.1.5 and 14): which bytes of a file are asked for. Pure.

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

/// What is sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// Not empty, and within the file.
    Bytes(Range<u64>),
    /// None of the bytes asked for exist.
    Nothing,
}

/// Does this request ask for a part of the file with that strong tag? A client that has a part of another file asks in
/// vain: `If-Range` must name this one, and dates are not ours.
pub(super) fn is_asked_for(headers: &HeaderMap, etag: &str) -> bool {
    headers.contains_key(RANGE)
        && headers
            .get(IF_RANGE)
            .is_none_or(|tag| tag.as_bytes() == etag.as_bytes())
}

/// The part of a file of `size` bytes. What is not understood is ignored, as the standard has it, and so are several
/// ranges at once: all of the file answers them too.
pub(super) fn part(headers: &HeaderMap, size: u64) -> Part {
    let mut values = headers.get_all(RANGE).iter();
    let range = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(parse),
        _ => None,
    };
    match range {
        None => Part::Whole,
        // Of an empty file, as the standard has it: no byte exists.
        Some(Asked::Last(length)) if length > 0 && size > 0 => {
            Part::Bytes(size.saturating_sub(length)..size)
        }
        Some(Asked::From(first, last)) if first < size => {
            let end = last.map_or(size, |last| size.min(last.saturating_add(1)));
            Part::Bytes(first..end)
        }
        Some(_) => Part::Nothing,
    }
}

enum Asked {
    /// First byte, and last one if named.
    From(u64, Option<u64>),
    /// That many at the end.
    Last(u64),
}

/// One range of bytes; none when it is anything else.
fn parse(value: &str) -> Option<Asked> {
    let (unit, set) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first, last) {
        ("", last) => Some(Asked::Last(number(last)?)),
        (first, "") => Some(Asked::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::From(first, Some(last)))
        }
    }
}

/// Digits alone. A number too large for us is larger than any file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(range: &str, size: u64) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        part(&headers, size)
    }

    #[test]
    fn one_range_of_bytes_is_a_part() {
        for (range, bytes) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..10),
            ("bytes=3-5", 3..6),
            ("Bytes = 3-5", 3..6),
            ("bytes=9-99", 9..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("bytes=2-99999999999999999999999", 2..10),
        ] {
            assert_eq!(of(range, 10), Part::Bytes(bytes), "{range}");
        }
    }

    #[test]
    fn bytes_that_do_not_exist_are_nothing() {
        for range in [
            "bytes=10-",
            "bytes=10-11",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(of(range, 10), Part::Nothing, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Part::Nothing);
        assert_eq!(of("bytes=-1", 0), Part::Nothing);
    }

    #[test]
    fn several_ranges_and_what_is_not_understood_are_the_whole_file() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-3",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "lines=0-1",
            "bytes=1 - 2",
        ] {
            assert_eq!(of(range, 10), Part::Whole, "{range}");
        }
        let mut twice = HeaderMap::new();
        twice.append(RANGE, "bytes=0-1".parse().unwrap());
        twice.append(RANGE, "bytes=3-4".parse().unwrap());
        assert_eq!(part(&twice, 10), Part::Whole);
        assert_eq!(part(&HeaderMap::new(), 10), Part::Whole);
    }

    #[test]
    fn a_part_is_for_who_has_the_rest_of_the_same_file() {
        let mut headers = HeaderMap::new();
        assert!(!is_asked_for(&headers, "\"a\""));
        headers.insert(RANGE, "bytes=0-1".parse().unwrap());
        assert!(is_asked_for(&headers, "\"a\""));
        for (tag, asked) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("Fri, 20 Nov 2026 10:00:00 GMT", false),
        ] {
            headers.insert(IF_RANGE, tag.parse().unwrap());
            assert_eq!(is_asked_for(&headers, "\"a\""), asked, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(range in "bytes ?=[-,0-9 a]{0,25}", size in 0_u64..100) {
            if let Part::Bytes(bytes) = of(&range, size) {
                prop_assert!(bytes.start < bytes.end && bytes.end <= size);
            }
        }

        #[test]
        fn every_pair_within_the_file_is_given_as_asked(first in 0_u64..100, more in 0_u64..100, after in 1_u64..100) {
            let last = first + more;
            let range = format!("bytes={first}-{last}");
            prop_assert_eq!(of(&range, last + after), Part::Bytes(first..last + 1));
        }
    }
}
