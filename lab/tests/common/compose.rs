//! A stack in containers for one test: a copy of the compose files in a folder of its own, under a project name and in
//! networks of its own, published on loopback alone.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use super::{Visitor, artefacts, eventually};

/// What `make test-compose` builds.
pub const PROGRAMS: [&str; 4] = ["firewall", "lb", "storage", "quiz"];
/// Of these images, so that nobody's site gets them.
pub const TAG: &str = "test";

/// The name of an image.
pub fn image(program: &str, tag: &str) -> String {
    format!("localhost/quizstack/{program}:{tag}")
}

pub struct Compose {
    name: &'static str,
    /// Where the compose files are, and `.env`.
    folder: tempfile::TempDir,
    project: String,
    port: u16,
    /// Third number of its first network.
    network: u8,
}

impl Compose {
    /// Copies the files and writes secrets; nothing runs yet. `number` differs from test to test.
    pub fn prepare(name: &'static str, number: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = repository();
        let copied = Blocking::new("cp")
            .arg("-r")
            .args([root.join("compose"), root.join("compose.yaml")])
            .arg(folder.path())
            .status();
        assert!(copied.unwrap().success());
        std::fs::remove_dir_all(folder.path().join("compose/secrets")).ok();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let compose = Self {
            name,
            folder,
            project: format!("quizstack-test-{number}"),
            port: port.local_addr().unwrap().port(),
            network: number * 10,
        };
        compose.sweep(); // what a run that was cut off has left
        let mut secrets = compose.blocking(compose.root().join("compose/bin/secrets"));
        finish("secrets", &secrets.stdin(Stdio::null()).output().unwrap());
        compose
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::new(self.url())
    }

    pub fn secret(&self, name: &str) -> String {
        let file = self.root().join("compose/secrets").join(name);
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// The name of one of its networks, as the engine knows it.
    pub fn network(&self, name: &str) -> String {
        format!("{}_{name}", self.project)
    }

    /// Runs `docker compose`; returns what it printed.
    pub async fn compose(&self, arguments: &[&str]) -> String {
        let mut command = self.command("docker");
        command.arg("compose").args(arguments);
        let output = command.output().await.unwrap();
        finish(&format!("docker compose {}", arguments.join(" ")), &output)
    }

    /// Runs one of the commands in `compose/bin`; returns its output, whether it did its work or not.
    pub async fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(self.root().join("compose/bin").join(name));
        command.args(arguments).output().await.unwrap()
    }

    /// The same with no more patience than so many seconds.
    pub async fn tool_within(&self, secs: u32, name: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(self.root().join("compose/bin").join(name));
        command.env("WAIT_SECS", secs.to_string());
        command.args(arguments).output().await.unwrap()
    }

    /// The same for what has to work; says how long it took.
    pub async fn works(&self, name: &str, arguments: &[&str]) -> String {
        let begun = Instant::now();
        let output = self.tool(name, arguments).await;
        let words = format!("{name} {}", arguments.join(" "));
        println!("{words}: {:.1} s", begun.elapsed().as_secs_f64());
        finish(&words, &output)
    }

    /// The containers of a service, as ids.
    pub async fn containers(&self, service: &str) -> Vec<String> {
        let ids = self.compose(&["ps", "--all", "--quiet", service]).await;
        ids.lines().map(str::to_owned).collect()
    }

    /// The process id of a container's first process, 0 if it does not run.
    pub async fn pid(&self, container: &str) -> i32 {
        let container = inspect(container).await;
        container["State"]["Pid"].as_i64().unwrap() as i32
    }

    /// Asks the balancer how it is.
    pub async fn balancer(&self) -> String {
        let ctl = ["exec", "-T", "lb", "/usr/bin/quiz-lb", "ctl", "status"];
        self.compose(&ctl).await
    }

    pub async fn wait_for_page(&self) {
        let visitor = self.visitor();
        eventually("a page is served", async || {
            let page = visitor.http.get(format!("{}/quizzes", visitor.base));
            page.send().await.is_ok_and(|page| page.status() == 200)
        })
        .await;
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.blocking(program).into()
    }

    fn blocking(&self, program: impl AsRef<std::ffi::OsStr>) -> Blocking {
        let mut command = Blocking::new(program);
        command
            .current_dir(self.root())
            .stdin(Stdio::null())
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("QUIZSTACK_PORT", format!("127.0.0.1:{}", self.port))
            .env("QUIZSTACK_TAG", TAG);
        for (name, network) in ["EDGE", "FRONT", "BACK", "STORE"]
            .iter()
            .zip(self.network..)
        {
            let variable = format!("QUIZSTACK_{name}_SUBNET");
            command.env(variable, format!("198.19.{network}.0/24"));
        }
        command
    }

    /// Removes containers, networks and volumes.
    fn sweep(&self) {
        let mut down = self.blocking("docker");
        down.args(["compose", "down", "--volumes", "--remove-orphans"]);
        let output = down.args(["--timeout", "1"]).output().unwrap();
        finish("docker compose down", &output);
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        let mut logs = self.blocking("docker");
        logs.args(["compose", "logs", "--no-color", "--timestamps"]);
        if let Ok(output) = logs.output() {
            let file = artefacts().join(format!("{}.log", self.name));
            std::fs::write(file, output.stdout).ok();
        }
        if std::thread::panicking() {
            // A second panic would hide the first one.
            let sweep = std::panic::AssertUnwindSafe(|| self.sweep());
            std::panic::catch_unwind(sweep).ok();
        } else {
            self.sweep();
        }
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR"));
    lab.parent().unwrap().to_owned()
}

/// Runs `docker`; returns what it printed.
pub async fn docker(arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    let output = command.args(arguments).stdin(Stdio::null()).output().await;
    finish(&format!("docker {}", arguments.join(" ")), &output.unwrap())
}

/// What the engine says of a container or an image.
pub async fn inspect(what: &str) -> Value {
    let text = docker(&["inspect", what]).await;
    let found: Vec<Value> = serde_json::from_str(&text).unwrap();
    found.into_iter().next().unwrap()
}

fn finish(what: &str, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {text}{errors}");
    text
}

/// Until `outage` ends, asks for a page; returns how long none was served, which is nothing if every one was.
pub async fn silence(visitor: &Visitor, outage: impl Future<Output = ()>) -> Duration {
    let mut longest = Duration::ZERO;
    let mut served = Instant::now();
    let mut outage = std::pin::pin!(outage);
    let mut ended = false;
    loop {
        let page = visitor.http.get(format!("{}/quizzes", visitor.base));
        let page = page.timeout(Duration::from_secs(2)).send();
        let answered = page.await.is_ok_and(|page| page.status() == 200);
        if answered {
            longest = longest.max(served.elapsed());
            served = Instant::now();
            if ended {
                return longest;
            }
        }
        assert!(
            served.elapsed() < Duration::from_secs(90),
            "the site is back"
        );
        tokio::select! {
            () = &mut outage, if !ended => ended = true,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}
