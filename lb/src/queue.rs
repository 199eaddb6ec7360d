//! Where requests wait while every backend is busy: bounded in number and in time, first come, first served.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Mutex, Notify},
    time,
};

/// A place may come free without a word, as when an ejection ends between two looks: who looks does so again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The waiting line of one pool.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
    // Whoever holds it is the first in line; the others wait for it in the order in which they came.
    first: Mutex<()>,
    freed: Notify,
}

/// Counts as waiting until dropped.
struct Place<'a>(&'a Queue);

/// Why somebody does not wait any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// As many wait already as may.
    Full,
    /// It took too long.
    TooLong,
}

impl Queue {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Lets the first in line look, and who stands beside it.
    pub fn freed(&self) {
        self.freed.notify_waiters();
    }

    /// Looks until `look` finds something, at most so long and behind at most so many others. Nobody looks before the
    /// first in line has found something or given up.
    pub async fn wait<T>(
        &self,
        most: usize,
        limit: Duration,
        look: impl FnMut() -> Option<T>,
    ) -> Result<T, GaveUp> {
        let _place = self.enter(most).ok_or(GaveUp::Full)?;
        let waiting = async {
            let _first = self.first.lock().await;
            self.look(look).await
        };
        let found = time::timeout(limit, waiting).await;
        found.map_err(|_| GaveUp::TooLong)
    }

    /// As `wait`, without regard to the line.
    pub async fn wait_aside<T>(
        &self,
        most: usize,
        limit: Duration,
        look: impl FnMut() -> Option<T>,
    ) -> Result<T, GaveUp> {
        let _place = self.enter(most).ok_or(GaveUp::Full)?;
        let found = time::timeout(limit, self.look(look)).await;
        found.map_err(|_| GaveUp::TooLong)
    }

    async fn look<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Listening before looking, or what is freed in between would go unseen.
            freed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            let _ = time::timeout(LOOK_AGAIN, freed).await;
        }
    }

    fn enter(&self, most: usize) -> Option<Place<'_>> {
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        self.waiting
            .try_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::Future,
        task::{Context, Waker},
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn who_finds_the_line_full_is_sent_away_at_once() {
        let queue = Queue::default();
        let mut first = Box::pin(queue.wait(1, HOUR, || None::<()>));
        let _ = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(queue.waiting(), 1);
        assert_eq!(queue.wait(1, HOUR, || Some(())).await, Err(GaveUp::Full));
        drop(first);
        assert_eq!(queue.wait(1, HOUR, || Some(())).await, Ok(()));
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit() {
        let queue = Queue::default();
        let began = time::Instant::now();
        let ended = queue.wait(1, Duration::from_secs(1), || None::<()>).await;
        assert_eq!(ended, Err(GaveUp::TooLong));
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_does_not_take_what_the_first_in_line_has_not_seen_yet() {
        let (queue, free) = (Queue::default(), Cell::new(0));
        let take = || (free.get() > 0).then(|| free.set(free.get() - 1));
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(queue.wait(9, HOUR, take));
        let mut newcomer = Box::pin(queue.wait(9, HOUR, take));
        let mut aside = Box::pin(queue.wait_aside(9, HOUR, take));
        assert!(first.as_mut().poll(&mut context).is_pending());
        free.set(1);
        queue.freed();
        assert!(newcomer.as_mut().poll(&mut context).is_pending());
        assert!(first.as_mut().poll(&mut context).is_ready());
        assert!(newcomer.as_mut().poll(&mut context).is_pending());
        free.set(1);
        assert!(aside.as_mut().poll(&mut context).is_ready());
        assert_eq!(queue.waiting(), 1);
        drop((first, newcomer, aside));
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test]
    async fn who_came_first_is_served_first() {
        let (queue, free, served) = (Queue::default(), Cell::new(0), RefCell::new(Vec::new()));
        let take = || {
            let left = free.get();
            (left > 0).then(|| free.set(left - 1))
        };
        let visitor = async |number| {
            let found = queue.wait(9, HOUR, take).await;
            served.borrow_mut().push((number, found));
        };
        let free_two = async {
            for _ in 0..2 {
                free.set(free.get() + 1);
                queue.freed();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(visitor(1), visitor(2), free_two);
        assert_eq!(*served.borrow(), [(1, Ok(())), (2, Ok(()))]);
    }
}
