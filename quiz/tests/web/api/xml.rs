//! Quizzes as XML, read back by a parser.

use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::Method;
use sqlx::PgPool;

use super::quizzes::dress_first_quiz;
use crate::test_app::{Page, TestApp};

/// The elements with text of a document, each with its path, in their order.
fn leaves(document: &[u8]) -> Vec<(String, String)> {
    let mut reader = Reader::from_reader(document);
    let (mut path, mut text, mut leaves) = (Vec::new(), String::new(), Vec::new());
    let mut open = false;
    loop {
        match reader.read_event().unwrap() {
            Event::Start(element) => {
                path.push(String::from_utf8(element.name().as_ref().to_vec()).unwrap());
                (open, text) = (true, String::new());
            }
            Event::Text(part) => text.push_str(&part.decode().unwrap()),
            Event::GeneralRef(part) => {
                let name = part.decode().unwrap();
                text.push_str(quick_xml::escape::resolve_xml_entity(&name).unwrap());
            }
            Event::End(_) => {
                if open {
                    leaves.push((path.join("/"), text.clone()));
                }
                open = false;
                path.pop();
            }
            Event::Eof => return leaves,
            _ => {}
        }
    }
}

fn expected(root: &str) -> Vec<(String, String)> {
    [
        ("id", "1"),
        ("question", "<Is> \"a\" & 'b' a capital?"),
        ("author/id", "1"),
        ("author/isAdmin", "true"),
        ("author/username", "admin"),
        ("author/accountTypeId", "0"),
        ("author/photo/filename", "face.png"),
        ("author/photo/mime", "image/png"),
        ("author/photo/url", "/images/face.png"),
        ("attachment/filename", "rome.mp4"),
        ("attachment/mime", "video/mp4"),
        ("attachment/url", "/images/rome.mp4"),
        ("favourite", "true"),
    ]
    .map(|(path, text)| (format!("{root}/{path}"), text.to_owned()))
    .to_vec()
}

async fn start(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool).await;
    dress_first_quiz(&app).await;
    sqlx::query("UPDATE quizzes SET question = $1 WHERE id = 1")
        .bind("<Is> \"a\" & 'b' a capital?")
        .execute(&app.pool)
        .await
        .unwrap();
    app
}

#[sqlx::test(migrations = false)]
async fn a_quiz_comes_as_xml_of_the_contract(pool: PgPool) {
    let app = start(pool).await;
    let api = app.api("pepe").await;
    let page = api.get("/quizzes/1.xml").await;
    page.assert_status(200);
    assert_eq!(
        page.header("content-type"),
        "application/xml; charset=utf-8"
    );
    assert!(
        page.body()
            .starts_with("<?xml version=\"1.0\"?><quiz><id>1</id>")
    );
    assert_eq!(leaves(&page.bytes), expected("quiz"));
    // What would be null is absent.
    let bare = leaves(&api.get("/quizzes/2.xml").await.bytes);
    let names: Vec<&str> = bare.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["quiz/id", "quiz/question", "quiz/favourite"]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_3_a_list_with_authors_comes_as_xml(pool: PgPool) {
    let app = start(pool).await;
    app.add_quizzes(20).await;
    let api = app.api("pepe").await;
    for path in ["/users/1/quizzes.xml", "/quizzes.xml?search=%26"] {
        let page = api.get(path).await;
        page.assert_status(200);
        assert_eq!(leaves(&page.bytes), expected("quizzes/quiz"), "{path}");
        assert_eq!(page.header("link"), "", "{path}");
    }
    let page = api.get("/quizzes.xml").await;
    let ids = leaves(&page.bytes);
    let ids = ids.iter().filter(|(path, _)| path == "quizzes/quiz/id");
    assert_eq!(ids.count(), 10);
    let next = "</api/quizzes.xml?pageno=2&after=15>; rel=\"next\"";
    assert_eq!(page.header("link"), next);
    let none = api.get("/users/tokenOwner/quizzes.xml").await;
    assert_eq!(none.body(), "<?xml version=\"1.0\"?><quizzes></quizzes>");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_caller_chooses_the_format(pool: PgPool) {
    let app = start(pool).await;
    let api = app.api("pepe").await;
    for path in [
        "/quizzes",
        "/quizzes/1",
        "/users/1/quizzes",
        "/users/tokenOwner/quizzes",
    ] {
        for (accept, content_type) in [
            ("*/*", "application/json"),
            ("application/json", "application/json"),
            ("application/xml", "application/xml; charset=utf-8"),
            ("text/xml", "text/xml; charset=utf-8"),
        ] {
            let request = api.request(Method::GET, path).header("accept", accept);
            let page = Page::read(request).await;
            page.assert_status(200);
            assert_eq!(page.header("content-type"), content_type, "{path} {accept}");
            assert!(
                page.headers
                    .get_all("vary")
                    .iter()
                    .any(|vary| vary == "accept")
            );
        }
        let request = api.request(Method::GET, path).header("accept", "text/html");
        Page::read(request).await.assert_status(406);
        for extension in ["pdf", "html", "", "xml.gz", "JSON"] {
            let page = api.get(&format!("{path}.{extension}")).await;
            page.assert_error(406, "This comes as JSON or as XML");
        }
    }
    // Errors are JSON whatever was asked for.
    api.get("/quizzes/99.xml")
        .await
        .assert_error(404, "There is no quiz with id=99");
    api.get("/quizzes.xml?pageno=0").await.assert_status(400);
    for path in ["/users.xml", "/nope.json", "/users/1/nope.xml"] {
        api.get(path)
            .await
            .assert_error(404, "Ruta API no encontrada");
    }
    app.stop().await;
}
