//! The settings of each process of a stack.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::process::Command;

use crate::state::Secrets;
use crate::supervise::Spec;

/// What the settings are made from, wherever the processes are.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Folder of the programs.
    pub programs: &'a Path,
    /// More settings of the front-ends, as environment variables.
    pub quiz_settings: &'a [(String, String)],
    /// What they share.
    pub secrets: &'a Secrets,
    /// Folder of the storage nodes' folders.
    pub folder: &'a Path,
}

/// Where a storage node listens.
#[derive(Debug, Clone, Copy)]
pub struct StorageAt {
    /// For front-ends.
    pub s3: SocketAddr,
    /// For the other nodes.
    pub peer: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
}

/// Where a front-end or the balancer listens.
#[derive(Debug, Clone, Copy)]
pub struct ServedAt {
    /// For visitors.
    pub address: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
}

impl Plan<'_> {
    /// Storage node `index`, counted from 0, of `nodes` that know one another.
    pub fn storage(&self, index: usize, nodes: &[StorageAt]) -> Spec {
        let peers: Vec<String> = (1..)
            .zip(nodes)
            .map(|(node, at)| format!("{node}={}", at.peer))
            .collect();
        let at = nodes[index];
        let env = [
            ("STORAGE_NODE", (index + 1).to_string()),
            (
                "STORAGE_DIR",
                storage_folder(self.folder, index).display().to_string(),
            ),
            ("STORAGE_LISTEN", at.s3.to_string()),
            ("STORAGE_PEER_LISTEN", at.peer.to_string()),
            ("STORAGE_ADMIN_LISTEN", at.admin.to_string()),
            ("STORAGE_PEERS", peers.join(",")),
            ("STORAGE_CLUSTER_SECRET", self.secrets.cluster.clone()),
            ("STORAGE_ACCESS_KEY_ID", self.secrets.s3_id.clone()),
            ("STORAGE_SECRET_ACCESS_KEY", self.secrets.s3_secret.clone()),
        ];
        let at = ServedAt {
            address: at.s3,
            admin: at.admin,
        };
        let mut spec = self.spec(&format!("nas{}", index + 1), "quiz-storage", at, &env);
        spec.args = vec!["serve".to_owned()];
        spec
    }

    /// A front-end on `database`, a URL, and on the storage nodes that listen there.
    pub fn quiz(&self, name: &str, at: ServedAt, database: &str, storage: &[SocketAddr]) -> Spec {
        let endpoints: Vec<String> = storage
            .iter()
            .map(|address| format!("http://{address}"))
            .collect();
        let env = [
            ("DATABASE_URL", database.to_owned()),
            ("QUIZ_LISTEN", at.address.to_string()),
            ("QUIZ_ADMIN_LISTEN", at.admin.to_string()),
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
        let mut spec = self.spec(name, "quiz-web", at, &env);
        spec.env.extend_from_slice(self.quiz_settings);
        spec
    }

    /// The balancer, with the settings that say where it and its backends are.
    pub fn lb(&self, at: ServedAt, settings: &[(&str, String)]) -> Spec {
        let admin = ("LB_ADMIN_LISTEN", at.admin.to_string());
        let env: Vec<_> = settings.iter().cloned().chain([admin]).collect();
        self.spec("lb", "quiz-lb", at, &env)
    }

    fn spec(&self, name: &str, program: &str, at: ServedAt, env: &[(&str, String)]) -> Spec {
        Spec {
            name: name.to_owned(),
            program: self.programs.join(program),
            args: Vec::new(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            user: None,
            stop: Signal::TERM,
            grace: Duration::from_secs(20),
            address: at.address,
            admin: Some(at.admin),
        }
    }
}

/// Gives a storage node its folder, once: later a node without its folder must not start as an empty one, which would
/// vote as if it had never promised anything.
///
/// # Errors
/// With what the program says.
pub async fn init_storage(spec: &Spec) -> anyhow::Result<()> {
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

/// Folder of storage node `index`, counted from 0.
pub fn storage_folder(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("nas{}", index + 1))
}
