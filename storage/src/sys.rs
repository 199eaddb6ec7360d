//! What a node takes from the machine it runs on: files, connections, the clock, chance, and threads for what blocks.
//!
//! With the feature `simulation` all of it comes from a simulated machine instead, so that a test can run a cluster in
//! one thread, where a seed decides what fails and when (`tests/simulation`). Nothing else in this crate knows.

#[cfg(not(feature = "simulation"))]
mod real;
#[cfg(feature = "simulation")]
pub mod simulated;

#[cfg(not(feature = "simulation"))]
pub(crate) use real::{Worker, abort, blocking, fs, net, now, random, random_range};
#[cfg(feature = "simulation")]
pub(crate) use simulated::{Worker, abort, blocking, fs, net, now, random, random_range};
