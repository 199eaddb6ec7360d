//! Quizzes as XML: the keys of the JSON as elements; what would be null is absent.

use std::io;

use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::file::FileJson;
use super::quiz::QuizJson;
use super::quizzes::QuizzesJson;
use super::user::UserJson;

type Xml = Writer<Vec<u8>>;

/// What can be written as XML.
pub trait ToXml {
    /// Writes one element.
    fn write(&self, xml: &mut Xml) -> io::Result<()>;
}

/// A whole document.
pub fn document(root: &impl ToXml) -> Vec<u8> {
    let mut xml = Writer::new(Vec::new());
    xml.write_event(Event::Decl(BytesDecl::new("1.0", None, None)))
        .and_then(|()| root.write(&mut xml))
        .expect("memory takes everything");
    xml.into_inner()
}

impl ToXml for QuizzesJson {
    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        element(xml, "quizzes", |xml| {
            self.quizzes.iter().try_for_each(|quiz| quiz.write(xml))
        })
    }
}

impl ToXml for QuizJson {
    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        element(xml, "quiz", |xml| {
            text(xml, "id", &self.id.to_string())?;
            text(xml, "question", &self.question)?;
            if let Some(author) = &self.author {
                write_user(xml, author)?;
            }
            write_file(xml, "attachment", self.attachment.as_ref())?;
            text(xml, "favourite", &self.favourite.to_string())
        })
    }
}

fn write_user(xml: &mut Xml, user: &UserJson) -> io::Result<()> {
    element(xml, "author", |xml| {
        text(xml, "id", &user.id.to_string())?;
        text(xml, "isAdmin", &user.is_admin.to_string())?;
        text(xml, "username", &user.username)?;
        text(xml, "accountTypeId", &user.account_type_id.to_string())?;
        if let Some(id) = &user.profile_id {
            text(xml, "profileId", id)?;
        }
        if let Some(name) = &user.profile_name {
            text(xml, "profileName", name)?;
        }
        write_file(xml, "photo", user.photo.as_ref())
    })
}

fn write_file(xml: &mut Xml, name: &str, file: Option<&FileJson>) -> io::Result<()> {
    let Some(file) = file else {
        return Ok(());
    };
    element(xml, name, |xml| {
        text(xml, "filename", &file.filename)?;
        text(xml, "mime", &file.mime)?;
        text(xml, "url", &file.url)
    })
}

fn element(
    xml: &mut Xml,
    name: &str,
    content: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    xml.create_element(name).write_inner_content(content)?;
    Ok(())
}

fn text(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    let text: String = text.chars().map(storable).collect();
    // A bare carriage return would be read back as a line feed.
    let text = escape(text).replace('\r', "&#13;");
    xml.create_element(name)
        .write_text_content(BytesText::from_escaped(text))?;
    Ok(())
}

/// Some characters cannot be in XML 1.0 at all, not even escaped (section 2.2).
fn storable(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => character,
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::XmlVersion;
    use quick_xml::events::Event;

    use super::*;

    /// The texts of a document, as a reader sees them.
    fn read(document: &[u8]) -> String {
        let mut reader = quick_xml::Reader::from_reader(document);
        let mut text = String::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Text(part) => {
                    text.push_str(&part.xml_content(XmlVersion::Explicit1_0).unwrap())
                }
                Event::GeneralRef(part) => match part.resolve_char_ref().unwrap() {
                    Some(character) => text.push(character),
                    None => {
                        let name = part.decode().unwrap();
                        text.push_str(quick_xml::escape::resolve_xml_entity(&name).unwrap());
                    }
                },
                Event::Eof => return text,
                _ => {}
            }
        }
    }

    fn written(question: &str) -> Vec<u8> {
        let mut xml = Writer::new(Vec::new());
        text(&mut xml, "question", question).unwrap();
        xml.into_inner()
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            read(&written("a\u{0}b\u{1b}c\u{ffff}d\t\n\re")),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\t\n\re"
        );
    }

    proptest! {
        #[test]
        fn every_text_is_read_back_as_it_was(question in "\\PC{0,40}|[<>&'\"\\r\\n\\t \\]]{0,20}") {
            prop_assert_eq!(read(&written(&question)), question);
        }
    }
}
