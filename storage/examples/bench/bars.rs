//! The bars and whether they are met.

use anyhow::ensure;

/// What has to come out, beside what came out.
#[derive(Default)]
pub(crate) struct Bars(Vec<(String, bool)>);

impl Bars {
    pub(crate) fn at_least(&mut self, what: &str, bar: f64, value: f64) {
        self.note(format!("{what}: at least {bar}: {value:.2}"), value >= bar);
    }

    pub(crate) fn at_most(&mut self, what: &str, bar: f64, value: f64) {
        self.note(format!("{what}: at most {bar}: {value:.2}"), value <= bar);
    }

    fn note(&mut self, text: String, met: bool) {
        self.0.push((text, met));
    }

    /// Prints them. Fails when one was missed.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        println!("\n| bar | |\n|---|---|");
        for (text, met) in &self.0 {
            println!("| {text} | {} |", if *met { "met" } else { "MISSED" });
        }
        let missed = self.0.iter().filter(|(_, met)| !met).count();
        ensure!(missed == 0, "{missed} bars were missed");
        Ok(())
    }
}
