//! How a list is cut into pages, and which page links a reader gets.

/// Items on a page.
pub const PER_PAGE: u32 = 10;

/// Pages shown on each side of the current one.
const NEIGHBOURS: u32 = 2;

/// Number of a page, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageNo(u32);

/// One entry of the paginator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Page(u32),
    Current(u32),
    Gap,
}

impl PageNo {
    /// The first page when the parameter is absent; `None` when it is not a page number.
    pub fn parse(parameter: Option<&str>) -> Option<Self> {
        match parameter {
            None => Some(Self(1)),
            Some(text) => text.parse().ok().filter(|&number| number > 0).map(Self),
        }
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Items before this page.
    pub fn offset(self) -> i64 {
        i64::from(self.0 - 1) * i64::from(PER_PAGE)
    }
}

/// Pages needed for `items`, at least one.
pub fn page_count(items: i64) -> u32 {
    let per_page = i64::from(PER_PAGE);
    let pages = items / per_page + i64::from(items % per_page > 0);
    u32::try_from(pages.max(1)).unwrap_or(u32::MAX)
}

/// The page before this one: the last one for who went beyond it.
pub fn previous(current: PageNo, pages: u32) -> Option<u32> {
    let before = (current.get() - 1).min(pages);
    (before > 0).then_some(before)
}

/// The entries of the paginator: first, last, current with its neighbours, the pages half-way to them, and gaps between;
/// none when there is one page. Who went beyond the list finds no current page in it.
pub fn links(current: PageNo, pages: u32) -> Vec<Link> {
    if pages <= 1 {
        return Vec::new();
    }
    let current = current.get();
    let near = current.saturating_sub(NEIGHBOURS)..=current.saturating_add(NEIGHBOURS);
    let mut wanted: Vec<u32> = near.filter(|number| (1..=pages).contains(number)).collect();
    let nearest = (
        *wanted.first().unwrap_or(&pages),
        *wanted.last().unwrap_or(&1),
    );
    wanted.extend([1, pages]);
    wanted.extend(half_way(1, nearest.0));
    wanted.extend(half_way(nearest.1, pages));
    wanted.sort_unstable();
    wanted.dedup();
    let mut links = Vec::new();
    let mut before = 0;
    for number in wanted {
        if number > before + 1 {
            links.push(Link::Gap);
        }
        links.push(if number == current {
            Link::Current(number)
        } else {
            Link::Page(number)
        });
        before = number;
    }
    links
}

/// The page in the middle, unless it is next to one of them.
fn half_way(from: u32, to: u32) -> Option<u32> {
    (to.saturating_sub(from) >= 4).then(|| from + (to - from) / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_numbers_from_one_are_page_numbers() {
        assert_eq!(PageNo::parse(None), Some(PageNo(1)));
        assert_eq!(PageNo::parse(Some("3")), Some(PageNo(3)));
        for bad in ["0", "-1", "abc", "", "1.5", "99999999999999999999"] {
            assert_eq!(PageNo::parse(Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn eleven_items_need_two_pages_and_none_need_one() {
        assert_eq!((page_count(0), page_count(10), page_count(11)), (1, 1, 2));
    }

    #[test]
    fn a_long_list_shows_its_ends_the_neighbours_and_the_pages_half_way() {
        use Link::{Current, Gap, Page};
        let expected = vec![
            Page(1),
            Gap,
            Page(4),
            Page(5),
            Current(6),
            Page(7),
            Page(8),
            Gap,
            Page(14),
            Gap,
            Page(20),
        ];
        assert_eq!(links(PageNo(6), 20), expected);
        let beyond = vec![Page(1), Gap, Page(10), Gap, Page(20)];
        assert_eq!(links(PageNo(30), 20), beyond);
        assert_eq!(links(PageNo(1), 2), vec![Current(1), Page(2)]);
        assert!(links(PageNo(1), 1).is_empty());
    }

    proptest! {
        #[test]
        fn a_number_that_arrives_is_the_one_that_was_sent(number in 1u32..) {
            let parsed = PageNo::parse(Some(&number.to_string()));
            prop_assert_eq!(parsed.map(PageNo::get), Some(number));
        }

        #[test]
        fn a_paginator_is_short_however_long_the_list(current in 1u32.., pages in 2u32..) {
            prop_assert!(links(PageNo(current), pages).len() <= 13);
        }

        #[test]
        fn every_item_is_on_exactly_one_page(items in 1i64..100_000) {
            let last = PageNo(page_count(items));
            prop_assert!(last.offset() < items);
            prop_assert!(last.offset() + i64::from(PER_PAGE) >= items);
        }

        #[test]
        fn links_rise_and_never_leave_the_list(current in 1u32.., pages in 2u32..) {
            let numbers: Vec<u32> = links(PageNo(current), pages)
                .into_iter()
                .filter_map(|link| match link {
                    Link::Page(number) | Link::Current(number) => Some(number),
                    Link::Gap => None,
                })
                .collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(numbers.iter().all(|number| (1..=pages).contains(number)));
        }
    }
}
