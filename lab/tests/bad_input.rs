//! Bad input through the balancer gets the right answer, never a 500.

mod common;

use common::{Site, Visitor};
use reqwest::StatusCode;
use reqwest::multipart::Part;

#[tokio::test]
async fn bad_input_gets_the_right_answer() {
    let site = Site::start("bad-input", 2).await;
    let visitor = site.visitor();
    for (path, status) in [
        ("/quizzes/999999/play", StatusCode::NOT_FOUND),
        (
            "/quizzes/99999999999999999999999999/play",
            StatusCode::NOT_FOUND,
        ),
        ("/quizzes/0/check?answer=x", StatusCode::NOT_FOUND),
        ("/nowhere", StatusCode::NOT_FOUND),
        ("/images/nothing.png", StatusCode::NOT_FOUND),
        ("/quizzes?search[]=x", StatusCode::OK),
        ("/quizzes?pageno=-1", StatusCode::BAD_REQUEST),
        ("/quizzes?pageno=x", StatusCode::BAD_REQUEST),
        ("/quizzes/1/check?answer=%ff%fe", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(visitor.get(path).await.status(), status, "{path}");
    }
    a_change_without_a_token_is_forbidden(&visitor).await;
    let author = site.admin().await;
    a_huge_upload_is_too_large(&author).await;
    a_text_file_named_png_is_no_picture(&author).await;
    broken_utf8_is_a_bad_request(&author).await;
    assert!(
        author.page("/").await.contains("admin"),
        "the author is still logged in and the site still runs"
    );
    site.stop().await;
}

async fn a_change_without_a_token_is_forbidden(visitor: &Visitor) {
    let form = [("username", "admin"), ("password", "x")];
    let response = visitor
        .http
        .post(format!("{}/login", visitor.base))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// 21 MiB is over the limit of the form, 33 MiB over that of the balancer: both must answer, not cut the line.
async fn a_huge_upload_is_too_large(author: &Visitor) {
    for mebibytes in [21, 33] {
        let part = Part::bytes(vec![0; mebibytes << 20])
            .file_name("huge.png")
            .mime_str("image/png")
            .unwrap();
        let response = author.post_quiz("Too much?", "yes", Some(part)).await;
        assert_eq!(
            response.status(),
            StatusCode::PAYLOAD_TOO_LARGE,
            "{mebibytes} MiB"
        );
    }
}

async fn a_text_file_named_png_is_no_picture(author: &Visitor) {
    let part = Part::bytes(&b"I am not a picture."[..])
        .file_name("text.png")
        .mime_str("image/png")
        .unwrap();
    let response = author
        .post_quiz("What is in a name?", "little", Some(part))
        .await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("What is in a name?"),
        "what was typed is still there"
    );
}

async fn broken_utf8_is_a_bad_request(author: &Visitor) {
    let mut form = reqwest::multipart::Form::new();
    for (name, value) in author.hidden_fields("/quizzes/new", "/quizzes").await {
        form = form.text(name, value);
    }
    let form = form
        .part("question", Part::bytes(&[0xff, 0xfe][..]))
        .text("answer", "x");
    let response = author
        .http
        .post(format!("{}/quizzes", author.base))
        .multipart(form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}
