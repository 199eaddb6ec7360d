//! The file: what stands in it, and in which line.

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use http::HeaderName;
use serde::{Deserialize, Deserializer, de::Error};
use toml::de::{DeTable, DeValue};

use super::{Config, Problem};

/// Reads a configuration, without checking how its settings fit together.
pub fn read(path: &Path) -> Result<(Config, String)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let config = parse(&text).map_err(|problem| anyhow!("{}:{problem}", path.display()))?;
    Ok((config, text))
}

/// The configuration in this text; the error begins with the number of its line.
pub fn parse(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
        format!("{line}: {}\n  {shown}", error.message())
    })
}

/// A problem in words, with the line of its key, or of the nearest table around it, if the file has one.
pub(super) fn explain(problem: &Problem, file: Option<(&Path, &str)>) -> String {
    let place = file.and_then(|(path, text)| {
        let line = line_of(text, &problem.key)?;
        Some(format!("{}:{line}: ", path.display()))
    });
    let place = place.unwrap_or_default();
    format!("{place}{} {}", problem.key.join("."), problem.message)
}

fn line_of(text: &str, key: &[String]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for part in key {
        let Some((name, value)) = table.get_key_value(part.as_str()) else {
            break;
        };
        found = Some(line_at(text, name.span().start));
        let DeValue::Table(inner) = value.get_ref() else {
            break;
        };
        table = inner;
    }
    found
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}

pub(super) fn count<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    whole(value).and_then(|number| usize::try_from(number).map_err(D::Error::custom))
}

pub(super) fn millis<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    whole(value).map(Duration::from_millis)
}

pub(super) fn secs<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    whole(value).map(Duration::from_secs)
}

pub(super) fn secs_or_none<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    u64::deserialize(value).map(Duration::from_secs)
}

pub(super) fn header<'de, D: Deserializer<'de>>(value: D) -> Result<Option<HeaderName>, D::Error> {
    let name = String::deserialize(value)?;
    name.parse().map(Some).map_err(|_| {
        D::Error::custom(format!(
            "{name:?} is not a header name: write one like x-user"
        ))
    })
}

fn whole<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    match i64::deserialize(value).map(u64::try_from)? {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(D::Error::custom(FROM_ONE)),
    }
}

/// What to write where zero is no duration and no count.
pub(super) const FROM_ONE: &str = "write a whole number from 1 up";

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain(self, None))
    }
}
