//! Creating and editing a local account: name, password, photo.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use sqlx::PgPool;

use crate::test_app::{Browser, PASSWORD, Page, TestApp, png};

/// Keeps all rules.
const STRONG: &str = "Zebra-lamp-7";

type Photo = Option<(&'static str, Vec<u8>)>;

impl Browser {
    /// Fills the form of `/users/new` and sends it.
    pub(crate) async fn register(&self, username: &str, password: &str, photo: Photo) -> Page {
        let csrf = self.csrf("/users/new").await;
        let fields = [
            ("_csrf", csrf.as_str()),
            ("username", username),
            ("password", password),
            ("password2", password),
        ];
        self.send("/users", &fields, photo).await
    }

    /// Fills the form of `/users/{id}/edit` and sends it.
    async fn edit_user(&self, id: i64, fields: &[(&str, &str)], photo: Photo) -> Page {
        let csrf = self.csrf(&format!("/users/{id}/edit")).await;
        let mut all = vec![("_csrf", csrf.as_str()), ("_method", "PUT")];
        all.extend(fields);
        self.send(&format!("/users/{id}"), &all, photo).await
    }

    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)], photo: Photo) -> Page {
        let mut form = Form::new();
        for (name, value) in fields {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        let (name, bytes) = photo.unwrap_or_default();
        form = form.part("photo", Part::bytes(bytes).file_name(name));
        Page::read(self.request(Method::POST, path).multipart(form)).await
    }
}

fn photo() -> Photo {
    Some(("me.png", png(12, 12)))
}

/// A new password with the old one, as a user changes the own.
fn passwords(new: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("current_password", PASSWORD),
        ("password", new),
        ("password2", new),
        ("keepPhoto", "1"),
    ]
}

#[sqlx::test(migrations = false)]
async fn an_admin_makes_an_account_and_stays_logged_in(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    admin.get("/").await;
    admin
        .register(" Ana  María ", STRONG, None)
        .await
        .assert_redirect("/users/3");
    let page = admin.get("/users/3").await;
    assert_eq!(page.text("h1"), "Ana María");
    assert_eq!(page.text(".flash.success li"), "User created successfully.");
    assert_eq!(page.text(".flash.info li"), "User without photo.");
    assert_eq!(page.text(".who"), "Logged in as admin");
    // Names are found without regard to case.
    app.browser()
        .log_in("ANA maría", STRONG)
        .await
        .assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn only_admins_make_accounts_unless_registration_is_open(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for browser in [app.browser(), app.logged_in("pepe").await] {
        browser.get("/users/new").await.assert_status(403);
        let csrf = browser.csrf("/login").await;
        let fields = [
            ("_csrf", csrf.as_str()),
            ("username", "x"),
            ("password", STRONG),
        ];
        browser
            .send("/users", &fields, photo())
            .await
            .assert_status(403);
    }
    let login = app.browser().get("/login").await;
    assert!(login.texts("main a").is_empty());
    assert_eq!(
        (app.rows("users").await, app.rows("attachments").await),
        (2, 0)
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn where_registration_is_open_anybody_registers_and_then_logs_in(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--open-registration", "true"]).await;
    let browser = app.browser();
    let login = browser.get("/login").await;
    assert_eq!(login.attribute("main a", "href"), "/users/new");
    assert_eq!(login.text("main a"), "Register local account");
    browser
        .register("ana", STRONG, photo())
        .await
        .assert_redirect("/login");
    assert_eq!(
        browser.get("/login").await.texts(".flash.success li"),
        ["User created successfully.", "Photo saved successfully."]
    );
    assert_eq!(app.rows("sessions").await, 0);
    browser
        .log_in("ana", STRONG)
        .await
        .assert_redirect("/goback");
    let page = browser.get("/users/3").await;
    let src = page.attribute("main img", "src");
    assert_eq!(page.attribute("main img", "alt"), "Photo of ana");
    browser.get(&src).await.assert_status(200);
    let claimed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM attachments WHERE released_at IS NULL")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(claimed, 1);
    let is_admin: bool = sqlx::query_scalar("SELECT is_admin FROM users WHERE username = 'ana'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(!is_admin);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn each_mistake_in_the_form_is_told_next_to_its_field(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    for (username, password, field, text) in [
        ("", STRONG, "username", "Username must not be empty."),
        ("  ", STRONG, "username", "Username must not be empty."),
        ("PEPE", STRONG, "username", "User \"PEPE\" already exists."),
        (
            "ad\u{200b}min",
            STRONG,
            "username",
            "Username must not have characters that cannot be seen.",
        ),
        ("ana", "", "password", "Password must not be empty."),
        (
            "ana",
            "x",
            "password",
            "Password must have at least 8 characters.",
        ),
        (
            "ana",
            "Zebra-lamp",
            "password",
            "Password must have a digit.",
        ),
        (
            "ana",
            "zebra-lamp-7",
            "password",
            "Password must have an upper-case letter.",
        ),
    ] {
        let page = admin.register(username, password, None).await;
        page.assert_status(422);
        assert_eq!(page.text(".flash-heading"), "There are errors in the form:");
        assert_eq!(page.texts(".flash.error li"), [text]);
        assert_eq!(page.text(&format!("#{field}-error")), text);
        assert_eq!(page.attribute("#username", "value"), username);
        assert!(page.attributes("input[type=password]", "value").is_empty());
        let input = format!("#{field}[aria-invalid=true]");
        assert!(
            page.attribute(&input, "aria-describedby")
                .contains("-error")
        );
    }
    let long = "ñ".repeat(65);
    admin.register(&long, STRONG, None).await.assert_status(422);
    let common = admin.register("ana", "Password1", None).await;
    assert!(common.text("#password-error").contains("easy to guess"));
    let named = admin.register("Marta Ruiz", "Martaruiz1", None).await;
    assert!(named.text("#password-error").contains("easy to guess"));
    assert_eq!(app.rows("users").await, 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_17_a_form_without_its_fields_is_a_form_error(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--open-registration", "true"]).await;
    let browser = app.browser();
    let csrf = browser.csrf("/users/new").await;
    let page = browser.send("/users", &[("_csrf", &csrf)], None).await;
    page.assert_status(422);
    assert_eq!(
        page.texts(".flash.error li"),
        ["Username must not be empty.", "Password must not be empty."]
    );
    let twice = [
        ("_csrf", csrf.as_str()),
        ("username", "ana"),
        ("password", STRONG),
        ("password2", "Other-lamp-8"),
    ];
    let page = browser.send("/users", &twice, None).await;
    assert_eq!(
        page.text("#password-error"),
        "The two passwords are not equal."
    );
    browser.get("/live").await.assert_status(200);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_name_is_given_once_however_many_ask_for_it_at_once(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--open-registration", "true"]).await;
    let mut browsers = Vec::new();
    for _ in 0..8 {
        let browser = app.browser();
        let csrf = browser.csrf("/users/new").await;
        browsers.push((browser, csrf));
    }
    let names = ["ana", "Ana", "ANA", "aNa"];
    let replies =
        browsers
            .iter()
            .zip(names.iter().cycle())
            .map(|((browser, csrf), name)| async move {
                let fields = [
                    ("_csrf", csrf.as_str()),
                    ("username", name),
                    ("password", STRONG),
                ];
                browser.send("/users", &fields, None).await.status.as_u16()
            });
    let mut replies = futures::future::join_all(replies).await;
    replies.sort_unstable();
    assert_eq!(replies, [303, 422, 422, 422, 422, 422, 422, 422]);
    assert_eq!(app.rows("users").await, 3);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_photo_that_is_refused_leaves_no_user(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    let html = Some(("me.png", b"<html><script>alert(1)</script>".to_vec()));
    let page = admin.register("ana", STRONG, html).await;
    page.assert_status(415);
    assert_eq!(page.attribute("#username", "value"), "ana");
    assert!(!page.text("#photo-error").is_empty());
    let broken = Some(("me.png", png(9, 9)[..40].to_vec()));
    admin
        .register("ana", STRONG, broken)
        .await
        .assert_status(422);
    // A form with other mistakes does not get as far as the store.
    admin.register("", STRONG, photo()).await.assert_status(422);
    assert_eq!(
        (app.rows("users").await, app.rows("attachments").await),
        (2, 0)
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_25_passwords_are_hashed_with_argon2id_and_a_salt_each(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    for name in ["ana", "eva"] {
        let page = admin.register(name, STRONG, None).await;
        assert_eq!(page.status.as_u16(), 303);
    }
    let hashes: Vec<String> =
        sqlx::query_scalar("SELECT password_hash FROM users WHERE username IN ('ana', 'eva')")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert!(
        hashes
            .iter()
            .all(|hash| hash.starts_with("$argon2id$v=19$"))
    );
    assert_ne!(hashes[0], hashes[1]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_24_a_new_password_ends_the_other_sessions_of_the_user(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, elsewhere) = (app.logged_in("pepe").await, app.logged_in("pepe").await);
    let admin = app.logged_in("admin").await;
    pepe.edit_user(2, &passwords(STRONG), None)
        .await
        .assert_redirect("/users/2");
    assert_eq!(
        pepe.get("/users/2").await.texts(".flash li"),
        ["User updated successfully."]
    );
    assert!(elsewhere.get("/author").await.texts(".who").is_empty());
    assert_eq!(
        admin.get("/author").await.text(".who"),
        "Logged in as admin"
    );
    let anew = app.browser();
    anew.log_in("pepe", PASSWORD)
        .await
        .assert_redirect("/login");
    anew.log_in("pepe", STRONG).await.assert_redirect("/goback");
    // An admin does not know the old one, and ends all sessions of the user.
    let fields = [("password", "Other-lamp-8"), ("password2", "Other-lamp-8")];
    admin
        .edit_user(2, &fields, None)
        .await
        .assert_redirect("/users/2");
    for browser in [&pepe, &anew] {
        assert!(browser.get("/author").await.texts(".who").is_empty());
    }
    assert_eq!(
        admin.get("/author").await.text(".who"),
        "Logged in as admin"
    );
    anew.log_in("pepe", "Other-lamp-8")
        .await
        .assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_password_changes_only_by_who_knows_it_and_keeps_the_rules(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    let hash = async || -> String {
        sqlx::query_scalar("SELECT password_hash FROM users WHERE id = 2")
            .fetch_one(&app.pool)
            .await
            .unwrap()
    };
    let before = hash().await;
    let new = [("password", STRONG), ("password2", STRONG)];
    let without = pepe.edit_user(2, &new, None).await;
    without.assert_status(422);
    let text = "This is not your current password.";
    assert_eq!(without.text("#current-error"), text);
    let wrong = [("current_password", "wrong"), new[0], new[1]];
    pepe.edit_user(2, &wrong, None).await.assert_status(422);
    for (password, repeated) in [
        ("x", "x"),
        ("Password1", "Password1"),
        (STRONG, "x"),
        ("", "x"),
    ] {
        let fields = [
            ("current_password", PASSWORD),
            ("password", password),
            ("password2", repeated),
        ];
        let page = pepe.edit_user(2, &fields, None).await;
        page.assert_status(422);
        assert!(!page.text("#password-error").is_empty(), "{password}");
    }
    assert_eq!(hash().await, before);
    // Blank means unchanged, and the sessions go on.
    let other = app.logged_in("pepe").await;
    pepe.edit_user(2, &[("password", "")], None)
        .await
        .assert_redirect("/users/2");
    assert_eq!(
        pepe.get("/users/2").await.texts(".flash li"),
        ["User updated successfully.", "This user has no photo."]
    );
    assert_eq!(hash().await, before);
    assert_eq!(other.get("/author").await.text(".who"), "Logged in as pepe");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_photo_is_set_kept_replaced_and_removed(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    let saved = ["User updated successfully.", "Photo saved successfully."];
    let later = "UPDATE users SET photo_changed_at = photo_changed_at - interval '61 seconds'";
    pepe.edit_user(2, &[], photo())
        .await
        .assert_redirect("/users/2");
    let page = pepe.get("/users/2").await;
    assert_eq!(page.texts(".flash li"), saved);
    let first = page.attribute("main img", "src");
    pepe.edit_user(2, &[("keepPhoto", "1")], None).await;
    let kept = pepe.get("/users/2").await;
    assert_eq!(kept.texts(".flash li"), ["User updated successfully."]);
    assert_eq!(kept.attribute("main img", "src"), first);
    app.execute(later).await;
    let other = Some(("other.png", png(20, 10)));
    // The box is ticked until somebody unticks it. Who chooses a file wants it.
    pepe.edit_user(2, &[("keepPhoto", "1")], other)
        .await
        .assert_redirect("/users/2");
    let replaced = pepe.get("/users/2").await;
    assert_eq!(replaced.texts(".flash li"), saved);
    assert_ne!(replaced.attribute("main img", "src"), first);
    app.execute(later).await;
    pepe.edit_user(2, &[], None).await;
    let removed = pepe.get("/users/2").await;
    assert_eq!(
        removed.texts(".flash li"),
        ["User updated successfully.", "This user has no photo."]
    );
    assert!(removed.texts("main img").is_empty());
    // Fault 10: the rows first, in one transaction. The bytes are left to the sweep.
    let held: i64 =
        sqlx::query_scalar("SELECT count(*) FROM attachments WHERE released_at IS NULL")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!((held, app.rows("attachments").await), (0, 2));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_photo_changes_once_in_a_minute_but_the_password_is_saved(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    pepe.edit_user(2, &[], photo()).await;
    let src = pepe.get("/users/2").await.attribute("main img", "src");
    let change = &passwords(STRONG)[..3];
    pepe.edit_user(2, change, Some(("other.png", png(20, 10))))
        .await
        .assert_redirect("/users/2");
    let page = pepe.get("/users/2").await;
    assert_eq!(
        page.text(".flash.error li"),
        "Photo file can not be modified until 1 minute has passed."
    );
    assert_eq!(page.text(".flash.success li"), "User updated successfully.");
    assert_eq!(page.attribute("main img", "src"), src);
    assert_eq!(app.rows("attachments").await, 1);
    app.browser()
        .log_in("pepe", STRONG)
        .await
        .assert_redirect("/goback");
    // To remove it is a change as well.
    pepe.edit_user(2, &[], None).await;
    let page = pepe.get("/users/2").await;
    assert_eq!(page.texts(".flash.error li").len(), 1);
    assert_eq!(page.attribute("main img", "src"), src);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_photo_that_is_refused_changes_nothing(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    let fields = &passwords(STRONG)[..3];
    let page = pepe
        .edit_user(2, fields, Some(("me.png", b"%PDF-1.7".to_vec())))
        .await;
    page.assert_status(415);
    assert!(!page.text("#photo-error").is_empty());
    app.browser()
        .log_in("pepe", PASSWORD)
        .await
        .assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_user_is_edited_by_the_user_and_by_admins_only(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    pepe.get("/users/1/edit").await.assert_status(403);
    let csrf = pepe.header_csrf().await;
    let put = [
        ("_csrf", csrf.as_str()),
        ("_method", "PUT"),
        ("password", STRONG),
    ];
    pepe.send("/users/1", &put, None).await.assert_status(403);
    let stranger = app.browser();
    stranger
        .send("/users/1", &put, photo())
        .await
        .assert_redirect("/login");
    let admin = app.logged_in("admin").await;
    let form = admin.get("/users/2/edit").await;
    assert!(form.texts("#current_password").is_empty());
    assert_eq!(
        pepe.get("/users/2/edit")
            .await
            .texts("#current_password")
            .len(),
        1
    );
    // The name cannot be changed, whatever is sent.
    admin
        .edit_user(2, &[("username", "root")], None)
        .await
        .assert_redirect("/users/2");
    assert_eq!(admin.get("/users/2").await.text("h1"), "pepe");
    app.stop().await;
}
