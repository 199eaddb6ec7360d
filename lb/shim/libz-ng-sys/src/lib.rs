//! Stock zlib under the name of `libz-ng-sys`, so that Pingora builds where there is no cmake.
//!
//! `flate2` uses the symbols that both crates share; compression speed does not matter to the balancer, which
//! compresses nothing.

pub use libz_sys::*;
