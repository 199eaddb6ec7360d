//! The stack in containers: `make test-compose` builds the images, starts an engine if none runs, and runs these tests, which
//! are ignored otherwise.

#[path = "../common/mod.rs"]
mod common;

mod backup;
mod engine;
mod hardening;
mod images;
mod order;
mod outside;
mod tls;
mod tour;
mod under_load;
