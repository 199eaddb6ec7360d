//! Axes: where a value lies between the ends, and the round numbers that are written beside it.

/// One side of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    pub(super) ticks: Vec<Tick>,
}

/// A number written at an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// From 0, the low end, to 1.
    pub(super) at: f64,
    /// Empty for a line without a number.
    pub(super) label: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    Log,
}

/// Numbers along an axis. More of them would touch each other on a phone.
const MOST_TICKS: f64 = 6.0;

const DAY_SECS: f64 = 86_400.0;

/// Steps in seconds that people count time in.
const CLOCK_STEPS: [f64; 20] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0,
    3_600.0, 7_200.0, 14_400.0, 43_200.0, 86_400.0,
];

impl Axis {
    /// From nothing to a round number above the highest value.
    pub(super) fn linear(highest: f64, label: impl Fn(f64) -> String) -> Self {
        let highest = if highest.is_finite() && highest > 0.0 {
            highest.min(1e300)
        } else {
            1.0
        };
        let step = round_step(highest / (MOST_TICKS - 1.0));
        let steps = (highest / step - 1e-9).ceil().max(1.0);
        Self::with_ticks(
            Scale::Linear,
            0.0,
            steps * step,
            (0..=steps as u32).map(|index| {
                let value = f64::from(index) * step;
                (value, label(value))
            }),
        )
    }

    /// Logarithmic, from a round number below the lowest value to one above the highest.
    pub(super) fn log(lowest: f64, highest: f64, label: impl Fn(f64) -> String) -> Self {
        let lowest = if lowest >= 1.0 { lowest.min(1e30) } else { 1.0 };
        let highest = if highest.is_finite() {
            highest.clamp(lowest, 1e30)
        } else {
            lowest
        };
        let mut rounds: Vec<f64> = (-1..=31)
            .flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent)))
            .collect();
        let begin = rounds.partition_point(|round| *round <= lowest * (1.0 + 1e-9)) - 1;
        let mut end = rounds.partition_point(|round| *round < highest * (1.0 - 1e-9));
        // At least from one number to another.
        if end <= begin {
            end = begin + 1;
        }
        rounds.truncate(end + 1);
        rounds.drain(..begin);
        let (low, high) = (rounds[0], rounds[rounds.len() - 1]);
        let decades = (high / low).log10();
        let every = (decades / MOST_TICKS).ceil().max(1.0) as i64;
        let is_labelled = |round: f64| {
            let exponent = round.log10();
            let is_decade = (exponent - exponent.round()).abs() < 1e-9;
            decades < 2.5 || (is_decade && (exponent.round() as i64).rem_euclid(every) == 0)
        };
        Self::with_ticks(
            Scale::Log,
            low,
            high,
            rounds
                .into_iter()
                .filter_map(|round| match is_labelled(round) {
                    true => Some((round, label(round))),
                    // So many lines would be a wall.
                    false if decades > 8.0 => None,
                    false => Some((round, String::new())),
                }),
        )
    }

    /// Time since the beginning of the run: in seconds up to two minutes, then as a clock, then in days.
    pub(super) fn time(end_secs: f64) -> Self {
        let end = if end_secs.is_finite() && end_secs > 0.0 {
            end_secs
        } else {
            1.0
        };
        let step = CLOCK_STEPS
            .into_iter()
            .find(|step| end / step <= MOST_TICKS)
            .unwrap_or_else(|| DAY_SECS * round_step(end / DAY_SECS / MOST_TICKS));
        let steps = (end / step + 1e-9).floor() as u32;
        Self::with_ticks(
            Scale::Linear,
            0.0,
            end,
            (0..=steps).map(|index| {
                let secs = f64::from(index) * step;
                (secs, clock(secs, end))
            }),
        )
    }

    /// Percentiles by their nines: as far from 90 % to 99 % as from there to 99.9 %. See [`nines`].
    pub(super) fn nines(count: u64) -> Self {
        let high = (count.max(10) as f64).log10();
        let named = [
            (0.0, "0 %"),
            (0.5, "50 %"),
            (0.9, "90 %"),
            (0.99, "99 %"),
            (0.999, "99.9 %"),
            (0.999_9, "99.99 %"),
            (0.999_99, "99.999 %"),
            (0.999_999, "99.9999 %"),
            (0.999_999_9, "99.99999 %"),
        ];
        Self::with_ticks(
            Scale::Linear,
            0.0,
            high,
            named
                .into_iter()
                .map(|(quantile, name)| (nines(quantile), name.to_owned()))
                .filter(|(at, _)| *at <= high + 1e-9),
        )
    }

    /// From 0 to 1, the nearest end for what lies beyond.
    pub(super) fn position(&self, value: f64) -> f64 {
        self.scale.position(value, self.low, self.high)
    }

    fn with_ticks(
        scale: Scale,
        low: f64,
        high: f64,
        ticks: impl Iterator<Item = (f64, String)>,
    ) -> Self {
        let ticks = ticks
            .map(|(value, label)| Tick {
                at: scale.position(value, low, high),
                label,
            })
            .collect();
        Self {
            scale,
            low,
            high,
            ticks,
        }
    }
}

impl Scale {
    fn position(self, value: f64, low: f64, high: f64) -> f64 {
        let at = match self {
            Self::Linear => (value - low) / (high - low),
            Self::Log => (value.max(low) / low).ln() / (high / low).ln(),
        };
        // What is no number lies at the low end.
        if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) }
    }
}

/// How many nines a quantile begins with: 0.9 has one, 0.99 two.
pub(super) fn nines(quantile: f64) -> f64 {
    let beyond = (1.0 - quantile).clamp(1e-12, 1.0);
    -beyond.log10()
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

fn clock(secs: f64, end: f64) -> String {
    if end <= 120.0 {
        let digits = usize::from(end < 2.0);
        return format!("{secs:.digits$} s");
    }
    if end > 2.0 * DAY_SECS {
        let days = secs / DAY_SECS;
        return if days < 1e4 {
            format!("{days} d")
        } else {
            format!("{days:.0e} d")
        };
    }
    let secs = secs.round() as u64;
    let (hours, minutes) = (secs / 3_600, secs / 60 % 60);
    if end < 7_200.0 {
        format!("{}:{:02} min", secs / 60, secs % 60)
    } else {
        format!("{hours}:{minutes:02} h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        let labels: Vec<&str> = axis.ticks.iter().map(|tick| tick.label.as_str()).collect();
        labels.join("|")
    }

    fn number(value: f64) -> String {
        format!("{value}")
    }

    #[test]
    fn a_linear_axis_ends_at_a_round_number_above() {
        assert_eq!(
            labels(&Axis::linear(487.0, number)),
            "0|100|200|300|400|500"
        );
        assert_eq!(labels(&Axis::linear(100.0, number)), "0|20|40|60|80|100");
        assert_eq!(
            labels(&Axis::linear(0.0, number)),
            "0|0.2|0.4|0.6000000000000001|0.8|1"
        );
    }

    #[test]
    fn a_log_axis_is_numbered_by_decades_when_it_is_long() {
        assert_eq!(labels(&Axis::log(3.0, 40.0, number)), "2|5|10|20|50");
        assert_eq!(
            labels(&Axis::log(10.0, 9_000.0, number)),
            "10|||100|||1000|||10000"
        );
    }

    #[test]
    fn time_is_counted_as_people_do() {
        assert_eq!(labels(&Axis::time(65.0)), "0 s|15 s|30 s|45 s|60 s");
        assert_eq!(
            labels(&Axis::time(0.5)),
            "0.0 s|0.1 s|0.2 s|0.3 s|0.4 s|0.5 s"
        );
        assert_eq!(
            labels(&Axis::time(600.0)),
            "0:00 min|2:00 min|4:00 min|6:00 min|8:00 min|10:00 min"
        );
    }

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        let axis = Axis::nines(1_000);
        assert_eq!(labels(&axis), "0 %|50 %|90 %|99 %|99.9 %");
        let at = |quantile| (axis.position(nines(quantile)) * 1_000.0).round();
        assert_eq!([0.9, 0.99, 0.999].map(at), [333.0, 667.0, 1_000.0]);
    }

    #[test]
    fn no_value_breaks_an_axis() {
        let wild = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1.0,
            0.0,
            1e-300,
            1.8e19,
            f64::MAX,
        ];
        for one in wild {
            for other in wild {
                for axis in [
                    Axis::linear(one, number),
                    Axis::log(one, other, number),
                    Axis::time(one),
                    Axis::nines(one as u64),
                ] {
                    assert!(!axis.ticks.is_empty() && axis.ticks.len() < 110, "{axis:?}");
                    assert!((0.0..=1.0).contains(&axis.position(other)), "{axis:?}");
                }
            }
        }
    }
}
