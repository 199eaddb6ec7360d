//! Settings of the limits. Each is `N/SECS`: at most N at once, and N more in each SECS that follow; 0 is no limit.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::db::throttles::Pace;

/// The longest time over which uses are counted: a day.
const MAX_SECS: u64 = 24 * 60 * 60;

const FORM: &str = "write N/SECS (at most N at once, and N more in each SECS after that; SECS from 1 to 86400), or 0 for \
    no limit";

/// Settings of the limits.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitsConfig {
    /// Wrong passwords for one account from one address
    #[arg(
        id = "limit_login",
        long = "limit-login",
        env = "QUIZ_LIMIT_LOGIN",
        value_name = "N/SECS",
        default_value = "10/300"
    )]
    pub login: Quota,

    /// Wrong passwords from one address: enough for a school behind it
    #[arg(
        long = "limit-login-address",
        env = "QUIZ_LIMIT_LOGIN_ADDRESS",
        value_name = "N/SECS",
        default_value = "100/300"
    )]
    pub login_address: Quota,

    /// Wrong passwords for one account from everywhere: generous, because who reaches it locks the right user out too
    #[arg(
        long = "limit-login-account",
        env = "QUIZ_LIMIT_LOGIN_ACCOUNT",
        value_name = "N/SECS",
        default_value = "300/300"
    )]
    pub login_account: Quota,

    /// Steps of a sign-in at another site from one address, at each front-end
    #[arg(
        long = "limit-sign-in",
        env = "QUIZ_LIMIT_SIGN_IN",
        value_name = "N/SECS",
        default_value = "200/60"
    )]
    pub sign_in: Quota,

    /// New accounts by one user or, when nobody is logged in, from one address
    #[arg(
        long = "limit-registration",
        env = "QUIZ_LIMIT_REGISTRATION",
        value_name = "N/SECS",
        default_value = "60/3600"
    )]
    pub registration: Quota,

    /// Forms with a file by one user or, when nobody is logged in, from one address
    #[arg(
        long = "limit-upload",
        env = "QUIZ_LIMIT_UPLOAD",
        value_name = "N/SECS",
        default_value = "120/600"
    )]
    pub upload: Quota,

    /// Checked answers from one address, at each front-end
    #[arg(
        long = "limit-check",
        env = "QUIZ_LIMIT_CHECK",
        value_name = "N/SECS",
        default_value = "2000/10"
    )]
    pub check: Quota,

    /// Calls of the API by one user, at each front-end
    #[arg(
        long = "limit-api",
        env = "QUIZ_LIMIT_API",
        value_name = "N/SECS",
        default_value = "500/10"
    )]
    pub api: Quota,

    /// Calls of the API from one address, with or without a token, at each front-end
    #[arg(
        long = "limit-api-address",
        env = "QUIZ_LIMIT_API_ADDRESS",
        value_name = "N/SECS",
        default_value = "5000/10"
    )]
    pub api_address: Quota,
}

/// How often something may be done, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(Option<(NonZeroU32, Duration)>);

impl Quota {
    /// For [`throttles`](crate::db::throttles). In whole microseconds, the unit of PostgreSQL: all N steps fit in the
    /// burst whatever is rounded.
    pub fn pace(self) -> Option<Pace> {
        let (times, period) = self.0?;
        let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        let step = Duration::from_micros((micros / u64::from(times.get())).max(1));
        Some(Pace {
            step,
            burst: step * times.get(),
        })
    }

    /// For a limiter in memory.
    pub fn in_memory(self) -> Option<governor::Quota> {
        let (times, _) = self.0?;
        governor::Quota::with_period(self.pace()?.step).map(|quota| quota.allow_burst(times))
    }
}

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self(None));
        }
        let parsed = text.split_once('/').and_then(|(times, secs)| {
            let secs = secs
                .parse()
                .ok()
                .filter(|secs| (1..=MAX_SECS).contains(secs))?;
            Some((times.parse().ok()?, Duration::from_secs(secs)))
        });
        parsed
            .map(|rate| Self(Some(rate)))
            .ok_or_else(|| FORM.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_is_a_number_and_a_time() {
        let pace = "10/300".parse::<Quota>().unwrap().pace().unwrap();
        assert_eq!(pace.step, Duration::from_secs(30));
        assert_eq!(pace.burst, Duration::from_secs(300));
        let off: Quota = "0".parse().unwrap();
        assert!(off.pace().is_none() && off.in_memory().is_none());
        for nonsense in [
            "", "10", "0/5", "5/0", "-1/5", "1/86401", "a/b", "1/2/3", "1.5/2", " 1/2",
        ] {
            assert!(nonsense.parse::<Quota>().is_err(), "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn every_limit_has_a_pace_that_lets_all_its_uses_through_at_once(times in 1..=u32::MAX, secs in 1..=MAX_SECS) {
            let quota: Quota = format!("{times}/{secs}").parse().unwrap();
            let pace = quota.pace().unwrap();
            prop_assert!(!pace.step.is_zero());
            prop_assert_eq!(pace.step * times, pace.burst);
            prop_assert!(quota.in_memory().is_some());
        }
    }
}
