//! What can be wrong with a policy file, each fault with its line, its key and its remedy.

use std::fmt;

/// One thing to correct in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// Dotted, as in `web.port`; empty when the fault belongs to no key.
    pub key: String,
    pub problem: String,
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

/// All faults found in one file, in the order of their lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy is not usable:{}", .0.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
pub struct Faults(pub Vec<Fault>);
