//! Calls a request back from a backend that will not answer any more.
//!
//! Pingora waits for a reply as long as the read timeout says, and nobody can tell it to stop. It watches the client's
//! connection meanwhile, which is ours (`downstream.rs`): there a request that is called back ends in an error, and
//! the proxy takes that as the failure of the backend.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

/// The line to one client connection, and to the request that is on it.
#[derive(Debug, Default)]
pub(crate) struct Recall(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    state: State,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nobody may call: there is no request, or another backend could not take it over.
    #[default]
    Deaf,
    Listening,
    Called,
}

impl Recall {
    /// From now on it may be called back.
    pub(crate) fn listen(&self) {
        self.line().state = State::Listening;
    }

    /// From now on it may not; a call that nobody has heard yet is forgotten. Says whether there was one.
    pub(crate) fn ignore(&self) -> bool {
        let mut line = self.line();
        line.waker = None;
        std::mem::take(&mut line.state) == State::Called
    }

    /// Calls it back, if it listens.
    pub(crate) fn call(&self) {
        let mut line = self.line();
        if line.state == State::Listening {
            line.state = State::Called;
            let waker = line.waker.take();
            drop(line);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Whether it was called back; if not, the task is woken when it is.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> bool {
        let mut line = self.line();
        if line.state == State::Listening {
            match &mut line.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        line.state == State::Called
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_that_listens_is_called_back() {
        let recall = Recall::default();
        let called = || recall.poll(&Context::from_waker(Waker::noop()));
        recall.call();
        assert!(!called());
        recall.listen();
        assert!(!called());
        recall.call();
        assert!(called() && called());
        assert!(recall.ignore() && !recall.ignore() && !called());
        recall.listen();
        recall.call();
        recall.listen();
        assert!(!called(), "the call was for the try before");
    }
}
