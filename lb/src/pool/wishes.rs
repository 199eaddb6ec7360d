//! What is wanted of a backend: by the list that names it, and by an operator at run time. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::life::Switch;

/// The wishes for one backend. An order holds until the list says something else than it did when the order came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    listed: (Switch, u32),
    ordered_switch: Option<Switch>,
    ordered_weight: Option<u32>,
}

/// What an operator may order at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// No new requests; those in flight finish.
    Drain,
    /// Requests again, as soon as it is ready.
    Enable,
    /// No new requests, and those in flight go elsewhere if they can.
    Disable,
    /// So much in comparison with others.
    Weigh(u32),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain => f.write_str("drain"),
            Self::Enable => f.write_str("enable"),
            Self::Disable => f.write_str("disable"),
            Self::Weigh(weight) => write!(f, "weight {weight}"),
        }
    }
}

impl Wishes {
    pub(super) fn new() -> Self {
        Self {
            listed: (Switch::On, 1),
            ordered_switch: None,
            ordered_weight: None,
        }
    }

    /// What the list and the settings say now.
    pub(super) fn list(&mut self, switch: Switch, weight: u32) {
        if self.listed.0 != switch {
            self.ordered_switch = None;
        }
        if self.listed.1 != weight {
            self.ordered_weight = None;
        }
        self.listed = (switch, weight);
    }

    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Drain => self.ordered_switch = Some(Switch::Drain),
            Order::Enable => self.ordered_switch = Some(Switch::On),
            Order::Disable => self.ordered_switch = Some(Switch::Off),
            Order::Weigh(weight) => self.ordered_weight = Some(weight),
        }
    }

    pub(super) fn switch(&self) -> Switch {
        self.ordered_switch.unwrap_or(self.listed.0)
    }

    pub(super) fn weight(&self) -> u32 {
        self.ordered_weight.unwrap_or(self.listed.1)
    }

    /// What of an operator's orders still matters, for a process that takes over.
    pub(super) fn orders(&self) -> Vec<Order> {
        let switch = self.ordered_switch.map(|switch| match switch {
            Switch::Drain => Order::Drain,
            Switch::On => Order::Enable,
            Switch::Off => Order::Disable,
        });
        let weight = self.ordered_weight.map(Order::Weigh);
        switch.into_iter().chain(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_until_the_list_says_something_else() {
        let mut wishes = Wishes::new();
        wishes.list(Switch::On, 3);
        wishes.order(Order::Drain);
        wishes.order(Order::Weigh(7));
        wishes.list(Switch::On, 3);
        assert_eq!((wishes.switch(), wishes.weight()), (Switch::Drain, 7));
        assert_eq!(wishes.orders(), [Order::Drain, Order::Weigh(7)]);
        wishes.list(Switch::On, 4);
        assert_eq!((wishes.switch(), wishes.weight()), (Switch::Drain, 4));
        wishes.list(Switch::Off, 4);
        assert_eq!((wishes.switch(), wishes.weight()), (Switch::Off, 4));
        wishes.order(Order::Enable);
        assert_eq!(wishes.switch(), Switch::On);
    }
}
