//! Times as they are written on a command line, and as they are printed.

use std::time::Duration;

use crate::schedule::LONGEST;

/// Reads a whole number and a unit: `500ms`, `10s` or `2m`; at most a day.
///
/// # Errors
/// In words, what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number
        .parse()
        .map_err(|_| "begin with a whole number, as in 10s".to_owned())?;
    let number = u64::from(number);
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        _ => return Err("end with a unit: ms, s or m, as in 10s".to_owned()),
    };
    if duration > LONGEST {
        return Err(format!(
            "write 24 hours at most, which are {}m",
            LONGEST.as_secs() / 60
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "-1s", "1.5s", "1h", "99999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_duration_is_a_day_at_most() {
        assert_eq!(parse_duration("1440m"), Ok(LONGEST));
        assert_eq!(parse_duration("86400s"), Ok(LONGEST));
        for bad in ["1441m", "86401s", "86400001ms", "4294967295m"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
