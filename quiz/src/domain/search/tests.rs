use proptest::prelude::*;

use super::*;
use crate::params::Params;

fn parse(query: &str) -> Result<Query, Invalid> {
    let params = Params::parse(query.as_bytes()).unwrap();
    Query::parse(|name| params.get(name))
}

#[test]
fn without_parameters_it_is_the_first_page_of_everything_newest_first() {
    let query = parse("").unwrap();
    assert_eq!(query, parse("search=&sort=&searchfavourites=").unwrap());
    assert!(!query.is_filtered());
    assert_eq!((query.sort, query.cursor), (Sort::Newest, None));
}

#[test]
fn runs_of_white_space_become_one_space_and_outer_ones_go() {
    let query = parse(
        "search=%20+Capital%09%0a+of%C2%A0+%00"
            .replace("%00", "")
            .as_str(),
    )
    .unwrap();
    assert_eq!(query.search.as_deref(), Some("Capital of"));
    assert_eq!(parse("search=+%09").unwrap().search, None);
}

#[test]
fn a_search_longer_than_any_question_is_refused() {
    let longest = "ñ".repeat(MAX_CHARS);
    assert!(parse(&format!("search={longest}")).is_ok());
    assert_eq!(parse(&format!("search={longest}x")), Err(Invalid::Search));
}

#[test]
fn a_search_is_short_without_three_letters_or_digits_in_a_row() {
    for short in [
        "zz",
        "a b c",
        "wh ca it",
        "a%2Bb",
        "%3F%3F%3F",
        "%E2%82%AC",
        "ab-cd",
        "___",
        "²²²",
        "ʼʼʼ",
        "①②③",
        "ˈˈˈ",
    ] {
        let query = parse(&format!("search={}", short.replace(' ', "+"))).unwrap();
        assert!(query.is_short(), "{short}");
    }
    for long in ["abc", "1+2+345", "%C3%B1and%C3%BA", "a+bcd%3F"] {
        assert!(
            !parse(&format!("search={long}")).unwrap().is_short(),
            "{long}"
        );
    }
    assert!(!parse("").unwrap().is_short());
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    for (query, wrong) in [
        ("pageno=0", Invalid::PageNo),
        ("sort=best", Invalid::Sort),
        ("after=", Invalid::Cursor),
        ("after=+1", Invalid::Cursor),
        ("after=-1", Invalid::Cursor),
        ("after=1-2", Invalid::Cursor),
        ("after=9223372036854775808", Invalid::Cursor),
        ("after=1&before=2", Invalid::Cursor),
        ("sort=liked&after=1", Invalid::Cursor),
        ("sort=liked&after=-1", Invalid::Cursor),
        ("sort=liked&after=1-2-3", Invalid::Cursor),
        ("sort=liked&before=2147483648-1", Invalid::Cursor),
    ] {
        assert_eq!(parse(query), Err(wrong), "{query}");
    }
}

fn any_query() -> impl Strategy<Value = Query> {
    let key = (0..=i64::MAX, 0..=i32::MAX).prop_map(|(id, likes)| Key { id, likes });
    let cursor = prop_oneof![
        key.clone().prop_map(Cursor::After),
        key.prop_map(Cursor::Before)
    ];
    let search = proptest::option::of("[^\\p{C}\\p{Z}]{1,9}( [^\\p{C}\\p{Z}]{1,9}){0,3}");
    let sort = prop::sample::select(Sort::ALL.to_vec());
    let rest = (any::<bool>(), sort, 1u32.., proptest::option::of(cursor));
    (search, rest).prop_map(|(search, (favourites, sort, pageno, cursor))| Query {
        search,
        favourites,
        sort,
        pageno: PageNo::parse(Some(&pageno.to_string())).unwrap(),
        cursor: cursor.map(|cursor| at(sort, cursor)),
    })
}

/// A cursor as it comes back: likes are carried in the order by likes only.
fn at(sort: Sort, cursor: Cursor) -> Cursor {
    let carried = |key: Key| match sort {
        Sort::Liked => key,
        Sort::Newest | Sort::Oldest => Key { likes: 0, ..key },
    };
    match cursor {
        Cursor::After(key) => Cursor::After(carried(key)),
        Cursor::Before(key) => Cursor::Before(carried(key)),
    }
}

proptest! {
    #[test]
    fn a_link_leads_to_what_it_was_made_from(query in any_query()) {
        let url = query.url("/quizzes", query.pageno.get(), query.cursor);
        let parameters = url.strip_prefix("/quizzes?").unwrap();
        prop_assert_eq!(parse(parameters), Ok(query));
    }

    #[test]
    fn words_are_never_blank_and_never_have_two_spaces(typed in "\\PC{0,40}") {
        if let Ok(Some(words)) = words(&typed) {
            prop_assert_eq!(words.trim(), &words);
            prop_assert!(!words.is_empty() && !words.contains("  "));
        }
    }

    #[test]
    fn no_parameters_make_it_panic(query in "(search|sort|after|before|pageno|searchfavourites|&|=|-|%20|[0-9]{1,20}|\\PC){0,12}") {
        let params = Params::parse(query.as_bytes()).unwrap_or_default();
        let _ = Query::parse(|name| params.get(name));
    }
}
