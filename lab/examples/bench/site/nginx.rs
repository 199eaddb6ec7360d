//! The peer that serves files.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use quiz_lab::ready;
use quiz_lab::supervise::{Process, Spec};
use rustix::process::Signal;

use super::{Site, last_lines};

impl Site {
    /// An nginx with one worker on the server's core that serves the files below `root`, all as `text/html`. None when there
    /// is no nginx here.
    pub(crate) async fn nginx(&self, name: &str, root: &Path) -> anyhow::Result<Option<Process>> {
        if self.nginx_version().is_empty() {
            return Ok(None);
        }
        let folder = self.state.folder().join(name);
        std::fs::create_dir_all(&folder)?;
        let at = self.served_at();
        std::fs::write(root.join("ready"), "ready")?;
        let file = folder.join("nginx.conf");
        let mut conf = File::create(&file)?;
        let dir = folder.display();
        writeln!(
            conf,
            "worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/log;"
        )?;
        if rustix::process::geteuid().is_root() {
            writeln!(conf, "user root;")?;
        }
        writeln!(conf, "events {{ worker_connections 4096; }}")?;
        writeln!(
            conf,
            "http {{ access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on;"
        )?;
        writeln!(
            conf,
            "open_file_cache max=100; types {{ }} default_type text/html;"
        )?;
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(conf, "{kind}_temp_path {dir}/{kind};")?;
        }
        let (address, root) = (at.address, root.display());
        writeln!(
            conf,
            "server {{ listen {address} backlog=4096; root {root}; index index; }} }}"
        )?;
        let spec = Spec {
            name: name.to_owned(),
            program: "nginx".into(),
            args: [
                "-p",
                &dir.to_string(),
                "-e",
                "stderr",
                "-c",
                &file.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
            // It lives in sbin, which is not on everybody's PATH.
            env: vec![("PATH".to_owned(), search_path())],
            user: None,
            stop: Signal::TERM,
            grace: Duration::from_secs(10),
            address: at.address,
            admin: None,
        };
        let nginx = Process::start(self.cores.serve(spec), self.console.clone());
        let answers = async || ready::http_ok(at.address, "/ready").await;
        ready::wait(&nginx, answers)
            .await
            .with_context(|| last_lines(&self.log))?;
        Ok(Some(nginx))
    }

    /// What nginx calls itself; empty when there is none.
    pub(crate) fn nginx_version(&self) -> &str {
        self.nginx_version.get_or_init(|| {
            let asked = std::process::Command::new("nginx")
                .arg("-v")
                .env("PATH", search_path())
                .output();
            let said = asked.map(|output| output.stderr).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            said.trim()
                .rsplit(": ")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
    }
}

fn search_path() -> String {
    let path = std::env::vars().find(|(name, _)| name == "PATH");
    let path = path.map(|(_, path)| path).unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}
