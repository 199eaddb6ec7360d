//! Bodies of forms, as a browser sends them.

use bytes::Bytes;
use hyper::header::HeaderValue;

/// Between the parts; nothing that is sent contains it.
const BOUNDARY: &str = "----quiz-loadtest-7f1d0c5be2";

/// A form that is ready to be sent.
#[derive(Debug, Clone)]
pub enum Body {
    /// `application/x-www-form-urlencoded`
    Fields(Vec<(&'static str, String)>),
    /// `multipart/form-data`, with at most one picture in a field of its own.
    Parts {
        fields: Vec<(&'static str, String)>,
        picture: Option<(&'static str, Bytes)>,
    },
}

impl Body {
    /// The type and the bytes.
    #[must_use]
    pub fn into_parts(self) -> (Option<HeaderValue>, Bytes) {
        match self {
            Self::Fields(fields) => {
                let pairs: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", encode(value)))
                    .collect();
                let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                (Some(media_type), pairs.join("&").into())
            }
            Self::Parts { fields, picture } => {
                let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
                (
                    HeaderValue::from_str(&media_type).ok(),
                    multipart(&fields, picture.as_ref()),
                )
            }
        }
    }
}

/// Percent-encodes all but what is never special in a query.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn multipart(fields: &[(&str, String)], picture: Option<&(&str, Bytes)>) -> Bytes {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        body.extend_from_slice(head.as_bytes());
    }
    if let Some((name, bytes)) = picture {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"picture.png\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_and_joined() {
        let fields = Body::Fields(vec![("a", "x y&z=ä".to_owned()), ("b", String::new())]);
        let (media_type, bytes) = fields.into_parts();
        assert_eq!(
            media_type,
            Some(HeaderValue::from_static(
                "application/x-www-form-urlencoded"
            ))
        );
        assert_eq!(bytes, "a=x%20y%26z%3D%C3%A4&b=");
    }

    #[test]
    fn a_picture_is_a_part_of_its_own_with_a_name_and_a_type() {
        let body = Body::Parts {
            fields: vec![("question", "Why?".to_owned())],
            picture: Some(("image", Bytes::from_static(b"PNG"))),
        };
        let (media_type, bytes) = body.into_parts();
        assert!(
            media_type
                .is_some_and(|value| value.to_str().is_ok_and(|value| value.ends_with(BOUNDARY)))
        );
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        assert!(
            text.contains("name=\"question\"\r\n\r\nWhy?\r\n--"),
            "{text}"
        );
        assert!(
            text.contains("Content-Type: image/png\r\n\r\nPNG\r\n--"),
            "{text}"
        );
        assert!(text.ends_with("--\r\n"), "{text}");
    }
}
