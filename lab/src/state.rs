//! The state folder: who uses it, the secrets made for it, and what runs from it now.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// A state folder that this process alone uses, until the value is dropped.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    _lock: File,
}

impl State {
    /// Opens `folder`, making it if it does not exist.
    ///
    /// # Errors
    /// When the folder cannot be made or another lab uses it.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        create(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot open {}", folder.display()))?;
        let path = folder.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if lock.try_lock().is_err() {
            let mut owner = String::new();
            // The number only helps the reader of the message; without it the message is still true.
            let _ = lock.read_to_string(&mut owner);
            bail!(
                "another lab (process {}) runs from {}: stop it, or choose another folder with --state",
                owner.trim(),
                folder.display()
            );
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// The folder, as an absolute path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The secrets of this folder, made from the system's random source at the first call ever.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn secrets(&self) -> anyhow::Result<Secrets> {
        Secrets::of(&self.folder)
    }

    /// Tells tools and people what runs: writes `lab.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self, running: &Running) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(running)?;
        write(&self.folder.join("lab.json"), &text)
    }

    /// Nothing runs any more: removes `lab.json`.
    pub fn retract(&self) {
        let _ = std::fs::remove_file(self.folder.join("lab.json"));
    }
}

/// Writes a file that only its owner can read, aside and then renamed: nobody ever reads a half of it, and no cluster is
/// made with a password that a crash lost.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Makes a folder and those above it that are missing, so that PostgreSQL's own user may pass through them whatever
/// the umask says. What lies inside is closed by its own mode.
pub(crate) fn create(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    std::fs::create_dir_all(folder)?;
    for made in missing {
        std::fs::set_permissions(made, Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// A folder for a short life, which the user that PostgreSQL runs as may enter.
///
/// # Errors
/// When it cannot be made.
pub fn scratch_folder() -> std::io::Result<tempfile::TempDir> {
    // TMPDIR of root may be closed to everybody else.
    let base = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/tmp")
    } else {
        std::env::temp_dir()
    };
    let folder = tempfile::Builder::new()
        .prefix("quizstack-")
        .tempdir_in(base)?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711))?;
    Ok(folder)
}

/// What the processes of one state folder share and nobody else may know.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    /// Password of the superuser `postgres`.
    pub postgres: String,
    /// Password of the database user `quiz`.
    pub database: String,
    /// Key with which the front-ends sign cookies.
    pub quiz: String,
    /// Key with which storage nodes know one another.
    pub cluster: String,
    /// S3 access key of the front-ends.
    pub s3_id: String,
    /// S3 secret of the front-ends.
    pub s3_secret: String,
    /// Password of the seeded users of the site; people type it.
    pub site: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// As of [`State::secrets`], for those who do not use the folder alone.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("secrets.json");
        if path.exists() {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            return serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is damaged: restore it, or start with an empty folder",
                    path.display()
                )
            });
        }
        let secrets = Self::generate();
        write(&path, &serde_json::to_string_pretty(&secrets)?)?;
        Ok(secrets)
    }

    fn generate() -> Self {
        Self {
            postgres: token(32),
            database: token(32),
            quiz: token(48),
            cluster: token(48),
            s3_id: token(20),
            s3_secret: token(40),
            site: password(),
        }
    }
}

/// A password to type, with the digit and the upper-case letter that the site asks for.
fn password() -> String {
    let passwords = std::iter::repeat_with(|| [token(4), token(4), token(4)].join("-"));
    passwords
        .filter(|password| password.contains(|c: char| c.is_ascii_digit()))
        .find(|password| password.contains(|c: char| c.is_ascii_uppercase()))
        .expect("one of an endless row has both")
}

/// Random letters and digits, without the pairs that people mix up (`0 O`, `1 l I`).
fn token(length: usize) -> String {
    const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}

/// What `lab.json` says while a stack runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Running {
    /// Process id of the lab.
    pub pid: u32,
    /// The site, through the balancer.
    pub url: String,
    /// Every process of the stack, in the order in which they start.
    pub processes: Vec<RunningProcess>,
}

/// One process of a running stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunningProcess {
    /// `postgres`, `nas1`, `quiz-1`, `lb`.
    pub name: String,
    /// Its process id at the time of writing.
    pub pid: Option<u32>,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it tells of itself (`/live`, `/ready`, `/metrics`).
    pub admin: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lab_in_the_same_folder_is_told_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let _first = State::open(folder.path()).unwrap();
        let message = State::open(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains(&std::process::id().to_string()),
            "{message}"
        );
        assert!(message.contains("--state"), "{message}");
    }

    #[test]
    fn a_folder_is_free_again_when_its_lab_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        drop(State::open(folder.path()).unwrap());
        State::open(folder.path()).unwrap();
    }

    #[test]
    fn secrets_stay_the_same_and_nobody_else_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let first = state.secrets().unwrap();
        let second = state.secrets().unwrap();
        assert_eq!(first.site, second.site);
        assert_ne!(first.quiz, first.cluster);
        let mode = std::fs::metadata(folder.path().join("secrets.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[test]
    fn the_password_of_the_site_keeps_the_rules_of_the_site() {
        for _ in 0..1000 {
            let password = password();
            assert_eq!(password.len(), 14);
            assert!(
                password.contains(|c: char| c.is_ascii_digit()),
                "{password}"
            );
            assert!(
                password.contains(|c: char| c.is_ascii_uppercase()),
                "{password}"
            );
        }
    }

    #[test]
    fn folders_it_makes_can_be_passed_and_folders_it_finds_are_left_alone() {
        let found = tempfile::tempdir().unwrap();
        let mode = |folder: &Path| std::fs::metadata(folder).unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(found.path(), Permissions::from_mode(0o700)).unwrap();
        let folder = found.path().join("above/state");
        State::open(&folder).unwrap();
        assert_eq!(mode(found.path()), 0o700);
        assert_eq!(mode(&found.path().join("above")), 0o711);
        assert_eq!(mode(&folder), 0o711);
    }

    #[test]
    fn a_damaged_secrets_file_is_named_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secrets.json"), "{").unwrap();
        let message = State::open(folder.path())
            .unwrap()
            .secrets()
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains("secrets.json"), "{message}");
        assert_eq!(
            std::fs::read_to_string(folder.path().join("secrets.json")).unwrap(),
            "{"
        );
    }
}
