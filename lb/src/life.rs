//! A backend's life: the rules by which what probes and requests find out decides whether it gets requests.
//!
//! ```text
//!              ready                    503, or "close" and a failing check
//!   warming ──────────▶ healthy ◀─────────────────────────────────────────▶ draining
//!                      ▲   │  ▲ ready again (slow start)
//!     back-off is over │   │  └──────────────────────────── unhealthy (refused, or checks fail)
//!                      └─ ejected (a run of failed requests)     draining, disabled (by an operator)
//! ```
//!
//! Pure: time is passed in, nothing is read or sent. A backend whose address is listed no more is gone, and its life
//! with it.

use std::time::{Duration, Instant};

use crate::config::{Checks, Ejection};

/// After a reply with `Connection: close` a failing check within this time ends a drain that the backend had
/// announced. Longer than a front-end lingers after it was told to stop.
const CLOSE_HINT: Duration = Duration::from_secs(15);

/// A backend that has failed no request for so long after an ejection starts from the shortest back-off again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// With which part of its weight a backend begins its slow start.
const FIRST_SHARE: f64 = 0.1;

/// Whether a backend gets requests, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Known, but never ready so far: gets no request.
    Warming,
    /// Ready: gets requests.
    Healthy,
    /// Asked to be left alone and may be gone by now, or drained by an operator.
    Draining,
    /// Was ready once; refuses connections or fails its checks now.
    Unhealthy,
    /// Its checks succeed and its requests fail: gets none until its back-off is over.
    Ejected,
    /// An operator wants it to get none.
    Disabled,
}

/// What the settings or an operator want of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Requests, if it is ready.
    On,
    /// No new requests; those in flight finish.
    Drain,
    /// No requests; those in flight go elsewhere if they can.
    Off,
}

/// Outcome of one probe, or what a request found out before the next probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/ready` answered 200.
    Ready,
    /// `/ready` answered 503: the backend asks to be left alone.
    Draining,
    /// Any other answer, none in time, or no connection for another reason than a refusal.
    Failed,
    /// A probe or a request was refused the connection: nobody listens. Whoever listens there next is a new process, which
    /// gets no request before it is ready, however quickly it was started again.
    Refused,
}

/// What an event brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The state changed to this one.
    Became(State),
    /// A backend that has never been ready has failed as often in a row as makes a healthy one unhealthy. Told once
    /// in a stay: it may be starting still, or wait for somebody to repair it.
    NeverReady,
}

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    Warming,
    Ready,
    Draining,
    Failing,
}

/// One backend's life.
#[derive(Clone, Debug)]
pub struct Life {
    checked: Checked,
    consecutive_success: usize,
    consecutive_failure: usize,
    // Listed when the balancer began, and no probe so far has met a process that was not there or not ready.
    seasoned: bool,
    told_never_ready: bool,
    refused: bool,
    closing_until: Option<Instant>,
    ramp_from: Option<Instant>,
    failed_requests: usize,
    ejected_until: Option<Instant>,
    ejections: u32,
    // The end of the last ejection, until it is forgiven.
    returned: Option<Instant>,
    on_probation: bool,
    switch: Switch,
}

impl State {
    /// Every state, for whoever lists them.
    pub const ALL: [Self; 6] = [
        Self::Warming,
        Self::Healthy,
        Self::Draining,
        Self::Unhealthy,
        Self::Ejected,
        Self::Disabled,
    ];

    /// Lower-case name, as in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Healthy => "healthy",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Disabled => "disabled",
        }
    }
}

impl Switch {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Drain => "drain",
            Self::Off => "off",
        }
    }
}

impl Life {
    /// The life of a backend that was just listed. One that is `seasoned` was listed when the balancer began; if it is
    /// ready at once, it has been at work before, and needs no slow start.
    pub fn new(seasoned: bool) -> Self {
        Self {
            checked: Checked::Warming,
            consecutive_success: 0,
            consecutive_failure: 0,
            seasoned,
            told_never_ready: false,
            refused: false,
            closing_until: None,
            ramp_from: None,
            failed_requests: 0,
            ejected_until: None,
            ejections: 0,
            returned: None,
            on_probation: false,
            switch: Switch::On,
        }
    }

    /// The state now.
    pub fn state(&self) -> State {
        match (self.switch, self.checked, self.ejected_until) {
            (Switch::Off, _, _) => State::Disabled,
            (Switch::Drain, _, _) => State::Draining,
            (_, Checked::Warming, _) => State::Warming,
            (_, Checked::Draining, _) => State::Draining,
            (_, Checked::Failing, _) => State::Unhealthy,
            (_, Checked::Ready, Some(_)) => State::Ejected,
            (_, Checked::Ready, None) => State::Healthy,
        }
    }

    /// Whether it may be tried when no healthy backend is left: it accepted connections when it was last heard of.
    pub fn is_last_resort(&self) -> bool {
        match self.state() {
            State::Ejected => true,
            State::Unhealthy => !self.refused,
            _ => false,
        }
    }

    /// Since when it is in its slow start, if it has one.
    pub fn ramp_from(&self) -> Option<Instant> {
        self.ramp_from
    }

    /// Takes one probe into account.
    pub fn probe(&mut self, now: Instant, probe: Probe, rules: &Checks) -> Option<News> {
        let before = self.state();
        if probe == Probe::Ready {
            self.consecutive_success += 1;
            self.consecutive_failure = 0;
            if self.consecutive_success >= rules.rise && self.checked != Checked::Ready {
                self.rise(now);
            }
            return self.news(before);
        }
        self.consecutive_failure += 1;
        self.consecutive_success = 0;
        // A busy machine may be late with an answer to the first probe; that makes no backend new.
        self.seasoned &= probe == Probe::Failed;
        let often = self.consecutive_failure >= rules.fall;
        if probe == Probe::Refused {
            self.refused = true;
        }
        match (self.checked, probe) {
            (Checked::Ready | Checked::Failing, Probe::Draining) => {
                self.checked = Checked::Draining;
            }
            (Checked::Ready, _) if self.announced_close(now) => self.checked = Checked::Draining,
            (Checked::Ready, Probe::Refused) => self.checked = Checked::Failing,
            (Checked::Ready, _) if often => self.checked = Checked::Failing,
            (Checked::Warming, _)
                if often && before == State::Warming && !self.told_never_ready =>
            {
                self.told_never_ready = true;
                return Some(News::NeverReady);
            }
            _ => {}
        }
        self.news(before)
    }

    /// A request was answered, and not with a server error.
    pub fn succeeded(&mut self, now: Instant) {
        self.failed_requests = 0;
        self.on_probation = false;
        if let Some(returned) = self.returned
            && now.saturating_duration_since(returned) >= FORGIVEN
        {
            self.returned = None;
            self.ejections = 0;
        }
    }

    /// A request failed: no connection, a reset, silence or a server error. It is ejected only if there is `room`:
    /// not too much of the pool is ejected already.
    pub fn failed(&mut self, now: Instant, rules: &Ejection, room: bool) -> Option<News> {
        let before = self.state();
        if before != State::Healthy || self.announced_close(now) {
            return None;
        }
        self.failed_requests += 1;
        let enough = self.on_probation || self.failed_requests >= rules.failures;
        if enough && room {
            self.ejections = self.ejections.saturating_add(1);
            self.failed_requests = 0;
            let back_off = rules.base.saturating_mul(self.ejections).min(rules.max);
            self.ejected_until = Some(now + back_off);
        }
        self.news(before)
    }

    /// The backend closes a connection after its reply: it may be about to leave.
    pub fn closing(&mut self, now: Instant) {
        self.closing_until = Some(now + CLOSE_HINT);
    }

    /// Ends an ejection whose time is over: probation, in which one failed request is enough for the next.
    pub fn tick(&mut self, now: Instant) -> Option<News> {
        let before = self.state();
        if self.ejected_until.is_some_and(|until| until <= now) {
            self.ejected_until = None;
            self.on_probation = true;
            self.returned = Some(now);
            self.ramp_from = Some(now);
        }
        self.news(before)
    }

    /// An operator takes it out, or lets it in again.
    pub fn set_switch(&mut self, now: Instant, switch: Switch) -> Option<News> {
        let before = self.state();
        if self.switch != Switch::On && switch == Switch::On {
            self.ramp_from = Some(now);
        }
        self.switch = switch;
        self.news(before)
    }

    fn rise(&mut self, now: Instant) {
        self.ramp_from = (!self.seasoned).then_some(now);
        self.seasoned = false;
        self.checked = Checked::Ready;
        self.refused = false;
        self.closing_until = None;
        self.failed_requests = 0;
        self.ejected_until = None;
        self.on_probation = false;
    }

    fn announced_close(&self, now: Instant) -> bool {
        self.closing_until.is_some_and(|until| now < until)
    }

    fn news(&self, before: State) -> Option<News> {
        let state = self.state();
        (state != before).then_some(News::Became(state))
    }
}

/// Which part of its weight counts so long after the begin of a slow start.
pub fn share(age: Duration, slow_start: Duration) -> f64 {
    if age >= slow_start {
        return 1.0;
    }
    FIRST_SHARE + (1.0 - FIRST_SHARE) * age.as_secs_f64() / slow_start.as_secs_f64()
}

#[cfg(test)]
mod tests;
