//! What is accepted, what is refused, and in which words.

use super::*;

fn parse(args: &[&str]) -> Result<Config, String> {
    let args = [&["quiz-lb"], args].concat();
    let config = Config::try_parse_from(args).map_err(|e| e.to_string())?;
    config.validate().map(|()| config)
}

#[test]
fn a_list_may_mix_addresses_and_names() {
    let config = parse(&["--backends", "10.0.0.1:3000, [::1]:3001,dns:quiz:3000"]).unwrap();
    let dns = Source::Dns {
        name: "quiz".to_owned(),
        port: 3000,
    };
    let fixed = |addr: &str| Source::Static(addr.parse().unwrap());
    assert_eq!(
        config.backends,
        [fixed("10.0.0.1:3000"), fixed("[::1]:3001"), dns]
    );
}

#[test]
fn a_wrong_backend_is_refused_with_the_variable_and_the_remedy() {
    for wrong in [
        "quiz:3000",
        "10.0.0.1",
        "10.0.0.1:0",
        "dns:quiz",
        "dns::3000",
        "dns:a b:1",
        "",
    ] {
        let error = parse(&["--backends", wrong]).unwrap_err();
        assert!(
            error.contains("LB_BACKENDS") && error.contains("write ip:port"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn zero_is_no_duration_and_no_count() {
    for flag in [
        "--probe-interval",
        "--max-tries",
        "--grace",
        "--max-body-bytes",
    ] {
        let error = parse(&["--backends", "10.0.0.1:1", flag, "0"]).unwrap_err();
        assert!(
            error.contains("write a whole number from 1 up"),
            "{flag}: {error}"
        );
    }
}

#[test]
fn a_balancer_in_front_of_itself_is_refused() {
    let error = parse(&["--backends", "10.0.0.1:80", "--listen", "10.0.0.1:80"]).unwrap_err();
    assert!(
        error.contains("LB_BACKENDS") && error.contains("LB_LISTEN"),
        "{error}"
    );
}

#[test]
fn visitors_and_operators_do_not_share_a_port() {
    let args = [
        "--backends",
        "10.0.0.1:1",
        "--listen",
        "0.0.0.0:80",
        "--admin-listen",
        "0.0.0.0:80",
    ];
    assert!(parse(&args).unwrap_err().contains("LB_ADMIN_LISTEN"));
}

#[test]
fn every_setting_has_a_help_text_and_a_variable_that_its_errors_name() {
    let command = <Config as clap::CommandFactory>::command();
    for setting in command.get_arguments() {
        let variable = setting.get_env().expect("every setting has a variable");
        assert!(setting.get_help().is_some(), "{variable:?}");
        assert!(
            variable.to_str().unwrap().starts_with("LB_"),
            "{variable:?}"
        );
        assert_eq!(
            setting.get_value_names().unwrap(),
            [variable.to_str().unwrap()]
        );
    }
}

#[test]
fn a_head_limit_that_would_do_nothing_is_refused() {
    let with = |flag, value| parse(&["--backends", "10.0.0.1:1", flag, value]);
    for (flag, most, too_much, variable) in [
        ("--max-headers", "256", "257", "LB_MAX_HEADERS"),
        (
            "--max-head-bytes",
            "1048576",
            "1048577",
            "LB_MAX_HEAD_BYTES",
        ),
    ] {
        assert!(with(flag, most).is_ok());
        let error = with(flag, too_much).unwrap_err();
        assert!(
            error.contains(variable) && error.contains(most) && error.contains(too_much),
            "{error}"
        );
    }
}
