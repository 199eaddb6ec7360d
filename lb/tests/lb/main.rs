//! The balancer between real sockets: one binary, so that it is linked once.

mod access_log;
mod backend;
mod balancing;
mod cached;
mod common;
mod crowded;
mod crowds;
mod discovery;
mod dns;
mod errors;
mod failover;
mod fuzzed;
mod growth;
mod hostile;
mod http2;
mod lives;
mod lost;
mod matrix;
mod namespace;
mod operators;
mod orders;
mod process;
mod proxied;
mod requests;
mod shutdown;
mod smuggling;
mod status;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod uncached;
mod upgrade;
