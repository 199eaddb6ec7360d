//! What operators do, and what they read in the log.

use std::{fs, path::Path};

use crate::{
    common::{Action, Backend, Balancer, client, config, eventually},
    process::Process,
};
use rustix::process::Signal;
use tokio::process::Command;

#[tokio::test]
async fn the_log_can_be_json() {
    let process = Process::start("127.0.0.1:0", "127.0.0.1:1", &["--log-format", "json"]).await;
    let line = process.line("balancing on ").await;
    assert!(
        line.starts_with('{') && line.contains(r#""level":"INFO""#),
        "{line}"
    );
}

#[tokio::test]
async fn a_backend_that_never_becomes_ready_is_explained_once() {
    let (wrong, draining) = (Backend::start().await, Backend::start().await);
    wrong.set_ready(404);
    draining.set_ready(503);
    let backends = format!("{},{}", wrong.addr, draining.addr);
    let process = Process::start("127.0.0.1:0", &backends, &[]).await;
    for (backend, status) in [(&wrong, 404), (&draining, 503)] {
        let line = process
            .line(&format!("backend {} is not ready so far", backend.addr))
            .await;
        assert!(
            line.contains("WARN") && line.contains(&format!("/ready answered {status}")),
            "{line}"
        );
        let before = backend.probes();
        eventually("it is asked on", async || backend.probes() >= before + 5).await;
    }
    assert_eq!(process.logged("is not ready so far"), 2);
}

#[tokio::test]
async fn a_backend_that_refuses_from_the_start_is_explained() {
    let refusing = Backend::start().await;
    refusing.kill().await;
    let process = Process::start("127.0.0.1:0", &refusing.addr.to_string(), &[]).await;
    let line = process.line("is not ready so far").await;
    assert!(line.contains("refused the connection"), "{line}");
}

#[tokio::test]
async fn check_says_whether_the_balancer_would_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lb.toml");
    let check = async |text: &str| {
        fs::write(&file, text).unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_quiz-lb"))
            .arg("check")
            .arg(&file)
            .output();
        let output = command.await.expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check("[pools.quiz]\nbackends = [\"10.0.0.1:1\"]\n").await;
    assert!(code == Some(0) && said.contains("would start"), "{said}");
    let (code, said) = check("[pools.quiz]\nbackend = []\n").await;
    assert!(
        code == Some(2) && said.contains("lb.toml:2: unknown field `backend`"),
        "{said}"
    );
}

#[tokio::test]
async fn a_health_check_ends_with_one_until_a_backend_is_ready() {
    let backend = Backend::start().await;
    backend.set_ready(503);
    let process = Process::start("127.0.0.1:0", &backend.addr.to_string(), &[]).await;
    let check = async |arguments: &'static [&str]| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_quiz-lb"))
            .args(arguments)
            .env("LB_ADMIN_LISTEN", process.admin.to_string())
            .output();
        let output = output.await.expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check(&["healthcheck"]).await;
    assert!(
        code == Some(1) && said.contains("503 Service Unavailable: no healthy backend"),
        "{said}"
    );
    assert_eq!(
        check(&["healthcheck", "--live"]).await,
        (Some(0), String::new())
    );
    backend.set_ready(200);
    process.wait_until_ready().await;
    assert_eq!(check(&["healthcheck"]).await, (Some(0), String::new()));
}

fn write(file: &Path, backend: &Backend, more: &str) {
    let text = format!("[pools.quiz]\nbackends = [\"{}\"]\n{more}", backend.addr);
    fs::write(file, text).unwrap();
}

#[tokio::test]
async fn a_hangup_brings_other_backends_without_dropping_a_connection() {
    let (old, new) = (
        Backend::with(|_| Action::Wait).await,
        Backend::start().await,
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lb.toml");
    write(&file, &old, "");
    let process = Process::with_file(&file).await;
    process.wait_until_ready().await;
    let url = format!("http://{}/", process.addr);
    let client = client();
    let slow = tokio::spawn(client.get(&url).send());
    eventually("it is in flight", async || old.arrived() == 1).await;

    write(&file, &new, "[process]\nthreads = 63\n");
    process.signal(Signal::HUP);
    let line = process.line("need a restart").await;
    assert!(
        line.contains("process.threads") && !line.contains("listeners"),
        "{line}"
    );
    eventually("the new one answers", async || {
        process.status(process.addr, "/").await == 200
    })
    .await;
    assert_eq!(old.arrived(), 1);
    old.release();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_hangup_with_a_wrong_file_changes_nothing_and_says_why() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lb.toml");
    write(&file, &backend, "");
    let process = Process::with_file(&file).await;
    process.wait_until_ready().await;
    write(&file, &backend, "algorythm = 1\n");
    process.signal(Signal::HUP);
    let line = process.line("the configuration stays as it was").await;
    assert!(
        line.contains("ERROR") && line.contains("lb.toml:3: "),
        "{line}"
    );
    assert_eq!(process.status(process.addr, "/").await, 200);
}

#[tokio::test]
async fn a_hangup_reads_the_file_of_the_token_again() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, token) = (folder.path().join("lb.toml"), folder.path().join("token"));
    write(&file, &backend, "");
    fs::write(&token, "a-token-for-the-tests\n").unwrap();
    let process = Process::with_file_and(&file, &[("LB_ADMIN_TOKEN_FILE", &token)]).await;
    let url = format!("http://{}/backends/{}/drain", process.admin, backend.addr);
    let order = client().post(url).bearer_auth("a-token-for-the-tests");
    assert_eq!(order.send().await.unwrap().status(), 200);

    fs::write(&token, "another-token-for-the-tests\n").unwrap();
    process.signal(Signal::HUP);
    assert!(process.line("need a restart").await.contains("admin.token"));
    fs::remove_file(&token).unwrap();
    process.signal(Signal::HUP);
    let line = process.line("the configuration stays as it was").await;
    assert!(
        line.contains("LB_ADMIN_TOKEN_FILE") && line.contains(token.to_str().unwrap()),
        "{line}"
    );
}

#[tokio::test]
async fn a_reload_changes_limits_on_connections_that_are_open() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &[]).await;
    let client = client();
    let post = async || {
        let request = client.post(balancer.url("/")).body("x".repeat(100));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(post().await, 200);
    let strict = config(&backend.addr.to_string(), &["--max-body-bytes", "10"]);
    balancer.reload(strict).await;
    eventually("the new limit holds", async || post().await == 413).await;
}

#[tokio::test]
async fn each_listener_has_the_pool_that_its_name_says() {
    let (quiz, game) = (Backend::start().await, Backend::start().await);
    let mut config = config(&quiz.addr.to_string(), &[]);
    let mut pool = config.pools["quiz"].clone();
    pool.backends = vec![game.addr.to_string().parse().unwrap()];
    config.pools.insert("game".to_owned(), pool);
    let mut listener = config.listeners["public"].clone();
    listener.pool = "game".to_owned();
    config.listeners.insert("arcade".to_owned(), listener);
    let balancer = Balancer::with(config).await;
    eventually("both pools are ready", async || {
        balancer.admin_get("/ready").await.0 == 200
    })
    .await;
    // `arcade` comes before `public`.
    let reply = balancer.get("/").await.text().await.unwrap();
    assert_eq!(reply, game.addr.to_string());
    let counted = format!(
        r#"lb_requests_total{{backend="{}",class="2xx",pool="game"}}"#,
        game.addr
    );
    assert_eq!(balancer.metric(&counted).await, 1);
}
