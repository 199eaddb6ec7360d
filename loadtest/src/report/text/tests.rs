use super::*;
use crate::report::samples;

#[test]
fn the_text_report_says_it_all() {
    insta::assert_snapshot!(render(&samples::eventful(), Some(&samples::quiet())));
}

#[test]
fn a_quiet_run_needs_few_words() {
    insta::assert_snapshot!(render(&samples::quiet(), None));
}

#[test]
fn a_run_that_measured_nothing_is_told_without_figures() {
    insta::assert_snapshot!(render(&samples::empty(), None));
}

#[test]
fn an_invalid_run_says_so_before_anything_else() {
    let mut report = samples::quiet();
    report.generator.valid = false;
    report.generator.reasons = vec![
        "one thread was busy 99 % of the time: give --threads 4".to_owned(),
        "requests were handed out 40 ms late: use another machine".to_owned(),
    ];
    let text = render(&report, None);
    let begin: Vec<&str> = text.lines().take(5).collect();
    assert_eq!(
        begin,
        [
            "INVALID RUN: these are not the figures of the server.",
            "  one thread was busy 99 % of the time: give --threads 4",
            "  requests were handed out 40 ms late: use another machine",
            "",
            "target    http://127.0.0.1:8080/",
        ]
    );
}

#[test]
fn no_text_from_outside_moves_the_cursor() {
    let text = render(&samples::hostile(), Some(&samples::hostile()));
    assert!(
        text.chars()
            .all(|character| character == '\n' || !character.is_control())
    );
}
