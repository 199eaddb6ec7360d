//! Messages for the next page a visitor sees. They travel in an encrypted cookie, so a visitor with a message needs no
//! row, and the one secret among them (a new API token) is read by nobody else.

use crate::locale::{self, Texts};

/// One message. The English texts are those of the original site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flash {
    LoginRequired,
    LoginFailed,
    ProviderUnavailable,
    NoAccount,
    SessionExpired,
    Welcome,
    SessionEnded,
    SignedOutEverywhere,
    QuizCreated,
    QuizEdited,
    QuizDeleted,
    QuizWithoutAttachment,
    AttachmentSaved,
    AttachmentTooSoon,
    TooManyQuizzes,
    UserCreated,
    UserUpdated,
    UserDeleted,
    UserWithoutPhoto,
    UserHasNoPhoto,
    PhotoSaved,
    PhotoTooSoon,
    TokenCreated,
    TokenRevoked,
    RoleGranted,
    RoleWithdrawn,
    /// Not shown in a box: the token itself, for the page that shows it this once.
    Token(String),
}

/// The box a message is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Info,
    Success,
    Error,
}

/// Code in the cookie, box and message.
const ALL: &[(&str, Kind, Flash)] = {
    use Kind::{Error, Info, Success};
    &[
        ("login-required", Info, Flash::LoginRequired),
        ("login-failed", Error, Flash::LoginFailed),
        ("provider-unavailable", Error, Flash::ProviderUnavailable),
        ("no-account", Error, Flash::NoAccount),
        ("session-expired", Info, Flash::SessionExpired),
        ("welcome", Success, Flash::Welcome),
        ("session-ended", Success, Flash::SessionEnded),
        ("signed-out-everywhere", Success, Flash::SignedOutEverywhere),
        ("quiz-created", Success, Flash::QuizCreated),
        ("quiz-edited", Success, Flash::QuizEdited),
        ("quiz-deleted", Success, Flash::QuizDeleted),
        (
            "quiz-without-attachment",
            Info,
            Flash::QuizWithoutAttachment,
        ),
        ("attachment-saved", Success, Flash::AttachmentSaved),
        ("attachment-too-soon", Error, Flash::AttachmentTooSoon),
        ("too-many-quizzes", Error, Flash::TooManyQuizzes),
        ("user-created", Success, Flash::UserCreated),
        ("user-updated", Success, Flash::UserUpdated),
        ("user-deleted", Success, Flash::UserDeleted),
        ("user-without-photo", Info, Flash::UserWithoutPhoto),
        ("user-has-no-photo", Info, Flash::UserHasNoPhoto),
        ("photo-saved", Success, Flash::PhotoSaved),
        ("photo-too-soon", Error, Flash::PhotoTooSoon),
        ("token-created", Success, Flash::TokenCreated),
        ("token-revoked", Success, Flash::TokenRevoked),
        ("role-granted", Success, Flash::RoleGranted),
        ("role-withdrawn", Success, Flash::RoleWithdrawn),
    ]
};

/// Introduces the token in the cookie.
const TOKEN: &str = "token=";

impl Flash {
    /// What the visitor reads.
    fn text(&self, t: &Texts, max_quizzes: u32) -> String {
        let t = &t.flash;
        let text = match self {
            Self::LoginRequired => t.login_required,
            Self::LoginFailed => t.login_failed,
            Self::ProviderUnavailable => t.provider_unavailable,
            Self::NoAccount => t.no_account,
            Self::SessionExpired => t.session_expired,
            Self::Welcome => t.welcome,
            Self::SessionEnded => t.session_ended,
            Self::SignedOutEverywhere => t.signed_out_everywhere,
            Self::QuizCreated => t.quiz_created,
            Self::QuizEdited => t.quiz_edited,
            Self::QuizDeleted => t.quiz_deleted,
            Self::QuizWithoutAttachment => t.quiz_without_attachment,
            Self::AttachmentSaved => t.attachment_saved,
            Self::AttachmentTooSoon => t.attachment_too_soon,
            Self::TooManyQuizzes => return (t.too_many_quizzes)(max_quizzes),
            Self::UserCreated => t.user_created,
            Self::UserUpdated => t.user_updated,
            Self::UserDeleted => t.user_deleted,
            Self::UserWithoutPhoto => t.user_without_photo,
            Self::UserHasNoPhoto => t.user_has_no_photo,
            Self::PhotoSaved => t.photo_saved,
            Self::PhotoTooSoon => t.photo_too_soon,
            Self::TokenCreated => t.token_created,
            Self::TokenRevoked => t.token_revoked,
            Self::RoleGranted => t.role_granted,
            Self::RoleWithdrawn => t.role_withdrawn,
            Self::Token(token) => token,
        };
        text.to_owned()
    }

    /// Code and box; none for what is not shown in a box.
    fn entry(&self) -> Option<(&'static str, Kind)> {
        let entry = ALL.iter().find(|(_, _, message)| message == self);
        entry.map(|&(code, kind, _)| (code, kind))
    }
}

impl Kind {
    /// The heading of the box: the meaning must not hang on its colour.
    pub fn heading(self, t: &locale::Flash) -> &'static str {
        match self {
            Self::Info => t.info,
            Self::Success => t.success,
            Self::Error => t.error,
        }
    }

    /// Its class in the stylesheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Success => "success",
            Self::Error => "error",
        }
    }
}

/// The value of the cookie.
pub fn encode(messages: &[Flash]) -> String {
    let codes: Vec<String> = messages
        .iter()
        .filter_map(|message| match message {
            Flash::Token(token) => Some(format!("{TOKEN}{token}")),
            other => other.entry().map(|(code, _)| code.to_owned()),
        })
        .collect();
    codes.join(".")
}

/// The messages in a cookie; codes of another version are skipped.
pub fn decode(value: &str) -> Vec<Flash> {
    value
        .split('.')
        .filter_map(|code| match code.strip_prefix(TOKEN) {
            Some(token) => Some(Flash::Token(token.to_owned())),
            None => ALL
                .iter()
                .find(|(known, _, _)| *known == code)
                .map(|(_, _, message)| message.clone()),
        })
        .collect()
}

/// The messages of each kind, for one box per kind.
pub fn by_kind(messages: &[Flash], t: &Texts, max_quizzes: u32) -> Vec<(Kind, Vec<String>)> {
    let of_kind = |kind| {
        let texts = messages
            .iter()
            .filter(|message| message.entry().is_some_and(|(_, of)| of == kind))
            .map(|message| message.text(t, max_quizzes))
            .collect::<Vec<_>>();
        (kind, texts)
    };
    [Kind::Error, Kind::Success, Kind::Info]
        .into_iter()
        .map(of_kind)
        .filter(|(_, texts)| !texts.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::Language;

    #[test]
    fn every_message_survives_its_cookie() {
        let mut all: Vec<Flash> = ALL.iter().map(|(_, _, message)| message.clone()).collect();
        all.push(Flash::Token("0a1b".to_owned()));
        assert_eq!(decode(&encode(&all)), all);
    }

    #[test]
    fn an_unknown_code_is_skipped() {
        assert_eq!(decode("from-the-future.welcome"), [Flash::Welcome]);
        assert_eq!(decode(""), []);
    }

    #[test]
    fn a_token_is_in_no_box() {
        let messages = [Flash::TokenCreated, Flash::Token("0a1b".to_owned())];
        let boxes = by_kind(&messages, Language::English.texts(), 50);
        assert_eq!(
            boxes,
            [(
                Kind::Success,
                vec!["User Access Token created successfully.".to_owned()]
            )]
        );
    }
}
