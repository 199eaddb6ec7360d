//! Where requests wait while every backend is busy: bounded in number and in time, first come, first served.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time};

/// A place may come free without a word to the one who could use it; everybody looks again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The waiting line of one pool.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
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

    /// Lets the first in line look.
    pub fn freed_one(&self) {
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }

    /// Lets all of them look.
    pub fn freed_all(&self) {
        self.freed.notify_waiters();
    }

    /// Looks until `look` finds something, at most so long and behind at most so many others.
    pub async fn wait<T>(
        &self,
        most: usize,
        limit: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, GaveUp> {
        let _place = self.enter(most).ok_or(GaveUp::Full)?;
        let looking = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // In line before looking, or what is freed in between would go unseen.
                freed.as_mut().enable();
                if let Some(found) = look() {
                    return found;
                }
                let _ = time::timeout(LOOK_AGAIN, freed).await;
            }
        };
        time::timeout(limit, looking)
            .await
            .map_err(|_| GaveUp::TooLong)
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
                queue.freed_one();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(visitor(1), visitor(2), free_two);
        assert_eq!(*served.borrow(), [(1, Ok(())), (2, Ok(()))]);
    }
}
