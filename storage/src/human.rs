//! Numbers and states as people read them.

use std::time::Duration;

use crate::scrub;
use crate::standing::Standing;
use crate::status::{Member, NodeStatus, State};

/// What is shown of a node at a given time.
type Cell = fn(&Member, u64) -> String;

/// What is shown of each node, in this order.
pub(crate) const ROWS: [(&str, Cell); 12] = [
    ("state", |member, _| standing(member).to_owned()),
    ("entries to heal", |member, _| count(member.left())),
    ("  from which nodes", |member, _| sources(member)),
    ("objects", |member, _| about(member, |it| count(it.objects))),
    ("  their bytes", |member, _| {
        about(member, |it| bytes(it.object_bytes))
    }),
    ("blob files", |member, _| {
        about(member, |it| count(it.blobs))
    }),
    ("  their bytes", |member, _| {
        about(member, |it| bytes(it.blob_bytes))
    }),
    ("tombstones", |member, _| {
        about(member, |it| count(it.tombstones))
    }),
    ("disk free", |member, _| about(member, space)),
    ("  of it reserved", |member, _| {
        about(member, |it| bytes(it.space.reserve_bytes))
    }),
    ("last scrub", |member, now| {
        about(member, |it| last_scrub(&it.scrub, now))
    }),
    ("  found, repaired", |member, _| {
        about(member, |it| repaired(&it.scrub))
    }),
];

fn about(member: &Member, show: impl Fn(&NodeStatus) -> String) -> String {
    member.about.as_ref().map_or_else(|| "-".to_owned(), show)
}

pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Healthy => "healthy",
        State::Healing => "healing",
        State::Degraded => "degraded",
        State::Unavailable => "unavailable",
    }
}

fn standing(member: &Member) -> &'static str {
    match member.about.as_ref().map(|it| it.standing) {
        None => "down",
        Some(Standing::Joining) => "joining",
        Some(Standing::Voting) => "voting",
        Some(Standing::Rebuilding) => "rebuilding",
    }
}

fn sources(member: &Member) -> String {
    let show = |(source, left): (&u8, &Option<u64>)| {
        let left = left.map_or_else(|| "?".to_owned(), count);
        format!("{source}: {left}")
    };
    let all: Vec<_> = member.to_heal.iter().map(show).collect();
    all.join(", ")
}

fn space(status: &NodeStatus) -> String {
    let space = status.space;
    let percent = space.free_bytes * 100 / space.total_bytes.max(1);
    let full = if space.full { "full: " } else { "" };
    format!("{full}{} ({percent} %)", bytes(space.free_bytes))
}

fn last_scrub(scrub: &scrub::State, now_ms: u64) -> String {
    match (&scrub.running, &scrub.last) {
        (Some(run), _) => format!("now: {} read", bytes(run.bytes)),
        (None, Some(last)) => {
            let ago = Duration::from_millis(now_ms.saturating_sub(last.ended_ms));
            format!("{} ago", duration(ago))
        }
        (None, None) => {
            let until = Duration::from_millis(scrub.next_ms.saturating_sub(now_ms));
            format!("none, due in {}", duration(until))
        }
    }
}

fn repaired(scrub: &scrub::State) -> String {
    match scrub.running.as_ref().or(scrub.last.as_ref()) {
        Some(run) => format!("{}, {}", count(run.found), count(run.repaired)),
        None => "-".to_owned(),
    }
}

/// `12345` as `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With three digits, and the units of disks.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 999.5
        && let Some(next) = units.next()
    {
        value /= 1_000.0;
        unit = next;
    }
    if unit == "B" || value >= 99.95 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// In the largest unit that is not zero.
pub(crate) fn duration(time: Duration) -> String {
    let secs = time.as_secs();
    for (unit, name) in [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "min")] {
        if secs >= unit {
            return format!("{} {name}", secs / unit);
        }
    }
    format!("{secs} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let counts = [0, 999, 1_000, 12_345, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let sizes = [0, 999, 1_500, 99_949, 99_950, 1_500_000_000, u64::MAX].map(bytes);
        let expected = [
            "0 B", "999 B", "1.5 kB", "99.9 kB", "100 kB", "1.5 GB", "18.4 EB",
        ];
        assert_eq!(sizes, expected);
        let times = [0, 59, 60, 7_199, 200_000].map(|secs| duration(Duration::from_secs(secs)));
        assert_eq!(times, ["0 s", "59 s", "1 min", "1 h", "2 d"]);
    }
}
