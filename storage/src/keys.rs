//! The keys of registers: those of objects, and those that the store keeps for itself.
//!
//! The latter begin with a control character, which no key of a client may hold, so they come before all others.
//! They are the records of uploads in parts: one for each upload, under the key of its object, and one for each part.

/// What all reserved keys begin with.
const RESERVED: char = '\u{1}';
/// Every key of a client is above.
pub(crate) const FIRST: &str = "\u{2}";
/// What the keys of all uploads and of all parts begin with.
pub(crate) const UPLOADS: &str = "\u{1}u/";
pub(crate) const PARTS: &str = "\u{1}p/";

/// Whether it is a record of the store. The blobs that a version of such a register names, and the next one does not,
/// may be those of an object by now.
pub(crate) fn is_reserved(key: &str) -> bool {
    key.starts_with(RESERVED)
}

/// Where an upload is recorded. In the order of the objects' keys.
pub(crate) fn upload(key: &str, id: &str) -> String {
    format!("{UPLOADS}{key}{RESERVED}{id}")
}

/// Key of the object and id of the upload recorded there.
pub(crate) fn parse_upload(record: &str) -> Option<(&str, &str)> {
    record.strip_prefix(UPLOADS)?.split_once(RESERVED)
}

/// Where a part is recorded. In the order of their numbers.
pub(crate) fn part(id: &str, number: u32) -> String {
    format!("{}{number:05}", parts(id))
}

/// What the keys of all parts of an upload begin with.
pub(crate) fn parts(id: &str) -> String {
    format!("{PARTS}{id}/")
}

/// Id of the upload and number of the part recorded there.
pub(crate) fn parse_part(record: &str) -> Option<(&str, u32)> {
    let (id, number) = record.strip_prefix(PARTS)?.split_once('/')?;
    Some((id, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_lead_back_to_what_they_record_and_keep_their_order() {
        assert_eq!(parse_upload(&upload("a/b", "12")), Some(("a/b", "12")));
        assert_eq!(parse_part(&part("12", 9_999)), Some(("12", 9_999)));
        assert!(upload("a", "f") < upload("a b", "0"));
        assert!(part("12", 9_999) < part("12", 10_000));
        assert!(is_reserved(&part("12", 1)) && is_reserved(&upload("", "1")));
        assert!(upload(" ", "1").as_str() < FIRST && FIRST < " ");
    }
}
