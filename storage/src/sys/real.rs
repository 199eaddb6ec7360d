//! The machine itself.

use std::time::SystemTime;

pub(crate) use rand::{random, random_range};
use tokio::task::JoinHandle;

/// Runs `work` where waiting for the disk holds up no request.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Ends the process at once.
pub(crate) fn abort() -> ! {
    std::process::abort()
}

/// The wall clock, which safety does not depend on.
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A thread of its own.
#[derive(Debug)]
pub(crate) struct Worker(std::thread::JoinHandle<()>);

impl Worker {
    /// Has it run `work`, which may block.
    pub(crate) fn start(
        name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || futures::executor::block_on(work))?;
        Ok(Self(thread))
    }

    /// Waits for its end.
    pub(crate) fn join(self) {
        self.0.join().expect("a worker does not panic");
    }
}

/// Files and folders.
pub(crate) mod fs {
    use std::io;
    use std::ops::Bound;
    use std::path::Path;

    use redb::backends::FileBackend;
    use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};
    use rustix::fs::{Advice, fadvise};

    pub(crate) use std::fs::{
        File, create_dir, create_dir_all, exists, metadata, read, read_dir, read_to_string,
        remove_dir, remove_file, rename, write,
    };

    /// Bytes free and in all on the disk of `dir`. A disk that can hold no more files has none free.
    pub(crate) fn space(dir: &Path) -> io::Result<(u64, u64)> {
        let about = rustix::fs::statvfs(dir)?;
        // Some file systems have as many files as they like, and say that they have none in all.
        let no_file = about.f_files > 0 && about.f_favail == 0;
        let free = if no_file { 0 } else { about.f_bavail };
        Ok((free * about.f_frsize, about.f_blocks * about.f_frsize))
    }

    /// Has the file read from the disk, not from memory. Best effort.
    pub(crate) fn uncache(file: &File) {
        fadvise(file, 0, None, Advice::DontNeed).ok();
    }

    /// Creates a database, or opens one that is there.
    pub(crate) fn create_database(path: &Path) -> Result<Database, DatabaseError> {
        Database::create(path)
    }

    /// Opens a database; without `fsync` its commits do not wait for the disk, which is for tests.
    ///
    /// What is read is what the disk holds: after a sync that failed, memory has pages that count as written and are
    /// lost (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020), and a database that
    /// went on from these would be damaged by the next power cut.
    pub(crate) fn open_database(path: &Path, fsync: bool) -> Result<Database, DatabaseError> {
        if fsync {
            let file = File::open(path)?;
            file.sync_all()?;
            uncache(&file);
            return Database::open(path);
        }
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)?;
        Builder::new().create_with_backend(NoSync(FileBackend::new(file)?))
    }

    /// A file whose sync does nothing.
    #[derive(Debug)]
    struct NoSync(FileBackend);

    impl StorageBackend for NoSync {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.0.close()
        }

        // The trait would answer these with "unsupported", and redb then goes without a lock.

        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.0.try_lock_range(start, end)
        }

        fn try_lock_shared_range(
            &self,
            start: Bound<u64>,
            end: Bound<u64>,
        ) -> Result<bool, BackendError> {
            self.0.try_lock_shared_range(start, end)
        }

        fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.0.lock_range(start, end)
        }

        fn lock_shared_range(
            &self,
            start: Bound<u64>,
            end: Bound<u64>,
        ) -> Result<(), BackendError> {
            self.0.lock_shared_range(start, end)
        }

        fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.0.unlock_range(start, end)
        }

        fn query_lock_range(
            &self,
            start: Bound<u64>,
            end: Bound<u64>,
        ) -> Result<bool, BackendError> {
            self.0.query_lock_range(start, end)
        }
    }
}

/// Connections.
pub(crate) mod net {
    use std::io;
    use std::time::Duration;

    pub(crate) use hyper_util::client::legacy::connect::HttpConnector as Connector;
    use socket2::{SockRef, TcpKeepalive};
    pub(crate) use tokio::net::TcpListener;
    pub(crate) use tokio::net::TcpStream;

    /// Silence on a connection before the other side's machine is asked for a sign of life, the pause between two
    /// questions, and how many stay unanswered before the connection is given up.
    const KEEPALIVE: Duration = Duration::from_secs(30);
    const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
    const KEEPALIVE_PROBES: u32 = 3;

    /// Makes connections to other nodes, each within `patience`.
    pub(crate) fn connector(patience: Duration) -> Connector {
        let mut connector = Connector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(patience));
        // A connection through a machine that vanished would otherwise stay in the pool.
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        connector
    }

    /// Sets up an accepted connection.
    pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)
    }

    /// Has the stream closed with a reset. Best effort: otherwise it is closed in order.
    pub(crate) fn reset(stream: &TcpStream) {
        // With no time to linger, closing sends a reset.
        stream.set_zero_linger().ok();
    }
}
