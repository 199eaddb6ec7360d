//! `quiz-storage status`.

use std::fmt::Write as _;
use std::io::Write;

use http::Method;

use super::ask::{SOON, ask, write};
use crate::config::AdminUrl;
use crate::human;
use crate::peer::now_millis;
use crate::status::{State, Status};

/// Shows all nodes. Returns whether all take part.
pub(super) async fn show(
    out: &mut impl Write,
    admin: &AdminUrl,
    json: bool,
) -> anyhow::Result<bool> {
    let status: Status = ask(admin, Method::GET, "/status", SOON).await?;
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(&status)?)
    } else {
        table(&status, now_millis())
    };
    write(out, &text)?;
    Ok(matches!(status.state, State::Healthy | State::Healing))
}

/// Names to the left, a column for each node.
fn table(status: &Status, now_ms: u64) -> String {
    let mut lines = vec![vec![String::new()]];
    let heads = status.nodes.iter().map(|it| format!("node {}", it.node));
    lines[0].extend(heads);
    for (name, cell) in human::ROWS {
        let cells = status.nodes.iter().map(|member| cell(member, now_ms));
        lines.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    let wide = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(wide).collect();
    let (state, replicas) = (human::state(status.state), status.replicas);
    let left = human::count(status.left());
    let mut text = format!("{state}, {replicas} replicas, {left} entries to heal\n\n");
    for line in &lines {
        let mut row = format!("{:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            write!(row, "  {cell:>width$}").expect("a String grows");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::degraded;

    #[test]
    fn the_table_is_aligned_and_shows_what_is_not_known_as_such() {
        let table = table(&degraded(), 1_795_000_100_000);
        assert_eq!(table, include_str!("status.txt"));
    }
}
