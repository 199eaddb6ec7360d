use super::*;

#[test]
fn a_timeline_is_read_in_any_order_with_or_without_at() {
    let timeline: Timeline = "20s cut nas1; at 500ms kill quiz-2\n1m deploy 1.2.0;"
        .parse()
        .expect("a timeline");
    let read: Vec<(u64, &str)> = timeline
        .0
        .iter()
        .map(|planned| (planned.at.as_millis() as u64, planned.action.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            (500, "kill quiz-2"),
            (20_000, "cut nas1"),
            (60_000, "deploy 1.2.0")
        ]
    );
    for (bad, words) in [
        ("", "empty"),
        ("10s", "no action"),
        ("soon kill lb", "whole number"),
    ] {
        let error = bad.parse::<Timeline>().expect_err(bad).to_string();
        assert!(error.contains(words), "{bad:?}: {error}");
    }
}

#[test]
fn actions_become_commands_of_where_the_stack_runs() {
    let network: Via = "network".parse().expect("a place");
    let compose: Via = "compose:/srv/quizstack".parse().expect("a place");
    for (via, action, command) in [
        (&network, "cut nas1", "quiz-lab cut nas1"),
        (&network, "stop s2", "quiz-lab stop -M s2"),
        (&compose, "kill quiz-2", "docker kill quizstack-quiz-2"),
        (&compose, "freeze nas1", "docker pause quizstack-nas1-1"),
        (&compose, "deploy 1.2.0", "compose/bin/deploy 1.2.0"),
        (&Via::Shell, "run echo a; echo b", "sh -c echo a; echo b"),
    ] {
        assert_eq!(
            via.deed(action),
            Ok(Deed::Command(command_of(command))),
            "{action}"
        );
    }
    assert_eq!(compose.folder(), Some("/srv/quizstack".into()));
    for (via, bad) in [
        (&network, "kill s1"),
        (&compose, "cut nas1"),
        (&compose, "kill -9"),
        (&Via::Shell, "kill lb"),
        (&network, "cut"),
    ] {
        let words = via.deed(bad).expect_err(bad);
        assert!(words.contains("is not known"), "{words}");
    }
}

/// As written, but for the last argument of a shell, which is one.
fn command_of(text: &str) -> Vec<String> {
    match text.strip_prefix("sh -c ") {
        Some(script) => vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
        None => text.split(' ').map(str::to_owned).collect(),
    }
}

#[test]
fn a_signal_goes_to_the_process_that_has_the_name_by_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let via: Via = format!("lab:{}", folder.path().display())
        .parse()
        .expect("a place");
    let publish = |pid: &str| {
        let text = format!(
            r#"{{"pid": 1, "url": "", "processes": [{{"name": "quiz-1", "pid": {pid}}}]}}"#
        );
        std::fs::write(folder.path().join("lab.json"), text).expect("a file");
    };
    assert!(
        via.deed("kill quiz-1")
            .expect_err("nothing runs")
            .contains("does the stack run")
    );
    publish("17");
    let deed = via.deed("kill quiz-1").expect("it runs");
    publish("18");
    assert_eq!(deed.command(), Ok(command_of("kill -s KILL 18")));
    publish("null");
    assert!(
        deed.command()
            .expect_err("it is down")
            .contains("does not run")
    );
    assert!(
        via.deed("kill quiz-9")
            .expect_err("no such process")
            .contains("quiz-1")
    );
}

#[tokio::test]
async fn what_an_action_says_when_it_fails_is_kept() {
    let timeline: Timeline = "0s run true; 1ms run echo broken >&2; exit 3"
        .replace("; exit", " && exit")
        .parse()
        .expect("a timeline");
    let deeds = timeline.deeds(&Via::Shell).expect("commands");
    let (_running, over) = oneshot::channel();
    let events = carry_out(deeds, None, Instant::now(), Duration::ZERO, over).await;
    assert_eq!(events[0].error, None);
    let error = events[1].error.as_deref().expect("it failed");
    assert!(error.contains('3') && error.contains("broken"), "{error}");
}

/// A second for each p99 in milliseconds; a negative one is a second with failures.
fn series(p99_ms: &[i64]) -> Series {
    let point = |(second, p99): (usize, &i64)| Point {
        at_secs: second as f64,
        planned: 10,
        failed: if *p99 < 0 { 5 } else { 0 },
        p99_us: Some(p99.unsigned_abs() * 1_000),
        ..Point::default()
    };
    Series {
        interval_secs: 1.0,
        points: p99_ms.iter().enumerate().map(point).collect(),
    }
}

fn event(at_secs: f64) -> Event {
    Event {
        at_secs,
        action: "kill quiz-1".to_owned(),
        took_secs: 0.1,
        error: None,
        failed: 0,
        recovery_secs: None,
    }
}

#[tokio::test]
async fn the_end_of_the_run_waits_for_the_action_under_way_and_begins_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "0s run touch {0} && until test -e {1}; do sleep 0.01; done && touch {2}\n1m run touch {3}",
        path("begun"),
        path("go-on"),
        path("ended"),
        path("never")
    );
    // A semicolon separates actions, and this script has two.
    let deeds = text
        .lines()
        .map(|line| {
            let (at, action) = line.split_once(' ').expect("a time");
            let at = parse_duration(at).expect("a time");
            let action = action.to_owned();
            let deed = Via::Shell.deed(&action).expect("a command");
            (Planned { at, action }, deed)
        })
        .collect();
    let (end, over) = oneshot::channel();
    let events = carry_out(deeds, None, Instant::now(), Duration::ZERO, over);
    let ending = async {
        while !folder.path().join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        end.send(()).expect("it listens");
        std::fs::write(folder.path().join("go-on"), "").expect("a file");
    };
    let (events, ()) = tokio::join!(events, ending);
    assert_eq!(events[0].error, None);
    assert!(folder.path().join("ended").exists() && !folder.path().join("never").exists());
    assert!(
        events[1]
            .error
            .as_ref()
            .is_some_and(|error| error.contains("not done"))
    );
}

#[test]
fn recovery_lasts_until_the_last_second_that_was_not_well_before_the_next_event() {
    // Usual are 40 ms, so 80 are still well.
    let series = series(&[900, 40, 40, -40, -40, 79, 40, 200, 40, 40, 40, 40]);
    let mut events = [event(3.001), event(7.001), event(10.5)];
    judge(&mut events, &series, 1.0);
    let recoveries: Vec<Option<f64>> = events
        .iter()
        .map(|event| {
            event
                .recovery_secs
                .map(|secs| (secs * 100.0).round() / 100.0)
        })
        .collect();
    assert_eq!(recoveries, [Some(2.0), Some(1.0), Some(0.0)]);
    assert_eq!(events.each_ref().map(|event| event.failed), [10, 0, 0]);
}

#[test]
fn a_request_that_was_under_way_counts_for_the_event_that_broke_it() {
    let mut events = [event(2.5), event(4.5)];
    judge(&mut events, &series(&[40, -40, 40, -40, 40, 40]), 0.0);
    assert_eq!(events.each_ref().map(|event| event.failed), [5, 5]);
    assert_eq!(
        events.each_ref().map(|event| event.recovery_secs),
        [Some(0.0), Some(0.0)]
    );
}

#[test]
fn one_slow_interval_is_no_lasting_trouble() {
    let mut series = series(&[40; 60]);
    series.interval_secs = 0.1;
    for (index, point) in series.points.iter_mut().enumerate() {
        point.at_secs = index as f64 / 10.0;
    }
    series.points[50].p99_us = Some(900_000);
    let mut events = [event(3.0)];
    judge(&mut events, &series, 0.0);
    assert_eq!(events[0].recovery_secs, Some(0.0));
}

#[test]
fn what_is_not_well_at_the_end_has_not_recovered_nor_what_was_never_done() {
    let mut events = [event(1.0)];
    judge(&mut events, &series(&[40, -40, 40, -40]), 0.0);
    assert_eq!((events[0].recovery_secs, events[0].failed), (None, 10));
    let mut events = [Event {
        error: Some("no such container".to_owned()),
        ..event(1.0)
    }];
    judge(&mut events, &series(&[40, 40, 40, 40]), 0.0);
    assert_eq!(events[0].recovery_secs, None);
}
