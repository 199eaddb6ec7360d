//! What a lab keeps on disk, and whose turn it is to change it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::machine::Files;
use super::topology::Topology;
use crate::state;

/// The state folder of a lab.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// One that [`Lab::open`](super::Lab::open) has made.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path, absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The files of one host's supervisor.
    pub fn files(&self, host: &str) -> Files {
        Files(self.0.join("hosts").join(host))
    }

    /// Folder of `nas1`, `nas2`, `nas3` and `postgres`.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The file that lists the balancer's backends.
    pub fn backends(&self) -> PathBuf {
        self.0.join("backends")
    }

    /// The file that says which hosts the lab has.
    pub fn record(&self) -> PathBuf {
        self.0.join("lab.json")
    }

    /// Which hosts the lab has.
    ///
    /// # Errors
    /// It was never created, or its record is damaged.
    pub fn topology(&self) -> anyhow::Result<Topology> {
        let path = self.record();
        if !path.exists() {
            bail!("there is no such lab: `quiz-lab create` makes one");
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged: `quiz-lab destroy` and begin anew",
                path.display()
            )
        })
    }

    pub(super) fn remember(&self, topology: &Topology) -> anyhow::Result<()> {
        state::write(&self.record(), &serde_json::to_string_pretty(topology)?)
    }

    /// The backends in the list.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn listed(&self) -> anyhow::Result<Vec<String>> {
        let path = self.backends();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    pub(super) fn list(&self, backends: &[String]) -> anyhow::Result<()> {
        state::write(&self.backends(), &(backends.join("\n") + "\n"))
    }
}

/// Takes turns with the other commands of a lab.
pub(super) fn turn(folder: &Path) -> anyhow::Result<File> {
    loop {
        state::create(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let path = folder.join("turn");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        file.lock()
            .context("cannot take turns with other commands")?;
        // Whoever had it before may have destroyed the lab, and the file with it.
        let there = std::fs::metadata(&path).map(|meta| (meta.dev(), meta.ino()));
        let ours = file.metadata()?;
        if there.is_ok_and(|there| there == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}
