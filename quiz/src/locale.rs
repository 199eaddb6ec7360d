//! The languages of the site. A catalogue is a constant of type [`Texts`], one file per language: a text that is missing
//! in one of them does not compile.
//!
//! Texts with parts that vary are functions; those that templates call take references, as templates pass them. Templates escape what they print, so texts hold no markup.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE};
use axum::http::request::Parts;
use axum_extra::extract::cookie::Cookie;

use crate::domain::search::Sort;

mod en;
mod es;
mod users;

pub use users::Users;

/// Remembers the language that a visitor chose. Not signed: all it can do is choose a catalogue.
pub const COOKIE_NAME: &str = "quiz_lang";

/// A language with a catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Spanish,
}

impl Language {
    /// All of them, in the order of the switch.
    pub const ALL: [Self; 2] = [Self::English, Self::Spanish];

    /// Its tag (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
        }
    }

    /// What its speakers call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Spanish => "Español",
        }
    }

    /// Its catalogue.
    pub fn texts(self) -> &'static Texts {
        match self {
            Self::English => &en::TEXTS,
            Self::Spanish => &es::TEXTS,
        }
    }

    /// The language of a tag, whatever region it names.
    pub fn parse(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// What the visitor chose, else the best of `Accept-Language` (RFC 9110, 12.5.4), else English.
    pub fn of(headers: &HeaderMap) -> Self {
        let cookies = headers.get_all(COOKIE).into_iter();
        let chosen = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(Cookie::split_parse)
            .filter_map(Result::ok)
            .find(|cookie| cookie.name().trim_start_matches("__Host-") == COOKIE_NAME)
            .and_then(|cookie| Self::parse(cookie.value()));
        let accepted = || {
            headers
                .get(ACCEPT_LANGUAGE)
                .and_then(|value| value.to_str().ok())
                .and_then(accepted)
        };
        chosen.or_else(accepted).unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// The language of ours with the highest weight; of equal ones the first.
fn accepted(header: &str) -> Option<Language> {
    let mut best: Option<(Language, f32)> = None;
    for range in header.split(',') {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let weight = parts
            .filter_map(|part| part.trim().strip_prefix("q="))
            .map(|weight| weight.parse().unwrap_or(0.0))
            .next()
            .unwrap_or(1.0);
        let language = Language::parse(tag);
        if let Some(language) = language.filter(|_| weight > best.map_or(0.0, |(_, best)| best)) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

/// A text that is chosen now and read later, when the visitor's language is known.
pub type Text = fn(&Texts) -> &'static str;

/// Everything the site says, by page.
pub struct Texts {
    pub layout: Layout,
    pub flash: Flash,
    pub errors: Errors,
    pub form: Form,
    pub home: Home,
    pub author: Author,
    pub login: Login,
    pub sessions: Sessions,
    pub list: List,
    pub search: Search,
    pub favourites: Favourites,
    pub quizzes: Quizzes,
    pub play: Play,
    pub random: Random,
    pub attachments: Attachments,
    pub users: Users,
}

/// Around every page.
pub struct Layout {
    pub tagline: &'static str,
    pub description: &'static str,
    pub skip: &'static str,
    pub menu: &'static str,
    pub main_navigation: &'static str,
    pub about_navigation: &'static str,
    pub home: &'static str,
    pub quizzes: &'static str,
    pub my_quizzes: &'static str,
    pub random_play: &'static str,
    pub new_quiz: &'static str,
    pub users: &'static str,
    pub author: &'static str,
    pub logged_in_as: &'static str,
    pub log_in: &'static str,
    pub log_out: &'static str,
    pub language: &'static str,
}

/// Messages for the next page, and the headings of their boxes.
pub struct Flash {
    pub info: &'static str,
    pub success: &'static str,
    pub error: &'static str,
    pub login_required: &'static str,
    pub login_failed: &'static str,
    pub provider_unavailable: &'static str,
    pub no_account: &'static str,
    pub session_expired: &'static str,
    pub welcome: &'static str,
    pub session_ended: &'static str,
    pub signed_out_everywhere: &'static str,
    pub quiz_created: &'static str,
    pub quiz_edited: &'static str,
    pub quiz_deleted: &'static str,
    pub quiz_without_attachment: &'static str,
    pub attachment_saved: &'static str,
    pub attachment_too_soon: &'static str,
    pub too_many_quizzes: fn(u32) -> String,
    pub user_created: &'static str,
    pub user_updated: &'static str,
    pub user_deleted: &'static str,
    pub user_without_photo: &'static str,
    pub user_has_no_photo: &'static str,
    pub photo_saved: &'static str,
    pub photo_too_soon: &'static str,
    pub token_created: &'static str,
    pub token_revoked: &'static str,
    pub role_granted: &'static str,
    pub role_withdrawn: &'static str,
}

/// Error pages.
pub struct Errors {
    pub not_found: &'static str,
    pub not_found_text: &'static str,
    pub bad_request: &'static str,
    pub forbidden: &'static str,
    pub forbidden_text: &'static str,
    pub stale_form: &'static str,
    pub stale_form_text: &'static str,
    pub session_expired_text: &'static str,
    pub method_not_allowed: &'static str,
    pub method_not_allowed_text: &'static str,
    pub too_large: &'static str,
    pub too_large_text: &'static str,
    pub wrong_media_type: &'static str,
    pub too_many: &'static str,
    pub too_many_text: fn(u64) -> String,
    pub unavailable: &'static str,
    pub unavailable_text: &'static str,
    pub internal: &'static str,
    pub internal_text: &'static str,
    pub report: &'static str,
    pub play_a_quiz: &'static str,
    pub page_number: &'static str,
    pub search_too_long: &'static str,
    pub sort: &'static str,
    pub cursor: &'static str,
    pub not_utf8: &'static str,
    pub no_boundary: &'static str,
    pub must_be_multipart: &'static str,
    pub must_be_urlencoded: &'static str,
    pub form_cut_short: &'static str,
    pub file_before_token: &'static str,
}

/// What forms have in common.
pub struct Form {
    pub errors: &'static str,
    pub optional: &'static str,
    pub cancel: &'static str,
}

/// `/`.
pub struct Home {
    pub title: &'static str,
    pub question_before: &'static str,
    pub question_stressed: &'static str,
    pub question_after: &'static str,
    pub lead: &'static str,
    pub write_your_own: &'static str,
    pub log_in_to_write: &'static str,
    pub newest: &'static str,
}

/// `/author`.
pub struct Author {
    pub title: &'static str,
    pub lead: &'static str,
    pub text: &'static str,
}

/// `/login`.
pub struct Login {
    pub too_often: fn(u64) -> String,
    pub title: &'static str,
    pub logged_in_as: &'static str,
    pub change_account: &'static str,
    pub username: &'static str,
    pub password: &'static str,
    pub other_ways: &'static str,
    pub sign_in_with: fn(&str) -> String,
}

/// `/sessions`.
pub struct Sessions {
    pub title: &'static str,
    pub lead: &'static str,
    pub this_one: &'static str,
    pub program_on: fn(&str, &str) -> String,
    pub unknown_browser: &'static str,
    pub address: &'static str,
    pub since: &'static str,
    pub seen: &'static str,
    pub end: &'static str,
    pub end_everywhere: &'static str,
    pub everywhere_hint: &'static str,
}

/// The pages of a list.
pub struct List {
    pub page: fn(&u32) -> String,
    pub page_of: fn(&u32, &u32) -> String,
    pub pages: &'static str,
    pub page_word: &'static str,
    pub previous_page: &'static str,
    pub next_page: &'static str,
    pub first_page: &'static str,
    /// Takes the number of the last page that can be reached by its number, like the next one.
    pub too_far: fn(&u32) -> String,
    pub go_to: fn(&u32) -> String,
}

/// The search in lists of quizzes.
pub struct Search {
    pub search: &'static str,
    pub sort: &'static str,
    pub newest: &'static str,
    pub oldest: &'static str,
    pub liked: &'static str,
    pub only_favourites: &'static str,
    pub submit: &'static str,
    pub clear: &'static str,
    pub nothing_found: &'static str,
    pub show_all: &'static str,
    /// Takes how many quizzes of a list a search looks at that no index helps.
    pub newest_only: fn(&u32) -> String,
}

impl Search {
    /// What an order is called.
    pub fn sort_name(&self, sort: &Sort) -> &'static str {
        match sort {
            Sort::Newest => self.newest,
            Sort::Oldest => self.oldest,
            Sort::Liked => self.liked,
        }
    }
}

/// The star of a quiz.
pub struct Favourites {
    pub favourite: &'static str,
    pub added: &'static str,
    pub removed: &'static str,
    pub liked_by: fn(&i32) -> String,
}

/// `/quizzes` and below.
pub struct Quizzes {
    pub title: &'static str,
    pub count: fn(&i64) -> String,
    pub more_than: fn(&i64) -> String,
    pub mine: &'static str,
    pub of_user: fn(&str) -> String,
    pub none_yet: &'static str,
    pub write_the_first: &'static str,
    pub none_here: &'static str,
    pub by: &'static str,
    pub anonymous: &'static str,
    pub play: &'static str,
    pub show: &'static str,
    pub with_its_answer: &'static str,
    pub quiz_number: fn(&i64) -> String,
    /// Takes the question.
    pub picture_of: fn(&str) -> String,
    pub question: &'static str,
    pub answer: &'static str,
    pub answer_hint: &'static str,
    pub picture: &'static str,
    pub picture_hint: &'static str,
    pub choose_again: &'static str,
    pub question_empty: &'static str,
    pub answer_empty: &'static str,
    pub question_too_long: fn(usize) -> String,
    pub answer_too_long: fn(usize) -> String,
    pub create: &'static str,
    pub edit: &'static str,
    pub edit_quiz: &'static str,
    pub save: &'static str,
    pub keep_attachment: &'static str,
    pub keep_hint: &'static str,
    pub delete: &'static str,
    pub delete_quiz: &'static str,
    pub delete_warning: &'static str,
    pub play_it: &'static str,
    pub all_quizzes: &'static str,
}

/// Playing one quiz.
pub struct Play {
    pub question_by: &'static str,
    pub your_answer: &'static str,
    pub check: &'static str,
    pub other_quizzes: &'static str,
    pub right: &'static str,
    pub wrong: &'static str,
    pub the_answer: &'static str,
    pub is_right: &'static str,
    pub is_wrong: &'static str,
    pub try_again: &'static str,
    pub next_question: &'static str,
}

/// `/random`.
pub struct Random {
    pub title: &'static str,
    pub lead: &'static str,
    pub start: &'static str,
    pub best: fn(&i32) -> String,
    pub is_best: &'static str,
    /// After a link that says "log in".
    pub to_keep_best: &'static str,
    pub score: fn(&i32) -> String,
    pub right: fn(&i32) -> String,
    pub answer_blank: &'static str,
    pub waiting: &'static str,
    pub waiting_text: &'static str,
    pub wrong: &'static str,
    pub no_more: &'static str,
    pub again: &'static str,
    pub practise: &'static str,
}

/// Files that belong to a quiz or a user: how they are shown, and why one is refused.
pub struct Attachments {
    /// A size in bytes.
    pub too_large: fn(usize) -> String,
    pub busy: &'static str,
    pub wrong_type: &'static str,
    pub wrong_photo_type: &'static str,
    pub grows_too_much: &'static str,
    /// Width, height and the most pixels.
    pub too_many_pixels: fn(u32, u32, u64) -> String,
    /// Most frames, and most pixels in all.
    pub animation_too_long: fn(u32, u64) -> String,
    pub broken: &'static str,
    pub not_saved: &'static str,
    /// What stands for one in lists, where the question is beside it.
    pub picture: &'static str,
    pub video: &'static str,
    pub document: &'static str,
}

/// As people write it. The units are the same in all our languages.
fn human_size(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes.div_ceil(1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &'static str, cookie: &'static str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, accept.parse().unwrap());
        headers.insert(COOKIE, cookie.parse().unwrap());
        Language::of(&headers)
    }

    #[test]
    fn the_best_language_that_the_browser_accepts_is_taken() {
        assert_eq!(of("es-MX,es;q=0.9,en;q=0.8", ""), Language::Spanish);
        assert_eq!(of("de, en;q=0.5, es;q=0.7", ""), Language::Spanish);
        assert_eq!(of("en;q=0.9, es;q=0.9", ""), Language::English);
        assert_eq!(of("es;q=0, fr", ""), Language::English);
        assert_eq!(of("*;q=x,;;", ""), Language::English);
    }

    #[test]
    fn the_switch_wins_over_the_browser() {
        assert_eq!(of("es", "a=b; quiz_lang=en"), Language::English);
        assert_eq!(of("es", "quiz_lang=tlh"), Language::Spanish);
    }
}
