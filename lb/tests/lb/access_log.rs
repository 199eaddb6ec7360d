//! What is written down of requests.

use std::{fs, net::UdpSocket, os::unix::net::UnixDatagram};

use crate::{
    common::{Action, Backend, Balancer, PATIENCE, client, config, eventually},
    process::Process,
};
use rustix::process::Signal;
use serde_json::Value;

/// Every line of a file, as soon as there are so many.
async fn lines(file: &std::path::Path, expected: usize) -> Vec<Value> {
    let read = || fs::read_to_string(file).unwrap_or_default();
    eventually(&format!("{expected} lines are written"), async || {
        read().matches('\n').count() >= expected
    })
    .await;
    let text = read();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_request_leaves_a_line_that_tells_its_story() {
    let (dying, alive) = (Backend::with(|_| Action::Die).await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let flags = [
        "--access-log",
        file.to_str().unwrap(),
        "--eject-max-percent",
        "0",
    ];
    let balancer = Balancer::before(&[&dying, &alive], &flags).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = client()
            .get(balancer.url("/page?token=secret"))
            .header("cookie", "secret");
        let reply = request
            .header("user-agent", "test \"quoted\"")
            .send()
            .await
            .unwrap();
        ids.push(reply.headers()["x-request-id"].to_str().unwrap().to_owned());
    }
    let lines = lines(&file, 2).await;
    assert!(!fs::read_to_string(&file).unwrap().contains("secret"));
    let logged: Vec<_> = lines
        .iter()
        .map(|line| line["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(logged, ids);
    let story = lines
        .iter()
        .find(|line| line["retries"] == 1)
        .expect("one met the dying one");
    for (field, value) in [
        ("pool", "quiz"),
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("path", "/page"),
        ("outcome", "backend"),
        ("user_agent", "test \"quoted\""),
        ("host", &balancer.addr.to_string()),
        ("backend", &alive.addr.to_string()),
    ] {
        assert_eq!(story[field], value, "{field}: {story}");
    }
    assert_eq!(
        (&story["status"], &story["sample"]),
        (&200.into(), &1.into())
    );
    assert_eq!(story["sent_bytes"], alive.addr.to_string().len());
    let ms = |field: &str| story[field].as_f64().unwrap();
    assert!(
        ms("waited_ms") <= ms("head_ms") && ms("head_ms") <= ms("duration_ms"),
        "{story}"
    );
    assert!(story["time"].as_str().unwrap().ends_with('Z'), "{story}");
}

#[tokio::test]
async fn a_sample_leaves_out_what_went_well_and_nothing_that_failed() {
    let backend = Backend::with(|before| match before % 10 {
        9 => Action::Fail,
        _ => Action::Reply,
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let flags = [
        "--access-log",
        file.to_str().unwrap(),
        "--access-log-sample",
        "9",
    ];
    let balancer = Balancer::before(&[&backend], &flags).await;
    let client = client();
    for _ in 0..40 {
        client
            .get(balancer.url("/"))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
    }
    let lines = lines(&file, 8).await;
    let stands_for = |status: u16| {
        let of = lines.iter().filter(|line| line["status"] == status);
        of.map(|line| line["sample"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!((stands_for(200), stands_for(500)), (vec![9; 4], vec![1; 4]));
}

#[tokio::test]
async fn a_file_that_was_rotated_is_opened_again() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (
        folder.path().join("access.log"),
        folder.path().join("old.log"),
    );
    let flags = ["--access-log", file.to_str().unwrap()];
    let process = Process::start("127.0.0.1:0", &backend.addr.to_string(), &flags).await;
    process.wait_until_ready().await;
    process.status(process.addr, "/first").await;
    lines(&file, 1).await;
    fs::rename(&file, &old).unwrap();
    process.signal(Signal::HUP);
    process.line("the new configuration holds").await;
    process.status(process.addr, "/second").await;
    let (first, second) = (lines(&old, 1).await, lines(&file, 1).await);
    assert_eq!((first.len(), &first[0]["path"]), (1, &"/first".into()));
    assert_eq!((second.len(), &second[0]["path"]), (1, &"/second".into()));
}

#[tokio::test]
async fn it_can_be_switched_on_while_the_balancer_runs() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let balancer = Balancer::before(&[&backend], &[]).await;
    balancer.get("/unseen").await;
    let flags = ["--access-log", file.to_str().unwrap()];
    balancer
        .reload(config(&backend.addr.to_string(), &flags))
        .await;
    eventually("a line is written", async || {
        balancer.get("/seen").await;
        file.exists() && fs::metadata(&file).unwrap().len() > 0
    })
    .await;
    assert!(
        lines(&file, 1)
            .await
            .iter()
            .all(|line| line["path"] == "/seen")
    );
}

#[tokio::test]
async fn the_last_lines_are_written_before_the_process_ends() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let flags = ["--access-log", file.to_str().unwrap()];
    let process = Process::start("127.0.0.1:0", &backend.addr.to_string(), &flags).await;
    process.wait_until_ready().await;
    for _ in 0..50 {
        process.status(process.addr, "/").await;
    }
    process.signal(Signal::TERM);
    assert_eq!(process.exit_code().await, Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 50);
}

#[tokio::test]
async fn syslog_gets_messages_of_rfc_5424_over_udp_and_unix_sockets() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (udp, unix) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UnixDatagram::bind(&path).unwrap(),
    );
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let udp_output = format!("udp://{}", udp.local_addr().unwrap());
    let unix_output = format!("unix://{}", path.display());
    for (output, over_udp) in [(udp_output, true), (unix_output, false)] {
        let balancer = Balancer::before(&[&backend], &["--access-log", &output]).await;
        balancer.get("/").await;
        let mut message = [0; 4096];
        let read = match over_udp {
            true => udp.recv(&mut message),
            false => unix.recv(&mut message),
        };
        let message = std::str::from_utf8(&message[..read.unwrap()]).unwrap();
        let (header, json) = message.split_at(message.find('{').unwrap());
        let parts: Vec<_> = header.split(' ').collect();
        let [priority, time, host, program, process, kind, data, ""] = parts[..] else {
            panic!("{header}");
        };
        assert_eq!(
            (priority, program, kind, data),
            ("<134>1", "quiz-lb", "access", "-")
        );
        assert_eq!(process, std::process::id().to_string());
        assert!(time.len() == 27 && !host.is_empty(), "{header}");
        let line: Value = serde_json::from_str(json).unwrap();
        assert_eq!(line["status"], 200);
    }
}

#[tokio::test]
async fn another_who_listens_at_the_same_unix_socket_gets_the_next_messages() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let output = format!("unix://{}", path.display());
    let mut listener = UnixDatagram::bind(&path).unwrap();
    let balancer = Balancer::before(&[&backend], &["--access-log", &output]).await;
    for turn in 0..3 {
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        let long = "x".repeat(5_000);
        balancer.get(&format!("/{turn}{long}")).await;
        let mut message = [0; 4096];
        let read = listener.recv(&mut message).unwrap();
        let message = std::str::from_utf8(&message[..read]).unwrap();
        assert!(message.contains(&format!("\"/{turn}xxx")), "{message}");
        drop(listener);
        fs::remove_file(&path).unwrap();
        listener = UnixDatagram::bind(&path).unwrap();
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_keeps_the_balancer_from_starting() {
    let flags = ["--backends", "127.0.0.1:1", "--listen", "127.0.0.1:0"];
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_quiz-lb"))
        .args(flags)
        .args([
            "--admin-listen",
            "127.0.0.1:0",
            "--access-log",
            "/no/such/folder/access.log",
        ])
        .output();
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("LB_ACCESS_LOG"),
        "{said}"
    );
}
