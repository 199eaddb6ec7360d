//! A private PostgreSQL cluster: its own folder, port, socket and passwords, from the machine's programs.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::console::Console;
use crate::ready;
use crate::supervise::{Process, Spec};

/// Where Debian keeps the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The longest path of a Unix socket that the kernel takes, with PostgreSQL's own name for it appended.
const MAX_SOCKET_FOLDER: usize = 107 - "/.s.PGSQL.65535.lock".len();

/// What a cluster needs to know.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Folder of the cluster; made at the first start.
    pub folder: PathBuf,
    /// Where it listens; nowhere else.
    pub address: SocketAddr,
    /// Who may connect: a file in the form of `pg_hba.conf`; without one, anybody on this machine who knows a password.
    pub hba_file: Option<&'a Path>,
    /// Password of the superuser `postgres`.
    pub password: &'a str,
    /// Whether a commit reaches the disk. Off only for the throw-away clusters of tests.
    pub durable: bool,
}

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    programs: PathBuf,
    address: SocketAddr,
    password: String,
}

impl Postgres {
    /// Makes the cluster if there is none and starts it; [`Postgres::ready`] waits until it answers.
    ///
    /// PostgreSQL refuses to run as root, so root runs it as the user `postgres`, or `nobody` where there is none.
    ///
    /// # Errors
    /// When there are no PostgreSQL programs or the folder is unfit.
    pub async fn launch(settings: &Settings<'_>, console: &Console) -> anyhow::Result<Self> {
        let data = settings.folder.join("data");
        let programs = programs(&data)?;
        let user = prepare(&settings.folder).await?;
        if !exists(&settings.folder) {
            init(&programs, &data, settings, user).await?;
        }
        let sockets = socket_folder(&settings.folder)?;
        let spec = server(&programs, &data, &sockets, settings, user);
        Ok(Self {
            programs,
            address: spec.address,
            password: settings.password.to_owned(),
            process: Process::start(spec, console.clone()),
        })
    }

    /// Waits until the server answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let probe = async || self.sql("postgres", "SELECT 1").await.is_ok();
        ready::wait(&self.process, probe).await
    }

    /// The supervised server.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Folder of the programs of this version: `psql`, `pgbench`.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// URL of the database `name` for the superuser.
    pub fn superuser_url(&self, name: &str) -> String {
        format!(
            "postgres://postgres:{}@{}/{name}",
            self.password, self.address
        )
    }

    /// Makes the user `name` with this password and a database of the same name that belongs to it, if they do
    /// not exist; returns the URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure_database(&self, name: &str, password: &str) -> anyhow::Result<String> {
        if self
            .sql(
                "postgres",
                &format!("SELECT 1 FROM pg_roles WHERE rolname = '{name}'"),
            )
            .await?
            .is_empty()
        {
            self.sql(
                "postgres",
                &format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"),
            )
            .await?;
        }
        if self
            .sql(
                "postgres",
                &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"),
            )
            .await?
            .is_empty()
        {
            self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {name}"))
                .await?;
        }
        Ok(format!(
            "postgres://{name}:{password}@{}/{name}",
            self.address
        ))
    }

    /// Runs one statement in `database` as superuser with `psql`; returns its rows, one a line, columns apart by `|`.
    ///
    /// # Errors
    /// With what `psql` says.
    pub async fn sql(&self, database: &str, statement: &str) -> anyhow::Result<String> {
        let mut psql = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align"])
            .args(["--quiet", "--set=ON_ERROR_STOP=1"])
            .arg(format!(
                "host={} port={} user=postgres dbname={database}",
                self.address.ip(),
                self.address.port()
            ))
            .env("PGPASSWORD", &self.password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run psql")?;
        // By its standard input: anybody on this machine can read a command line, and some statements have passwords.
        let mut input = psql.stdin.take().context("psql has an input")?;
        // An early end of psql shows in its status.
        let _ = input.write_all(statement.as_bytes()).await;
        drop(input);
        let output = psql.wait_with_output().await?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Ends all sessions and stops the server.
    pub async fn stop(self) {
        self.process.stop().await;
    }
}

/// Whether there is a cluster in `folder` already.
pub(crate) fn exists(folder: &Path) -> bool {
    folder.join("data/PG_VERSION").exists()
}

fn server(
    programs: &Path,
    data: &Path,
    sockets: &Path,
    settings: &Settings<'_>,
    user: Option<(u32, u32)>,
) -> Spec {
    let mut options = vec![
        format!("listen_addresses={}", settings.address.ip()),
        format!("port={}", settings.address.port()),
        format!("unix_socket_directories={}", sockets.display()),
        // Ten for each of up to 25 front-ends, and some for people and tests.
        "max_connections=300".to_owned(),
        "log_line_prefix=%q%u@%d ".to_owned(),
    ];
    options.extend((settings.hba_file).map(|file| format!("hba_file={}", file.display())));
    if !settings.durable {
        options.extend(
            [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ]
            .map(str::to_owned),
        );
    }
    let mut args = vec!["-D".to_owned(), data.display().to_string()];
    args.extend(
        options
            .into_iter()
            .flat_map(|option| ["-c".to_owned(), option]),
    );
    Spec {
        name: "postgres".to_owned(),
        program: programs.join("postgres"),
        args,
        env: vec![("LC_ALL".to_owned(), "C.UTF-8".to_owned())],
        user,
        // Fast shutdown: sessions are ended, data is written. TERM would wait for every client to leave.
        stop: Signal::INT,
        grace: Duration::from_secs(30),
        address: settings.address,
        admin: None,
    }
}

/// The folder of the programs that fit `data`: the version that made it, or else the newest on this machine.
fn programs(data: &Path) -> anyhow::Result<PathBuf> {
    let version = std::fs::read_to_string(data.join("PG_VERSION")).ok();
    let installed = installed();
    let fitting = match &version {
        Some(version) => installed
            .into_iter()
            .find(|(major, _)| major.to_string() == version.trim()),
        None => installed.into_iter().max(),
    };
    match (fitting, version) {
        (Some((_, programs)), _) => Ok(programs),
        (None, Some(version)) => bail!(
            "{} was made by PostgreSQL {version}, which is not installed: apt-get install postgresql-{version}",
            data.display(),
            version = version.trim()
        ),
        (None, None) => bail!("no PostgreSQL server is installed: `make setup` installs it"),
    }
}

fn installed() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect()
}

/// Makes the cluster's folder; for root also gives it to the user that PostgreSQL shall run as.
async fn prepare(folder: &Path) -> anyhow::Result<Option<(u32, u32)>> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let (name, user, group) = unprivileged_user().await?;
    if let Some(closed) = folder
        .ancestors()
        .skip(1)
        .find(|ancestor| !may_enter(ancestor, user, group))
    {
        bail!(
            "PostgreSQL runs as user {name} here, who may not enter {}: choose another folder with --state",
            closed.display()
        );
    }
    std::os::unix::fs::chown(folder, Some(user), Some(group))
        .with_context(|| format!("cannot give {} to user {name}", folder.display()))?;
    Ok(Some((user, group)))
}

async fn unprivileged_user() -> anyhow::Result<(&'static str, u32, u32)> {
    for name in ["postgres", "nobody"] {
        let entry = Command::new("getent")
            .args(["passwd", name])
            .output()
            .await
            .context("cannot run getent")?;
        let entry = String::from_utf8_lossy(&entry.stdout).into_owned();
        let mut fields = entry.trim().split(':').skip(2).map(str::parse);
        if let (Some(Ok(user)), Some(Ok(group))) = (fields.next(), fields.next()) {
            return Ok((name, user, group));
        }
    }
    bail!(
        "PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as"
    )
}

fn may_enter(folder: &Path, user: u32, group: u32) -> bool {
    let Ok(meta) = std::fs::metadata(folder) else {
        return false;
    };
    let shift = if meta.uid() == user {
        6
    } else if meta.gid() == group {
        3
    } else {
        0
    };
    meta.permissions().mode() >> shift & 1 == 1
}

async fn init(
    programs: &Path,
    data: &Path,
    settings: &Settings<'_>,
    user: Option<(u32, u32)>,
) -> anyhow::Result<()> {
    // When initdb is killed it leaves a folder that looks like a cluster, so the right name comes last.
    let made = data.with_extension("new");
    for left in [data, &made] {
        if left.exists() {
            std::fs::remove_dir_all(left)
                .with_context(|| format!("cannot clear {}", left.display()))?;
        }
    }
    // Beside the data: that folder is open to the user who has to read it.
    let folder = data.parent().context("the data lies in a folder")?;
    let mut password_file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    writeln!(password_file, "{}", settings.password)?;
    let mut command = Command::new("setpriv");
    if let Some((user, group)) = user {
        std::os::unix::fs::chown(password_file.path(), Some(user), Some(group))?;
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={group}"))
            .arg("--clear-groups");
    }
    command.arg("--").arg(programs.join("initdb"));
    command.args([
        "--username=postgres",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    ]);
    command.args(["--data-checksums", "--no-instructions"]);
    command
        .arg("--pgdata")
        .arg(&made)
        .arg(format!("--pwfile={}", password_file.path().display()));
    // The folder of the caller may be closed to that user.
    let output = command
        .current_dir("/")
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run initdb")?;
    if !output.status.success() {
        bail!(
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    std::fs::rename(&made, data)
        .with_context(|| format!("cannot name {} {}", made.display(), data.display()))
}

/// The folder of the cluster, unless its path is too long for a socket: then the system's temporary folder.
fn socket_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot open {}", folder.display()))?;
    if folder.as_os_str().len() <= MAX_SOCKET_FOLDER {
        Ok(folder)
    } else {
        Ok(std::env::temp_dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_a_version_that_is_not_installed_is_left_alone_and_named() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("PG_VERSION"), "9\n").unwrap();
        let message = programs(data.path()).unwrap_err().to_string();
        assert!(message.contains("PostgreSQL 9,"), "{message}");
        assert!(message.contains("postgresql-9"), "{message}");
    }

    #[test]
    fn a_closed_folder_is_closed_to_others_and_open_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let meta = std::fs::metadata(folder.path()).unwrap();
        assert!(may_enter(folder.path(), meta.uid(), meta.gid()));
        assert!(!may_enter(folder.path(), meta.uid() + 1, meta.gid() + 1));
    }

    #[test]
    fn a_folder_with_a_path_too_long_for_a_socket_is_not_used_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let short = folder.path().join("short");
        let long = folder.path().join("l".repeat(100));
        std::fs::create_dir_all(&short).unwrap();
        std::fs::create_dir_all(&long).unwrap();
        assert_eq!(
            socket_folder(&short).unwrap(),
            short.canonicalize().unwrap()
        );
        assert_eq!(socket_folder(&long).unwrap(), std::env::temp_dir());
    }
}
