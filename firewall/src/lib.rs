//! The firewall compiler of Quizstack: a typed TOML policy in, an nftables ruleset out.
//!
//! The life of one policy:
//! 1. [`cli`] reads the file that `render` or `check` names.
//! 2. [`site`] parses it and refuses what is unknown, missing or out of range, by line, key and remedy ([`error`]).
//!    What comes out is a [`policy::Policy`], which can only hold sound values.
//! 3. [`compile`] turns the policy into a [`ruleset::Ruleset`]: tables, chains, rules, verdicts as data.
//! 4. [`render`] writes that as commented nft text, the same bytes for the same policy each time.
//! 5. For `check`, [`nft`] lets the machine's own `nft` judge the text in a namespace where it can change nothing.
//!
//! `explain` asks the ruleset of step 3 instead: [`packet`] reads the question, and [`explain`] walks the rules as the
//! kernel would.
//!
//! `apply`, `plan`, `status` and `remove` compare step 4 with the rules of this machine ([`apply`]), and `apply
//! --confirm` brings the rules before back unless told not to ([`confirm`]). `watch` does it again and again ([`watch`]) and
//! tells a balancer beside it where the rules are in force ([`namespace`]),
//! and `healthcheck` asks it how that goes ([`healthcheck`]).
//!
//! Steps 2 to 4 and the explanation do no I/O; [`nft`] alone runs nft.
//!
//! What it does not do: it filters no outgoing traffic. It owns one table and never writes `flush ruleset`, which
//! would delete the rules of a container engine beside it.

pub mod apply;
pub mod cli;
pub mod compile;
pub mod confirm;
pub mod error;
pub mod explain;
pub mod healthcheck;
pub mod namespace;
pub mod nft;
pub mod packet;
pub mod policy;
pub mod render;
pub mod ruleset;
pub mod session;
pub mod site;
pub mod watch;

/// From the text of a policy file to the nft text: what `quiz-firewall render` prints.
///
/// # Errors
/// Every fault of the file, when it has any.
pub fn nft_text(toml: &str) -> Result<String, error::Faults> {
    let policy = site::parse(toml)?;
    Ok(render::to_nft(&compile::ruleset(&policy), &[]))
}
