//! Loopback ports for the listeners of a stack, reserved so that labs running side by side never share one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Below the range the kernel gives to outgoing connections (32768 and up), so that none of those can take a
/// port while its process is being restarted.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Ports that belong to this process until the value is dropped.
///
/// The reservation is a locked file per port: it holds between the moment a port is found free and the moment
/// its process binds it, and while a dead process waits to be started again.
#[derive(Debug)]
pub struct Ports {
    free: Vec<u16>,
    _locks: Vec<File>,
}

impl Ports {
    /// Reserves `count` free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When the lock files cannot be made, or fewer than `count` ports are free.
    pub fn reserve(count: usize) -> anyhow::Result<Self> {
        let folder = lock_folder()?;
        let mut ports = Self {
            free: Vec::with_capacity(count),
            _locks: Vec::with_capacity(count),
        };
        let start = rand::random_range(0..RANGE.len());
        for port in RANGE.cycle().skip(start).take(RANGE.len()) {
            if ports.free.len() == count {
                break;
            }
            if let Some(lock) = lock(&folder, port)?.filter(|_| is_free(port)) {
                ports.free.push(port);
                ports._locks.push(lock);
            }
        }
        if ports.free.len() < count {
            bail!(
                "only {} of {count} ports are free between {} and {}",
                ports.free.len(),
                RANGE.start,
                RANGE.end
            );
        }
        Ok(ports)
    }

    /// Reserves one port in particular, which may lie outside the range; `false` when another lab has it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn claim(&mut self, port: u16) -> anyhow::Result<bool> {
        let Some(lock) = lock(&lock_folder()?, port)? else {
            return Ok(false);
        };
        self._locks.push(lock);
        Ok(true)
    }

    /// The next reserved port.
    ///
    /// # Panics
    /// When more ports are taken than were reserved.
    pub fn take(&mut self) -> u16 {
        self.free
            .pop()
            .expect("as many ports are reserved as the stack has listeners")
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The lock of a port, unless another process holds it.
fn lock(folder: &Path, port: u16) -> anyhow::Result<Option<File>> {
    let path = folder.join(port.to_string());
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot make the lock file {}", path.display()))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

/// One folder per user: another user's lock files could not be opened. It must be a folder of our own, because
/// anybody may put something else there first.
fn lock_folder() -> anyhow::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("quizstack-ports-{user}"));
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error)
                .with_context(|| format!("cannot make the folder {}", folder.display()));
        }
        _ => {}
    }
    let meta = std::fs::symlink_metadata(&folder)?;
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o022 != 0 {
        bail!(
            "{} is not a folder that only this user can write: remove it",
            folder.display()
        );
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_made_at_the_same_time_share_no_port() {
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| Ports::reserve(20).unwrap()))
            .collect();
        let held: Vec<Ports> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        let mut all: Vec<u16> = held.iter().flat_map(|ports| ports.free.clone()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8 * 20);
    }

    #[test]
    fn a_port_is_claimed_once() {
        let mut first = Ports::reserve(1).unwrap();
        let port = first.take();
        let mut second = Ports::reserve(0).unwrap();
        assert!(!second.claim(port).unwrap());
        drop(first);
        assert!(second.claim(port).unwrap());
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        let port = Ports::reserve(1).unwrap().take();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
    }
}
