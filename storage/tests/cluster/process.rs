//! The program itself: its commands, its exit codes, its death.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    ACCESS_KEY, CLUSTER_SECRET, SECRET_KEY, client, eventually, files, presigned, reserve,
    wait_ready,
};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, path::Path as Key};
use quiz_storage::audit::audit;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of an upload that travels in pieces.
const LARGE: usize = 8_000_000;

/// A node in a process of its own, killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) s3: SocketAddr,
    pub(crate) admin: SocketAddr,
    command: Command,
}

impl Process {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after its death.
    pub(crate) fn restart(&mut self) {
        self.child = self.command.spawn().unwrap();
    }

    /// The same without a setting.
    #[cfg(debug_assertions)]
    pub(crate) fn restart_without(&mut self, variable: &str) {
        self.command.env_remove(variable);
        self.restart();
    }

    pub(crate) fn store(&self) -> AmazonS3 {
        client(self.s3).build().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quiz-storage"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn init(dir: &Path, node: usize) -> Output {
    let mut command = program();
    command
        .arg("init")
        .env("STORAGE_DIR", dir)
        .env("STORAGE_NODE", node.to_string());
    command.output().unwrap()
}

fn serve(dir: &Path, node: usize, peers: &str, [s3, peer, admin]: [SocketAddr; 3]) -> Command {
    let mut command = program();
    command
        .arg("serve")
        .env("STORAGE_DIR", dir)
        .env("STORAGE_NODE", node.to_string())
        .env("STORAGE_LISTEN", s3.to_string())
        .env("STORAGE_PEER_LISTEN", peer.to_string())
        .env("STORAGE_ADMIN_LISTEN", admin.to_string())
        .env("STORAGE_PEERS", peers)
        .env("STORAGE_CLUSTER_SECRET", CLUSTER_SECRET)
        .env("STORAGE_ACCESS_KEY_ID", ACCESS_KEY)
        .env("STORAGE_SECRET_ACCESS_KEY", SECRET_KEY)
        // The disk of who runs the tests may be nearly full.
        .env("STORAGE_RESERVE_BYTES", "0")
        .env("STORAGE_RESERVE_PERCENT", "0");
    command
}

pub(crate) fn dir(folder: &Path, node: usize) -> PathBuf {
    folder.join(node.to_string())
}

/// The ports of three nodes. All are held until the last is drawn, so that none is drawn twice.
fn addresses() -> [[SocketAddr; 3]; 3] {
    let sockets = [(); 3].map(|()| reserve());
    sockets.map(|node| node.map(|socket| socket.local_addr().unwrap()))
}

/// Three ready nodes below `folder`, which is prepared if need be.
pub(crate) async fn start(folder: &Path) -> Vec<Process> {
    start_with(folder, &[]).await
}

/// The same with other settings.
pub(crate) async fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Vec<Process> {
    start_as(folder, settings, |_, command| command).await
}

/// The same, each node by the command that `change` makes of its number and its own.
pub(crate) async fn start_as(
    folder: &Path,
    settings: &[(&str, &str)],
    change: impl Fn(usize, Command) -> Command,
) -> Vec<Process> {
    let addresses = addresses();
    let peers: Vec<_> = addresses
        .iter()
        .zip(1..)
        .map(|(a, node)| format!("{node}={}", a[1]))
        .collect();
    let mut nodes = Vec::new();
    for (node, addresses) in (1..).zip(addresses) {
        let dir = dir(folder, node);
        assert!(init(&dir, node).status.success());
        let mut command = serve(&dir, node, &peers.join(","), addresses);
        command.envs(settings.iter().copied());
        let mut command = change(node, command);
        nodes.push(Process {
            child: command.spawn().unwrap(),
            command,
            s3: addresses[0],
            admin: addresses[2],
        });
    }
    for node in &nodes {
        wait_ready(node.admin).await;
    }
    nodes
}

fn lone(dir: &Path) -> Command {
    let [addresses, ..] = addresses();
    let peers = format!("1={},2=127.0.0.1:1,3=127.0.0.1:1", addresses[1]);
    serve(dir, 1, &peers, addresses)
}

#[test]
fn serve_refuses_a_folder_that_was_not_prepared() {
    let folder = tempfile::tempdir().unwrap();
    let output = lone(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("quiz-storage init"), "{text}");
    assert!(!folder.path().join("index.redb").exists());
}

#[test]
fn a_wrong_setting_is_named_and_ends_the_program_with_code_2() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path(), 1);
    for (variable, value) in [
        ("STORAGE_CLUSTER_SECRET", "short"),
        ("STORAGE_PEERS", "2=a:1"),
        ("STORAGE_BUCKET", "Not_A_Bucket"),
        ("STORAGE_MAX_UPLOADS", "0"),
        ("STORAGE_MAX_UPLOADS", "18446744073709551615"),
        ("STORAGE_MAX_OBJECT_BYTES", "18446744073709551615"),
        ("STORAGE_MAX_READ_BYTES", "1000000"),
        ("STORAGE_DISK_READ_BYTES", "1000000"),
        ("STORAGE_CONTENTION_MS", "18446744073709551615"),
        ("STORAGE_GRACE_SECS", "18446744073709551615"),
        ("STORAGE_NODE", "4"),
    ] {
        let output = lone(folder.path()).env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{variable}");
        let text = String::from_utf8(output.stderr).unwrap();
        let flag = variable
            .trim_start_matches("STORAGE_")
            .to_lowercase()
            .replace('_', "-");
        assert!(text.contains(variable) || text.contains(&flag), "{text}");
    }
}

#[test]
fn help_names_every_variable_and_shows_no_secret() {
    let output = program()
        .args(["serve", "--help"])
        .env("STORAGE_CLUSTER_SECRET", "do-not-show-this")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for variable in [
        "STORAGE_DIR",
        "STORAGE_PEERS",
        "STORAGE_CLUSTER_SECRET",
        "STORAGE_FSYNC",
        "STORAGE_GRACE_SECS",
    ] {
        assert!(text.contains(variable), "{variable} is missing:\n{text}");
    }
    assert!(!text.contains("do-not-show-this"));
}

#[test]
fn the_operators_page_names_every_setting() {
    let page = include_str!("../../../docs/storage.md");
    let mut named = 0;
    for command in ["serve", "status", "export"] {
        let output = program().args([command, "--help"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let settings = text.split("[env: ").skip(1);
        let settings = settings.map(|rest| rest.split(['=', ']']).next().unwrap().trim());
        for setting in settings {
            assert!(
                page.contains(setting),
                "{setting} is not in docs/storage.md"
            );
            named += 1;
        }
    }
    assert!(named > 25, "{named}");
}

#[test]
fn init_twice_succeeds_and_the_folder_of_another_node_does_not() {
    let folder = tempfile::tempdir().unwrap();
    assert!(init(folder.path(), 1).status.success());
    let before = std::fs::read(folder.path().join("superblock")).unwrap();
    assert!(init(folder.path(), 1).status.success());
    assert_eq!(
        std::fs::read(folder.path().join("superblock")).unwrap(),
        before
    );
    assert!(!init(folder.path(), 2).status.success());
}

#[tokio::test]
async fn an_empty_folder_is_prepared_by_serve_only_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    nodes[2].kill();
    let wiped = dir(folder.path(), 3);
    std::fs::remove_dir_all(&wiped).unwrap();
    std::fs::create_dir(&wiped).unwrap();
    nodes[2].restart();
    let ended = nodes[2].child.wait().unwrap();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(wiped.read_dir().unwrap().count(), 0, "left as it was");

    nodes[2].command.env("STORAGE_INIT", "true");
    nodes[2].restart();
    wait_ready(nodes[2].admin).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_whole_on_two_nodes_after_all_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    let mut acknowledged = Vec::new();
    for i in 0..12_u8 {
        let key = format!("images/{i}");
        let data = vec![i; 1_000 * usize::from(i)];
        nodes[usize::from(i) % 3]
            .store()
            .put(&Key::from(key.as_str()), data.clone().into())
            .await
            .unwrap();
        acknowledged.push((key, *blake3::hash(&data).as_bytes()));
    }
    nodes.iter_mut().for_each(Process::kill);
    let audits: Vec<_> = (1..=3)
        .map(|node| audit(&dir(folder.path(), node), node as u8).unwrap())
        .collect();
    for audit in &audits {
        assert!(
            audit.broken.is_empty(),
            "an accepted version without its bytes: {audit:?}"
        );
    }
    for (key, hash) in &acknowledged {
        let holding = audits
            .iter()
            .filter(|audit| audit.objects.get(key) == Some(hash))
            .count();
        assert!(holding >= 2, "{key} is whole on {holding} nodes");
    }
    let nodes = start(folder.path()).await;
    for (key, hash) in &acknowledged {
        let got = nodes[0]
            .store()
            .get(&Key::from(key.as_str()))
            .await
            .unwrap();
        assert_eq!(blake3::hash(&got.bytes().await.unwrap()).as_bytes(), hash);
    }
}

#[tokio::test]
async fn a_stopped_process_holds_up_nobody_and_catches_up_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = start(folder.path()).await;
    nodes[1].signal(Signal::STOP);
    for i in 0..10 {
        let key = Key::from(format!("{i}"));
        nodes[i % 2 * 2]
            .store()
            .put(&key, "x".into())
            .await
            .unwrap();
        nodes[2].store().get(&key).await.unwrap();
    }
    nodes[1].signal(Signal::CONT);
    wait_ready(nodes[1].admin).await;
    for i in 0..10 {
        nodes[1]
            .store()
            .get(&Key::from(format!("{i}")))
            .await
            .unwrap();
    }
}

/// The longest that a request may wait when there is no quorum (C6).
const NO_QUORUM: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_large_upload_to_two_frozen_nodes_is_told_so_within_two_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = start(folder.path()).await;
    for stopped in &nodes[1..] {
        stopped.signal(Signal::STOP);
    }
    let (store, key) = (nodes[0].store(), Key::from("a"));
    let began = Instant::now();
    let put = store.put(&key, vec![7; LARGE].into()).await;
    let refused = format!("{:?}", put.unwrap_err());
    let took = began.elapsed();
    assert!(refused.contains("503"), "{refused}");
    assert!(took < NO_QUORUM, "{took:?}");
}

/// The outcome of a request as one of several.
fn one<'a, T: 'a>(
    request: impl Future<Output = object_store::Result<T>> + Send + 'a,
) -> BoxFuture<'a, Vec<object_store::Result<()>>> {
    request.map(|outcome| vec![outcome.map(drop)]).boxed()
}

#[tokio::test]
async fn every_request_is_told_within_two_seconds_that_two_nodes_froze() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = start(folder.path()).await;
    let store = &nodes[0].store();
    let keys: Vec<_> = (0..100).map(|i| Key::from(format!("{i}"))).collect();
    for key in &keys {
        store.put(key, "x".into()).await.unwrap();
    }
    let begin = async || store.create_multipart(&keys[7]).await.unwrap();
    let (upload, other) = (begin().await, begin().await);
    let part = store.put_part(&keys[7], &upload, 0, "x".into());
    let part = part.await.unwrap();
    for stopped in &nodes[1..] {
        stopped.signal(Signal::STOP);
    }
    let (key, new) = (&keys[7], &Key::from("new"));
    let large = || vec![7; LARGE].into();
    let requests: [(&str, BoxFuture<'_, Vec<object_store::Result<()>>>); 12] = [
        ("PUT", one(store.put(key, "y".into()))),
        ("GET", one(store.get(key))),
        ("HEAD", one(store.head(key))),
        ("DELETE", one(store.delete(key))),
        ("COPY", one(store.copy(key, new))),
        ("LIST", one(store.list_with_delimiter(None))),
        (
            "create",
            one(store.put_opts(new, large(), PutMode::Create.into())),
        ),
        ("begin in parts", one(store.create_multipart(key))),
        ("put a part", one(store.put_part(key, &upload, 1, large()))),
        (
            "complete",
            one(store.complete_multipart(key, &upload, vec![part])),
        ),
        ("abort", one(store.abort_multipart(key, &other))),
        ("DELETE of many", {
            let all = futures::stream::iter(keys.clone()).map(Ok).boxed();
            store
                .delete_stream(all)
                .map(|deleted| deleted.map(drop))
                .collect()
                .boxed()
        }),
    ];
    let began = Instant::now();
    let requests = requests.map(async |(what, request)| (what, request.await, began.elapsed()));
    for (what, answers, took) in futures::future::join_all(requests).await {
        assert!(took < NO_QUORUM, "{what}: {took:?}");
        for answer in answers {
            let refused = format!("{:?}", answer.unwrap_err());
            assert!(
                refused.contains("503") || refused.contains("ServiceUnavailable"),
                "{what}: {refused}"
            );
        }
    }
}

#[tokio::test]
async fn an_upload_under_way_is_told_within_two_seconds_that_two_nodes_froze() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = start(folder.path()).await;
    let target = presigned(&nodes[0].store(), http::Method::PUT, "a").await;
    let mut client = TcpStream::connect(nodes[0].s3).await.unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: {LARGE}\r\n\r\n",
        nodes[0].s3
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&vec![7; LARGE / 2]).await.unwrap();
    eventually("some of it is on the other nodes", async || {
        let begun = |node| files(&dir(folder.path(), node).join("tmp")).len();
        begun(2) > 0 && begun(3) > 0
    })
    .await;
    for stopped in &nodes[1..] {
        stopped.signal(Signal::STOP);
    }
    let began = Instant::now();
    let (mut reading, mut writing) = client.split();
    let rest = vec![7; LARGE - LARGE / 2];
    let mut answer = vec![0; 12];
    let (_, answered) = tokio::join!(writing.write_all(&rest), reading.read_exact(&mut answer));
    let took = began.elapsed();
    answered.unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 503");
    assert!(took < NO_QUORUM, "{took:?}");
}

#[tokio::test]
async fn a_node_takes_as_many_open_files_as_it_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = start_as(folder.path(), &[], |_, serve| {
        let mut command = Command::new("/bin/sh");
        let script = "ulimit -Sn 256 && exec $0 serve";
        command.args(["-c", script]).arg(serve.get_program());
        command.env_clear().stdin(Stdio::null());
        for (name, value) in serve.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    })
    .await;
    let limits = format!("/proc/{}/limits", nodes[0].child.id());
    let limits = std::fs::read_to_string(limits).unwrap();
    let files = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let [soft, hard, _] = files.unwrap().split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{limits}");
    };
    assert_eq!(soft, hard);
}

#[tokio::test]
async fn a_killed_node_comes_back_and_serves() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    nodes[0]
        .store()
        .put(&Key::from("a"), "old".into())
        .await
        .unwrap();
    nodes[2].kill();
    nodes[1]
        .store()
        .put(&Key::from("a"), "new".into())
        .await
        .unwrap();
    let leftover = dir(folder.path(), 3).join("tmp").join("half-written");
    std::fs::write(&leftover, "ha").unwrap();
    drop(nodes);
    let nodes = start(folder.path()).await;
    assert!(!leftover.exists());
    let got = nodes[2].store().get(&Key::from("a")).await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), "new");
}

#[tokio::test]
async fn sigterm_ends_a_node_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    nodes[0]
        .store()
        .put(&Key::from("a"), "x".into())
        .await
        .unwrap();
    nodes[0].signal(Signal::TERM);
    let mut node = nodes.remove(0);
    let mut status = None;
    eventually("the process has ended", async || {
        status = node.child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
    assert_eq!(
        audit(&dir(folder.path(), 1), 1).unwrap().broken,
        Vec::<String>::new()
    );
}
