//! Messages for the next page a visitor sees. They travel as short codes in a signed cookie, so a visitor with a message needs no row.

/// One message. The texts are those of the original site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flash {
    LoginRequired,
    LoginFailed,
    Welcome,
    QuizCreated,
    QuizWithoutAttachment,
    AttachmentSaved,
}

/// The box a message is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Info,
    Success,
    Error,
}

const ALL: [Flash; 6] = [
    Flash::LoginRequired,
    Flash::LoginFailed,
    Flash::Welcome,
    Flash::QuizCreated,
    Flash::QuizWithoutAttachment,
    Flash::AttachmentSaved,
];

impl Flash {
    /// What the visitor reads.
    pub fn text(self) -> &'static str {
        match self {
            Self::LoginRequired => "Login required: log in and retry.",
            Self::LoginFailed => "Authentication has failed. Retry it again.",
            Self::Welcome => "Welcome!",
            Self::QuizCreated => "Quiz created successfully.",
            Self::QuizWithoutAttachment => "Quiz without attachment.",
            Self::AttachmentSaved => "Attachment saved successfully.",
        }
    }

    /// The box it belongs in.
    pub fn kind(self) -> Kind {
        match self {
            Self::LoginRequired | Self::QuizWithoutAttachment => Kind::Info,
            Self::Welcome | Self::QuizCreated | Self::AttachmentSaved => Kind::Success,
            Self::LoginFailed => Kind::Error,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::LoginRequired => "login-required",
            Self::LoginFailed => "login-failed",
            Self::Welcome => "welcome",
            Self::QuizCreated => "quiz-created",
            Self::QuizWithoutAttachment => "quiz-without-attachment",
            Self::AttachmentSaved => "attachment-saved",
        }
    }
}

impl Kind {
    /// The heading of the box: the meaning must not hang on its colour.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Info => "Information of interest:",
            Self::Success => "Tasks completed successfully:",
            Self::Error => "Errors:",
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
    let codes: Vec<&str> = messages.iter().map(|message| message.code()).collect();
    codes.join(".")
}

/// The messages in a cookie; codes of another version are skipped.
pub fn decode(value: &str) -> Vec<Flash> {
    value
        .split('.')
        .filter_map(|code| ALL.into_iter().find(|message| message.code() == code))
        .collect()
}

/// The messages of each kind, for one box per kind.
pub fn by_kind(messages: &[Flash]) -> Vec<(Kind, Vec<&'static str>)> {
    [Kind::Error, Kind::Success, Kind::Info]
        .into_iter()
        .map(|kind| {
            let of_kind = messages.iter().filter(|message| message.kind() == kind);
            (
                kind,
                of_kind.map(|message| message.text()).collect::<Vec<_>>(),
            )
        })
        .filter(|(_, texts)| !texts.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_its_cookie() {
        assert_eq!(decode(&encode(&ALL)), ALL);
    }

    #[test]
    fn an_unknown_code_is_skipped() {
        assert_eq!(decode("from-the-future.welcome"), [Flash::Welcome]);
        assert_eq!(decode(""), []);
    }
}
