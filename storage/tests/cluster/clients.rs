//! Programs that others wrote, where they are on this machine: each runs a script of `tests/clients` against one node.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{ACCESS_KEY, SECRET_KEY, TestCluster, skip};

#[tokio::test(flavor = "multi_thread")]
async fn boto3_works() {
    let present = ["python3", "-c", "import boto3"];
    works("boto3_works", &present, &["python3", "with_boto3.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3cmd_works() {
    works("s3cmd_works", &["s3cmd", "--version"], &["./s3cmd.sh"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_works() {
    works("rclone_works", &["rclone", "version"], &["./rclone.sh"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_command_line_works() {
    let present = ["aws", "--version"];
    works("the_aws_command_line_works", &present, &["./aws.sh"]).await;
}

/// Runs `script` with a cluster to work on, if `present` says that its program is there.
async fn works(test: &str, present: &[&str], script: &[&str]) {
    if !command(present).is_ok_and(|found| found.status.success()) {
        skip(test, &format!("{} is not there", present.join(" ")));
        return;
    }
    let cluster = TestCluster::start().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut run = Command::new(script[0]);
    run.args(&script[1..])
        .current_dir(folder)
        .env(
            "ENDPOINT",
            format!("http://{}", cluster.nodes[0].config.listen),
        )
        .env("BUCKET", &cluster.nodes[0].config.bucket)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("PYTHONUTF8", "1")
        .env_remove("AWS_CA_BUNDLE")
        .stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || run.output()).await;
    let ended = ended.unwrap().unwrap();
    let [out, err] =
        [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ended.status.success(), "{}\n{out}\n{err}", ended.status);
    println!("{out}{err}");
}

fn command(words: &[&str]) -> std::io::Result<std::process::Output> {
    Command::new(words[0]).args(&words[1..]).output()
}
