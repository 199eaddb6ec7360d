//! Accounts: their settings, and what changes more than one thing at once.

use std::time::Duration;

use crate::config::positive_secs;

/// Settings of the accounts.
#[derive(Clone, Debug, clap::Args)]
pub struct AccountsConfig {
    /// May anybody register? Otherwise only admins make accounts
    #[arg(long = "open-registration", env = "QUIZ_OPEN_REGISTRATION", value_name = "BOOL", default_value_t = false,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub open_registration: bool,

    /// Life of an API token, in seconds
    #[arg(id = "token_ttl", long = "token-ttl-secs", env = "QUIZ_TOKEN_TTL_SECS", value_name = "SECS",
        default_value = "31536000", value_parser = positive_secs)]
    pub token_ttl: Duration,
}
