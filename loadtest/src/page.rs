//! What is read from the site's own pages. They are searched as text: an HTML parser would cost the generator more than
//! the request itself, and what is looked for is written by our templates in one way only.

use crate::connection::Reply;
use crate::user::expect_status;

/// A page of the site that came with status 200.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a>(&'a str);

impl<'a> Page<'a> {
    /// # Errors
    /// Another status, or what is not text.
    pub fn of(reply: &'a Reply) -> Result<Self, String> {
        expect_status(reply, 200)?;
        std::str::from_utf8(&reply.body)
            .map(Self)
            .map_err(|_| "the page is not UTF-8".to_owned())
    }

    /// Fails unless the page has this in it.
    ///
    /// # Errors
    /// What is missing.
    pub fn expect(self, marker: &str) -> Result<Self, String> {
        if self.0.contains(marker) {
            Ok(self)
        } else {
            Err(format!("the page has no {marker:?}"))
        }
    }

    #[must_use]
    pub fn has(self, marker: &str) -> bool {
        self.0.contains(marker)
    }

    /// What stands between two texts, at the first place where both are.
    #[must_use]
    pub fn between(self, before: &str, after: &str) -> Option<&'a str> {
        let begin = self.0.find(before)? + before.len();
        let rest = &self.0[begin..];
        Some(&rest[..rest.find(after)?])
    }

    /// The value of a hidden field.
    ///
    /// # Errors
    /// There is no such field.
    pub fn field(self, name: &str) -> Result<String, String> {
        self.between(&format!("name=\"{name}\" value=\""), "\"")
            .map(unescape)
            .ok_or_else(|| format!("the page has no field {name:?}"))
    }

    /// What stands between two texts, at every place where both are.
    pub fn each(self, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .split(before)
            .skip(1)
            .filter_map(move |rest| Some(&rest[..rest.find(after)?]))
    }

    /// All pictures that the site keeps in its store, without `/images/`.
    pub fn pictures(self) -> impl Iterator<Item = &'a str> {
        self.each(" src=\"/images/", "\"")
    }
}

/// Where a redirect leads.
///
/// # Errors
/// It is none.
pub fn redirect(reply: &Reply) -> Result<String, String> {
    expect_status(reply, 303).map_err(|words| {
        let page = std::str::from_utf8(&reply.body).map(Page).ok();
        let problem = page.and_then(|page| page.between("<p class=\"field-error\"", "</p>"));
        match problem.and_then(|problem| problem.split_once('>')) {
            Some((_, problem)) => format!("{words}: {}", unescape(problem)),
            None => words,
        }
    })?;
    reply
        .location()
        .map(str::to_owned)
        .ok_or_else(|| "a 303 without a Location".to_owned())
}

/// Undoes the escapes that our templates write.
#[must_use]
pub fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#38;", "&")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_pictures_are_found_in_a_page() {
        let page = Page(
            r#"<input type="hidden" name="_csrf" value="a&amp;b"><img class="picture" src="/images/1.png" alt="">
            <img src="/static/logo.svg"><img src="/images/2.jpg">"#,
        );
        assert_eq!(page.field("_csrf"), Ok("a&b".to_owned()));
        assert_eq!(
            page.field("quiz"),
            Err("the page has no field \"quiz\"".to_owned())
        );
        assert_eq!(page.pictures().collect::<Vec<_>>(), ["1.png", "2.jpg"]);
        assert!(page.expect("logo").is_ok());
        assert!(page.expect("log in").is_err());
    }
}
