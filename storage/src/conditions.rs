//! The conditions of HTTP requests, as pure rules over what is stored.

use s3s::dto::{ETag, ETagCondition};

use crate::version::Live;

/// What a write requires of the current version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: *`
    Present,
    /// `If-Match: "etag"`
    Tag(String),
}

impl Condition {
    pub(crate) fn if_match(given: Option<&ETagCondition>) -> Self {
        match given {
            None => Self::Always,
            Some(ETagCondition::Any) => Self::Present,
            Some(ETagCondition::ETag(tag)) => Self::Tag(tag.value().to_owned()),
        }
    }

    pub(crate) fn holds(&self, current: Option<&Live>) -> bool {
        match (self, current) {
            (Self::Always, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Tag(tag), Some(live)) => *tag == live.tag(),
            (Self::Absent, Some(_)) | (Self::Present | Self::Tag(_), None) => false,
        }
    }
}

/// What a read requires.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadConditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    /// Milliseconds since 1970.
    pub(crate) if_modified_since: Option<i64>,
    pub(crate) if_unmodified_since: Option<i64>,
}

/// How to answer a read of an object that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Serve,
    NotModified,
    Failed,
}

impl ReadConditions {
    /// In the order of RFC 9110 section 13.2.2: tags win over times.
    pub(crate) fn judge(&self, live: &Live) -> Answer {
        let etag = ETag::Strong(live.tag());
        // HTTP dates have whole seconds; compared exactly, an object would be newer than its own date.
        let modified = live.last_modified_ms as i64 / 1_000;
        let matches = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(tag) => tag.weak_cmp(&etag),
        };
        match (&self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition) => return Answer::Failed,
            (None, Some(since)) if modified > since.div_euclid(1_000) => return Answer::Failed,
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(condition), _) if matches(condition) => Answer::NotModified,
            (None, Some(since)) if modified <= since.div_euclid(1_000) => Answer::NotModified,
            _ => Answer::Serve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live {
            etag: [0xab; 16],
            last_modified_ms: 5_700,
            ..Live::default()
        }
    }

    fn tag(byte: u8) -> ETagCondition {
        ETagCondition::ETag(ETag::Strong(hex::encode([byte; 16])))
    }

    #[test]
    fn a_create_needs_absence_and_an_update_needs_its_version() {
        assert!(Condition::Absent.holds(None));
        assert!(!Condition::Absent.holds(Some(&live())));
        assert!(Condition::if_match(Some(&tag(0xab))).holds(Some(&live())));
        assert!(!Condition::if_match(Some(&tag(1))).holds(Some(&live())));
        assert!(!Condition::if_match(Some(&tag(0xab))).holds(None));
        assert!(!Condition::if_match(Some(&ETagCondition::Any)).holds(None));
        assert!(Condition::if_match(None).holds(None));
    }

    #[test]
    fn an_object_is_not_newer_than_its_own_date() {
        let since = |if_modified_since, if_unmodified_since| {
            ReadConditions {
                if_modified_since,
                if_unmodified_since,
                ..ReadConditions::default()
            }
            .judge(&live())
        };
        assert_eq!(since(Some(5_000), None), Answer::NotModified);
        assert_eq!(since(Some(4_000), None), Answer::Serve);
        assert_eq!(since(None, Some(5_000)), Answer::Serve);
        assert_eq!(since(None, Some(4_000)), Answer::Failed);
    }

    #[test]
    fn tags_win_over_times() {
        let conditions = ReadConditions {
            if_match: Some(tag(0xab)),
            if_unmodified_since: Some(0),
            if_none_match: Some(tag(1)),
            if_modified_since: Some(9_000),
        };
        assert_eq!(conditions.judge(&live()), Answer::Serve);
    }
}
