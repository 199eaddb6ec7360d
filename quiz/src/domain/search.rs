//! What a reader asks of a list of quizzes: which ones, in which order, and where in the list.
//!
//! A place in a list is a page number or a cursor. A cursor names the row next to the page, so that a page deep in a
//! long list costs what the first one costs; page numbers are counted row by row and may only jump so far
//! (<https://use-the-index-luke.com/no-offset>).

use std::fmt::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::paging::PageNo;

#[cfg(test)]
mod tests;

/// Longest search, in characters: a question is not longer.
pub const MAX_CHARS: usize = 255;

/// Letters or digits in a row that a search needs for the index of trigrams to be of use.
const INDEXED_CHARS: usize = 3;

/// The parameters of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Words with one space between them; anything may stand there in a question.
    pub search: Option<String>,
    /// Only favourites of the reader. Of no effect for who is not logged in.
    pub favourites: bool,
    pub sort: Sort,
    /// Where the list is cut, and the number shown for the page at a cursor.
    pub pageno: PageNo,
    pub cursor: Option<Cursor>,
}

/// Order of a list; in each of them every quiz has one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Newest,
    Oldest,
    /// Most liked first, of equal ones the newest.
    Liked,
}

/// A page that begins after a row, or ends before one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    After(Key),
    Before(Key),
}

/// The place of a row in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub id: i64,
    /// Counts in the order by likes only.
    pub likes: i32,
}

/// What is wrong with the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    PageNo,
    Search,
    Sort,
    Cursor,
}

/// Has the index of trigrams this character? PostgreSQL counts fewer characters as parts of words than Unicode does:
/// superscript digits, numbers in circles and modifier letters are none. A character too few makes a search look at less
/// than it could, one too many lets it read the whole table.
fn is_indexed(character: char) -> bool {
    let modifier = matches!(character, '\u{2B0}'..='\u{2FF}' | '\u{345}');
    character.is_ascii_digit() || (character.is_alphabetic() && !modifier)
}

impl Query {
    /// Reads `search`, `searchfavourites`, `sort`, `pageno` and `after` or `before`. Nothing in them is trusted.
    pub fn parse<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Invalid> {
        let sort = match parameter("sort") {
            None | Some("") => Sort::default(),
            Some(name) => Sort::parse(name).ok_or(Invalid::Sort)?,
        };
        let key = |text| Key::parse(text, sort).ok_or(Invalid::Cursor);
        let cursor = match (parameter("after"), parameter("before")) {
            (None, None) => None,
            (Some(after), None) => Some(Cursor::After(key(after)?)),
            (None, Some(before)) => Some(Cursor::Before(key(before)?)),
            (Some(_), Some(_)) => return Err(Invalid::Cursor),
        };
        let favourites = parameter("searchfavourites");
        Ok(Self {
            search: words(parameter("search").unwrap_or_default())?,
            favourites: favourites.is_some_and(|value| !value.is_empty()),
            sort,
            pageno: PageNo::parse(parameter("pageno")).ok_or(Invalid::PageNo)?,
            cursor,
        })
    }

    /// Does it ask for less than the whole list?
    pub fn is_filtered(&self) -> bool {
        self.search.is_some() || self.favourites
    }

    /// Is there a search that no index helps, because it has no three letters or digits in a row?
    pub fn is_short(&self) -> bool {
        self.search.as_deref().is_some_and(|search| {
            search
                .split(|character: char| !is_indexed(character))
                .all(|run| run.chars().count() < INDEXED_CHARS)
        })
    }

    /// Address of another place in this list: `path` with all parameters.
    pub fn url(&self, path: &str, pageno: u32, cursor: Option<Cursor>) -> String {
        let mut url = format!("{path}?");
        if let Some(search) = &self.search {
            let search = utf8_percent_encode(search, NON_ALPHANUMERIC);
            write!(url, "search={search}&").expect("a string takes everything");
        }
        if self.favourites {
            url.push_str("searchfavourites=1&");
        }
        if self.sort != Sort::default() {
            url.push_str("sort=");
            url.push_str(self.sort.name());
            url.push('&');
        }
        write!(url, "pageno={pageno}").expect("a string takes everything");
        let (name, key) = match cursor {
            None => return url,
            Some(Cursor::After(key)) => ("after", key),
            Some(Cursor::Before(key)) => ("before", key),
        };
        url + "&" + name + "=" + &key.text(self.sort)
    }
}

impl Sort {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Newest, Self::Oldest, Self::Liked];

    /// Its name in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Liked => "liked",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.name() == name)
    }
}

impl Key {
    /// `<id>`, and `<likes>-<id>` in the order by likes.
    fn parse(text: &str, sort: Sort) -> Option<Self> {
        let (likes, id) = match sort {
            Sort::Newest | Sort::Oldest => ("0", text),
            Sort::Liked => text.split_once('-')?,
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(likes) || !digits(id) {
            return None;
        }
        Some(Self {
            id: id.parse().ok()?,
            likes: likes.parse().ok()?,
        })
    }

    fn text(self, sort: Sort) -> String {
        match sort {
            Sort::Newest | Sort::Oldest => self.id.to_string(),
            Sort::Liked => format!("{}-{}", self.likes, self.id),
        }
    }
}

/// The words of a search with one space between them; `None` when there are none.
fn words(typed: &str) -> Result<Option<String>, Invalid> {
    let words: Vec<&str> = typed
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let words = words.join(" ");
    if words.chars().count() > MAX_CHARS {
        return Err(Invalid::Search);
    }
    Ok(Some(words).filter(|words| !words.is_empty()))
}
