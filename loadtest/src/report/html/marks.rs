//! Events in a plot: a vertical line each, and above the plot its number and its label.

use super::escape::Escaped;
use super::plot::percent;

/// An event: a vertical line with a number and a label.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    /// From 0 to 1.
    pub(super) at: f64,
    pub(super) label: &'a str,
    /// Whether the command itself went wrong.
    pub(super) failed: bool,
}

/// Rows above the plot for the labels of events. Where they do not suffice there are numbers only.
const MOST_ROWS: usize = 4;
/// Letters of a label; the rest is in the list of events.
const LABEL_LETTERS: usize = 22;
/// Of a letter of a label, on average.
const LETTER_PIXELS: usize = 7;
/// Of a letter and of the number before the label, in parts of a plot 640 pixels wide.
const LETTER_WIDTH: f64 = LETTER_PIXELS as f64 / 640.0;
const NUMBER_WIDTH: f64 = 28.0 / 640.0;
/// Pixels from one row of labels to the next.
pub(super) const ROW_PIXELS: usize = 20;

/// How many rows of labels there are above the plot.
pub(super) fn rows(marks: &[Mark<'_>]) -> usize {
    let (rows, _) = arranged(marks);
    rows.iter().map(|row| row + 1).max().unwrap_or(0)
}

/// The marks in their rows, a row [`ROW_PIXELS`] high. All lines come first, so that none crosses a label.
pub(super) fn render(marks: &[Mark<'_>]) -> String {
    let (rows, with_labels) = arranged(marks);
    let height = |row: &usize| row * ROW_PIXELS + ROW_PIXELS / 2 + 4;
    let lines = marks.iter().zip(&rows).map(|(mark, row)| {
        format!(
            "<line class=\"event{}\" x1=\"{x}\" y1=\"-{y}\" x2=\"{x}\" y2=\"100%\"/>\n",
            if mark.failed { " broken" } else { "" },
            x = percent(mark.at),
            y = height(row)
        )
    });
    let names = (1..).zip(marks.iter().zip(&rows));
    let names = names.map(|(number, (mark, row))| {
        let name = if with_labels { name(mark) } else { String::new() };
        format!(
            "<svg class=\"mark\" x=\"{}\" y=\"-{}\"><title>{number}: {}</title>{name}\
             <circle class=\"event\" r=\"9\"/><text class=\"event-number\" y=\"4\" text-anchor=\"middle\">{number}</text></svg>\n",
            percent(mark.at),
            height(row),
            Escaped(mark.label)
        )
    });
    lines.chain(names).collect()
}

/// The row of each event, so that nothing overlaps, and whether labels are shown: all of them or, when there is no
/// room, none.
fn arranged(marks: &[Mark<'_>]) -> (Vec<usize>, bool) {
    let with_labels = |mark: &Mark<'_>| shortened(mark.label).chars().count() as f64 * LETTER_WIDTH;
    match in_rows(marks, with_labels) {
        Some(rows) => (rows, true),
        None => {
            let rows = in_rows(marks, |_| 0.0);
            (rows.unwrap_or_else(|| vec![0; marks.len()]), false)
        }
    }
}

fn in_rows(marks: &[Mark<'_>], label_width: impl Fn(&Mark<'_>) -> f64) -> Option<Vec<usize>> {
    // Where each row is free from, from left to right.
    let mut free = [f64::NEG_INFINITY; MOST_ROWS];
    marks
        .iter()
        .map(|mark| {
            let (near, far) = (NUMBER_WIDTH / 2.0, NUMBER_WIDTH / 2.0 + label_width(mark));
            let (from, to) = if points_left(mark) {
                (mark.at - far, mark.at + near)
            } else {
                (mark.at - near, mark.at + far)
            };
            let row = free.iter().position(|free| *free <= from)?;
            free[row] = to;
            Some(row)
        })
        .collect()
}

/// The label of an event, on a ground that hides the line of a neighbour.
fn name(mark: &Mark<'_>) -> String {
    let label = shortened(mark.label);
    let width = label.chars().count() * LETTER_PIXELS + 4;
    let (left, x, anchor) = if points_left(mark) {
        (format!("-{}", width + 11), -13, "end")
    } else {
        ("11".to_owned(), 13, "start")
    };
    format!(
        "<g class=\"event-name\"><rect x=\"{left}\" y=\"-9\" width=\"{width}\" height=\"18\"/>\
         <text x=\"{x}\" y=\"4\" text-anchor=\"{anchor}\">{}</text></g>",
        Escaped(&label)
    )
}

/// A label near the right edge stands to the left of its line.
fn points_left(mark: &Mark<'_>) -> bool {
    mark.at > 0.7
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_LETTERS {
        return label.to_owned();
    }
    let mut short: String = label.chars().take(LABEL_LETTERS - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: f64, label: &str) -> Mark<'_> {
        Mark {
            at,
            label,
            failed: false,
        }
    }

    #[test]
    fn labels_that_would_overlap_stand_in_rows() {
        let marks = [
            mark(0.10, "kill quiz-1"),
            mark(0.12, "kill quiz-2"),
            mark(0.5, "start quiz-1"),
        ];
        assert_eq!(arranged(&marks), (vec![0, 1, 0], true));
    }

    #[test]
    fn more_events_than_labels_find_room_for_have_numbers_only() {
        let at = |count: u32| (0..count).map(move |index| f64::from(index) / f64::from(count));
        let marks: Vec<Mark<'_>> = at(60).map(|at| mark(at, "kill everything")).collect();
        let (rows, with_labels) = arranged(&marks);
        assert!(!with_labels);
        assert_eq!(rows.iter().max(), Some(&2));
    }

    #[test]
    fn no_number_of_events_is_too_many() {
        let marks: Vec<Mark<'_>> = (0..900).map(|_| mark(0.3, "kill everything")).collect();
        assert_eq!(arranged(&marks), (vec![0; 900], false));
    }
}
