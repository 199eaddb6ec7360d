//! One log for many processes: each line behind the name of the process that wrote it.

use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the lab writes. Clones share one output, and a line is written whole.
#[derive(Clone)]
pub struct Console {
    out: Arc<Mutex<Box<dyn Write + Send>>>,
    colour: bool,
}

/// Width of the name column; the longest name of a stack of up to 99 front-ends is `postgres`.
const NAME_WIDTH: usize = 8;

/// Foreground colours that are readable on dark and on light terminals (ANSI 31-36).
const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 31];

impl Console {
    /// Writes to standard output, in colour when that is a terminal and `no_color` is not asked for
    /// (<https://no-color.org>).
    pub fn stdout(no_color: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && !no_color;
        Self::new(Box::new(std::io::stdout()), colour)
    }

    /// Writes to `out`, with ANSI colours if `colour`.
    pub fn new(out: Box<dyn Write + Send>, colour: bool) -> Self {
        Self {
            out: Arc::new(Mutex::new(out)),
            colour,
        }
    }

    /// A line that the process `name` wrote.
    pub fn line(&self, name: &str, text: &str) {
        let padded = format!("{name:<NAME_WIDTH$}");
        let name = self.paint(&padded, COLOURS[colour_of(name)]);
        self.write(&format!("{name} │ {text}\n"));
    }

    /// A line of the lab itself about the process `name`: `mark` is one character such as `✔`.
    pub fn event(&self, mark: char, name: &str, text: &str) {
        let padded = format!("{name:<NAME_WIDTH$}");
        let name = self.paint(&padded, COLOURS[colour_of(name)]);
        self.write(&format!("{name} {mark} {text}\n"));
    }

    /// Text of the lab itself, written as it is.
    pub fn plain(&self, text: &str) {
        self.write(text);
    }

    fn paint(&self, text: &str, colour: u8) -> String {
        if self.colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn write(&self, text: &str) {
        // A log that cannot be written (a closed pipe) must not take the stack down with it.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Processes of one kind differ in colour by their number: `quiz-1`, `quiz-2`; kinds start at different colours.
fn colour_of(name: &str) -> usize {
    name.bytes()
        .fold(0, |sum: usize, byte| sum.wrapping_add(usize::from(byte)))
        % COLOURS.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(colour: bool, write: impl Fn(&Console)) -> String {
        let out = Shared::default();
        write(&Console::new(Box::new(out.clone()), colour));
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn each_line_carries_the_name_of_its_process_in_one_column() {
        let text = written(false, |console| {
            console.line("lb", "hello");
            console.line("postgres", "hello");
        });
        assert_eq!(text, "lb       │ hello\npostgres │ hello\n");
    }

    #[test]
    fn colours_are_written_only_when_asked_for() {
        assert!(written(true, |console| console.line("lb", "x")).contains("\x1b["));
        assert!(!written(false, |console| console.line("lb", "x")).contains('\x1b'));
    }

    #[test]
    fn neighbouring_front_ends_differ_in_colour() {
        assert_ne!(colour_of("quiz-1"), colour_of("quiz-2"));
    }
}
