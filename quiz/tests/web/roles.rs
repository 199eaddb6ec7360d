//! The role of admin, and that somebody has it.

use sqlx::PgPool;

use crate::test_app::TestApp;

#[sqlx::test(migrations = false)]
async fn fault_14_an_admin_grants_and_withdraws_the_role_of_admin(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    pepe.set_role(2, "admin").await.assert_status(403);
    admin.set_role(2, "admin").await.assert_redirect("/users/2");
    assert_eq!(
        admin.get("/users/2").await.text(".flash.success li"),
        "This user is an administrator now."
    );
    // At once, without a new log-in.
    assert_eq!(pepe.get("/users").await.texts(".name"), ["admin", "pepe"]);
    pepe.set_role(1, "user").await.assert_redirect("/users/1");
    admin.set_role(2, "user").await.assert_status(403);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_14_the_last_admin_stays(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    for refused in [admin.set_role(1, "user").await, admin.delete_user(1).await] {
        refused.assert_status(409);
        assert_eq!(
            refused.text(".flash.error li"),
            "This is the only administrator. Make somebody else an administrator first."
        );
        assert_eq!(refused.text("h1"), "admin");
    }
    assert_eq!(app.rows("users").await, 2);
    admin.set_role(2, "admin").await.assert_redirect("/users/2");
    admin.delete_user(1).await.assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_14_admins_who_remove_each_other_at_once_leave_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for round in 0..4 {
        let mut admins = Vec::new();
        for n in 0..4 {
            let name = format!("admin-{round}-{n}");
            let id = app.add_user(&name, true).await;
            admins.push((id, app.logged_in(&name).await));
        }
        let ids: Vec<i64> = admins.iter().map(|(id, _)| *id).collect();
        sqlx::query("UPDATE users SET is_admin = id = ANY($1)")
            .bind(&ids)
            .execute(&app.pool)
            .await
            .unwrap();
        let mut tokens = Vec::new();
        for (_, admin) in &admins {
            tokens.push(admin.header_csrf().await);
        }
        // Everybody removes everybody, themselves included: half of them by taking the role, half by deleting.
        let changes = admins.iter().zip(&tokens).flat_map(|((_, admin), csrf)| {
            ids.iter().map(move |&id| async move {
                let (path, field) = match id % 2 {
                    0 => (format!("/users/{id}/role"), ("role", "user")),
                    _ => (format!("/users/{id}"), ("_method", "DELETE")),
                };
                let page = admin.post_form(&path, &[("_csrf", csrf), field]).await;
                assert!(!page.status.is_server_error(), "{}", page.body());
            })
        });
        futures::future::join_all(changes).await;
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE is_admin")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        assert_eq!(left, 1, "round {round}");
    }
    app.stop().await;
}
