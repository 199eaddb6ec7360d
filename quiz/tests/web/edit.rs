//! Changing and deleting a quiz.

use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, TestApp, png};

/// `pepe` and the quiz 5, with a picture when it has a size.
async fn quiz_5(app: &TestApp, picture: Option<u32>) -> Browser {
    let pepe = app.logged_in("pepe").await;
    let mut quiz = NewQuiz::texts("Old?", "Yes");
    if let Some(size) = picture {
        quiz = quiz.image("old.png", png(size, size));
    }
    pepe.create_quiz(quiz).await.assert_redirect("/quizzes/5");
    pepe.get("/quizzes/5").await;
    pepe
}

/// As if the attachment had been changed a minute ago.
async fn a_minute_later(app: &TestApp) {
    sqlx::query(
        "UPDATE quizzes SET attachment_changed_at = attachment_changed_at - interval '60 s'",
    )
    .execute(&app.pool)
    .await
    .unwrap();
}

/// Names of the files that nothing refers to any more, as far as the rows say.
async fn released(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT image_id FROM attachments WHERE released_at IS NOT NULL")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = false)]
async fn the_author_changes_the_texts_and_keeps_the_picture(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, Some(8)).await;
    let form = pepe.get("/quizzes/5/edit").await;
    assert_eq!(form.text("textarea"), "Old?");
    assert_eq!(form.attribute("input#answer", "value"), "Yes");
    assert_eq!(form.attribute("#keepAttachment", "checked"), "");
    let before = pepe.get("/quizzes/5").await.attribute("img.picture", "src");
    let quiz = NewQuiz::texts(" New? ", "No").with("keepAttachment", "1");
    pepe.edit_quiz(5, quiz).await.assert_redirect("/quizzes/5");
    let show = pepe.get("/quizzes/5").await;
    assert_eq!(show.texts(".flash li"), ["Quiz edited successfully."]);
    assert_eq!(
        (show.text("h1"), show.text("dd")),
        ("New?".to_owned(), "No".to_owned())
    );
    assert_eq!(show.attribute("img.picture", "src"), before);
    assert_eq!(app.rows("attachments").await, 1);
    let found = app.browser().get("/quizzes?search=new").await;
    assert_eq!(found.texts("h2"), ["New?"]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_chosen_file_replaces_the_old_one_though_that_is_to_be_kept(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, Some(8)).await;
    let old = pepe.get("/quizzes/5").await.attribute("img.picture", "src");
    let quiz = NewQuiz::texts("Old?", "Yes")
        .with("keepAttachment", "1")
        .image("new.png", png(9, 9));
    pepe.edit_quiz(5, quiz.clone())
        .await
        .assert_redirect("/quizzes/5");
    let show = pepe.get("/quizzes/5").await;
    assert_eq!(
        show.text(".flash.error li"),
        "Attached file can not be modified until 1 minute has passed."
    );
    a_minute_later(&app).await;
    pepe.edit_quiz(5, quiz).await.assert_redirect("/quizzes/5");
    let show = pepe.get("/quizzes/5").await;
    assert_eq!(show.attribute("img.picture", "width"), "9");
    assert_eq!(released(&app).await, [old.trim_start_matches("/images/")]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_picture_tells_which_quiz_it_belongs_to(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, Some(8)).await;
    let alt = "Picture of the quiz: Old?";
    for path in ["/quizzes/5", "/quizzes/5/play"] {
        assert_eq!(pepe.get(path).await.attribute("img.picture", "alt"), alt);
    }
    let form = pepe.get("/quizzes/5/edit").await;
    assert_eq!(form.attribute("img.thumbnail", "alt"), alt);
    // In a list the question stands beside it.
    let list = pepe.get("/quizzes").await;
    assert_eq!(list.attribute("img.thumbnail", "alt"), "Picture");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_picture_is_replaced_or_removed_after_a_minute(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, Some(8)).await;
    let old = pepe.get("/quizzes/5").await.attribute("img.picture", "src");
    a_minute_later(&app).await;
    let quiz = NewQuiz::texts("Old?", "Yes").image("new.png", png(9, 9));
    pepe.edit_quiz(5, quiz).await.assert_redirect("/quizzes/5");
    let show = pepe.get("/quizzes/5").await;
    let messages = [
        "Quiz edited successfully.",
        "Attachment saved successfully.",
    ];
    assert_eq!(show.texts(".flash.success li"), messages);
    let new = show.attribute("img.picture", "src");
    assert_ne!(new, old);
    assert_eq!(released(&app).await, [old.trim_start_matches("/images/")]);

    a_minute_later(&app).await;
    pepe.edit_quiz(5, NewQuiz::texts("Old?", "Yes"))
        .await
        .assert_redirect("/quizzes/5");
    let show = pepe.get("/quizzes/5").await;
    assert_eq!(show.text(".flash.info li"), "Quiz without attachment.");
    assert!(show.texts("img.picture").is_empty());
    assert_eq!(released(&app).await.len(), 2);
    // To attach one where there is none needs no patience.
    let quiz = NewQuiz::texts("Old?", "Yes").image("new.png", png(9, 9));
    pepe.edit_quiz(5, quiz).await.assert_redirect("/quizzes/5");
    assert_eq!(
        pepe.get("/quizzes/5").await.attribute("img.picture", "src"),
        new
    );
    assert_eq!(released(&app).await, [old.trim_start_matches("/images/")]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn within_a_minute_the_texts_are_saved_and_the_picture_stays(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, Some(8)).await;
    let old = pepe.get("/quizzes/5").await.attribute("img.picture", "src");
    let replacing = NewQuiz::texts("New?", "No").image("new.png", png(9, 9));
    for quiz in [replacing, NewQuiz::texts("Newer?", "No")] {
        pepe.edit_quiz(5, quiz.clone())
            .await
            .assert_redirect("/quizzes/5");
        let show = pepe.get("/quizzes/5").await;
        assert_eq!(
            show.text(".flash.error li"),
            "Attached file can not be modified until 1 minute has passed."
        );
        assert_eq!(show.text(".flash.success li"), "Quiz edited successfully.");
        assert_eq!(show.text("h1").as_bytes(), quiz.question.unwrap());
        assert_eq!(show.attribute("img.picture", "src"), old);
    }
    assert_eq!(app.rows("attachments").await, 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_form_with_errors_comes_back_as_it_was_typed_and_changes_nothing(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, Some(8)).await;
    let page = pepe.edit_quiz(5, NewQuiz::texts("", "kept")).await;
    page.assert_status(422);
    assert_eq!(page.text("#question-error"), "Question must not be empty");
    assert_eq!(page.attribute("input#answer", "value"), "kept");
    assert!(page.attributes("#keepAttachment", "checked").is_empty());
    assert_eq!(page.attribute("main form", "action"), "/quizzes/5");
    a_minute_later(&app).await;
    let text = NewQuiz::texts("New?", "kept").image("photo.png", b"just text".to_vec());
    let page = pepe.edit_quiz(5, text).await;
    page.assert_status(415);
    assert!(!page.text("#image-error").is_empty());
    let show = pepe.get("/quizzes/5").await;
    assert_eq!(show.text("h1"), "Old?");
    assert_eq!(show.texts("img.picture").len(), 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_30_only_its_author_and_admins_change_a_quiz_and_strangers_learn_nothing(
    pool: PgPool,
) {
    let app = TestApp::start(pool).await;
    quiz_5(&app, None).await;
    let admin = app.logged_in("admin").await;
    admin
        .edit_quiz(5, NewQuiz::texts("By admin?", "Yes"))
        .await
        .assert_redirect("/quizzes/5");
    let pepe = app.logged_in("pepe").await;
    let csrf = pepe.csrf("/quizzes/new").await;
    let fields = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    for (id, status) in [(1, 403), (99, 404)] {
        for page in ["edit", "delete"] {
            pepe.get(&format!("/quizzes/{id}/{page}"))
                .await
                .assert_status(status);
            app.browser()
                .get(&format!("/quizzes/{id}/{page}"))
                .await
                .assert_redirect("/login");
        }
        let path = format!("/quizzes/{id}");
        pepe.post_form(&path, &fields).await.assert_status(status);
        app.browser()
            .post_form(&path, &fields)
            .await
            .assert_redirect("/login");
    }
    assert_eq!(app.rows("quizzes").await, 5);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_quiz_is_deleted_after_a_question_without_any_script(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, None).await;
    pepe.get("/quizzes?sort=oldest").await;
    let list = pepe.get("/quizzes").await;
    let links = list.attributes(".quiz-card a[href$='/delete']", "href");
    assert_eq!(links, ["/quizzes/5/delete"]);
    let confirm = pepe.get("/quizzes/5/delete").await;
    assert!(confirm.text("main").contains("Old?"));
    let field = |name: &str| confirm.attribute(&format!("main input[name={name}]"), "value");
    let (csrf, method) = (field("_csrf"), field("_method"));
    let path = confirm.attribute("main form", "action");
    pepe.post_form(&path, &[("_csrf", &csrf), ("_method", &method)])
        .await
        .assert_redirect("/goback");
    pepe.get("/goback").await.assert_redirect("/quizzes");
    let list = pepe.get("/quizzes").await;
    assert_eq!(list.text(".flash.success li"), "Quiz deleted successfully.");
    assert_eq!(list.texts("h2").len(), 4);
    pepe.get("/quizzes/5").await.assert_status(404);
    app.browser()
        .get("/quizzes/5/play")
        .await
        .assert_status(404);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_10_deleting_a_quiz_releases_its_picture_and_removes_no_bytes(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, Some(8)).await;
    let picture = pepe.get("/quizzes/5").await.attribute("img.picture", "src");
    sqlx::query("INSERT INTO favourites (user_id, quiz_id) SELECT id, 5 FROM users")
        .execute(&app.pool)
        .await
        .unwrap();
    assert!(released(&app).await.is_empty());
    let csrf = pepe.csrf("/quizzes/5/delete").await;
    let fields = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    pepe.post_form("/quizzes/5", &fields)
        .await
        .assert_redirect("/goback");
    assert_eq!(app.rows("favourites").await, 0);
    assert_eq!(
        released(&app).await,
        [picture.trim_start_matches("/images/")]
    );
    // Who has the page open still gets the picture; the sweep comes later.
    pepe.get(&picture).await.assert_status(200);
    pepe.post_form("/quizzes/5", &fields)
        .await
        .assert_status(404);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_21_a_quiz_is_neither_changed_nor_deleted_by_get_or_without_a_token(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = quiz_5(&app, None).await;
    for method in ["DELETE", "PUT"] {
        let page = pepe
            .get(&format!("/quizzes/5?_method={method}&question=x&answer=x"))
            .await;
        page.assert_status(200);
        let fields = [("_method", method), ("question", "x"), ("answer", "x")];
        pepe.post_form("/quizzes/5", &fields)
            .await
            .assert_status(403);
    }
    // A method in the address is none, in a POST neither.
    let csrf = pepe.csrf("/quizzes/5/edit").await;
    pepe.post_form("/quizzes/5?_method=DELETE", &[("_csrf", &csrf)])
        .await
        .assert_status(405);
    assert_eq!(pepe.get("/quizzes/5").await.text("h1"), "Old?");
    app.stop().await;
}
