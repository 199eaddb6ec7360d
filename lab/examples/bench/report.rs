//! What is written down: tables, the bars beside them, and what has to be known to read them.

use std::fmt;

use crate::rounds::Samples;
use crate::rounds::Series;

pub(crate) mod document;

/// One row of the document: a table or several, and its bars.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// Its name for `--only`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What was done, for who reads the table.
    pub(crate) about: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) bars: Vec<Bar>,
    /// What has to be said of this run.
    pub(crate) notes: Vec<String>,
    /// What another program wrote, as it is.
    pub(crate) quoted: Option<String>,
}

/// Cells, all of them text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// What was promised, and what was measured.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) bound: Bound,
    pub(crate) unit: &'static str,
}

/// The promise.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Somebody else has said whether it is met.
    Judged(bool),
}

impl Section {
    pub(crate) fn new(name: &'static str, title: &'static str, about: String) -> Self {
        Self {
            name,
            title,
            about,
            tables: Vec::new(),
            bars: Vec::new(),
            notes: Vec::new(),
            quoted: None,
        }
    }

    /// Says what makes the figures of a contender less than they seem.
    pub(crate) fn note_flaws(&mut self, contender: &str, samples: &Samples) {
        if samples.failed() > 0 {
            let failed = format!("{contender}: {} requests failed.", samples.failed());
            self.bars
                .push(Bar::judged(failed.trim_end_matches('.'), false));
            self.notes.push(failed);
        }
        if samples.saturated() {
            self.notes.push(format!(
                "{contender}: the load tester was at its own limit, so it may be faster than this."
            ));
        }
    }

    pub(crate) fn missed(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter().filter(|bar| !bar.is_met())
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("\n== {}\n{}\n", self.title, self.about);
        for table in &self.tables {
            text += &format!("\n{}", table.text());
        }
        if let Some(quoted) = &self.quoted {
            text += &format!("\n{quoted}\n");
        }
        let bars = self.bars.iter().map(|bar| format!("{bar}\n"));
        let notes = self.notes.iter().map(|note| format!("Note: {note}\n"));
        let lines: String = bars.chain(notes).collect();
        if lines.is_empty() {
            text
        } else {
            text + "\n" + &lines
        }
    }

    /// For the document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n", self.title, self.about);
        for table in &self.tables {
            text += &format!("\n{}", table.markdown());
        }
        if let Some(quoted) = &self.quoted {
            text += &format!("\n```text\n{}\n```\n", quoted.trim());
        }
        let bars = self.bars.iter().map(|bar| format!("- {bar}\n"));
        let notes = self.notes.iter().map(|note| format!("- {note}\n"));
        let lines: String = bars.chain(notes).collect();
        if lines.is_empty() {
            text
        } else {
            text + "\n" + &lines
        }
    }
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&cell| cell.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    fn text(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            let line = padded.collect::<Vec<_>>().join("  ");
            format!("{}\n", line.trim_end())
        };
        lines().map(line).collect()
    }

    fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(line).collect();
        line(&self.head) + &rule + &rows
    }
}

impl Bar {
    /// A ratio, whose median counts.
    pub(crate) fn ratio(what: &str, ratios: &Series, bound: Bound) -> Self {
        Self {
            what: what.to_owned(),
            measured: ratios.median(),
            bound,
            unit: "",
        }
    }

    /// As another program has it.
    pub(crate) fn judged(what: &str, met: bool) -> Self {
        Self {
            what: what.to_owned(),
            measured: f64::NAN,
            bound: Bound::Judged(met),
            unit: "",
        }
    }

    /// What was not measured meets nothing.
    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => self.measured >= least,
            Bound::AtMost(most) => self.measured <= most,
            Bound::Judged(met) => met,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        let Self {
            what,
            measured,
            unit,
            ..
        } = self;
        write!(out, "{verdict}: {what}")?;
        match self.bound {
            Bound::AtLeast(least) => {
                write!(out, ": {measured:.3}{unit}, bar at least {least}{unit}")
            }
            Bound::AtMost(most) => write!(out, ": {measured:.3}{unit}, bar at most {most}{unit}"),
            Bound::Judged(_) => Ok(()),
        }
    }
}
