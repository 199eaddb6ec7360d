//! What is left when a user goes.

use sqlx::PgPool;

use crate::test_app::{NewQuiz, TestApp, png};

#[sqlx::test(migrations = false)]
async fn who_goes_leaves_the_quizzes_and_nothing_else(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    let quiz = NewQuiz::texts("Who?", "Me").image("photo.png", png(8, 8));
    pepe.create_quiz(quiz).await.assert_redirect("/quizzes/5");
    app.execute("INSERT INTO favourites (user_id, quiz_id) VALUES (1, 1), (2, 1), (2, 5)")
        .await;
    app.execute("INSERT INTO attachments (image_id, mime, width, height, released_at) VALUES ('face.png', 'image/png', 1, 1, NULL)")
        .await;
    app.execute("UPDATE users SET photo_id = (SELECT id FROM attachments WHERE image_id = 'face.png') WHERE id = 2")
        .await;
    admin.get("/users?pageno=1").await;
    let asked = admin.get("/users/2/delete").await;
    assert_eq!(asked.text("h1"), "Delete pepe?");
    assert_eq!(asked.attribute("main form", "action"), "/users/2");
    admin.delete_user(2).await.assert_redirect("/goback");
    admin
        .get("/goback")
        .await
        .assert_redirect("/users?pageno=1");
    let list = admin.get("/users?pageno=1").await;
    assert_eq!(list.text(".flash.success li"), "User deleted successfully.");
    assert_eq!(list.texts(".name"), ["admin"]);
    // The session of who has gone is none any more, at any page.
    assert!(pepe.get("/author").await.texts(".who").is_empty());
    let show = admin.get("/quizzes/5").await;
    assert!(show.text("main").contains("Anonymous"), "{}", show.body());
    let likes: Vec<i32> =
        sqlx::query_scalar("SELECT likes FROM quizzes WHERE id IN (1, 5) ORDER BY id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(likes, [1, 0]);
    // The photo is for the sweep, the picture of the quiz is not.
    let released: Vec<String> =
        sqlx::query_scalar("SELECT image_id FROM attachments WHERE released_at IS NOT NULL")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(released, ["face.png"]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_deletes_the_own_account_is_logged_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    assert!(
        pepe.get("/users/2/delete")
            .await
            .text("main")
            .contains("logged out")
    );
    pepe.delete_user(1).await.assert_status(403);
    pepe.get("/users/1/delete").await.assert_status(403);
    pepe.delete_user(2).await.assert_redirect("/goback");
    let home = pepe.get("/").await;
    assert!(home.texts(".who").is_empty());
    assert_eq!(home.text(".flash.success li"), "User deleted successfully.");
    assert_eq!(
        (app.rows("users").await, app.rows("sessions").await),
        (1, 0)
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_way_back_leads_past_the_list_of_who_has_gone(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    for browser in [&pepe, &admin] {
        let list = browser.get("/users/2/quizzes?sort=oldest").await;
        list.assert_status(200);
        browser
            .get("/goback")
            .await
            .assert_redirect("/users/2/quizzes?sort=oldest");
        browser.get("/users/2/quizzes?sort=oldest").await;
    }
    pepe.delete_user(2).await.assert_redirect("/goback");
    for browser in [&pepe, &admin] {
        browser.get("/goback").await.assert_redirect("/");
    }
    let home = pepe.get("/").await;
    assert_eq!(home.text(".flash.success li"), "User deleted successfully.");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn two_who_like_the_same_quizzes_go_at_the_same_time(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(200).await;
    let admin = app.logged_in("admin").await;
    let csrf = admin.header_csrf().await;
    let mut ids = Vec::new();
    for name in ["ana", "eva", "luz", "mar"] {
        ids.push(app.add_user(name, false).await);
    }
    // In opposite orders, so that the cascades would meet half-way.
    for (n, id) in ids.iter().enumerate() {
        let order = if n % 2 == 0 { "id" } else { "-id" };
        let sql = format!(
            "INSERT INTO favourites (user_id, quiz_id) SELECT {id}, id FROM quizzes ORDER BY {order}"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&app.pool)
            .await
            .unwrap();
    }
    let (admin, csrf) = (&admin, csrf.as_str());
    let gone = ids.iter().map(|id| async move {
        let fields = [("_csrf", csrf), ("_method", "DELETE")];
        let page = admin.post_form(&format!("/users/{id}"), &fields).await;
        page.assert_redirect("/goback");
    });
    futures::future::join_all(gone).await;
    assert_eq!(app.rows("users").await, 2);
    assert_eq!(app.rows("favourites").await, 0);
    let liked: i64 = sqlx::query_scalar("SELECT count(*) FROM quizzes WHERE likes <> 0")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(liked, 0);
    app.stop().await;
}
