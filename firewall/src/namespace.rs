//! Tells others in which network namespace the rules are in force: a file that names it.
//!
//! Where the firewall owns the namespace that a balancer joins, a firewall that is started anew has a new one, and the
//! balancer is left in one without rules and without a way out. By this file it notices (`LB_NAMESPACE_FILE`).

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The file, which is there from when the rules are in force until this program, which looks after them, ends. Taken away when
/// dropped.
#[derive(Debug)]
pub struct NamespaceFile {
    path: PathBuf,
    name: String,
}

impl NamespaceFile {
    /// Takes away what an earlier firewall has left there.
    ///
    /// # Errors
    /// The file cannot be removed, or the system does not say in which namespace this is.
    pub fn begin(path: &Path) -> anyhow::Result<Self> {
        let name = fs::read_link("/proc/self/ns/net").context("reading /proc/self/ns/net")?;
        remove(path).with_context(|| {
            format!(
                "cannot remove {}: name another FIREWALL_NAMESPACE_FILE",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            name: name.to_string_lossy().into_owned(),
        })
    }

    /// Says that the rules are in force here. Who reads meanwhile finds nothing, or all of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> anyhow::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let written = fs::write(&beside, format!("{}\n", self.name))
            // The balancer is another user, whatever the mask says.
            .and_then(|()| fs::set_permissions(&beside, Permissions::from_mode(0o644)))
            .and_then(|()| fs::rename(&beside, &self.path));
        written.with_context(|| {
            format!(
                "cannot write {}: name another FIREWALL_NAMESPACE_FILE",
                self.path.display()
            )
        })
    }
}

impl Drop for NamespaceFile {
    fn drop(&mut self) {
        // One that began meanwhile, in a namespace of its own, has said so there.
        let ours = fs::read_to_string(&self.path).is_ok_and(|text| text.trim_end() == self.name);
        if ours && let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "cannot remove {}", self.path.display());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_this_namespace_from_when_the_rules_are_in_force_to_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("namespace");
        fs::write(&path, "net:[1]\n").unwrap();
        let file = NamespaceFile::begin(&path).unwrap();
        assert!(!path.exists());
        file.write().unwrap();
        let name = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", name.display())
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_another_firewall_has_written_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("namespace");
        let file = NamespaceFile::begin(&path).unwrap();
        file.write().unwrap();
        fs::write(&path, "net:[1]\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "net:[1]\n");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_with_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere/namespace");
        let error = NamespaceFile::begin(&path).unwrap().write().unwrap_err();
        assert!(
            format!("{error:#}").contains("FIREWALL_NAMESPACE_FILE"),
            "{error:#}"
        );
    }
}
