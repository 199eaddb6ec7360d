//! The links between the pages of a list.

use crate::domain::paging::{self, Link};

/// What the macro of `templates/paginator.html` prints; nothing when the list has one page.
#[derive(Debug, Default)]
pub struct Paginator {
    /// Addresses of the neighbours.
    pub previous: Option<String>,
    pub next: Option<String>,
    pub entries: Vec<Entry>,
}

/// A page that can be reached by its number, or a gap between two of them.
#[derive(Debug)]
pub enum Entry {
    Page { number: u32, url: String },
    Current { number: u32, url: String },
    Gap,
}

/// Where one is in a list.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Number of the page, from 1.
    pub current: paging::PageNo,
    /// Pages that can be reached by their number.
    pub pages: u32,
    /// Does the list go on behind them?
    pub goes_on: bool,
}

impl Paginator {
    /// Entries for a list whose pages have these addresses.
    pub fn new(
        position: Position,
        previous: Option<String>,
        next: Option<String>,
        url: impl Fn(u32) -> String,
    ) -> Self {
        let mut links = paging::links(position.current, position.pages);
        let number = position.current.get();
        if number > position.pages && next.is_some() {
            links.extend([Link::Gap, Link::Current(number)]);
        }
        if position.goes_on && !links.is_empty() {
            links.push(Link::Gap);
        }
        let entry = |link| match link {
            Link::Page(number) => Entry::Page {
                number,
                url: url(number),
            },
            Link::Current(number) => Entry::Current {
                number,
                url: url(number),
            },
            Link::Gap => Entry::Gap,
        };
        Self {
            previous,
            next,
            entries: links.into_iter().map(entry).collect(),
        }
    }

    /// Is there anything to print?
    pub fn is_empty(&self) -> bool {
        self.previous.is_none() && self.next.is_none() && self.entries.is_empty()
    }
}
