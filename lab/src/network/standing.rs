//! How a host stands, as `status` shows it.

use rustix::process::Pid;

use super::machine::Report;
use super::topology::{Host, Lan};

/// How a host stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which one.
    pub host: Host,
    /// It has its namespace.
    pub made: bool,
    /// Its supervisor's process id.
    pub supervisor: Option<Pid>,
    /// What that says.
    pub report: Option<Report>,
    /// LANs whose cable is pulled.
    pub pulled: Vec<Lan>,
}

impl Standing {
    /// It runs, serves, and all its cables are plugged.
    pub fn is_sound(&self) -> bool {
        let serves = self.report.as_ref().is_some_and(|report| {
            let alive = report
                .process
                .as_ref()
                .is_none_or(|process| process.pid.is_some());
            report.ready && alive
        });
        self.made && serves && self.pulled.is_empty()
    }
}
