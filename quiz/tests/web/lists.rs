//! Lists of quizzes: order, search, favourites, and pages at any depth.

use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, Page, TestApp};

/// The questions on a page.
fn questions(page: &Page) -> Vec<String> {
    page.assert_status(200);
    page.texts(".quiz-card h2")
}

async fn search(browser: &Browser, parameters: &str) -> Vec<String> {
    questions(&browser.get(&format!("/quizzes?{parameters}")).await)
}

/// Quizzes with these questions and likes, without author.
async fn add(app: &TestApp, quizzes: &[(&str, i32)]) {
    for (question, likes) in quizzes {
        sqlx::query("INSERT INTO quizzes (question, answer, likes) VALUES ($1, 'x', $2)")
            .bind(question)
            .bind(likes)
            .execute(&app.pool)
            .await
            .unwrap();
    }
}

/// Follows the links of a kind from a page to the last one, and tells what is on each.
async fn follow(browser: &Browser, start: &str, rel: &str) -> Vec<Vec<String>> {
    let mut page = browser.get(start).await;
    let mut pages = vec![questions(&page)];
    loop {
        let links = page.attributes(&format!("nav.pages [rel={rel}]"), "href");
        let Some(link) = links.first() else {
            return pages;
        };
        page = browser.get(link).await;
        pages.push(questions(&page));
        assert!(pages.len() < 100, "the links go round in circles");
    }
}

#[sqlx::test(migrations = false)]
async fn fault_7_a_search_disregards_case_and_accents(pool: PgPool) {
    let app = TestApp::start(pool).await;
    add(&app, &[("¿Dónde está Ávila?", 0)]).await;
    let browser = app.browser();
    for found in ["capital", "CAPITAL", "c%C3%A1pital", "+capital+"] {
        assert_eq!(search(&browser, &format!("search={found}")).await.len(), 4);
    }
    for found in ["avila", "DONDE", "%C3%81VILA", "vila%3F"] {
        let questions = search(&browser, &format!("search={found}")).await;
        assert_eq!(questions, ["¿Dónde está Ávila?"], "{found}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn white_space_in_a_search_stands_for_anything(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    for found in ["what+capital+italy", "wh+%09++f+ita", "f+i+y"] {
        let questions = search(&browser, &format!("search={found}")).await;
        assert_eq!(questions, ["What is the capital of Italy?"], "{found}");
    }
    assert!(search(&browser, "search=italy+capital").await.is_empty());
    assert_eq!(search(&browser, "search=+%09+").await.len(), 4);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_short_search_looks_at_the_newest_quizzes_and_says_so(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--list-short-search", "25"]).await;
    app.add_quizzes(40).await;
    sqlx::query("UPDATE quizzes SET likes = id % 3")
        .execute(&app.pool)
        .await
        .unwrap();
    let browser = app.browser();
    let found = |from: i32| (from..=40).rev().map(|n| format!("Question {n}"));
    let newest: Vec<String> = found(16).collect();
    let mut oldest = newest.clone();
    oldest.reverse();
    // Quiz 5 is question 1.
    let mut liked: Vec<i32> = (16..=40).rev().collect();
    liked.sort_by_key(|n| -((n + 4) % 3));
    let liked: Vec<String> = liked.iter().map(|n| format!("Question {n}")).collect();
    for (sort, expected) in [("newest", newest), ("oldest", oldest), ("liked", liked)] {
        let start = format!("/quizzes?search=q+st&sort={sort}");
        let forward = follow(&browser, &start, "next").await;
        assert_eq!(forward.concat(), expected, "{sort}");
        let last = format!("{start}&pageno=3");
        let mut backward = follow(&browser, &last, "prev").await;
        backward.reverse();
        assert_eq!(backward, forward, "{sort}");
    }
    let note = "Among favourites, or without three letters or digits in a row, a search looks at the newest 25 quizzes of a list.";
    let page = browser.get("/quizzes?search=q+st").await;
    assert_eq!(page.text(".page-head .meta"), "25 questions, page 1 of 3");
    assert_eq!(page.text(".search + .meta"), note);
    let page = browser.get("/quizzes?search=question").await;
    assert_eq!(page.text(".page-head .meta"), "40 questions, page 1 of 4");
    assert!(page.texts(".search + .meta").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_short_search_finds_each_favourite_and_each_quiz_of_a_user(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--list-short-search", "5"]).await;
    let pepe = app.logged_in("pepe").await;
    pepe.create_quiz(NewQuiz::texts("π?", "3"))
        .await
        .assert_status(303);
    for sql in [
        "INSERT INTO favourites (user_id, quiz_id) SELECT author_id, 1 FROM quizzes WHERE id = 5",
        "INSERT INTO quizzes (question, answer) SELECT 'Later ' || n, 'x' FROM generate_series(1, 20) AS n",
    ] {
        sqlx::query(sql).execute(&app.pool).await.unwrap();
    }
    assert!(search(&pepe, "search=it").await.is_empty());
    assert_eq!(search(&pepe, "search=it&searchfavourites=1").await.len(), 1);
    let page = pepe.get("/quizzes?search=italy&searchfavourites=1").await;
    assert_eq!(page.texts(".quiz-card").len(), 1);
    assert!(page.text(".search + .meta").contains("newest 5 quizzes"));
    let mine = pepe.get("/quizzes/5").await;
    mine.assert_status(200);
    let author = sqlx::query_scalar::<_, i64>("SELECT author_id FROM quizzes WHERE id = 5")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let page = pepe
        .get(&format!("/users/{author}/quizzes?search=%CF%80"))
        .await;
    assert_eq!(questions(&page), ["π?"]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_27_wildcards_in_a_search_are_plain_characters(pool: PgPool) {
    let app = TestApp::start(pool).await;
    add(&app, &[("100% of a_b?", 0), ("C:\\dir", 0), ("50％?", 0)]).await;
    let browser = app.browser();
    for (typed, found) in [
        ("%25", 2),
        // The wide percent sign is folded to the plain one, and must not become a wildcard thereby.
        ("%EF%BC%85", 2),
        ("_", 1),
        ("%5C", 1),
        ("a_b", 1),
        ("0%25", 2),
        ("%5C%25", 0),
        ("c%25l", 0),
        ("itaLy_", 0),
    ] {
        let questions = search(&browser, &format!("search={typed}")).await;
        assert_eq!(questions.len(), found, "{typed}: {questions:?}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_16_an_array_as_a_search_is_no_search(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    assert_eq!(search(&browser, "search[]=x").await.len(), 4);
    assert_eq!(search(&browser, "search[a]=x&search=italy").await.len(), 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn parameters_of_a_list_that_make_no_sense_are_refused(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let long = format!("search={}", "x".repeat(256));
    for parameters in [
        "sort=best",
        "after=x",
        "after=1&before=2",
        "after=-1",
        "sort=liked&after=7",
        "after=99999999999999999999",
        &long,
    ] {
        let page = browser.get(&format!("/quizzes?{parameters}")).await;
        page.assert_status(400);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_list_can_be_sorted_by_age_and_by_likes(pool: PgPool) {
    let app = TestApp::start(pool).await;
    add(&app, &[("A", 2), ("B", 7), ("C", 2)]).await;
    let browser = app.browser();
    assert_eq!(search(&browser, "").await[..3], ["C", "B", "A"]);
    assert_eq!(search(&browser, "sort=oldest").await[4..], ["A", "B", "C"]);
    let liked = browser.get("/quizzes?sort=liked").await;
    assert_eq!(questions(&liked)[..3], ["B", "C", "A"]);
    assert_eq!(
        liked.attribute("select[name=sort] [selected]", "value"),
        "liked"
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_6_every_quiz_is_on_one_page_in_every_order_and_both_ways(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(31).await;
    sqlx::query("UPDATE quizzes SET likes = id % 3")
        .execute(&app.pool)
        .await
        .unwrap();
    let browser = app.browser();
    for sort in ["newest", "oldest", "liked"] {
        let start = format!("/quizzes?sort={sort}");
        let forward = follow(&browser, &start, "next").await;
        let sizes: Vec<usize> = forward.iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 10, 10, 5], "{sort}");
        let mut all = forward.concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 35, "{sort}");
        let last = format!("/quizzes?sort={sort}&pageno=4");
        let mut backward = follow(&browser, &last, "prev").await;
        backward.reverse();
        assert_eq!(backward, forward, "{sort}");
        for pageno in 1..=4 {
            let page = browser.get(&format!("{start}&pageno={pageno}")).await;
            assert_eq!(questions(&page), forward[pageno - 1], "{sort} {pageno}");
        }
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_quiz_that_comes_or_goes_moves_nothing_on_the_next_page(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(20).await;
    let browser = app.browser();
    let first = browser.get("/quizzes").await;
    let next = first.attribute("nav.pages [rel=next]", "href");
    let before = questions(&browser.get(&next).await);
    app.add_quizzes(1).await;
    sqlx::query("DELETE FROM quizzes WHERE id = 20")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(questions(&browser.get(&next).await), before);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn behind_the_pages_that_have_numbers_one_goes_page_by_page(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--list-max-jump", "2"]).await;
    app.add_quizzes(41).await;
    let browser = app.browser();
    let first = browser.get("/quizzes").await;
    assert_eq!(
        first.text(".page-head .meta"),
        "more than 20 questions, page 1"
    );
    let pages = follow(&browser, "/quizzes", "next").await;
    assert_eq!(pages.iter().map(Vec::len).sum::<usize>(), 45);
    let too_far = browser.get("/quizzes?pageno=3").await;
    assert!(questions(&too_far).is_empty());
    assert_eq!(too_far.attribute(".empty a", "href"), "/quizzes?pageno=2");
    let second = browser.get("/quizzes?pageno=2").await;
    let third = second.attribute("nav.pages [rel=next]", "href");
    let third = browser.get(&third).await;
    assert_eq!(third.text("nav.pages [aria-current=page]"), "Page 3");
    assert_eq!(questions(&third), pages[2]);
    assert_eq!(follow(&browser, "/quizzes?pageno=2", "prev").await.len(), 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn links_between_pages_keep_the_filters(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(30).await;
    let pepe = app.logged_in("pepe").await;
    sqlx::query("INSERT INTO favourites (user_id, quiz_id) SELECT users.id, quizzes.id FROM users, quizzes WHERE username = 'pepe' AND question LIKE 'Question %'")
        .execute(&app.pool)
        .await
        .unwrap();
    let page = pepe
        .get("/quizzes?search=on+1%26&searchfavourites=on&sort=oldest")
        .await;
    assert!(questions(&page).is_empty());
    let page = pepe
        .get("/quizzes?search=Q+o&searchfavourites=on&sort=oldest")
        .await;
    assert_eq!(questions(&page).len(), 10);
    assert_eq!(page.text(".page-head .meta"), "30 questions, page 1 of 3");
    let links = page.attributes("nav.pages a", "href");
    assert_eq!(links.len(), 4);
    for link in links {
        let filters = "/quizzes?search=Q%20o&searchfavourites=1&sort=oldest&pageno=";
        assert!(link.starts_with(filters), "{link}");
    }
    assert_eq!(page.attribute("#search", "value"), "Q o");
    assert_eq!(page.attribute("#searchfavourites", "checked"), "");
    assert_eq!(page.attribute(".search a", "href"), "/quizzes");
    let forward = follow(&pepe, "/quizzes?search=Q+o&searchfavourites=1", "next").await;
    assert_eq!(forward.concat().len(), 30);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_filter_for_favourites_is_for_who_is_logged_in(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let stranger = app.browser();
    let page = stranger.get("/quizzes?searchfavourites=1").await;
    assert_eq!(questions(&page).len(), 4);
    assert!(page.texts("#searchfavourites").is_empty());
    let pepe = app.logged_in("pepe").await;
    let page = pepe.get("/quizzes?searchfavourites=1").await;
    assert!(questions(&page).is_empty());
    assert!(page.text(".empty").starts_with("No question matches"));
    assert_eq!(search(&pepe, "searchfavourites=").await.len(), 4);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_quizzes_of_a_user_are_listed_for_users(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for stranger in ["/users/1/quizzes", "/users/77/quizzes"] {
        app.browser().get(stranger).await.assert_redirect("/login");
    }
    let pepe = app.logged_in("pepe").await;
    pepe.create_quiz(NewQuiz::texts("Mine?", "Yes")).await;
    let mine = pepe
        .get("/")
        .await
        .attribute("nav a[href$='/quizzes']:not([href='/quizzes'])", "href");
    let page = pepe.get(&mine).await;
    assert_eq!(page.text("h1"), "My Quizzes");
    assert_eq!(page.text("nav [aria-current=page]"), "My Quizzes");
    assert_eq!(questions(&page), ["Mine?"]);
    assert_eq!(page.attribute(".search", "action"), mine);
    pepe.get("/goback").await.assert_redirect(&mine);
    let admin = app.logged_in("admin").await;
    let page = admin.get(&mine).await;
    assert_eq!(page.text("h1"), "Quizzes of pepe");
    assert_eq!(questions(&page), ["Mine?"]);
    let none = admin.get(&format!("{mine}?search=yours")).await;
    assert!(questions(&none).is_empty());
    admin.get("/users/77/quizzes").await.assert_status(404);
    admin.get("/users/x/quizzes").await.assert_status(404);
    app.stop().await;
}
