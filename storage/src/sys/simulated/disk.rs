//! A disk in memory that loses what was not synced.
//!
//! The rules are those that a careful program has to reckon with (Pillai et al., "All File Systems Are Not Created
//! Equal", OSDI 2014): contents and names are made durable apart, by syncing the file and the folder; without that, a
//! power cut keeps any of the sectors that were written and a beginning of what happened to the names.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

mod file;

pub(crate) use file::{File, Metadata};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Room on a disk that nothing limits.
const PLENTY: u64 = 1 << 40;

/// What goes wrong on a disk, by chance: 0 is never, 1 always.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Reading fails.
    pub read: f64,
    /// Writing fails.
    pub write: f64,
    /// A sync fails, and what was to be synced is lost, though it can be read as long as it is in memory.
    pub sync: f64,
}

/// A disk. Copies are the same disk.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    chance: StdRng,
    /// Files opened before the process ended have a smaller one, and are of no use.
    era: u64,
    files: BTreeMap<u64, Content>,
    next: u64,
    names: Names,
    durable: Names,
    /// What happened to names and is not durable, in order.
    unsynced: Vec<Change>,
    capacity: Option<u64>,
    faults: Faults,
}

/// What was durable on a disk at some time.
#[derive(Debug)]
pub struct Snapshot {
    files: BTreeMap<u64, Content>,
    names: Names,
}

type Names = BTreeMap<PathBuf, Kind>;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Folder,
    File(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Add(PathBuf, Kind),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Kind),
}

impl Change {
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Add(path, _) | Self::Remove(path) => path.parent() == Some(folder),
            Self::Rename(from, to, _) => [from, to].iter().any(|p| p.parent() == Some(folder)),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(path, kind) => {
                names.insert(path.clone(), *kind);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, kind) => {
                names.remove(from);
                names.insert(to.clone(), *kind);
            }
        }
    }
}

/// What is in a file.
#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that differ.
    dirty: BTreeSet<usize>,
}

impl Content {
    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
    }

    fn keep(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.now.len()).min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.now[start..end]);
        }
    }

    /// Forgets what is in memory and counts as written.
    fn drop_clean(&mut self) {
        let len = self.now.len().min(self.durable.len());
        for start in (0..len).step_by(SECTOR) {
            if !self.dirty.contains(&(start / SECTOR)) {
                let sector = start..len.min(start + SECTOR);
                self.now[sector.clone()].copy_from_slice(&self.durable[sector]);
            }
        }
    }

    /// The power was cut: any of the sectors may have been written.
    fn lose(&mut self, chance: &mut StdRng) {
        let kept = [0.0, 0.5, 1.0][chance.random_range(0..3)];
        if self.now.len() != self.durable.len() && chance.random_bool(kept) {
            self.durable.resize(self.now.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if chance.random_bool(kept) {
                self.keep(sector);
            }
        }
        self.now.clone_from(&self.durable);
    }
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let root = Names::from([(PathBuf::from("/"), Kind::Folder)]);
        Self(Arc::new(Mutex::new(State {
            chance: StdRng::seed_from_u64(seed),
            era: 0,
            files: BTreeMap::new(),
            next: 0,
            names: root.clone(),
            durable: root,
            unsynced: Vec::new(),
            capacity: None,
            faults: Faults::default(),
        })))
    }

    /// Has things go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Leaves so many bytes free, or as many as anybody likes.
    pub fn set_free(&self, free: Option<u64>) {
        let mut state = self.state();
        state.capacity = free.map(|free| state.used() + free);
    }

    /// A copy of all that is durable.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let mut files = state.files.clone();
        for file in files.values_mut() {
            file.now.clone_from(&file.durable);
            file.dirty.clear();
        }
        Snapshot {
            files,
            names: state.durable.clone(),
        }
    }

    /// Sets the disk, whose machine is off, back to what it was.
    pub fn restore(&self, snapshot: Snapshot) {
        let mut state = self.state();
        state.files = snapshot.files;
        state.durable.clone_from(&snapshot.names);
        state.names = snapshot.names;
        state.unsynced.clear();
    }

    /// Flips bits of one byte of a file below `folder`. Returns its name, unless there is no file.
    pub fn rot(&self, folder: &Path) -> Option<PathBuf> {
        let mut state = self.state();
        let State {
            chance,
            files,
            names,
            durable,
            ..
        } = &mut *state;
        let below = names.iter().filter_map(|(path, kind)| match kind {
            Kind::File(id) if path.starts_with(folder) && durable.get(path) == Some(kind) => {
                Some((path.clone(), *id))
            }
            _ => None,
        });
        let below: Vec<_> = below.collect();
        let (path, id) = below.get(chance.random_range(0..below.len().max(1)))?;
        let file = files.get_mut(id)?;
        if file.now.is_empty() || file.now.len() != file.durable.len() {
            return None;
        }
        let at = chance.random_range(0..file.now.len());
        let bits = chance.random_range(1..=255);
        file.now[at] ^= bits;
        file.durable[at] ^= bits;
        Some(path.clone())
    }

    /// The process has ended: its files are closed.
    pub(crate) fn close_all(&self) {
        self.state().era += 1;
    }

    /// The power was cut.
    pub(crate) fn lose_unsynced(&self) {
        let mut state = self.state();
        let State {
            chance,
            files,
            names,
            durable,
            unsynced,
            ..
        } = &mut *state;
        let kept = match chance.random_range(0..3) {
            0 => 0,
            1 => unsynced.len(),
            _ => chance.random_range(0..=unsynced.len()),
        };
        for change in unsynced.drain(..).take(kept) {
            change.apply(durable);
        }
        for file in files.values_mut() {
            file.lose(chance);
        }
        // What is in a folder without a name is lost with it.
        let folders = durable.clone();
        let lasting = |path: &Path| path.ancestors().all(|above| folders.contains_key(above));
        durable.retain(|path, _| lasting(path));
        names.clone_from(durable);
        let used: BTreeSet<_> = names.values().copied().collect();
        files.retain(|id, _| used.contains(&Kind::File(*id)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while locked")
    }

    pub(crate) fn kind(&self, path: &Path) -> Option<Kind> {
        self.state().names.get(path).copied()
    }

    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        let state = self.state();
        let kind = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(File {
            disk: self.clone(),
            path: path.to_owned(),
            kind,
            era: state.era,
            position: 0,
        })
    }

    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        let id = state.next;
        state.add(path, Kind::File(id))?;
        state.next += 1;
        state.files.insert(id, Content::default());
        drop(state);
        self.open(path)
    }

    pub(crate) fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.state().add(path, Kind::Folder)
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        match state.names.get(path) {
            Some(Kind::File(_)) => {}
            Some(Kind::Folder) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        state.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    pub(crate) fn remove_folder(&self, path: &Path) -> io::Result<()> {
        if !self.entries(path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.state().change(Change::Remove(path.to_owned()));
        Ok(())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let kind = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let above = to.parent().and_then(|above| state.names.get(above));
        if above != Some(&Kind::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned(), kind));
        Ok(())
    }

    pub(crate) fn entries(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        if state.names.get(folder) != Some(&Kind::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = state.names.keys();
        let within = below.filter(|path| path.parent() == Some(folder));
        Ok(within.cloned().collect())
    }

    pub(crate) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.open(path)?.metadata()
    }

    /// Bytes free and in all.
    pub(crate) fn space(&self) -> (u64, u64) {
        let state = self.state();
        let capacity = state.capacity.unwrap_or(PLENTY);
        (capacity.saturating_sub(state.used()), capacity)
    }
}

impl State {
    fn used(&self) -> u64 {
        let lens = self.names.values().map(|kind| match kind {
            Kind::File(id) => self.files[id].now.len() as u64,
            Kind::Folder => 0,
        });
        lens.sum()
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn add(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let above = path.parent().and_then(|above| self.names.get(above));
        if above != Some(&Kind::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(Change::Add(path.to_owned(), kind));
        Ok(())
    }

    fn sync_folder(&mut self, folder: &Path) {
        let (synced, unsynced) = self
            .unsynced
            .drain(..)
            .partition(|change| change.is_in(folder));
        self.unsynced = unsynced;
        let synced: Vec<Change> = synced;
        for change in &synced {
            change.apply(&mut self.durable);
        }
    }

    fn fails(&mut self, probability: f64) -> io::Result<()> {
        if probability > 0.0 && self.chance.random_bool(probability) {
            return Err(io::Error::from_raw_os_error(5)); // EIO
        }
        Ok(())
    }
}
