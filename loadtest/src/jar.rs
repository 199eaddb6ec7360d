//! The cookies of one virtual user. All are for the one host that is asked, so names alone tell them apart.

use hyper::header::HeaderValue;

/// Names and values, in the order of their first coming.
#[derive(Debug, Clone, Default)]
pub struct Jar(Vec<(String, String)>);

impl Jar {
    /// Takes over what a `Set-Cookie` says. One that ends at once is forgotten: `Max-Age` of 0 or less, or an empty
    /// value, as servers that only write `Expires` send with it.
    pub fn keep(&mut self, set_cookie: &str) {
        let mut parts = set_cookie.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let (name, value) = (name.trim(), value.trim());
        let has_ended = parts.any(|attribute| {
            attribute
                .trim()
                .to_ascii_lowercase()
                .strip_prefix("max-age=")
                .and_then(|secs| secs.parse::<i64>().ok())
                .is_some_and(|secs| secs <= 0)
        });
        if has_ended || value.is_empty() {
            self.0.retain(|(known, _)| known != name);
            return;
        }
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Is there a cookie of that name? Over HTTPS names may have a prefix.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.ends_with(name))
    }

    /// The value of `Cookie`, if there are any.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        HeaderValue::from_str(&pairs.join("; ")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(set: &[&str]) -> Option<String> {
        let mut jar = Jar::default();
        for cookie in set {
            jar.keep(cookie);
        }
        jar.header()
            .map(|value| value.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_cookie_is_sent_back_until_it_is_replaced_or_ends() {
        assert_eq!(header(&[]), None);
        assert_eq!(
            header(&["a=1; Path=/; HttpOnly", "b=x=y"]).as_deref(),
            Some("a=1; b=x=y")
        );
        assert_eq!(header(&["a=1", "a=2"]).as_deref(), Some("a=2"));
        assert_eq!(header(&["a=1", "a=; Max-Age=0"]), None);
        assert_eq!(header(&["a=1", "a=gone; max-age=-1"]), None);
        assert_eq!(
            header(&["a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]),
            None
        );
        assert_eq!(header(&["nonsense"]), None);
    }
}
