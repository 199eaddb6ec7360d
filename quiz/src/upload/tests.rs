//! No body makes the reading of a form panic or be our fault, and the order of its fields changes little.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use clap::Parser;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::config::Config;

const BOUNDARY: &str = "x-boundary-x";

/// A site without database, a visitor with a form of theirs, and its token. None of them needs the network.
struct Site {
    runtime: Runtime,
    app: App,
    visitor: Visitor,
    token: String,
}

impl Site {
    fn new() -> Self {
        let config = Config::parse_from([
            "quiz-web",
            "--database-url",
            "postgres://nobody@127.0.0.1:1/none",
            "--secret",
            "0123456789abcdef0123456789abcdef",
            "--store-url",
            "memory:///",
            "--max-upload-bytes",
            "1000",
            "--argon2-memory-kib",
            "64",
            "--argon2-iterations",
            "1",
            // Counting takes a database, which is not there.
            "--limit-upload",
            "0",
        ]);
        let runtime = Runtime::new().unwrap();
        let (app, visitor) = runtime.block_on(async {
            let app = App::new(config).unwrap();
            let mut parts = Request::new(Body::empty()).into_parts().0;
            let mut visitor = Visitor::from_parts(&mut parts, &app).await.ok().unwrap();
            visitor.prepare_form();
            (app, visitor)
        });
        let token = visitor.layout("").csrf;
        Self {
            runtime,
            app,
            visitor,
            token,
        }
    }

    /// As [`Form::read_any`] reads it, without the limit on uploads, which is counted in the database.
    fn read(&self, content_type: &str, body: Vec<u8>) -> Result<Form, Error> {
        let request = Request::post("/")
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap();
        if content_type.starts_with("multipart/") {
            self.parse(request)
        } else {
            let reading = Form::read_any(request, &self.app, &self.visitor, "image");
            self.runtime.block_on(reading)
        }
    }

    fn parse(&self, request: Request) -> Result<Form, Error> {
        let parsing = Form::parse(request, &self.app, &self.visitor, "image");
        self.runtime.block_on(parsing)
    }

    fn read_parts(&self, parts: &[Vec<u8>]) -> Result<Form, Error> {
        self.read(&multipart(), whole(parts))
    }

    fn token(&self) -> Vec<u8> {
        part("name=\"_csrf\"", self.token.as_bytes())
    }

    /// The parts of a form as our pages send it.
    fn parts(&self) -> [Vec<u8>; 4] {
        [
            self.token(),
            part("name=\"question\"", b"What?"),
            part("name=\"answer\"", b"That"),
            part("name=\"image\"; filename=\"a.png\"", b"a picture"),
        ]
    }
}

fn multipart() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

fn part(disposition: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
    [head.as_bytes(), body, b"\r\n"].concat()
}

fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    let end = format!("--{BOUNDARY}--\r\n");
    [&parts.concat()[..], end.as_bytes()].concat()
}

fn status(outcome: Result<Form, Error>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(error) => error.into_response().status().as_u16(),
    }
}

#[test]
fn texts_and_the_file_are_kept_and_of_equal_names_the_first() {
    let site = Site::new();
    let mut parts = site.parts().to_vec();
    parts.extend([
        part("name=\"question\"", b"Another?"),
        part("name=\"image\"; filename=\"b.png\"", b"another"),
        part("name=\"other\"; filename=\"c.png\"", b"of no field of ours"),
    ]);
    let mut form = site.read_parts(&parts).ok().unwrap();
    assert_eq!(form.text("question"), Some("What?"));
    assert_eq!(form.text("answer"), Some("That"));
    assert_eq!(form.text("other"), None);
    let Some(Upload::Kept(bytes, _place)) = form.take_file() else {
        panic!("the file is not kept");
    };
    assert_eq!(bytes, "a picture");
    assert!(form.take_file().is_none());
}

#[test]
fn a_form_of_many_texts_is_too_large() {
    let site = Site::new();
    let mut parts = vec![site.token()];
    parts.extend((0..MAX_TEXTS).map(|n| part(&format!("name=\"n{n}\""), b"x")));
    assert_eq!(status(site.read_parts(&parts)), 200);
    parts.push(part("name=\"last\"", b"x"));
    assert_eq!(status(site.read_parts(&parts)), 413);
}

#[test]
fn a_url_encoded_form_is_read_with_its_token_alone_and_is_small() {
    let site = Site::new();
    let urlencoded = "application/x-www-form-urlencoded";
    let body = format!("_method=DELETE&_csrf={}", site.token);
    let form = site.read(urlencoded, body.into()).ok().unwrap();
    assert_eq!(form.text("_method"), Some("DELETE"));
    let stale = site.read(urlencoded, b"_method=DELETE".to_vec());
    assert_eq!(status(stale), 403);
    let large = vec![b'x'; csrf::MAX_BYTES + 1];
    assert_eq!(status(site.read(urlencoded, large)), 413);
}

#[test]
fn in_any_order_of_its_fields_a_form_is_read_or_its_file_came_before_the_token() {
    let site = Site::new();
    let parts = site.parts();
    for order in [[0, 1, 2, 3], [1, 2, 0, 3], [3, 0, 1, 2], [1, 3, 2, 0]] {
        let early = order.iter().position(|n| *n == 3) < order.iter().position(|n| *n == 0);
        let outcome = site.read_parts(&order.map(|n| parts[n].clone()));
        assert_eq!(status(outcome), if early { 400 } else { 200 }, "{order:?}");
    }
}

#[test]
fn fault_19_a_body_of_no_form_is_not_kept_in_memory() {
    let site = Site::new();
    // In pieces, as the network brings them. A parser that kept them all would wait for the end and find none.
    let taken = Arc::new(AtomicUsize::new(0));
    for beginning in ["no boundary", "--x-boundary-x\r\nA header without end: "] {
        taken.store(0, Ordering::Relaxed);
        let counter = Arc::clone(&taken);
        let pieces = std::iter::repeat_n(vec![b'x'; 64 * 1024], 640);
        let pieces = std::iter::once(beginning.as_bytes().to_vec()).chain(pieces);
        let pieces = pieces.inspect(move |piece| {
            counter.fetch_add(piece.len(), Ordering::Relaxed);
        });
        let body = Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, Infallible>)));
        let mut request = Request::post("/")
            .header(CONTENT_TYPE, multipart())
            .body(body)
            .unwrap();
        DefaultBodyLimit::max(MAX_BODY_BYTES).apply(&mut request);
        assert_eq!(status(site.parse(request)), 400);
        assert!(taken.load(Ordering::Relaxed) < 2 * 1024 * 1024);
    }
}

#[test]
fn fault_8_a_file_in_a_field_of_another_name_is_ignored() {
    let site = Site::new();
    let mut parts = site.parts();
    parts[3] = part("name=\"photo\"; filename=\"a.png\"", b"a picture");
    let mut form = site.read_parts(&parts).ok().unwrap();
    assert!(form.take_file().is_none());
    assert_eq!(form.text("photo"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn no_body_is_our_fault(
        cases in prop::collection::vec((
            prop::sample::select(vec![
                "multipart/form-data; boundary=x-boundary-x",
                "multipart/form-data; boundary=\"\"",
                "multipart/form-data; boundary=-",
                "multipart/form-data;boundary=x-boundary-x;boundary=y",
                "multipart/form-data; boundary=\u{e9}",
                "multipart/form-data",
                "application/x-www-form-urlencoded",
                "text/plain",
            ]),
            prop::collection::vec(prop_oneof![
                Just(b"--x-boundary-x".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"\r\n\r\n".to_vec()),
                Just(b"--".to_vec()),
                Just(b"Content-Disposition: form-data; name=\"image\"; filename=\"".to_vec()),
                Just(b"Content-Type: multipart/mixed; boundary=x-boundary-x".to_vec()),
                prop::collection::vec(any::<u8>(), 0..40),
            ], 0..12),
        ), 8),
    ) {
        let site = Site::new();
        for (content_type, pieces) in cases {
            let status = status(site.read(content_type, pieces.concat()));
            prop_assert!(status < 500, "{status}");
        }
    }

    #[test]
    fn a_form_that_is_cut_or_damaged_is_not_our_fault(
        cases in prop::collection::vec((
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            prop::option::of(any::<prop::sample::Index>()),
        ), 8),
    ) {
        let site = Site::new();
        for (changes, cut) in cases {
            let mut body = whole(&site.parts());
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
            if let Some(cut) = cut {
                body.truncate(cut.index(body.len()));
            }
            let status = status(site.read(&multipart(), body));
            prop_assert!(status < 500, "{status}");
        }
    }
}
