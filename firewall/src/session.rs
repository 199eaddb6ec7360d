//! The SSH session that a command runs in, also below `sudo`, which hides the variable that tells.

use std::fs;

/// The value of `SSH_CONNECTION` in the environment of this process or of the nearest of those that started it: client,
/// port, server, port. `None` outside a session.
#[must_use]
pub fn ssh_connection() -> Option<String> {
    let mut process = std::process::id();
    while process > 1 {
        // What belongs to somebody else cannot be read, and is passed by.
        let variables = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let found = variables
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"SSH_CONNECTION="));
        if let Some(found) = found {
            return String::from_utf8(found.to_owned()).ok();
        }
        process = parent(process)?;
    }
    None
}

/// The fourth field of `/proc/PID/stat`. The second is a name in parentheses, which may hold anything.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
