//! Which settings are refused, and which attempts.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    sign_in: SignInConfig,
}

fn open(settings: &[&str]) -> Result<SignIn, Vec<String>> {
    let args = ["quiz-web"].iter().chain(settings);
    SignIn::from_config(&Settings::parse_from(args).sign_in)
}

fn refusal(settings: &[&str]) -> String {
    match open(settings) {
        Ok(_) => panic!("{settings:?} were accepted"),
        Err(wrong) => wrong.join("\n"),
    }
}

const GITHUB: [&str; 4] = [
    "--github-client-id",
    "id",
    "--github-client-secret",
    "hunter2",
];
const PUBLIC: [&str; 2] = ["--public-url", "https://quiz.example"];

fn github() -> SignIn {
    open(&[&GITHUB[..], &PUBLIC].concat()).unwrap()
}

#[test]
fn without_credentials_no_provider_is_offered() {
    assert!(open(&[]).unwrap().providers().is_empty());
    // As a compose file passes them.
    let empty = [
        "--github-client-id",
        "",
        "--github-client-secret",
        "",
        "--public-url",
        "",
    ];
    assert!(open(&empty).unwrap().providers().is_empty());
}

#[test]
fn every_provider_with_credentials_is_offered() {
    let settings = [
        &GITHUB[..],
        &PUBLIC,
        &["--google-client-id", "id", "--google-client-secret", "s"],
        &["--oidc-client-id", "id", "--oidc-client-secret", "s"],
        &[
            "--oidc-issuer",
            "https://login.example/realm",
            "--oidc-name",
            "Example",
        ],
    ];
    let sign_in = open(&settings.concat()).unwrap();
    let offered: Vec<_> = sign_in
        .providers()
        .iter()
        .map(|p| (p.id, p.label.as_str()))
        .collect();
    assert_eq!(
        offered,
        [
            ("github", "GitHub"),
            ("google", "Google"),
            ("oidc", "Example")
        ]
    );
    assert!(sign_in.provider("twitter").is_none());
}

#[test]
fn half_a_pair_is_refused_by_the_name_of_the_missing_half() {
    for (given, missing) in [
        (
            ["--github-client-id", "x"],
            "QUIZ_GITHUB_CLIENT_SECRET is missing",
        ),
        (
            ["--github-client-secret", "hunter2"],
            "QUIZ_GITHUB_CLIENT_ID is missing",
        ),
        (
            ["--google-client-id", "x"],
            "QUIZ_GOOGLE_CLIENT_SECRET is missing",
        ),
        (
            ["--google-client-secret", "hunter2"],
            "QUIZ_GOOGLE_CLIENT_ID is missing",
        ),
        (
            ["--oidc-client-id", "x"],
            "QUIZ_OIDC_CLIENT_SECRET is missing",
        ),
        (
            ["--oidc-client-secret", "hunter2"],
            "QUIZ_OIDC_CLIENT_ID is missing",
        ),
        (
            ["--oidc-issuer", "https://login.example"],
            "QUIZ_OIDC_CLIENT_ID is missing",
        ),
    ] {
        let refusal = refusal(&[&given[..], &PUBLIC].concat());
        assert!(
            refusal.starts_with(missing) && !refusal.contains("hunter2"),
            "{refusal}"
        );
    }
    let refusal = refusal(
        &[
            &["--oidc-client-id", "x", "--oidc-client-secret", "y"][..],
            &PUBLIC,
        ]
        .concat(),
    );
    assert!(
        refusal.starts_with("QUIZ_OIDC_ISSUER is missing"),
        "{refusal}"
    );
}

#[test]
fn a_provider_needs_to_know_where_the_site_is() {
    assert!(refusal(&GITHUB).starts_with("QUIZ_PUBLIC_URL is missing"));
    for url in [
        "quiz.example",
        "ftp://quiz.example",
        "https://quiz.example/path",
        "https://u:p@quiz.example",
    ] {
        let refusal = refusal(&[&GITHUB[..], &["--public-url", url]].concat());
        assert!(refusal.starts_with("QUIZ_PUBLIC_URL is \""), "{refusal}");
    }
}

#[test]
fn a_provider_where_others_can_listen_is_refused() {
    for (name, setting) in [
        ("--github-url", "QUIZ_GITHUB_URL"),
        ("--github-api-url", "QUIZ_GITHUB_API_URL"),
    ] {
        for url in [
            "http://github.com",
            "github.com",
            "https://github.com?x",
            "file:///etc",
        ] {
            let refusal = refusal(&[&GITHUB[..], &PUBLIC, &[name, url]].concat());
            assert!(refusal.starts_with(setting), "{refusal}");
        }
    }
    assert!(
        open(
            &[
                &GITHUB[..],
                &PUBLIC,
                &["--github-url", "http://127.0.0.1:9"]
            ]
            .concat()
        )
        .is_ok()
    );
}

#[tokio::test]
async fn the_visitor_comes_back_to_the_configured_address_only() {
    let (url, _) = github().provider("github").unwrap().start().await.unwrap();
    assert!(
        url.as_str()
            .starts_with("https://github.com/login/oauth/authorize?")
    );
    let redirects: Vec<_> = url
        .query_pairs()
        .filter(|(name, _)| name == "redirect_uri")
        .collect();
    assert_eq!(redirects.len(), 1);
    assert_eq!(redirects[0].1, "https://quiz.example/auth/github/callback");
}

#[tokio::test]
async fn each_attempt_is_its_own() {
    let sign_in = github();
    let provider = sign_in.provider("github").unwrap();
    let (_, first) = provider.start().await.unwrap();
    let (_, second) = provider.start().await.unwrap();
    assert_ne!(first.state, second.state);
    assert_ne!(first.nonce, second.nonce);
    assert_ne!(first.verifier, second.verifier);
}

#[tokio::test]
async fn an_attempt_is_good_for_its_state_its_provider_and_its_time() {
    let sign_in = github();
    let provider = sign_in.provider("github").unwrap();
    let (url, attempt) = provider.start().await.unwrap();
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let attempt = Attempt::parse(&attempt.text()).unwrap();
    assert!(attempt.check(provider, &state).is_ok());
    for wrong in ["", "x", &state[1..]] {
        assert!(attempt.check(provider, wrong).is_err());
    }
    let elsewhere = Attempt {
        provider: "google".to_owned(),
        ..Attempt::parse(&attempt.text()).unwrap()
    };
    assert!(elsewhere.check(provider, &state).is_err());
    let late = Attempt {
        expires_at: OffsetDateTime::now_utc().unix_timestamp(),
        ..attempt
    };
    assert!(late.check(provider, &state).is_err());
}

#[test]
fn fault_13_a_subject_is_text_and_belongs_to_its_issuer() {
    let google = "https://accounts.google.com";
    assert_eq!(
        subject(google, "117000000000000000001").unwrap(),
        "https://accounts.google.com 117000000000000000001"
    );
    for unusable in ["", "a\0b", "é", &"x".repeat(256)] {
        assert!(subject(google, unusable).is_err());
    }
}
