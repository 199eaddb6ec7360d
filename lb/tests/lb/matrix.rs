//! The failure matrix in its short form: `examples/matrix` makes it, and ends with an error if a GET fails that a healthy
//! backend could have answered, or a POST runs twice.

use std::path::Path;

use tokio::process::Command;

use crate::common::skip;

/// What it prints. The bars for times hold in its full form alone.
async fn matrix(table: &str) -> String {
    let balancer = Path::new(env!("CARGO_BIN_EXE_quiz-lb"));
    let program = balancer.with_file_name("examples").join("matrix");
    assert!(program.exists(), "cargo build -p quiz-lb --examples");
    let output = Command::new(program)
        .args(["--short", "--only", table, "--program"])
        .arg(balancer)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (tables, rest) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{tables}\n{rest}");
    println!("{tables}\n{rest}");
    tables
}

#[tokio::test]
async fn no_get_fails_and_no_post_runs_twice_whatever_becomes_of_one_backend() {
    let table = matrix("faults").await;
    if table.contains("skipped") {
        let test = "no_get_fails_and_no_post_runs_twice_whatever_becomes_of_one_backend";
        skip(test, "no cable can be cut here: no namespaces, or no nft");
    }
}

#[tokio::test]
async fn nobody_notices_that_processes_are_added_removed_and_replaced() {
    matrix("growth").await;
}

#[tokio::test]
async fn nobody_fails_because_one_backend_is_slow() {
    matrix("slow").await;
}
