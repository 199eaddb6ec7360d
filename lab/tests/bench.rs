//! The benchmark in its tiny form: everything it measures can be measured. What the figures are is for `make bench`.

mod common;
#[path = "../examples/bench/rounds.rs"]
#[expect(dead_code, reason = "the benchmark uses what the tests do not")]
mod rounds;
#[path = "../examples/bench/pgbench/statements.rs"]
mod statements;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{programs, skip};
use rounds::{Series, number};
use statements::{script, statements};

/// The title of each row of the document.
const TITLES: [&str; 9] = [
    "The balancer",
    "The list page",
    "Play and check",
    "The list page, kept for a second",
    "A large site beside a small one",
    "Idle connections",
    "Pictures",
    "One to four front-ends",
    "The load tester",
];

const BEGIN: &str = "<!-- Written by make bench from here on -->";
const END: &str = "<!-- to here -->";

/// A document with prose around the part that is written.
fn document() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n");
    std::fs::write(file.path(), text).unwrap();
    file
}

fn bench(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(programs().join("examples/site-bench"));
    command.arg("--programs").arg(programs()).args(arguments);
    command.output().expect("cargo builds examples for tests")
}

#[test]
fn the_benchmark_measures_everything_and_nothing_fails_in_it() {
    let name = "the_benchmark_measures_everything_and_nothing_fails_in_it";
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        return skip(name, "the benchmark needs two cores");
    }
    let file = document();
    let output = bench(&["--smoke", "--markdown", file.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{complaints}");
    assert!(!text.contains("requests failed"), "{text}");
    let written = std::fs::read_to_string(file.path()).unwrap();
    assert!(written.starts_with("# Before\n"), "{written}");
    assert!(written.ends_with("\n\nAfter.\n"), "{written}");
    for title in TITLES {
        assert!(text.contains(&format!("== {title}\n")), "{title}: {text}");
        assert!(
            written.contains(&format!("### {title}\n")),
            "{title}: {written}"
        );
    }
    for row in [
        "list page",
        "play and check in turn",
        "list page, kept for 1 s",
        "search, rare word",
        "front-end",
        "balancer, from its memory",
        "quiz-loadtest",
    ] {
        assert!(
            written.contains(&format!("\n| {row} |")),
            "{row}: {written}"
        );
    }
    if text.contains("nginx is not installed") {
        skip(name, "nginx is not installed: the peers were left out");
    }
}

#[test]
fn what_is_not_measured_stays_as_it_was_written() {
    let file = document();
    let path = file.path().to_str().unwrap();
    // The one row that needs no server in this form.
    let first = bench(&["--smoke", "--only", "balancer", "--markdown", path]);
    assert!(first.status.success());
    let written = std::fs::read_to_string(file.path()).unwrap();
    let edited = written.replace(
        "<!-- list -->\nNot measured yet: `make bench` does.",
        "<!-- list -->\nMeasured long ago.",
    );
    assert_ne!(edited, written);
    std::fs::write(file.path(), &edited).unwrap();
    let second = bench(&["--smoke", "--only", "balancer", "--markdown", path]);
    assert!(second.status.success());
    let written = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(written, edited);
}

#[test]
fn a_benchmark_that_is_interrupted_leaves_nothing() {
    let name = "a_benchmark_that_is_interrupted_leaves_nothing";
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        return skip(name, "the benchmark needs two cores");
    }
    let running = Command::new(programs().join("examples/site-bench"))
        .arg("--programs")
        .arg(programs())
        .args(["--smoke", "--only", "play"])
        .spawn()
        .expect("cargo builds examples for tests");
    let pid = running.id();
    let mut running = Ended(running);
    // The database, the storage nodes and a front-end run by then.
    until("a front-end serves", || {
        descendants(pid).into_iter().any(is_front_end)
    });
    let started = descendants(pid);
    let folder = started.iter().copied().find_map(folder);
    let folder = folder.expect("the storage nodes have a folder");
    let own = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
    assert!(!running.0.wait().unwrap().success());
    assert!(!folder.exists(), "{} is left", folder.display());
    until("all that it started has ended", || {
        !started.iter().any(|pid| is_alive(*pid))
    });
}

/// A benchmark that does not outlive its test, however that ends.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It has ended already, as a rule.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + common::SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A front-end has no arguments; `quiz-web fill` has some.
fn is_front_end(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.ends_with(b"/quiz-web\0")
}

/// The folder of a storage node.
fn folder(pid: u32) -> Option<PathBuf> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let environment = String::from_utf8(environment).ok()?;
    let mut variables = environment.split('\0');
    let folder = variables.find_map(|variable| variable.strip_prefix("STORAGE_DIR="));
    folder.map(PathBuf::from).filter(|folder| folder.exists())
}

fn descendants(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children: Vec<u32> = all.filter(|each| parent(*each) == Some(pid)).collect();
    let theirs = children.iter().flat_map(|child| descendants(*child));
    children.iter().copied().chain(theirs).collect()
}

/// The fields of `/proc/PID/stat` behind the name: state and parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, parent)| parent)
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

fn series(values: &[f64]) -> Series {
    values.iter().copied().collect()
}

#[test]
fn a_ratio_is_of_the_same_round_and_its_middle_is_the_median() {
    let own = series(&[10.0, 30.0, 20.0, 40.0]);
    let peer = series(&[20.0, 30.0, 10.0, 0.0]);
    let ratio = own.over(&peer);
    assert_eq!(ratio.range(2), "0.50-1.00-2.00");
    assert_eq!(series(&[1.0, 4.0, 2.0, 3.0]).median(), 2.5);
    assert_eq!(series(&[7.0]).range(1), "7.0");
    assert_eq!(series(&[]).range(1), "-");
    assert!(series(&[]).median().is_nan());
    let in_turn = series(&[100.0]).in_turn(&series(&[300.0]));
    assert_eq!(in_turn.range(1), "150.0");
}

#[test]
fn numbers_have_commas_between_thousands() {
    for (value, digits, text) in [
        (0.0, 0, "0"),
        (999.0, 0, "999"),
        (1000.0, 0, "1,000"),
        (1_234_567.891, 2, "1,234,567.89"),
        (-100.0, 0, "-100"),
        (-1000.0, 0, "-1,000"),
    ] {
        assert_eq!(number(value, digits), text);
    }
}

#[test]
fn statements_are_read_from_the_log_of_postgresql() {
    let log = "\
lb       │ quiz@small LOG:  duration: 1 ms  execute x: not from the database
postgres │ quiz@other LOG:  duration: 0.1 ms  execute sqlx_s_1: SELECT 0
postgres │ quiz@small LOG:  duration: 0.1 ms  parse sqlx_s_2: SELECT 1
postgres │ quiz@small LOG:  duration: 0.1 ms  execute sqlx_s_1: SELECT 1 AS one
postgres │ quiz@small LOG:  duration: 0.333 ms  execute sqlx_s_2: SELECT a::text
postgres │ \tFROM b WHERE ($1::text IS NULL OR c LIKE '%:' || $1) AND d = $2
postgres │ quiz@small DETAIL:  parameters: $1 = NULL, $2 = 'it''s, $1 = ''x'''
postgres │ quiz@small LOG:  duration: 0.333 ms  bind sqlx_s_3: SELECT 2
postgres │ quiz@small DETAIL:  parameters: $1 = '2'
postgres │ quiz@small LOG:  duration: 0.333 ms  execute sqlx_s_3: SELECT 2
";
    let (text, variables) = script(&statements(log, "small"));
    assert_eq!(
        text,
        "SELECT a::text\nFROM b WHERE (NULL::text IS NULL OR c LIKE '%:' || NULL) AND d = :s0_2;\nSELECT 2;\n"
    );
    let expected = ("s0_2".to_owned(), "it's, $1 = 'x'".to_owned());
    assert_eq!(variables, [expected]);
}

#[test]
fn the_tenth_parameter_is_not_the_first_with_a_zero() {
    let values: Vec<String> = (1..=10).map(|n| format!("${n} = '{n}'")).collect();
    let log = format!(
        "postgres │ q@d LOG:  duration: 1 ms  execute s: SELECT $1, $10\npostgres │ q@d DETAIL:  Parameters: {}\n",
        values.join(", ")
    );
    let (text, variables) = script(&statements(&log, "d"));
    assert_eq!(text, "SELECT :s0_1, :s0_10;\n");
    assert_eq!(variables.len(), 10);
}
