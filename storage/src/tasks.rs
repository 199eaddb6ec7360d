//! Work that outlives the request that started it, and its end when the node stops.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::sys;

#[derive(Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cancelled: CancellationToken,
}

impl Tasks {
    /// Starts `work`. The handle gives `None` when [`Tasks::cancel`] cut it short.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let cancelled = self.cancelled.clone();
        self.tracker
            .spawn(cancelled.run_until_cancelled_owned(work))
    }

    /// Starts `work` that goes on to its end whatever becomes of who started it. It must be short.
    pub(crate) fn spawn_to_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn(work)
    }

    /// Starts `work` where waiting for the disk holds up no request. It cannot be cancelled.
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let under_way = self.tracker.token();
        sys::blocking(move || {
            let done = work();
            drop(under_way);
            done
        })
    }

    /// Ends all that waits for something; what the disk is doing goes on to its end.
    pub(crate) fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Waits until nothing is under way.
    pub(crate) async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
