//! The generated part of the document: between two marks, a section for each row. Rows that were not measured this time stay as
//! they were, and so does everything outside of the marks.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;

use super::Section;
use crate::Row;

const BEGIN: &str = "<!-- Written by make bench from here on -->";
const END: &str = "<!-- to here -->";
const EMPTY: &str = "Not measured yet: `make bench` does.";

/// Writes what was measured into the file.
pub(crate) fn update(file: &Path, sections: &[Section]) -> anyhow::Result<()> {
    let old =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let new = merged(&old, sections, &machine())
        .with_context(|| format!("{} is not as expected", file.display()))?;
    std::fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))
}

fn merged(old: &str, sections: &[Section], machine: &str) -> anyhow::Result<String> {
    let Some((before, rest)) = old.split_once(BEGIN) else {
        bail!("it has no line {BEGIN}");
    };
    let Some((inner, after)) = rest.split_once(END) else {
        bail!("it has no line {END}");
    };
    let mut parts = Vec::new();
    for row in Row::value_variants() {
        let name = row.to_possible_value().context("every row has a name")?;
        let name = name.get_name();
        let fresh = sections.iter().find(|section| section.name == name);
        let text = match fresh {
            Some(section) => format!("{}\n{machine}\n", section.markdown()),
            None => kept(inner, name).unwrap_or(EMPTY).to_owned(),
        };
        parts.push(format!("<!-- {name} -->\n{}\n<!-- / -->\n", text.trim()));
    }
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n{END}{after}",
        parts.join("\n")
    ))
}

/// What the document says of a row.
fn kept<'a>(inner: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = inner.split_once(&format!("<!-- {name} -->"))?;
    let (text, _) = rest.split_once("<!-- / -->")?;
    Some(text.trim())
}

/// One line: when, on what.
fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let read = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    let memory = read("/proc/meminfo", "MemTotal");
    let memory: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    format!(
        "Measured on {} with {} cores ({}), {:.0} GB, Linux {}.",
        said("date", &["+%F"]),
        // Not what is left to this process, which is one.
        std::fs::read_to_string("/proc/cpuinfo")
            .map_or(0, |text| text.matches("processor\t").count()),
        read("/proc/cpuinfo", "model name"),
        memory / 1e6,
        said("uname", &["-r"]),
    )
}
