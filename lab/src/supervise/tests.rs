use super::*;

fn silent() -> Console {
    Console::new(Box::new(std::io::sink()), false)
}

fn shell(script: &str) -> Spec {
    Spec {
        name: "test".to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: Vec::new(),
        user: None,
        stop: Signal::TERM,
        grace: Duration::from_secs(20),
        address: ([127, 0, 0, 1], 1).into(),
        admin: None,
    }
}

async fn until(process: &mut Process, wanted: impl Fn(Life) -> bool) -> Life {
    let waiting = async {
        while !wanted(process.life()) {
            process.changed().await;
        }
        process.life()
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the process reaches the wanted state")
}

async fn exists(file: &std::path::Path) {
    let wait = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect("the file is made");
}

fn alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn the_wait_doubles_and_has_a_ceiling() {
    assert_eq!(backoff(1), BACKOFF_FIRST);
    assert_eq!(backoff(2), 2 * BACKOFF_FIRST);
    assert_eq!(backoff(100), BACKOFF_LAST);
}

#[tokio::test]
async fn a_killed_process_is_started_again_under_a_new_number() {
    let mut process = Process::start(shell("exec sleep 600"), silent());
    let first = until(&mut process, |life| life.pid.is_some()).await;
    process.signal(Signal::KILL);
    let second = until(&mut process, |life| life.starts == 2 && life.pid.is_some()).await;
    assert_ne!(first.pid, second.pid);
    process.stop().await;
    assert!(!alive(second.pid.unwrap()));
}

#[tokio::test]
async fn a_process_that_was_killed_to_stay_down_stays_down_until_it_is_revived() {
    let spec = Spec {
        name: "down".to_owned(),
        ..shell("exec sleep 600")
    };
    let mut process = Process::start(spec, silent());
    until(&mut process, |life| life.pid.is_some()).await;
    process.kill();
    until(&mut process, |life| life.pid.is_none()).await;
    tokio::time::pause();
    // On a paused clock this is longer than every back-off, and costs nothing.
    tokio::time::sleep(10 * BACKOFF_LAST).await;
    assert_eq!(process.life().starts, 1);
    tokio::time::resume();
    process.revive();
    until(&mut process, |life| life.starts == 2 && life.pid.is_some()).await;
    process.stop().await;
}

#[tokio::test]
async fn a_process_that_ignores_the_signal_is_killed_after_its_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = folder.path().join("deaf");
    let script = format!(
        "trap '' TERM; : > {}; while :; do sleep 600; done",
        deaf.display()
    );
    let spec = Spec {
        grace: Duration::from_millis(50),
        ..shell(&script)
    };
    let log = folder.path().join("log");
    let console = Console::new(Box::new(std::fs::File::create(&log).unwrap()), false);
    let mut process = Process::start(spec, console);
    let life = until(&mut process, |life| life.pid.is_some()).await;
    exists(&deaf).await;
    process.stop().await;
    assert!(!alive(life.pid.unwrap()));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("did not stop within"), "{log}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_tried_again_and_can_be_stopped() {
    let spec = Spec {
        program: "/nonexistent".into(),
        ..shell("")
    };
    let mut process = Process::start(spec, silent());
    until(&mut process, |life| life.quick_deaths >= 2).await;
    process.stop().await;
}

#[tokio::test]
async fn a_child_sees_the_variables_of_its_spec_and_no_secret_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    let mut spec = shell(&format!(
        "env > {}.part; mv {0}.part {0}; exec sleep 600",
        file.display()
    ));
    spec.env = vec![("QUIZ_SECRET".to_owned(), "given".to_owned())];
    let mut process = Process::start(spec, silent());
    until(&mut process, |life| life.pid.is_some()).await;
    exists(&file).await;
    let seen = std::fs::read_to_string(&file).unwrap();
    assert!(seen.contains("QUIZ_SECRET=given"), "{seen}");
    assert!(!seen.contains("CARGO_MANIFEST_DIR"), "{seen}");
    process.stop().await;
}
