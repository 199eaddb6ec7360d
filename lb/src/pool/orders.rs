//! What operators change at run time.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Instant};

use super::{Backend, News, Order, Pool, State, Switch, lock};

impl Pool {
    /// Does to the backend what an operator wants. `None` if it is no member.
    pub fn order(&self, addr: SocketAddr, order: Order, now: Instant) -> Option<Option<News>> {
        let _writing = lock(&self.writing);
        let members = self.members.load();
        let backend = members.all.iter().find(|backend| backend.addr == addr)?;
        lock(&backend.wishes).order(order);
        let (_, news) = backend.obey(now);
        self.publish(members.all.clone());
        if news == Some(News::Became(State::Disabled)) && self.has_lost(backend) {
            backend.call_back();
        }
        Some(news)
    }

    /// Remembers why a backend is in its state, for whoever asks later.
    pub(crate) fn remember(&self, addr: SocketAddr, reason: &str) {
        let members = self.members.load();
        if let Some(backend) = members.all.iter().find(|backend| backend.addr == addr) {
            *lock(&backend.standing) = (Instant::now(), reason.to_owned());
        }
    }
}

impl Backend {
    /// Takes what is wanted of it into account: whether that changes its weight, and what becomes of it.
    pub(super) fn obey(&self, now: Instant) -> (bool, Option<News>) {
        let wishes = *lock(&self.wishes);
        let weight = wishes.weight();
        let reweighed = self.weight.swap(weight, Ordering::Relaxed) != weight;
        let news = lock(&self.life).set_switch(now, wishes.switch());
        (reweighed, news)
    }

    /// What is wanted of it.
    pub fn switch(&self) -> Switch {
        lock(&self.wishes).switch()
    }

    /// The orders of operators that still hold.
    pub fn orders(&self) -> Vec<Order> {
        lock(&self.wishes).orders()
    }

    /// Since when it is in its state, and why, in words.
    pub fn standing(&self) -> (Instant, String) {
        lock(&self.standing).clone()
    }
}
