//! The whole tour with JavaScript off, by clicking what a person can see.

mod common;

use common::browser::{Browser, Scripts, tour};
use common::{Site, png};

#[tokio::test]
async fn the_whole_tour_works_without_javascript() {
    tour("no-script", Scripts::Off, &[], async |browser, site| {
        scripts_are_off(browser).await;
        plays(browser).await;
        plays_at_random(browser, site).await;
        speaks_spanish(browser).await;
        logs_in(browser, site).await;
        makes_a_quiz(browser, site).await;
        edits_and_deletes_it(browser).await;
        likes_a_quiz(browser).await;
        meets_errors(browser, site).await;
        looks_after_the_account(browser, site).await;
        logs_out(browser).await;
        keeps_the_users_in_order(browser, site).await;
    })
    .await;
}

async fn scripts_are_off(browser: &Browser) {
    let page = "data:text/html,<title>off</title><script>document.title = 'on'</script>";
    browser.driver.goto(page).await.unwrap();
    assert_eq!(browser.driver.title().await.unwrap(), "off");
}

async fn plays(browser: &Browser) {
    browser.open("/").await;
    browser.follow("nav a[href='/quizzes']").await;
    browser.fill("input[name=search]", "no such question").await;
    browser.follow("form.search button").await;
    assert_eq!(browser.count(".quiz-card").await, 0);
    browser.follow(".empty a").await;
    browser.fill("input[name=search]", "CÁPITAL  italy").await;
    browser.follow("form.search button").await;
    assert_eq!(browser.count(".quiz-card").await, 1);
    browser.follow("a[href='/quizzes/1/play']").await;
    browser.sees("What is the capital of Italy?").await;
    browser.fill("input[name=answer]", "Milan & Rome").await;
    browser.follow("main form button").await;
    browser.sees("Milan & Rome is Wrong.").await;
    browser.follow("main a[href^='/quizzes/1/play']").await;
    let typed = browser.value("input[name=answer]").await;
    assert_eq!(typed, "Milan & Rome", "what was typed is there again");
    browser.fill("input[name=answer]", "  rome ").await;
    browser.follow("main form button").await;
    browser.sees("is Right.").await;
}

/// Two right answers, then a wrong one.
async fn plays_at_random(browser: &Browser, site: &Site) {
    browser.follow("nav a[href='/random']").await;
    browser.follow("main form[action='/random'] button").await;
    for streak in ["1", "2"] {
        let quiz = browser.value("input[name=quiz]").await;
        let answer = format!("SELECT answer FROM quizzes WHERE id = {quiz}");
        let answer = site.stack.postgres().sql("quiz", &answer).await.unwrap();
        browser.fill("input[name=answer]", &answer).await;
        browser
            .follow("main form[action='/random/answer'] button")
            .await;
        browser.find(".verdict.right").await;
        assert!(
            browser.text().await.contains(streak),
            "the streak is {streak}"
        );
    }
    browser.fill("input[name=answer]", "no idea").await;
    browser
        .follow("main form[action='/random/answer'] button")
        .await;
    browser.find(".verdict.wrong").await;
    assert!(browser.text().await.contains('2'), "the score is kept");
    browser.follow("main form[action='/random'] button").await;
    browser.find("input[name=answer]").await;
}

async fn speaks_spanish(browser: &Browser) {
    browser.follow("nav a[href='/quizzes']").await;
    browser.fill("input[name=search]", "Spain").await;
    browser.follow("form.search button").await;
    let page = browser.path().await;
    browser.follow(".languages button[lang=es]").await;
    browser.find("html[lang=es]").await;
    assert_eq!(browser.path().await, page, "the page stays the same");
    browser.follow("nav a[href='/author']").await;
    browser.find("html[lang=es]").await;
    browser.follow(".languages button[lang=en]").await;
    browser.find("html[lang=en]").await;
}

async fn logs_in(browser: &Browser, site: &Site) {
    browser.follow("header a[href='/login']").await;
    for (password, text) in [
        (
            "not the password",
            "Authentication has failed. Retry it again.",
        ),
        (site.stack.site_password(), "Welcome!"),
    ] {
        browser.fill("input[name=username]", "pepe").await;
        browser.fill("input[name=password]", password).await;
        browser.follow("main form button[type=submit]").await;
        browser.sees(text).await;
    }
}

async fn makes_a_quiz(browser: &Browser, site: &Site) {
    let picture = site.stack.folder().join("picture.png");
    std::fs::write(&picture, png(5)).unwrap();
    browser.follow("nav a[href='/quizzes/new']").await;
    browser
        .fill("[name=question]", "Which colour is this?")
        .await;
    // Blanks get past the browser, not past the server.
    browser.fill("[name=answer]", "   ").await;
    browser.follow("main form button[type=submit]").await;
    browser.sees("Answer must not be empty").await;
    browser.fill("[name=answer]", "All of them").await;
    browser.choose_file("input[name=image]", &picture).await;
    browser.follow("main form button[type=submit]").await;
    browser.sees("Quiz created successfully.").await;
    browser.sees("Attachment saved successfully.").await;
    browser.find("main img.picture").await;
}

async fn edits_and_deletes_it(browser: &Browser) {
    browser.follow("main a[href$='/edit']").await;
    browser
        .fill("[name=question]", "Which colours are these?")
        .await;
    browser.follow("main form button[type=submit]").await;
    browser.sees("Quiz edited successfully.").await;
    browser.find("main img.picture").await;
    browser
        .follow("nav a[href$='/quizzes']:not([href='/quizzes'])")
        .await;
    browser.sees("Which colours are these?").await;
    browser.follow(".quiz-card a[href$='/delete']").await;
    browser.follow("main form button.danger").await;
    browser.sees("Quiz deleted successfully.").await;
    assert_eq!(browser.count(".quiz-card").await, 0);
}

async fn likes_a_quiz(browser: &Browser) {
    let star = ".quiz-card form[action$='/favourites/2'] button";
    browser.follow("nav a[href='/quizzes']").await;
    browser.fill("input[name=search]", "Portugal").await;
    browser.follow("form.search button").await;
    browser.follow(star).await;
    let path = browser.path().await;
    assert_eq!(
        path.split('&').next(),
        Some("/quizzes?search=Portugal"),
        "back where it was"
    );
    let pressed = browser.find(star).await.attr("aria-pressed").await.unwrap();
    assert_eq!(pressed.as_deref(), Some("true"));
    browser.click("input[name=searchfavourites]").await;
    browser.follow("form.search button").await;
    assert_eq!(browser.count(".quiz-card").await, 1);
    browser.follow(star).await;
    assert_eq!(browser.count(".quiz-card").await, 0);
}

/// Pages that say no, and lead on.
async fn meets_errors(browser: &Browser, site: &Site) {
    browser.open("/nothing/here").await;
    browser.sees("Page not found").await;
    browser.open("/quizzes/1").await;
    browser.sees("Not allowed").await;
    browser.follow("main a[href='/']").await;

    let huge = site.stack.folder().join("huge.png");
    std::fs::File::create(&huge)
        .unwrap()
        .set_len(21 << 20)
        .unwrap();
    browser.follow("nav a[href='/quizzes/new']").await;
    browser.fill("[name=question]", "Is this too much?").await;
    browser.fill("[name=answer]", "Yes").await;
    browser.choose_file("input[name=image]", &huge).await;
    browser.follow("main form button[type=submit]").await;
    browser.find("#image-error").await;
    assert_eq!(browser.value("[name=question]").await, "Is this too much?");
}

async fn looks_after_the_account(browser: &Browser, site: &Site) {
    browser.click(".account-button").await;
    browser.follow(".account-menu a[href^='/users/']").await;
    browser.follow("form[action$='/token'] button").await;
    let token = browser.find(".secret").await.text().await.unwrap();
    assert!(token.len() >= 32, "a token that nobody guesses: {token}");
    browser.follow("main a[href$='/edit']").await;
    let picture = site.stack.folder().join("picture.png");
    browser.choose_file("input[name=photo]", &picture).await;
    browser.follow("main form button[type=submit]").await;
    browser.sees("Photo saved successfully.").await;
    browser.find("main img.avatar").await;

    browser.click(".account-button").await;
    browser.follow(".account-menu a[href='/sessions']").await;
    browser.sees("this one").await;
}

/// An admin makes a user, gives and takes the role, and deletes the user again.
async fn keeps_the_users_in_order(browser: &Browser, site: &Site) {
    browser.log_in("admin", site.stack.site_password()).await;
    browser.follow("nav a[href='/users']").await;
    browser.follow("main a[href='/users/new']").await;
    browser.fill("input[name=username]", "María").await;
    for (password, text) in [
        ("correcto-caballo", "Password must have a digit."),
        ("Correcto-caballo-7", "User created successfully."),
    ] {
        browser.fill("input[name=password]", password).await;
        browser.fill("input[name=password2]", password).await;
        browser.follow("main form button[type=submit]").await;
        browser.sees(text).await;
    }
    browser.follow("main button[value=admin]").await;
    browser.follow("main button[value=user]").await;
    browser.follow("main a[href$='/delete']").await;
    browser.sees("Delete María?").await;
    browser.follow("main form button[type=submit]").await;
    browser.sees("User deleted successfully.").await;
}

async fn logs_out(browser: &Browser) {
    browser.click(".account-button").await;
    browser.follow(".account-menu form button").await;
    browser.find("header a[href='/login']").await;
    let header = browser.find("header").await.text().await.unwrap();
    assert!(!header.contains("pepe"), "still named: {header}");
}
