//! Another machine: a network namespace at the other end of a cable, with a listener on its web port.

use std::io;
use std::process::{Child, Stdio};
use std::time::Instant;

use super::{PATIENCE, Reports, again, listen, probe, sh};

/// It lives as long as the process that holds its namespace, and that one reads from a pipe of ours, so it ends with us
/// however we end.
pub(crate) struct Neighbour {
    test: &'static str,
    holder: Child,
}

impl Neighbour {
    /// A neighbour behind our interface `name`. In its network, `198.18.<net>.0/24` and `fd00:18:<net>::/64`, it has
    /// address 1 and we have address 2.
    pub(crate) fn plug_in(test: &'static str, name: &str, net: u8) -> Self {
        let holder = again(test, "neighbour", &["unshare", "--net"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare runs");
        let neighbour = Self { test, holder };
        let pid = neighbour.holder.id();
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let deadline = Instant::now() + PATIENCE;
        while namespace(&pid.to_string()) == namespace("self") {
            assert!(Instant::now() < deadline, "{name} did not come up");
            std::thread::yield_now();
        }
        sh(&format!(
            "ip link set lo up
             ip link add name {name} type veth peer name uplink netns {pid}
             ip address add 198.18.{net}.2/24 dev {name}
             ip address add fd00:18:{net}::2/64 dev {name} nodad
             ip link set {name} up"
        ));
        neighbour.sh(&format!(
            "ip address add 198.18.{net}.1/24 dev uplink
             ip address add fd00:18:{net}::1/64 dev uplink nodad
             ip link set uplink up"
        ));
        neighbour
    }

    /// Runs a script in its namespace, without single quotes.
    pub(crate) fn sh(&self, script: &str) {
        sh(&format!("nsenter {} sh -ec '{script}'", self.namespace()));
    }

    /// Lets it try these probes, and returns what each reported.
    pub(crate) fn probe(&self, names: &[String]) -> Reports {
        let output = again(self.test, "prober", &["nsenter", &self.namespace()])
            .env(probe::NAMES, names.join(","))
            .output()
            .expect("nsenter runs");
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{words}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let reports = words
            .lines()
            .filter_map(|line| line.split_once(probe::MARK)?.1.split_once(": "));
        reports
            .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
            .collect()
    }

    fn namespace(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.holder.id())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to clean up.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Holds the namespace until the guarded machine goes. The kernel completes the connections that nobody accepts here.
pub(crate) fn stay() {
    let listeners = listen(&[80]);
    io::copy(&mut io::stdin(), &mut io::sink()).expect("a pipe can be read");
    drop(listeners);
}
