//! What can be written, what it stands for, and what is said when it cannot be written.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    simulate: SimulateArgs,
}

fn parse(line: &str) -> Result<SimulateArgs, String> {
    let words = std::iter::once("simulate").chain(line.split_whitespace());
    Command::try_parse_from(words)
        .map(|command| command.simulate)
        .map_err(|error| error.to_string())
}

fn output(line: &str) -> Result<String, String> {
    parse(line)?.run().map_err(|error| error.to_string())
}

#[test]
fn a_row_for_each_policy_and_one_for_each_of_its_backends() {
    let text = output(
        "--rate 600 --backends 4 --workers 2 --service lognormal:2ms,p99=10ms --slow 1@4 \
         --policy round_robin,least_load,random,two_choices,shortest --requests 2000 --overhead 0.3ms",
    )
    .unwrap();
    assert!(
        text.starts_with("4 backends of 2 workers, mean service time 2.54 ms"),
        "{text}"
    );
    assert!(text.contains("backend 1 takes 4 times as long"), "{text}");
    for policy in [
        "round_robin",
        "least_load",
        "random",
        "two_choices",
        "shortest",
    ] {
        let rows = text.lines().filter(|line| line.starts_with(policy)).count();
        assert_eq!(rows, 1 + 4, "{policy} in {text}");
    }
    assert!(!text.contains("overloaded"), "{text}");
}

#[test]
fn json_has_the_same_figures_and_the_same_seed_gives_them_again() {
    let line = "--rate 600 --service fixed:1ms --requests 2000 --format json";
    let first = output(line).unwrap();
    assert_eq!(output(line).unwrap(), first);
    assert_ne!(output(&format!("{line} --seed 2")).unwrap(), first);
    let report: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(report["version"], 1);
    assert_eq!(report["model"]["capacity_per_second"], 3000.0);
    assert_eq!(report["model"]["warm_up"], 200);
    assert_eq!(report["runs"][0]["policy"], "round_robin");
    assert_eq!(report["runs"][1]["policy"], "least_load");
    assert_eq!(report["runs"][1]["backends"].as_array().unwrap().len(), 3);
    assert!(report["runs"][0]["latency_us"]["p99"].as_f64().unwrap() >= 1000.0);
}

#[test]
fn a_sweep_has_a_row_for_each_utilisation() {
    let text = output("--sweep 0.5..0.95/0.15 --requests 1000").unwrap();
    let utilisations: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" %").map(|(utilisation, _)| utilisation))
        .collect();
    assert_eq!(utilisations, ["50.0", "65.0", "80.0", "95.0"], "{text}");
    assert_eq!("0.5..0.95".parse::<Sweep>().unwrap().0.len(), POINTS);
    assert_eq!("0.5..0.5".parse::<Sweep>().unwrap().0, [0.5]);
}

#[test]
fn a_policy_that_overloads_a_slow_backend_has_no_figures_in_a_sweep_and_a_warning_beside_them_otherwise()
 {
    let sweep = output("--sweep 0.6..0.6 --slow 1@4 --requests 1000").unwrap();
    let row = sweep
        .lines()
        .find(|line| line.starts_with("60.0 %"))
        .unwrap();
    assert_eq!(row.matches(" -").count(), 2, "{sweep}");
    let text = output("--rate 600 --service fixed:2ms --slow 1@4 --requests 1000").unwrap();
    assert!(text.contains("\nround_robin is overloaded"), "{text}");
    assert!(!text.contains("\nleast_load is overloaded"), "{text}");
}

#[test]
fn many_backends_are_summed_up() {
    let text = output("--rate 900 --backends 30 --policy random --requests 1000").unwrap();
    let rows = text
        .lines()
        .filter(|line| line.starts_with("random"))
        .count();
    assert_eq!(rows, 2, "{text}");
}

#[test]
fn what_cannot_be_simulated_is_answered_with_what_to_write() {
    for (line, remedy) in [
        ("", "--rate"),
        ("--rate 0", "from 0.01 to 10000000"),
        ("--rate NaN", "from 0.01 to 10000000"),
        ("--rate 10 --sweep 0.5..0.9", "cannot be used with"),
        ("--rate 10 --backends 0", "1..=1000"),
        ("--rate 10 --workers 0", "1..=1000"),
        ("--rate 10 --requests 0", "1..=100000000"),
        ("--rate 10 --service 2ms", "write fixed:2ms"),
        ("--rate 10 --overhead 3", "as 2.5ms"),
        ("--rate 10 --policy fastest", "least_load"),
        ("--rate 10 --slow 1", "as 1@4"),
        ("--rate 10 --slow 1@0", "as 1@4"),
        ("--rate 10 --slow 1@NaN", "as 1@4"),
        ("--rate 10 --slow 0@4", "from 1 to 3"),
        ("--rate 10 --slow 4@4", "from 1 to 3"),
        ("--rate 10 --slow 1@4,1@2", "write it once"),
        ("--sweep 0.5", "0.5..0.95"),
        ("--sweep 0.9..0.5", "the lower one first"),
        ("--sweep 0.5..1.0", "0.999"),
        ("--sweep 0.5..0.9/0", "0.5..0.95"),
        ("--sweep 0.5..0.9/0.001", "a larger step"),
        (
            "--sweep 0.5..0.9 --service fixed:0.001us",
            "between 1us and 60s",
        ),
    ] {
        let error = output(line).expect_err(line);
        assert!(error.contains(remedy), "{line}: {error}");
    }
}

#[test]
fn the_longest_run_of_the_most_overloaded_model_ends_with_figures() {
    let text = output("--rate 0.01 --requests 50 --service fixed:3600s --backends 1 --slow 1@1000");
    assert!(text.unwrap().contains("overloaded"));
}
