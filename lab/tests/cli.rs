//! `quiz-lab run` as its user meets it.

mod common;

use std::path::Path;
use std::process::Stdio;

use common::{Visitor, eventually, programs};
use quiz_lab::state::{Running, scratch_folder};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A `quiz-lab run` whose site is up.
struct Lab {
    child: Child,
    output: tokio::task::JoinHandle<String>,
    running: Running,
}

impl Lab {
    async fn run(state: &Path) -> Self {
        let mut child = Command::new(programs().join("quiz-lab"))
            .args(["run", "--quiz", "2", "--port", "0", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            seen.push_str(&line);
            seen.push('\n');
            if line.contains("Ctrl-C stops it") {
                break;
            }
        }
        assert!(seen.contains("Quizstack is running."), "{seen}");
        let output = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                seen.push_str(&line);
                seen.push('\n');
            }
            seen
        });
        let running: Running =
            serde_json::from_slice(&std::fs::read(state.join("lab.json")).unwrap()).unwrap();
        assert_eq!(Some(running.pid), child.id());
        Self {
            child,
            output,
            running,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn pids(&self) -> Vec<u32> {
        self.running
            .processes
            .iter()
            .filter_map(|process| process.pid)
            .collect()
    }

    async fn all_gone(&self) {
        for pid in self.pids() {
            eventually("a process of the stack is gone", async || !alive(pid)).await;
        }
    }
}

/// Whether a process exists and is not a zombie that waits for its parent.
fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn visitor(lab: &Lab) -> Visitor {
    Visitor::new(lab.running.url.trim_end_matches('/').to_owned())
}

#[tokio::test]
async fn two_labs_run_side_by_side_and_their_data_outlives_them() {
    let (first_state, second_state) = (scratch_folder().unwrap(), scratch_folder().unwrap());
    let first = Lab::run(&first_state.path().join("a")).await;
    let second = Lab::run(&second_state.path().join("b")).await;
    assert_ne!(first.running.url, second.running.url);

    let secrets = std::fs::read_to_string(first_state.path().join("a/secrets.json")).unwrap();
    let secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
    let author = visitor(&first);
    author
        .log_in("admin", secrets["site"].as_str().unwrap())
        .await;
    let (path, picture) = author.create_quiz("Will this stay?", 9).await;
    assert_eq!(
        visitor(&second).get(&picture).await.status(),
        404,
        "the other stack has its own data"
    );

    first.signal(Signal::INT);
    first.all_gone().await;
    let (mut child, output) = (first.child, first.output);
    assert!(child.wait().await.unwrap().success());
    let output = output.await.unwrap();
    let stopped = |name: &str| {
        output
            .rfind(&format!("{name:<8} ■"))
            .unwrap_or_else(|| panic!("{name}: {output}"))
    };
    assert!(stopped("lb") < stopped("quiz-1") && stopped("quiz-1") < stopped("nas1"));
    assert!(stopped("nas1") < stopped("postgres"));

    let again = Lab::run(&first_state.path().join("a")).await;
    let author = visitor(&again);
    author
        .log_in("admin", secrets["site"].as_str().unwrap())
        .await;
    assert!(author.page(&path).await.contains("Will this stay?"));
    assert_eq!(author.get(&picture).await.status(), 200);
    for lab in [again, second] {
        lab.signal(Signal::TERM);
        lab.all_gone().await;
    }
}

#[tokio::test]
async fn a_killed_lab_leaves_no_process_behind() {
    let state = scratch_folder().unwrap();
    let mut lab = Lab::run(&state.path().join("state")).await;
    lab.signal(Signal::KILL);
    lab.child.wait().await.unwrap();
    lab.all_gone().await;
}

#[tokio::test]
async fn an_interrupted_start_stops_what_runs_already_in_order() {
    let state = scratch_folder().unwrap();
    let mut child = Command::new(programs().join("quiz-lab"))
        .args(["run", "--port", "0", "--state"])
        .arg(state.path().join("state"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("postgres ✔") {
            let pid = i32::try_from(child.id().unwrap()).unwrap();
            kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    child.wait().await.unwrap();
    assert!(seen.contains("Stopped before everything was up."), "{seen}");
    assert!(seen.contains("nas1     ■ stopped"), "{seen}");
    assert!(seen.contains("database system is shut down"), "{seen}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_way_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let state = scratch_folder().unwrap();
    let output = Command::new(programs().join("quiz-lab"))
        .args(["run", "--port", &port, "--state"])
        .arg(state.path())
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains(&port) && message.contains("--port"),
        "{message}"
    );
}
