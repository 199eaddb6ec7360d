//! Beside a firewall in the same network namespace: nobody is let in before its rules are in force, or elsewhere.

use std::{fs, net::TcpListener, path::Path};

use rustix::process::Signal;

use crate::{common::Backend, process::Process};

/// Of this process, and so of the balancer.
fn own() -> String {
    let name = fs::read_link("/proc/self/ns/net").unwrap();
    name.display().to_string()
}

/// Waits for this file.
fn waiting(listen: &str, backend: &Backend, file: &Path) -> Process {
    let flags = ["--namespace-file", file.to_str().unwrap()];
    Process::waiting(listen, &backend.addr.to_string(), &flags)
}

#[tokio::test]
async fn without_the_file_no_port_is_bound_and_with_another_name_later_it_ends_with_one() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("namespace");
    // Binding a port that is taken would end it.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut process = waiting(&addr.to_string(), &backend, &file);
    let line = process.line("waiting for the firewall").await;
    assert!(line.contains("WARN") && line.contains(&own()), "{line}");
    drop(taken);
    fs::write(&file, own() + "\n").unwrap();
    process.listening().await;
    process.wait_until_ready().await;
    assert_eq!(process.addr, addr);

    fs::remove_file(&file).unwrap();
    assert_eq!(process.status(addr, "/").await, 200);
    fs::write(&file, "net:[1]\n").unwrap();
    let line = process.line("net:[1]").await;
    assert!(line.contains("ERROR") && line.contains(&own()), "{line}");
    assert_eq!(process.exit_code().await, Some(1));
}

#[tokio::test]
async fn in_another_namespace_than_the_firewall_it_ends_before_it_binds_a_port() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("namespace");
    fs::write(&file, "net:[1]\n").unwrap();
    let process = waiting("127.0.0.1:0", &backend, &file);
    process.line("net:[1]").await;
    assert_eq!(process.logged("balancing on"), 0);
    assert_eq!(process.exit_code().await, Some(1));
}

#[tokio::test]
async fn while_it_waits_for_the_firewall_it_can_be_told_to_stop() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let process = waiting("127.0.0.1:0", &backend, &folder.path().join("namespace"));
    process.line("waiting for the firewall").await;
    process.signal(Signal::TERM);
    assert_eq!(process.exit_code().await, Some(0));
}
