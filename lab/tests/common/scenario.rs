//! A lab of the network mode for each test, and a thread on one of its hosts.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use quiz_lab::console::Console;
use quiz_lab::network::Lab;
use quiz_lab::network::topology::Topology;
use quiz_lab::state::scratch_folder;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Visitor, artefacts, programs, skip};

/// The site as visitors know it.
pub const SITE: &str = "http://198.18.2.2";

/// A running lab that goes with the value.
pub struct Scenario {
    pub console: Console,
    lab: Option<Lab>,
    folder: tempfile::TempDir,
}

impl Scenario {
    /// A lab with so many front-ends; nothing, and a skip under the name of the test, where networks cannot be made.
    pub fn create(test: &str, servers: u8) -> Option<Self> {
        Self::create_with(test, servers, &[])
    }

    /// The same, with more settings of the front-ends.
    pub fn create_with(test: &str, servers: u8, settings: &[(&str, &str)]) -> Option<Self> {
        let settings = settings.iter();
        let settings = settings.map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let topology = Topology::new(servers).with_quiz_settings(settings.collect());
        if lacks_or_skip(test) {
            return None;
        }
        remove_what_crashed_tests_left();
        let folder = scratch_folder().unwrap();
        let log = File::create(artefacts().join(format!("{test}.log"))).unwrap();
        let console = Console::new(Box::new(log), false);
        let name = lab_name();
        Some(Self::with(&name, folder, console, &topology))
    }

    /// A second lab beside `_first`, with one front-end.
    pub fn beside(_first: &Self, test: &str) -> Self {
        let folder = scratch_folder().unwrap();
        let log = File::create(artefacts().join(format!("{test}-2.log"))).unwrap();
        let console = Console::new(Box::new(log), false);
        let name = lab_name();
        Self::with(&name, folder, console, &Topology::new(1))
    }

    fn with(name: &str, folder: tempfile::TempDir, console: Console, topology: &Topology) -> Self {
        let lab = Lab::open_or_make(name, folder.path(), &programs()).unwrap();
        let scenario = Self {
            console,
            lab: Some(lab),
            folder,
        };
        block_on(scenario.lab().create(topology, &scenario.console)).expect("the lab comes up");
        scenario
    }

    pub fn lab(&self) -> &Lab {
        self.lab
            .as_ref()
            .expect("it is there until it is destroyed")
    }

    /// Destroys the lab, as the end of a test does as well.
    pub fn destroy(mut self) {
        let lab = self.lab.take().expect("it is there until it is destroyed");
        block_on(lab.destroy(&self.console)).expect("nothing is left");
    }

    /// Does something as a process on a host would: its sockets are of that host.
    pub fn on<T: Send>(&self, host: &str, work: impl AsyncFnOnce() -> T + Send) -> T {
        let namespace = File::open(self.lab().namespace(host)).unwrap();
        let work = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("root may");
            block_on(work())
        };
        std::thread::scope(|scope| scope.spawn(work).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// What a command on a host says; it must end well.
    pub fn exec(&self, host: &str, command: &[&str]) -> String {
        let output = self.output(host, command);
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{command:?} on {host}: {words}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        words
    }

    /// What becomes of a command on a host.
    pub fn output(&self, host: &str, command: &[&str]) -> Output {
        let mut exec = self.lab().command(host).unwrap();
        exec.args(command).output().unwrap()
    }

    /// Packets that a host's firewall has counted under this name.
    pub fn counter(&self, host: &str, name: &str) -> u64 {
        let counter = ["nft", "list", "counter", "inet", "quizstack", name];
        let said = self.exec(host, &counter);
        let mut words = said
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        words.nth(1).unwrap().parse().unwrap()
    }

    /// One of the programs that know the storage nodes, on one of them.
    pub fn storage(&self, host: &str, command: &[&str]) -> Output {
        let program = programs().join("quiz-storage");
        let mut exec = self.lab().command(host).unwrap();
        exec.arg(program)
            .args(command)
            .env("STORAGE_ADMIN", "http://127.0.0.1:9200")
            .output()
            .unwrap()
    }

    /// An author, to be used on `c1`.
    pub async fn author(&self) -> Visitor {
        let visitor = Visitor::new(SITE.to_owned());
        let password = self.lab().site_password().unwrap();
        visitor.log_in("admin", &password).await;
        visitor
    }

    /// Folder of the data of `nas1`, `postgres`.
    pub fn data(&self, of: &str) -> std::path::PathBuf {
        self.lab().folder().data().join(of)
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        let Some(lab) = self.lab.take() else { return };
        if std::thread::panicking() {
            keep_logs(lab.folder().path());
        }
        let destroyed = block_on(lab.destroy(&self.console));
        if !std::thread::panicking() {
            destroyed.expect("nothing is left");
            assert!(!self.folder.path().join("hosts").exists());
        }
    }
}

/// A name that no other lab has, with the number of the process in it.
pub fn lab_name() -> String {
    static LABS: AtomicU32 = AtomicU32::new(0);
    let lab = LABS.fetch_add(1, Ordering::Relaxed);
    format!("t{}n{lab}", std::process::id())
}

/// The number of the process whose test made a lab of this name.
fn test_of(lab: &str) -> Option<u32> {
    lab.strip_prefix('t')?.split_once('n')?.0.parse().ok()
}

#[test]
fn the_name_of_a_lab_tells_whose_it_is() {
    assert_eq!(test_of(&lab_name()), Some(std::process::id()));
    assert_eq!(test_of("quiz"), None);
}

/// Into the log of the test harness, as the folder goes away.
fn keep_logs(folder: &Path) {
    let hosts = std::fs::read_dir(folder.join("hosts"))
        .into_iter()
        .flatten()
        .flatten();
    for host in hosts {
        let log = std::fs::read_to_string(host.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        eprintln!("-- {}\n{}", host.file_name().display(), last.join("\n"));
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// Whether networks cannot be made here, which is a skip under the name of the test.
pub fn lacks_or_skip(test: &str) -> bool {
    let reason = lacks();
    if let Some(reason) = reason {
        skip(test, reason);
    }
    reason.is_some()
}

/// Why networks cannot be made here.
fn lacks() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("networks need root");
    }
    let space = Command::new("unshare").args(["--net", "true"]).status();
    if !space.is_ok_and(|status| status.success()) {
        return Some("no network namespace can be made");
    }
    for tool in ["ip", "nft"] {
        let there = Command::new(tool).arg("-V").output();
        if !there.is_ok_and(|output| output.status.success()) {
            return Some("ip or nft is missing");
        }
    }
    None
}

/// A test that was killed could not destroy its lab. Its number says that it is gone.
fn remove_what_crashed_tests_left() {
    let names = std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten();
    let labs = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let lab = name.strip_prefix("quizlab-")?.split_once('-')?.0.to_owned();
        let test = test_of(&lab)?;
        (!Path::new(&format!("/proc/{test}")).exists()).then_some(lab)
    });
    let mut labs: Vec<String> = labs.collect();
    labs.sort();
    labs.dedup();
    for lab in labs {
        let folder = scratch_folder().unwrap();
        let left = Lab::open_or_make(&lab, folder.path(), &programs()).unwrap();
        // Another test may do the same now.
        let _ = block_on(left.destroy(&Console::new(Box::new(std::io::sink()), false)));
    }
}
