//! Places in memory for uploads. Each is held from the first byte of a file until the file is stored, which takes a slow
//! sender as long as a request may last. So nobody gets all of them: a user a quarter, an address half.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth;
use crate::limits::Who;
use crate::visitor::Visitor;

/// How long a file waits for a place, and the rest of its form with it.
const PATIENCE: Duration = Duration::from_secs(2);

/// All places.
pub struct Places {
    total: usize,
    free: Arc<Semaphore>,
    /// Of those who hold places or wait for one: what is left of their share.
    shares: Mutex<HashMap<Who, Weak<Semaphore>>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _permits: Vec<OwnedSemaphorePermit>,
}

#[cfg(test)]
impl Place {
    /// For what is not uploaded.
    pub(crate) fn of_nobody() -> Self {
        Self {
            _permits: Vec::new(),
        }
    }
}

impl Places {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            free: Arc::new(Semaphore::new(total)),
            shares: Mutex::default(),
        }
    }

    /// A place for a visitor's file; an error when there is none for them before long.
    pub(super) async fn take(&self, visitor: &Visitor) -> anyhow::Result<Place> {
        let user = visitor.user().map(|user| Who::User(user.id));
        let address = Who::Address(visitor.client().share());
        self.take_for(user.into_iter().chain([address]), PATIENCE)
            .await
    }

    /// A place for a file of our own, however long it takes.
    pub(crate) async fn take_own(&self) -> anyhow::Result<Place> {
        self.take_for([], Duration::MAX).await
    }

    async fn take_for(
        &self,
        whose: impl IntoIterator<Item = Who>,
        patience: Duration,
    ) -> anyhow::Result<Place> {
        let start = Instant::now();
        let left = || patience.saturating_sub(start.elapsed());
        let mut permits = Vec::new();
        // Who waits for a share takes none of the places that others wait for.
        for who in whose {
            permits.push(auth::take_turn(&self.share(who), left()).await?);
        }
        permits.push(auth::take_turn(&self.free, left()).await?);
        Ok(Place { _permits: permits })
    }

    fn share(&self, who: Who) -> Arc<Semaphore> {
        let size = match who {
            Who::User(_) => self.total / 4,
            _ => self.total / 2,
        };
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        let known = shares.get(&who).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let share = Arc::new(Semaphore::new(size.max(1)));
            shares.insert(who, Arc::downgrade(&share));
            share
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    async fn take(places: &Places, user: i64, address: u8) -> Option<Place> {
        let address = Who::Address(IpAddr::from([192, 0, 2, address]));
        let place = places.take_for([Who::User(user), address], Duration::ZERO);
        place.await.ok()
    }

    #[tokio::test]
    async fn a_user_has_a_quarter_an_address_half_and_all_together_no_more_than_there_are() {
        let places = Places::new(8);
        let mut held = Vec::new();
        for (user, address, granted) in [
            (1, 1, true),
            (1, 2, true),
            (1, 3, false),
            (2, 1, true),
            (3, 1, true),
            (4, 1, true),
            (5, 1, false),
            (5, 2, true),
            (5, 3, true),
            (6, 3, true),
            (7, 4, false),
        ] {
            let place = take(&places, user, address).await;
            assert_eq!(place.is_some(), granted, "{user} at {address}");
            held.extend(place);
        }
        drop(held);
        assert!(take(&places, 7, 4).await.is_some());
        assert_eq!(
            places.shares.lock().unwrap().len(),
            2,
            "others are forgotten"
        );
    }

    #[tokio::test]
    async fn where_there_are_few_places_each_may_have_one() {
        let places = Places::new(1);
        let place = take(&places, 1, 1).await;
        assert!(place.is_some());
        assert!(take(&places, 2, 2).await.is_none());
    }
}
