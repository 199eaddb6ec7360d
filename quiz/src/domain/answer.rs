//! When is an answer right: case and the spaces around it do not matter, everything else does.

/// Whether `given` answers a question whose answer is `expected`.
pub fn matches(given: &str, expected: &str) -> bool {
    normal_form(given) == normal_form(expected)
}

fn normal_form(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    #[test]
    fn case_and_outer_spaces_do_not_matter() {
        assert!(matches("  rOmE\t", "Rome"));
        assert!(matches("ÁVILA", "ávila"));
    }

    #[test]
    fn inner_spaces_accents_and_absence_matter() {
        assert!(!matches("New  York", "New York"));
        assert!(!matches("Malaga", "Málaga"));
        assert!(!matches("", "Rome"));
    }

    proptest! {
        #[test]
        fn every_answer_matches_itself_however_it_is_padded(answer in "\\PC{1,40}") {
            let padded = format!(" \t{answer} \n");
            prop_assert!(matches(&padded, &answer));
        }

        #[test]
        fn matching_does_not_depend_on_the_order(a in "[a-cA-C ]{0,4}", b in "[a-cA-C ]{0,4}") {
            prop_assert_eq!(matches(&a, &b), matches(&b, &a));
        }
    }
}
