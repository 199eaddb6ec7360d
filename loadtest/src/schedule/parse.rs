//! Shapes as they are written on a command line, and traces as they are kept in files.

use std::str::FromStr;
use std::time::Duration;

use super::{HIGHEST_RATE, LONGEST, Shape};
use crate::duration::parse_duration;

/// Most requests in a trace: 16 bytes each.
const MOST_TRACED: usize = 10_000_000;

/// A shape or a trace that cannot be read, in words that say what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl FromStr for Shape {
    type Err = Error;

    /// Reads `constant:200`, `ramp:10..500`, `step:100,200,400`, `spike:100,1000,at=5s,for=2s` or
    /// `sine:100,50,period=10s`. Traces come from a file: [`read_trace`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
        match kind {
            "constant" => Ok(Self::Constant(rate(rest)?)),
            "ramp" => {
                let (from, to) = rest
                    .split_once("..")
                    .ok_or_else(|| wrong("write a ramp as ramp:10..500"))?;
                Ok(Self::Ramp {
                    from: rate(from)?,
                    to: rate(to)?,
                })
            }
            "step" => {
                let rates: Result<Vec<f64>, Error> = rest.split(',').map(rate).collect();
                Ok(Self::Step(rates?))
            }
            "spike" => spike(rest),
            "sine" => sine(rest),
            _ => Err(unknown()),
        }
    }
}

/// Reads intended starts in seconds from the beginning, one on each line, in order. Empty lines and lines that begin
/// with `#` are skipped.
///
/// # Errors
/// The line that is not such a number.
pub fn read_trace(text: &str) -> Result<Vec<Duration>, Error> {
    let mut starts: Vec<Duration> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let start = line
            .parse::<f64>()
            .ok()
            .and_then(|secs| Duration::try_from_secs_f64(secs).ok())
            .filter(|start| *start < LONGEST)
            .ok_or_else(|| {
                Error(format!(
                    "line {} of the trace is {line:?}: write the seconds from the beginning, as 12.345, less than a day",
                    number + 1
                ))
            })?;
        if starts.last().is_some_and(|last| *last > start) {
            return Err(Error(format!(
                "line {} of the trace is earlier than the one before: sort the file with sort -n",
                number + 1
            )));
        }
        if starts.len() == MOST_TRACED {
            return Err(Error(format!(
                "the trace has more than {MOST_TRACED} requests: split it"
            )));
        }
        starts.push(start);
    }
    if starts.is_empty() {
        return Err(wrong("the trace has no request"));
    }
    Ok(starts)
}

fn spike(text: &str) -> Result<Shape, Error> {
    const FORM: &str = "write a spike as spike:100,1000,at=5s,for=2s";
    let parts: Vec<&str> = text.split(',').collect();
    let [base, peak, at, lasting] = parts[..] else {
        return Err(wrong(FORM));
    };
    Ok(Shape::Spike {
        base: rate(base)?,
        peak: rate(peak)?,
        at: named(at, "at=", FORM)?,
        lasting: named(lasting, "for=", FORM)?,
    })
}

fn sine(text: &str) -> Result<Shape, Error> {
    const FORM: &str =
        "write a sine as sine:100,50,period=10s, which is from 50 to 150 every 10 seconds";
    let parts: Vec<&str> = text.split(',').collect();
    let [mean, amplitude, period] = parts[..] else {
        return Err(wrong(FORM));
    };
    let (mean, amplitude) = (rate(mean)?, rate(amplitude)?);
    let period = named(period, "period=", FORM)?;
    if amplitude > mean || period.is_zero() {
        return Err(wrong(
            "a sine cannot fall below 0: its second number is at most the first, and its period is not 0",
        ));
    }
    Ok(Shape::Sine {
        mean,
        amplitude,
        period,
    })
}

fn named(text: &str, name: &str, form: &str) -> Result<Duration, Error> {
    let value = text.strip_prefix(name).ok_or_else(|| wrong(form))?;
    parse_duration(value).map_err(|problem| Error(format!("{form}; {value:?}: {problem}")))
}

fn rate(text: &str) -> Result<f64, Error> {
    text.parse::<f64>()
        .ok()
        .filter(|rate| *rate > 0.0 && *rate <= HIGHEST_RATE)
        .ok_or_else(|| {
            Error(format!(
                "{text:?} is not a rate: write requests per second, above 0 and up to {HIGHEST_RATE}"
            ))
        })
}

fn unknown() -> Error {
    wrong(
        "write constant:200, ramp:10..500, step:100,200,400, spike:100,1000,at=5s,for=2s, sine:100,50,period=10s or \
         trace:FILE",
    )
}

fn wrong(words: &str) -> Error {
    Error(words.to_owned())
}
