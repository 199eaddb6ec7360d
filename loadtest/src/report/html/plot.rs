//! A plot: axes, lines, bars and events as one drawing.
//!
//! The drawing fills the width it is given, and its text does not grow or shrink with it: everything has its place in
//! percent of the plot, but for the lines of the data, which lie in an inner drawing of a thousand by a thousand that
//! is stretched. What is outside of the plot, as the numbers at the axes, is drawn over its edge.

use super::axis::Axis;
use super::escape::Escaped;
use super::marks::{self, Mark};

/// What is to be drawn.
pub(super) struct Plot<'a> {
    /// Of the element in the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// For those who cannot see the drawing: what it shows, in a sentence.
    pub(super) description: String,
    /// What stands at the upper end of the y axis, and at the right end of the x axis.
    pub(super) y_name: &'a str,
    pub(super) x_name: &'a str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    pub(super) bars: Vec<Bars>,
    /// What a pointer is told over each part of the x axis.
    pub(super) hovers: Vec<Hover>,
    pub(super) marks: Vec<Mark<'a>>,
    /// Up to here, from 0 to 1, the plot is shaded.
    pub(super) warm_up: Option<f64>,
}

/// A curve. Its class says its colour and its dashes, its marker its shape.
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) marker: Marker,
    pub(super) name: &'static str,
    /// From 0 to 1 each, from the lower left; a gap where there is none.
    pub(super) points: Vec<Option<(f64, f64)>>,
    /// Whether the area below is tinted.
    pub(super) filled: bool,
}

/// Upright bars, all of one kind.
pub(super) struct Bars {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    /// From, to, bottom and top, from 0 to 1 each.
    pub(super) bars: Vec<[f64; 4]>,
    pub(super) hatched: bool,
}

pub(super) struct Hover {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) words: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// Markers along a line: enough to tell the lines apart, few enough to see the line.
const MARKERS: usize = 12;
impl Plot<'_> {
    /// A figure with its caption, its legend and its drawing.
    pub(super) fn render(&self) -> String {
        format!(
            "<figure class=\"chart\" id=\"{id}\">\n<figcaption><h3>{title}</h3>{legend}</figcaption>\n\
             <p class=\"axis-name\">{y_name}</p>\n\
             <div class=\"plot\" style=\"--labels:{labels}px\">\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\
             <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{description}</desc>\n\
             {hatch}{warm_up}{grid}{bars}{lines}{markers}{hovers}{marks}</svg>\n</div>\n\
             <p class=\"axis-name x\">{x_name}</p>\n</figure>\n",
            id = self.id,
            title = Escaped(self.title),
            description = Escaped(&self.description),
            legend = self.legend(),
            y_name = Escaped(self.y_name),
            x_name = Escaped(self.x_name),
            hatch = self.hatch(),
            warm_up = self.shade(),
            grid = self.grid(),
            bars = self
                .bars
                .iter()
                .map(|bars| bars.render(self.id))
                .collect::<String>(),
            lines = self.curves(),
            markers = self.lines.iter().map(Line::markers).collect::<String>(),
            hovers = self.hovers.iter().map(Hover::render).collect::<String>(),
            labels = marks::rows(&self.marks) * marks::ROW_PIXELS,
            marks = marks::render(&self.marks),
        )
    }

    fn legend(&self) -> String {
        let lines = self.lines.iter().map(|line| {
            format!(
                "<li><svg class=\"key\" width=\"30\" height=\"12\" aria-hidden=\"true\">\
                 <line class=\"line {class}\" x1=\"0\" y1=\"6\" x2=\"30\" y2=\"6\"/>{marker}</svg>{name}</li>",
                class = line.class,
                marker = line.marker.render(line.class, "15", "6"),
                name = line.name
            )
        });
        let bars = self.bars.iter().map(|bars| {
            let paint = bars.paint(self.id);
            format!(
                "<li><svg class=\"key\" width=\"14\" height=\"12\" aria-hidden=\"true\">\
                 <g class=\"bar {class}\"{paint}><rect x=\"1\" y=\"1\" width=\"12\" height=\"10\"/></g></svg>{name}</li>",
                class = bars.class,
                name = bars.name
            )
        });
        let warm_up = self.warm_up.filter(|end| *end > 0.0).map(|_| {
            "<li><svg class=\"key\" width=\"14\" height=\"12\" aria-hidden=\"true\">\
             <rect class=\"warm-up\" width=\"14\" height=\"12\"/></svg>warm-up</li>"
                .to_owned()
        });
        let items: String = lines.chain(bars).chain(warm_up).collect();
        format!("<ul class=\"legend\">{items}</ul>")
    }

    fn hatch(&self) -> String {
        if self.bars.is_empty() {
            return String::new();
        }
        format!(
            "<defs><pattern id=\"{}-hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect class=\"hatch-ground\" width=\"5\" height=\"5\"/>\
             <rect class=\"hatch-line\" width=\"2\" height=\"5\"/></pattern></defs>\n",
            self.id
        )
    }

    fn shade(&self) -> String {
        self.warm_up
            .filter(|end| *end > 0.0)
            .map_or_else(String::new, |end| {
                format!(
                    "<rect class=\"warm-up\" x=\"0\" y=\"0\" width=\"{}\" height=\"100%\"/>\n",
                    percent(end)
                )
            })
    }

    fn grid(&self) -> String {
        let across = self.y.ticks.iter().map(|tick| {
            let y = percent(1.0 - tick.at);
            if tick.label.is_empty() {
                return format!("<line class=\"grid faint\" x1=\"0\" y1=\"{y}\" x2=\"100%\" y2=\"{y}\"/>");
            }
            format!(
                "<line class=\"grid\" x1=\"0\" y1=\"{y}\" x2=\"100%\" y2=\"{y}\"/>\
                 <text class=\"tick\" x=\"0\" y=\"{y}\" dx=\"-8\" dy=\"4\" text-anchor=\"end\">{}</text>",
                Escaped(&tick.label)
            )
        });
        let upright = self.x.ticks.iter().enumerate().map(|(index, tick)| {
            let x = percent(tick.at);
            // Too close to its neighbour for the width of a phone.
            let is_close = index > 0 && tick.at - self.x.ticks[index - 1].at < 0.12;
            let class = if is_close { "tick wide-only" } else { "tick" };
            format!(
                "<line class=\"grid faint\" x1=\"{x}\" y1=\"0\" x2=\"{x}\" y2=\"100%\"/>\
                 <text class=\"{class}\" x=\"{x}\" y=\"100%\" dy=\"18\" text-anchor=\"middle\">{}</text>",
                Escaped(&tick.label)
            )
        });
        let lines: String = across.chain(upright).collect();
        format!(
            "<g>{lines}<line class=\"base\" x1=\"0\" y1=\"100%\" x2=\"100%\" y2=\"100%\"/></g>\n"
        )
    }

    fn curves(&self) -> String {
        let curves: String = self.lines.iter().map(Line::curve).collect();
        if curves.is_empty() {
            return String::new();
        }
        format!("<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\">{curves}</svg>\n")
    }
}

impl Line {
    fn curve(&self) -> String {
        self.points
            .split(Option::is_none)
            .filter(|run| run.len() > 1)
            .map(|run| {
                let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
                let path: Vec<String> = run
                    .iter()
                    .map(|(x, y)| format!("{} {}", thousandths(*x), thousandths(1.0 - y)))
                    .collect();
                let path = path.join("L");
                let area = match (self.filled, run.first(), run.last()) {
                    (true, Some((from, _)), Some((to, _))) => format!(
                        "<path class=\"area {}\" d=\"M{} 1000L{path}L{} 1000z\"/>",
                        self.class,
                        thousandths(*from),
                        thousandths(*to)
                    ),
                    _ => String::new(),
                };
                format!("{area}<path class=\"line {}\" d=\"M{path}\"/>", self.class)
            })
            .collect()
    }

    /// Markers at equal distances, at the last point, and at every point that has no neighbour and so no line.
    fn markers(&self) -> String {
        let every = (self.points.len() / MARKERS).max(1);
        let exists = |index: usize| self.points.get(index).is_some_and(Option::is_some);
        let shown = |index: usize| {
            let is_alone = !exists(index.wrapping_sub(1)) && !exists(index + 1);
            is_alone || index % every == every / 2 || index + 1 == self.points.len()
        };
        let markers: String = self
            .points
            .iter()
            .enumerate()
            .filter(|(index, _)| shown(*index))
            .filter_map(|(_, point)| *point)
            // On the axis they would only hide its numbers.
            .filter(|(_, y)| *y > 0.0)
            .map(|(x, y)| {
                self.marker
                    .render(self.class, &percent(x), &percent(1.0 - y))
            })
            .collect();
        format!("<g>{markers}</g>\n")
    }
}

impl Marker {
    fn render(self, class: &str, x: &str, y: &str) -> String {
        let shape = match self {
            Self::Circle => "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
            Self::Square => "M-3.2-3.2h6.4v6.4h-6.4z",
            Self::Triangle => "M0-4.4L4.2 3.4h-8.4z",
            Self::Diamond => "M0-4.8L4.8 0L0 4.8L-4.8 0z",
        };
        format!(
            "<svg class=\"mark\" x=\"{x}\" y=\"{y}\"><path class=\"marker {class}\" d=\"{shape}\"/></svg>"
        )
    }
}

impl Bars {
    /// A pattern as an attribute, which a stylesheet could not name: it belongs to the one drawing.
    fn paint(&self, id: &str) -> String {
        if self.hatched {
            format!(" fill=\"url(#{id}-hatch)\"")
        } else {
            String::new()
        }
    }

    fn render(&self, id: &str) -> String {
        let bars: String = self
            .bars
            .iter()
            .filter(|[_, _, bottom, top]| top > bottom)
            .map(|[from, to, bottom, top]| {
                format!(
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
                    percent(*from),
                    percent(1.0 - top),
                    percent(to - from),
                    percent(top - bottom)
                )
            })
            .collect();
        format!(
            "<g class=\"bar {}\"{}>{bars}</g>\n",
            self.class,
            self.paint(id)
        )
    }
}

impl Hover {
    fn render(&self) -> String {
        format!(
            "<rect class=\"hover\" x=\"{}\" y=\"0\" width=\"{}\" height=\"100%\"><title>{}</title></rect>",
            percent(self.from),
            percent(self.to - self.from),
            self.words
                .lines()
                .map(|line| Escaped(line).to_string())
                .collect::<Vec<_>>()
                .join("\n")
        )
    }
}

/// A part of the plot as a length, short enough to write thousands of.
pub(super) fn percent(part: f64) -> String {
    let digits = format!("{:.2}", part * 100.0);
    format!("{}%", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn thousandths(part: f64) -> String {
    let digits = format!("{:.1}", part * 1_000.0);
    digits.trim_end_matches(".0").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_between_two_gaps_is_seen() {
        let mut points = vec![None; 100];
        points[3] = Some((0.03, 0.5));
        let line = Line {
            class: "p50",
            marker: Marker::Circle,
            name: "p50",
            points,
            filled: false,
        };
        assert_eq!(line.curve(), "");
        assert!(line.markers().contains("x=\"3%\" y=\"50%\""));
    }
}
