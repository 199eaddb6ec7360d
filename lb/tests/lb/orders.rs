//! What operators order at run time: by the API, by the status page, by `quiz-lb ctl`.

use std::net::SocketAddr;

use crate::{
    common::{Action, Backend, Balancer, client, eventually},
    process::Process,
};
use reqwest::header::{AUTHORIZATION, COOKIE, LOCATION, SET_COOKIE};
use serde_json::Value;
use tokio::process::Command;

const TOKEN: &str = "a-token-for-the-tests";
const WITH_TOKEN: [&str; 2] = ["--admin-token", TOKEN];

/// Sends an order with this token; the status, and what came back.
async fn order(admin: SocketAddr, path: &str, token: &str, body: &'static str) -> (u16, Value) {
    let request = client()
        .post(format!("http://{admin}{path}"))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body);
    let reply = request.send().await.expect("the admin listener answers");
    let status = reply.status().as_u16();
    (status, reply.json().await.expect("it is JSON"))
}

fn of<'a>(state: &'a Value, backend: &Backend) -> &'a Value {
    let backends = state["pools"][0]["backends"].as_array().unwrap();
    let address = backend.addr.to_string();
    let found = backends.iter().find(|b| b["address"] == address.as_str());
    found.expect("it is a member")
}

#[tokio::test]
async fn a_drained_backend_finishes_what_it_has_and_gets_nothing_new() {
    let (other, drained) = (
        Backend::start().await,
        Backend::with(|_| Action::Wait).await,
    );
    let balancer = Balancer::before(&[&other, &drained], &WITH_TOKEN).await;
    let get = || tokio::spawn(client().get(balancer.url("/")).send());
    let visits = [get(), get()];
    eventually("one is in flight", async || drained.arrived() == 1).await;

    let path = format!("/backends/{}/drain", drained.addr);
    let (status, state) = order(balancer.admin, &path, TOKEN, "").await;
    assert_eq!(
        (status, &of(&state, &drained)["state"]),
        (200, &"draining".into())
    );
    assert_eq!(of(&state, &drained)["in_flight"], 1);
    // Probes that find it ready do not let it in again.
    let before = drained.probes();
    eventually("it is asked on", async || drained.probes() > before + 2).await;
    for _ in 0..4 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    drained.release();
    for visit in visits {
        assert_eq!(visit.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(drained.arrived(), 1);

    let path = format!("/backends/{}/enable", drained.addr);
    order(balancer.admin, &path, TOKEN, "").await;
    balancer.wait_for_state(drained.addr, "healthy").await;
}

#[tokio::test]
async fn a_disabled_backend_loses_what_can_go_elsewhere() {
    let (other, hanging) = (
        Backend::start().await,
        Backend::with(|_| Action::Hang).await,
    );
    let balancer = Balancer::before(&[&other, &hanging], &WITH_TOKEN).await;
    let get = || tokio::spawn(client().get(balancer.url("/")).send());
    let visits = [get(), get()];
    eventually("one is in flight", async || hanging.arrived() == 1).await;
    let path = format!("/backends/{}/disable", hanging.addr);
    let (_, state) = order(balancer.admin, &path, TOKEN, "").await;
    assert_eq!(of(&state, &hanging)["state"], "disabled");
    for visit in visits {
        assert_eq!(visit.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(other.arrived(), 2);
}

#[tokio::test]
async fn a_weight_that_was_ordered_changes_the_shares() {
    let (light, heavy) = (Backend::start().await, Backend::start().await);
    let balancer = Balancer::before(&[&light, &heavy], &WITH_TOKEN).await;
    let path = format!("/backends/{}/weight", heavy.addr);
    let (status, state) = order(balancer.admin, &path, TOKEN, r#"{"weight": 3}"#).await;
    assert_eq!((status, &of(&state, &heavy)["weight"]), (200, &3.into()));
    for _ in 0..40 {
        balancer.get("/").await;
    }
    assert_eq!((light.arrived(), heavy.arrived()), (10, 30));
    for wrong in ["{}", r#"{"weight": 0}"#, r#"{"weight": 1001}"#, "weight=3"] {
        let (status, said) = order(balancer.admin, &path, TOKEN, wrong).await;
        assert!(
            status == 400 && said["error"].is_string(),
            "{wrong}: {said}"
        );
    }
}

#[tokio::test]
async fn nobody_orders_without_the_token() {
    let backend = Backend::start().await;
    let path = format!("/backends/{}/drain", backend.addr);
    let open = Balancer::before(&[&backend], &[]).await;
    let (status, said) = order(open.admin, &path, "", "").await;
    assert!(
        status == 403 && said["error"].as_str().unwrap().contains("LB_ADMIN_TOKEN"),
        "{said}"
    );

    let guarded = Balancer::before(&[&backend], &WITH_TOKEN).await;
    for wrong in ["", "a-token-for-the-test", "a-token-for-the-testS"] {
        assert_eq!(
            order(guarded.admin, &path, wrong, "").await.0,
            401,
            "{wrong}"
        );
    }
    let url = format!("http://{}{path}", guarded.admin);
    assert_eq!(client().post(&url).send().await.unwrap().status(), 401);
    let get = client()
        .get(&url)
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"));
    assert_eq!(
        get.send().await.unwrap().status(),
        404,
        "a GET changes nothing"
    );
    guarded.wait_for_state(backend.addr, "healthy").await;
}

#[tokio::test]
async fn who_orders_something_impossible_is_told_what_to_do() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &WITH_TOKEN).await;
    for (path, expected, word) in [
        ("/backends/127.0.0.1:1/drain".to_owned(), 404, "/state.json"),
        ("/backends/[::1]:1/drain".to_owned(), 404, "[::1]:1"),
        ("/backends/nobody/drain".to_owned(), 400, "10.0.0.1:3000"),
        (
            format!("/backends/{}/paint", backend.addr),
            404,
            "drain, enable",
        ),
    ] {
        let (status, said) = order(balancer.admin, &path, TOKEN, "").await;
        let told = said["error"].as_str().unwrap();
        assert!(
            status == expected && told.contains(word),
            "{path}: {status} {told}"
        );
    }
}

#[tokio::test]
async fn the_page_takes_orders_from_who_signed_in_and_from_no_other_site() {
    let backend = Backend::start().await;
    let balancer = Balancer::before(&[&backend], &WITH_TOKEN).await;
    let url = |path: &str| format!("http://{}{path}", balancer.admin);
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let post = async |path: &str, cookie: &str, form: String| {
        let request = client.post(url(path)).header(COOKIE, cookie.to_owned());
        let form = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        form.send().await.unwrap()
    };
    let (_, page) = balancer.admin_get("/").await;
    assert!(
        page.contains("Sign in") && !page.contains("Drain"),
        "{page}"
    );
    let wrong = post("/sign-in", "", "token=wrong".to_owned()).await;
    assert!(wrong.headers()[LOCATION] == "/?wrong" && !wrong.headers().contains_key(SET_COOKIE));

    let right = post("/sign-in", "", format!("token={TOKEN}")).await;
    let cookie = right.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    let page = client
        .get(url("/"))
        .header(COOKIE, cookie)
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains(">Drain</button>"), "{page}");
    let (_, rest) = page.split_once(r#"name="form_token" value=""#).unwrap();
    let form_token = rest.split('"').next().unwrap();

    let drain = format!("/backends/{}/drain", backend.addr);
    for foreign in [
        String::new(),
        "form_token=00000000000000000000000000000000".to_owned(),
    ] {
        assert_eq!(post(&drain, cookie, foreign).await.status(), 403);
    }
    assert_eq!(
        post(&drain, "", format!("form_token={form_token}"))
            .await
            .status(),
        401
    );
    balancer.wait_for_state(backend.addr, "healthy").await;
    let done = post(&drain, cookie, format!("form_token={form_token}")).await;
    assert_eq!(
        (done.status().as_u16(), &done.headers()[LOCATION]),
        (303, &"/".parse().unwrap())
    );
    balancer.wait_for_state(backend.addr, "draining").await;

    post("/sign-out", cookie, format!("form_token={form_token}")).await;
    let enable = format!("/backends/{}/enable", backend.addr);
    let late = post(&enable, cookie, format!("form_token={form_token}")).await;
    assert_eq!(late.status(), 401);
}

#[tokio::test]
async fn ctl_shows_and_orders() {
    let (one, two) = (Backend::start().await, Backend::start().await);
    let backends = format!("{},{}", one.addr, two.addr);
    let process = Process::start("127.0.0.1:0", &backends, &WITH_TOKEN).await;
    process.wait_until_ready().await;
    let ctl = async |admin: SocketAddr, token: &str, args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_quiz-lb"))
            .args([&["--admin-listen", &admin.to_string(), "ctl"], args].concat())
            .env("LB_ADMIN_TOKEN", token)
            .output();
        let output = output.await.expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (one, two) = (one.addr.to_string(), two.addr.to_string());
    eventually("both are healthy", async || {
        let (code, said) = ctl(process.admin, TOKEN, &["status"]).await;
        code == Some(0) && said.matches("healthy").count() == 2
    })
    .await;
    let (code, said) = ctl(process.admin, TOKEN, &["drain", &one]).await;
    let line = said.lines().find(|line| line.starts_with(&one)).unwrap();
    assert!(code == Some(0) && line.contains("draining"), "{said}");
    let (_, said) = ctl(process.admin, TOKEN, &["weight", &two, "7"]).await;
    let line = said.lines().find(|line| line.starts_with(&two)).unwrap();
    assert!(line.contains(" 7 "), "{said}");
    let (_, said) = ctl(process.admin, TOKEN, &["enable", &one]).await;
    assert_eq!(said.matches("healthy").count(), 2, "{said}");

    let (code, said) = ctl(process.admin, "another-token-indeed", &["drain", &one]).await;
    assert!(code == Some(1) && said.contains("send the token"), "{said}");
    let (code, said) = ctl("127.0.0.1:1".parse().unwrap(), TOKEN, &["status"]).await;
    assert!(
        code == Some(1) && said.contains("LB_ADMIN_LISTEN"),
        "{said}"
    );
}
