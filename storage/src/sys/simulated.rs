//! A machine of a simulation: its disk, its clock and its chance are those of the test, its network is [`turmoil`]'s.
//!
//! Everything runs in the one thread of the simulation, so what blocks in earnest takes no time here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::distr::uniform::{SampleRange, SampleUniform};
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::runtime::{self, Handle};
use tokio::task::JoinHandle;

pub mod disk;
pub(crate) mod fs;
pub(crate) mod net;

use disk::Disk;

/// When every simulation begins, in seconds since 1970.
const BEGINNING: u64 = 1_800_000_000;

thread_local! {
    static CHANCE: RefCell<StdRng> = RefCell::new(StdRng::seed_from_u64(0));
    /// Each host of the simulation has a runtime of its own, by which it is known who asks.
    static MACHINES: RefCell<HashMap<runtime::Id, Machine>> = RefCell::default();
}

/// One machine. Copies are the same machine.
#[derive(Clone)]
pub struct Machine(Rc<Inner>);

struct Inner {
    disk: Disk,
    /// Seconds that its wall clock is ahead.
    ahead: Cell<i64>,
    on: Cell<bool>,
}

impl Machine {
    /// A machine whose disk is empty and whose clock is `ahead` by so many seconds.
    pub fn new(ahead: i64) -> Self {
        Self(Rc::new(Inner {
            disk: Disk::new(random()),
            ahead: Cell::new(ahead),
            on: Cell::new(false),
        }))
    }

    /// Switches it on: to be called by what runs on it.
    pub fn boot(&self) {
        self.0.on.set(true);
        let host = Handle::current().id();
        MACHINES.with_borrow_mut(|machines| machines.insert(host, self.clone()));
    }

    /// Whether it was booted and nothing has ended it since.
    pub fn is_on(&self) -> bool {
        self.0.on.get()
    }

    /// Ends the process that runs on it, as `kill -9` does: what it has written stays.
    pub fn kill(&self) {
        self.0.on.set(false);
        self.0.disk.close_all();
    }

    /// Cuts its power: some of what was not synced is lost, see [`Disk`].
    pub fn cut_power(&self) {
        self.kill();
        self.0.disk.lose_unsynced();
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// The machine that asks.
    fn current() -> Option<Self> {
        let host = Handle::try_current().ok()?.id();
        let machine = MACHINES.with_borrow(|machines| machines.get(&host).cloned());
        machine.filter(Self::is_on)
    }
}

/// Begins a simulation in this thread, in which all chance comes from `seed`.
pub fn begin(seed: u64) {
    CHANCE.with_borrow_mut(|chance| *chance = StdRng::seed_from_u64(seed));
    MACHINES.with_borrow_mut(HashMap::clear);
}

/// What chance gives.
pub fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    CHANCE.with_borrow_mut(|chance| chance.random())
}

/// What chance gives, within `range`.
pub fn random_range<T: SampleUniform>(range: impl SampleRange<T>) -> T {
    CHANCE.with_borrow_mut(|chance| chance.random_range(range))
}

/// The wall clock of the machine that asks.
pub fn now() -> SystemTime {
    let since = turmoil::sim_elapsed().unwrap_or_default() + Duration::from_secs(BEGINNING);
    let ahead = Machine::current().map_or(0, |machine| machine.0.ahead.get());
    let moved = Duration::from_secs(ahead.unsigned_abs());
    UNIX_EPOCH
        + if ahead < 0 {
            since - moved
        } else {
            since + moved
        }
}

/// How a process ends that aborts: nothing of it goes on.
struct Aborted;

/// Ends the process of the machine that asks. Whoever called never hears of it.
pub(crate) fn abort() -> ! {
    if let Some(machine) = Machine::current() {
        machine.kill();
    }
    resume_unwind(Box::new(Aborted))
}

/// Runs `work`, in its turn.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(async move {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => done,
            Err(aborted) if aborted.is::<Aborted>() => std::future::pending().await,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Work that goes on in the background.
#[derive(Debug)]
pub(crate) struct Worker;

impl Worker {
    pub(crate) fn start(
        _name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        tokio::spawn(work);
        Ok(Self)
    }

    pub(crate) fn join(self) {}
}
