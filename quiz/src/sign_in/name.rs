//! The username of somebody who comes from another site: made of the name they have there, and nobody else's here.

use crate::domain::username::{self, Username};

/// Longest beginning of a username, in characters: leaves room for a random end, the longest one.
const MAX_CHARS: usize = username::MAX_CHARS - "-01234567".len();

/// How far names are counted before chance takes over.
const COUNTED: usize = 20;

/// What is tried when that was not enough.
const RANDOM: usize = 8;

/// Longest profile name that is kept, in characters.
const MAX_PROFILE_CHARS: usize = 255;

/// Usernames to try, one after the other: `octocat`, `octocat-2`, … and at last some with a random end.
pub fn candidates(profile_name: &str, provider: &str) -> impl Iterator<Item = Username> {
    let base = clean(profile_name).unwrap_or_else(|| provider.to_owned());
    let names = (1..=COUNTED + RANDOM).map(move |n| match n {
        1 => base.clone(),
        n if n <= COUNTED => format!("{base}-{n}"),
        _ => format!("{base}-{:08x}", rand::random::<u32>()),
    });
    names.filter_map(|name| Username::parse(Some(&name)).ok())
}

/// The name as it is shown beside the provider's: without spaces, as the original had it, and without what cannot be
/// seen or stored.
pub fn profile_name(name: &str) -> String {
    let seen = name
        .chars()
        .filter(|&c| !c.is_whitespace() && !username::is_invisible(c));
    seen.take(MAX_PROFILE_CHARS).collect()
}

/// Letters, digits and a little punctuation: no spaces, no signs that cannot be seen or that turn the text around.
fn clean(name: &str) -> Option<String> {
    let kept: String = name
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        // Some letters cannot be seen: the fillers of Hangul.
        .filter(|&c| !username::is_invisible(c))
        .take(MAX_CHARS)
        .collect();
    kept.contains(char::is_alphanumeric).then_some(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(name: &str) -> String {
        candidates(name, "oidc").next().unwrap().as_str().to_owned()
    }

    #[test]
    fn a_name_is_kept_without_its_spaces_and_invisible_signs() {
        assert_eq!(first("octocat"), "octocat");
        assert_eq!(first("José Pérez-López"), "JoséPérez-López");
        assert_eq!(first("ann\u{202e}e\u{200b}\n<b>"), "anneb");
        assert_eq!(first("ad\u{3164}min\u{115f}"), "admin");
        assert_eq!(profile_name("José  Pérez\u{0}\n"), "JoséPérez");
        assert_eq!(profile_name("ann\u{202e}e\u{200b}\u{3164}"), "anne");
    }

    #[test]
    fn who_has_no_name_is_called_after_the_provider() {
        for name in ["", " \t", "--", "\u{1f600}", "\u{3164}\u{ffa0}"] {
            assert_eq!(first(name), "oidc");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number_and_at_last_a_random_end() {
        let names = candidates("octocat", "github");
        let names: Vec<String> = names.map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names[..3], ["octocat", "octocat-2", "octocat-3"]);
        assert_eq!(names[19], "octocat-20");
        assert_eq!(names[20].len(), "octocat-".len() + 8);
        assert_eq!(names.len(), 28);
    }

    #[test]
    fn a_long_name_leaves_room_for_every_end() {
        let name = "ñ".repeat(300);
        let names = candidates(&name, "github");
        let lengths: Vec<usize> = names.map(|name| name.as_str().chars().count()).collect();
        assert_eq!(lengths.len(), 28);
        assert_eq!((lengths[0], lengths[27]), (55, username::MAX_CHARS));
    }

    proptest! {
        #[test]
        fn every_name_makes_usernames_that_can_be_stored(name in any::<String>()) {
            // Each has kept the rules of a username, or it would have been left out.
            prop_assert_eq!(candidates(&name, "github").count(), COUNTED + RANDOM);
            let shown = profile_name(&name);
            prop_assert!(shown.chars().count() <= 255);
            prop_assert!(!shown.contains(username::is_invisible));
        }
    }
}
