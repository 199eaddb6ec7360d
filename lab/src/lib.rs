//! The lab: all of Quizstack on one machine, as supervised child processes.
//!
//! The life of one `quiz-lab run`, through its files:
//!
//! 1. `cli.rs` reads the flags, `state.rs` locks the state folder and makes its secrets at the first start.
//! 2. `ports.rs` reserves a loopback port for every listener, so that two labs never meet.
//! 3. `stack.rs` starts the processes in order: PostgreSQL (`postgres.rs`) and three storage nodes, then the
//!    front-ends, then the balancer, each with the settings of `plan.rs`. `ready.rs` waits for each.
//! 4. `supervise.rs` keeps each process alive: it starts a dead one again with back-off and ends it when asked.
//! 5. `console.rs` turns what they print into one log with a prefix per process.
//! 6. At Ctrl-C the stack stops in the opposite order. The data stays in the state folder.
//!
//! The network mode ([`network`]) runs the same processes as separate hosts, each a network namespace with its own firewall.
//!
//! It does not balance, store or serve anything itself, and it is not for production: every process shares one
//! machine and one disk. The end-to-end tests of the product drive this library.

pub mod cli;
pub mod console;
pub mod network;
pub mod plan;
pub mod ports;
pub mod postgres;
pub mod ready;
pub mod stack;
pub mod state;
pub mod supervise;
