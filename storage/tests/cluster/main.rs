//! Three nodes, in this process or in processes of their own, seen from outside. One program, so that it links once.

mod clients;
mod common;
mod conformance;
#[cfg(debug_assertions)] // where there are failpoints
mod crash;
mod export;
mod failures;
mod heal;
mod limits;
mod memory;
mod multipart;
mod operate;
mod outage;
mod process;
mod rejoin;
mod relay;
mod s3;
mod scrub;
mod signed;
mod single;
mod space;
mod status;
mod streaming;
mod sweep;
mod verbs;
