//! The username of somebody who comes from another site: made of the name they have there, and nobody else's here.

/// Long enough for a name, and short enough to leave room for a number behind it.
const MAX_CHARS: usize = 64;

/// How far names are counted before chance takes over.
const COUNTED: u32 = 20;

/// What is tried when that was not enough.
const RANDOM: usize = 8;

/// Longest profile name that is kept, in characters.
const MAX_PROFILE_CHARS: usize = 255;

/// Usernames to try, one after the other: `octocat`, `octocat-2`, … and at last some with a random end.
pub fn candidates(profile_name: &str, provider: &str) -> impl Iterator<Item = String> {
    let base = clean(profile_name).unwrap_or_else(|| provider.to_owned());
    (1..=COUNTED as usize + RANDOM).map(move |n| match n {
        1 => base.clone(),
        n if n <= COUNTED as usize => format!("{base}-{n}"),
        _ => format!("{base}-{:08x}", rand::random::<u32>()),
    })
}

/// The name as it is shown beside the provider's: without spaces, as the original had it, and without what cannot be
/// seen or stored.
pub fn profile_name(name: &str) -> String {
    let seen = name
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control());
    seen.take(MAX_PROFILE_CHARS).collect()
}

/// Letters, digits and a little punctuation: no spaces, no signs that cannot be seen or that turn the text around.
fn clean(name: &str) -> Option<String> {
    let kept: String = name
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .take(MAX_CHARS)
        .collect();
    kept.contains(char::is_alphanumeric).then_some(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(name: &str) -> String {
        candidates(name, "oidc").next().unwrap()
    }

    #[test]
    fn a_name_is_kept_without_its_spaces_and_invisible_signs() {
        assert_eq!(first("octocat"), "octocat");
        assert_eq!(first("José Pérez-López"), "JoséPérez-López");
        assert_eq!(first("ann\u{202e}e\u{200b}\n<b>"), "anneb");
        assert_eq!(profile_name("José  Pérez\u{0}\n"), "JoséPérez");
    }

    #[test]
    fn who_has_no_name_is_called_after_the_provider() {
        for name in ["", " \t", "--", "\u{1f600}"] {
            assert_eq!(first(name), "oidc");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number_and_at_last_a_random_end() {
        let names: Vec<_> = candidates("octocat", "github").collect();
        assert_eq!(names[..3], ["octocat", "octocat-2", "octocat-3"]);
        assert_eq!(names[19], "octocat-20");
        assert_eq!(names[20].len(), "octocat-".len() + 8);
        assert_eq!(names.len(), 28);
    }

    proptest! {
        #[test]
        fn every_name_makes_usernames_that_can_be_stored(name in any::<String>()) {
            for candidate in candidates(&name, "github") {
                prop_assert!((1..=255).contains(&candidate.chars().count()));
                prop_assert!(!candidate.contains(|c: char| c.is_whitespace() || c.is_control()));
            }
            prop_assert!(profile_name(&name).chars().count() <= 255);
        }
    }
}
