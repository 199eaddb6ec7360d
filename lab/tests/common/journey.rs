//! What a person does on the site, from the first look to the log-out. Keeps a screenshot of each page in `target/e2e`.

use std::path::Path;

use serde_json::Value;

use super::browser::Browser;
use super::png;

/// Somebody at a browser.
pub struct Person<'a> {
    /// Of the user `pepe`.
    pub password: &'a str,
    /// Where the picture lies that is uploaded.
    pub folder: &'a Path,
}

impl Person<'_> {
    /// Plays, logs in, likes a quiz, makes one with a picture, deletes it and logs out.
    pub async fn travels(&self, browser: &Browser) {
        plays_wrong_then_right(browser).await;
        logs_in(browser, self).await;
        likes_a_quiz_without_leaving_the_page(browser).await;
        makes_a_quiz_with_a_picture(browser, self).await;
        deletes_it_in_a_dialog(browser).await;
        logs_out(browser).await;
    }
}

async fn plays_wrong_then_right(browser: &Browser) {
    browser.open("/").await;
    browser.keep("1-home").await;
    browser.follow("nav a[href='/quizzes']").await;
    browser.fill("input[name=search]", "italy").await;
    browser.follow("form.search button").await;
    browser.sees("Italy").await;
    browser.keep("2-quizzes").await;
    browser.follow("a[href='/quizzes/1/play']").await;
    browser.sees("What is the capital of Italy?").await;
    browser.keep("3-play").await;
    browser.fill("input[name=answer]", "Milan").await;
    browser.follow("main form button").await;
    browser.sees("Wrong").await;
    browser.keep("4-wrong").await;
    browser.follow("main a[href^='/quizzes/1/play']").await;
    browser.fill("input[name=answer]", "  rome ").await;
    browser.follow("main form button").await;
    browser.sees("Right").await;
    browser.keep("5-right").await;
}

async fn logs_in(browser: &Browser, person: &Person<'_>) {
    browser.follow("a[href='/login']").await;
    browser.keep("6-login").await;
    browser.fill("input[name=username]", "pepe").await;
    browser
        .fill("input[name=password]", "not the password")
        .await;
    browser.follow("main form button").await;
    browser
        .sees("Authentication has failed. Retry it again.")
        .await;
    browser.keep("7-login-failed").await;
    browser.fill("input[name=username]", "pepe").await;
    browser.fill("input[name=password]", person.password).await;
    browser.follow("main form button").await;
    browser.sees("Welcome!").await;
}

async fn likes_a_quiz_without_leaving_the_page(browser: &Browser) {
    browser.open("/quizzes/1/play").await;
    browser
        .script("document.untouched = true", Vec::new())
        .await;
    for (pressed, likes) in [("true", "1"), ("false", "0")] {
        browser.click(".star").await;
        let star = format!(".star[aria-pressed='{pressed}']");
        let shown = browser.find(&format!("{star} .likes")).await;
        assert_eq!(shown.text().await.unwrap(), likes);
        let announced = browser.find("#announcements").await.text().await.unwrap();
        assert!(!announced.is_empty(), "a screen reader is told");
    }
    let script = "return document.untouched === true";
    assert_eq!(browser.script(script, Vec::new()).await, Value::Bool(true));
}

async fn makes_a_quiz_with_a_picture(browser: &Browser, person: &Person<'_>) {
    let picture = person.folder.join("picture.png");
    std::fs::write(&picture, png(3)).unwrap();
    browser.follow("a[href='/quizzes/new']").await;
    browser
        .fill("[name=question]", "Which animal is <b>this</b>?")
        .await;
    browser.fill("[name=answer]", "A gradient").await;
    browser.choose_file("input[name=image]", &picture).await;
    // What was chosen is shown before it is sent.
    let preview = browser.find("canvas.preview").await;
    let label = preview.attr("aria-label").await.unwrap();
    assert_eq!(label.as_deref(), Some("picture.png"));
    browser.keep("8-new-quiz").await;
    browser.follow("main form button").await;
    browser.sees("Quiz created successfully.").await;
    browser.sees("Which animal is <b>this</b>?").await;
    let image = browser.find("main img").await;
    let width = browser
        .driver
        .execute(
            "return arguments[0].naturalWidth",
            vec![image.to_json().unwrap()],
        )
        .await
        .unwrap();
    assert_eq!(
        width.json().as_u64(),
        Some(320),
        "the browser has decoded the picture"
    );
    browser.keep("9-quiz").await;
}

async fn deletes_it_in_a_dialog(browser: &Browser) {
    let page = browser.path().await;
    browser.click("main a[href$='/delete']").await;
    browser.find("dialog[open] h1").await;
    browser.keep("10-delete").await;
    browser.click("dialog a").await;
    browser.gone("dialog").await;
    assert_eq!(browser.path().await, page, "nothing was left");
    browser.click("main a[href$='/delete']").await;
    browser.follow("dialog[open] form button").await;
    browser.sees("Quiz deleted successfully.").await;
}

async fn logs_out(browser: &Browser) {
    browser.click(".account-button").await;
    browser.follow(".account-menu form button").await;
    browser.find("a[href='/login']").await;
    let header = browser.find("header").await.text().await.unwrap();
    assert!(!header.contains("pepe"), "still named: {header}");
    browser.keep("11-logged-out").await;
}
