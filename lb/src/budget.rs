//! How many retries there may be: a share of the requests of late, and a few more for quiet times.
//!
//! A retry costs a backend as much as a request. Without a bound, a pool that is too slow would get twice and thrice
//! the work just when it cannot do it once. After Finagle's `RetryBudget`. Pure: time is passed in.

use std::time::{Duration, Instant};

use crate::config::Retries;

/// For how long a request counts, on average.
const MEMORY: Duration = Duration::from_secs(10);

/// What may be spent on retries.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    retries: f64,
    at: Instant,
}

impl Budget {
    /// Begins with what quiet times save up.
    pub fn new(now: Instant, rules: &Retries) -> Self {
        Self {
            retries: rules.budget_per_sec as f64 * MEMORY.as_secs_f64(),
            at: now,
        }
    }

    /// A request came, the first try of it.
    pub fn deposit(&mut self, now: Instant, rules: &Retries) {
        self.age(now, rules);
        self.retries += rules.budget_percent as f64 / 100.0;
    }

    /// Whether there is enough for one retry, which is spent then.
    pub fn withdraw(&mut self, now: Instant, rules: &Retries) -> bool {
        self.age(now, rules);
        let enough = self.retries >= 1.0;
        if enough {
            self.retries -= 1.0;
        }
        enough
    }

    /// Forgets slowly, and saves a little.
    fn age(&mut self, now: Instant, rules: &Retries) {
        let memory = MEMORY.as_secs_f64();
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        let kept = (-age / memory).exp();
        let saved = rules.budget_per_sec as f64 * memory;
        self.retries = saved + (self.retries - saved) * kept;
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(budget_percent: usize, budget_per_sec: usize) -> Retries {
        Retries {
            budget_percent,
            budget_per_sec,
            ..Retries::default()
        }
    }

    /// Of requests that all fail, at this rate over this time: how many are retried.
    fn retried(rules: &Retries, per_sec: u32, secs: u32) -> u32 {
        let start = Instant::now();
        let mut budget = Budget::new(start, rules);
        (0..per_sec * secs)
            .map(|n| {
                let now = start + Duration::from_secs(1) * n / per_sec;
                budget.deposit(now, rules);
                u32::from(budget.withdraw(now, rules))
            })
            .sum()
    }

    #[test]
    fn a_fifth_of_a_busy_time_is_retried_and_all_of_a_quiet_one() {
        let rules = rules(20, 10);
        let busy = retried(&rules, 2000, 60);
        let share = f64::from(busy) / 120_000.0;
        assert!((0.19..0.22).contains(&share), "{share}");
        assert_eq!(retried(&rules, 5, 60), 300);
    }

    #[test]
    fn a_short_failure_after_a_good_time_is_retried_whole() {
        let rules = rules(20, 10);
        let start = Instant::now();
        let mut budget = Budget::new(start, &rules);
        let at = |n: u32| start + Duration::from_millis(1) * n;
        for n in 0..30_000 {
            budget.deposit(at(n), &rules);
        }
        assert!((30_000..31_500).all(|n| budget.withdraw(at(n), &rules)));
    }

    #[test]
    fn nothing_is_retried_without_a_budget() {
        assert_eq!(retried(&rules(0, 0), 100, 10), 0);
    }

    proptest! {
        #[test]
        fn whatever_the_traffic_the_sum_of_retries_is_bounded(
            events in prop::collection::vec((0..500_u64, any::<bool>()), 0..500),
            percent in 0..100_usize, per_sec in 0..20_usize,
        ) {
            let rules = rules(percent, per_sec);
            let start = Instant::now();
            let mut now = start;
            let mut budget = Budget::new(start, &rules);
            let (mut requests, mut retries) = (0_u32, 0_u32);
            for (millis, request) in events {
                now += Duration::from_millis(millis);
                if request {
                    requests += 1;
                    budget.deposit(now, &rules);
                } else {
                    retries += u32::from(budget.withdraw(now, &rules));
                }
            }
            let secs = (now - start + MEMORY).as_secs_f64();
            let most = f64::from(requests) * percent as f64 / 100.0 + secs * per_sec as f64;
            prop_assert!(f64::from(retries) <= most + 1e-6, "{retries} of {most}");
        }
    }
}
