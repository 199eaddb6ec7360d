//! Limits of the machine that a run would meet, checked before the first request.

use std::fs;

/// Files that the program has open besides its connections, and some to spare.
const OTHER_FILES: u64 = 64;
/// Connections that ended lately still hold their port, so a run never gets all of them.
const SPARE_PORTS: u64 = 1_000;

/// What is too small, and how to raise it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "{users} virtual users need {needed} open files, and this shell allows {allowed}: run `ulimit -n {needed}` first \
         (as root where the hard limit is lower), or ask for fewer with --users"
    )]
    Files {
        users: u64,
        needed: u64,
        allowed: u64,
    },
    #[error(
        "{users} virtual users and as many as {SPARE_PORTS} connections that ended lately need a port each, and this \
         machine has {ports}: run \
         `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"` first, ask for fewer with --users, or share them among \
         several machines"
    )]
    Ports { users: u64, ports: u64 },
}

/// What the machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open files of this process.
    pub files: Option<u64>,
    /// Ports for outgoing connections to one address and port.
    pub ports: Option<u64>,
}

impl Limits {
    /// Those of this machine; what cannot be found out is not checked.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let read = |path| fs::read_to_string(path).ok();
        Self {
            files: read("/proc/self/limits").as_deref().and_then(open_files),
            ports: read("/proc/sys/net/ipv4/ip_local_port_range")
                .as_deref()
                .and_then(ports),
        }
    }

    /// # Errors
    /// A limit that so many users would meet.
    pub fn check(self, users: usize) -> Result<(), Error> {
        let users = users as u64;
        let needed = users + OTHER_FILES;
        if let Some(allowed) = self.files.filter(|allowed| *allowed < needed) {
            return Err(Error::Files {
                users,
                needed,
                allowed,
            });
        }
        if let Some(ports) = self.ports.filter(|ports| *ports < users + SPARE_PORTS) {
            return Err(Error::Ports { users, ports });
        }
        Ok(())
    }
}

/// The soft limit of `/proc/self/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn ports(range: &str) -> Option<u64> {
    let (first, last) = range.split_once(char::is_whitespace)?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    Some((last + 1).saturating_sub(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 20000                files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        let here = Limits::of_this_machine();
        assert!(here.files.is_some() && here.ports.is_some(), "{here:?}");
    }

    #[test]
    fn too_many_users_are_refused_with_the_command_that_helps() {
        let limits = Limits {
            files: Some(1024),
            ports: Some(28_232),
        };
        assert_eq!(limits.check(900), Ok(()));
        let error = limits.check(1_000).expect_err("1064 files").to_string();
        assert!(error.contains("ulimit -n 1064"), "{error}");
        let limits = Limits {
            files: Some(1_000_000),
            ..limits
        };
        let error = limits.check(28_000).expect_err("few ports").to_string();
        assert!(error.contains("ip_local_port_range"), "{error}");
    }
}
