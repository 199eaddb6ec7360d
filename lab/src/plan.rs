//! The settings of each process of a stack.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::process::Command;

use crate::ports::Ports;
use crate::postgres;
use crate::stack::{Options, STORAGE_NODES};
use crate::state::Secrets;
use crate::supervise::{Process, Spec};

/// What the settings are made from.
pub(crate) struct Plan<'a> {
    pub(crate) options: &'a Options,
    pub(crate) secrets: &'a Secrets,
    pub(crate) folder: &'a Path,
}

impl Plan<'_> {
    /// Three nodes that know one another. In a new state folder `init` gives each its own; later a node without its
    /// folder must not start as an empty one, which would vote as if it had never promised anything.
    pub(crate) async fn storage(&self, ports: &mut Ports) -> anyhow::Result<Vec<Spec>> {
        let peers: Vec<SocketAddr> = (0..STORAGE_NODES).map(|_| loopback(ports)).collect();
        let list: Vec<String> = (1..)
            .zip(&peers)
            .map(|(node, address)| format!("{node}={address}"))
            .collect();
        let mut specs = Vec::with_capacity(STORAGE_NODES);
        for (index, peer) in peers.iter().enumerate() {
            let (address, admin) = (loopback(ports), loopback(ports));
            let env = [
                ("STORAGE_NODE", (index + 1).to_string()),
                (
                    "STORAGE_DIR",
                    storage_folder(self.folder, index).display().to_string(),
                ),
                ("STORAGE_LISTEN", address.to_string()),
                ("STORAGE_PEER_LISTEN", peer.to_string()),
                ("STORAGE_ADMIN_LISTEN", admin.to_string()),
                ("STORAGE_PEERS", list.join(",")),
                ("STORAGE_CLUSTER_SECRET", self.secrets.cluster.clone()),
                ("STORAGE_ACCESS_KEY_ID", self.secrets.s3_id.clone()),
                ("STORAGE_SECRET_ACCESS_KEY", self.secrets.s3_secret.clone()),
            ];
            let mut spec = self.spec(
                &format!("nas{}", index + 1),
                "quiz-storage",
                address,
                Some(admin),
                &env,
            );
            // The database is made after the storage folders: without it nothing has been stored yet.
            if !postgres::exists(&self.folder.join("postgres")) {
                init(&spec).await?;
            }
            spec.args = vec!["serve".to_owned()];
            specs.push(spec);
        }
        Ok(specs)
    }

    pub(crate) fn quiz(&self, database: &str, storage: &[Process], ports: &mut Ports) -> Vec<Spec> {
        let endpoints: Vec<String> = storage
            .iter()
            .map(|node| format!("http://{}", node.spec().address))
            .collect();
        let mut specs = Vec::with_capacity(self.options.quiz);
        for number in 1..=self.options.quiz {
            let (address, admin) = (loopback(ports), loopback(ports));
            let env = [
                ("DATABASE_URL", database.to_owned()),
                ("QUIZ_LISTEN", address.to_string()),
                ("QUIZ_ADMIN_LISTEN", admin.to_string()),
                ("QUIZ_SECRET", self.secrets.quiz.clone()),
                ("QUIZ_STORE_URL", "s3://quiz".to_owned()),
                ("QUIZ_STORE_ENDPOINTS", endpoints.join(",")),
                ("AWS_ACCESS_KEY_ID", self.secrets.s3_id.clone()),
                ("AWS_SECRET_ACCESS_KEY", self.secrets.s3_secret.clone()),
                // One for both, which the lab prints: nobody has to remember two.
                ("QUIZ_SEED_PASSWORD", self.secrets.site.clone()),
                ("QUIZ_SEED_PEPE_PASSWORD", self.secrets.site.clone()),
                // The balancer looks twice a second: one second is enough to be seen leaving.
                ("QUIZ_DRAIN_SECS", "1".to_owned()),
            ];
            let mut spec = self.spec(
                &format!("quiz-{number}"),
                "quiz-web",
                address,
                Some(admin),
                &env,
            );
            spec.env.extend_from_slice(&self.options.quiz_settings);
            specs.push(spec);
        }
        specs
    }

    pub(crate) fn lb(&self, web: SocketAddr, quiz: &[Process], ports: &mut Ports) -> Spec {
        let backends: Vec<String> = quiz
            .iter()
            .map(|backend| backend.spec().address.to_string())
            .collect();
        let admin = loopback(ports);
        let env = [
            ("LB_LISTEN", web.to_string()),
            ("LB_ADMIN_LISTEN", admin.to_string()),
            ("LB_BACKENDS", backends.join(",")),
        ];
        self.spec("lb", "quiz-lb", web, Some(admin), &env)
    }

    fn spec(
        &self,
        name: &str,
        program: &str,
        address: SocketAddr,
        admin: Option<SocketAddr>,
        env: &[(&str, String)],
    ) -> Spec {
        Spec {
            name: name.to_owned(),
            program: self.options.programs.join(program),
            args: Vec::new(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            user: None,
            stop: Signal::TERM,
            grace: Duration::from_secs(20),
            address,
            admin,
        }
    }
}

async fn init(spec: &Spec) -> anyhow::Result<()> {
    let output = Command::new(&spec.program)
        .arg("init")
        .envs(spec.env.clone())
        .output()
        .await
        .with_context(|| format!("cannot run {}", spec.program.display()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("quiz-storage init: {}", why.trim());
    }
    Ok(())
}

fn loopback(ports: &mut Ports) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, ports.take()).into()
}

/// Folder of storage node `index`, counted from 0.
pub(crate) fn storage_folder(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("nas{}", index + 1))
}
