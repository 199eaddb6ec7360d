//! What is accepted, what is refused, and in which words.

use std::path::Path;

use clap::{CommandFactory, Parser};

use super::{
    cli::{Cli, SAMPLE},
    *,
};

fn parse(args: &[&str]) -> Result<Config, String> {
    let args = [&["quiz-lb"], args].concat();
    let cli = Cli::try_parse_from(args).map_err(|e| e.to_string())?;
    cli.load().map_err(|e| e.to_string())
}

#[test]
fn a_list_may_mix_addresses_and_names() {
    let config = parse(&[
        "--backends",
        "10.0.0.1:3000, [::1]:3001,dns:quiz:3000 weight=2",
    ])
    .unwrap();
    let source = |place, weight| Source { place, weight };
    let name = "quiz".to_owned();
    let dns = source(Place::Dns { name, port: 3000 }, 2);
    let fixed = |addr: &str| source(Place::Static(addr.parse().unwrap()), 1);
    assert_eq!(
        config.pools["quiz"].backends,
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
        "file:",
        "dns::3000",
        "dns:a/b:1",
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
    let command = Cli::command();
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

fn in_file(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lb.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = parse(&["check", path.to_str().unwrap()]);
    loaded.map_err(|message| message.replace(folder.path().to_str().unwrap(), ""))
}

#[test]
fn the_sample_is_accepted_and_shows_every_default() {
    let mut defaults = Config::default();
    defaults.pools.get_mut(POOL).unwrap().backends = vec!["dns:quiz:3000".parse().unwrap()];
    assert_eq!(in_file(SAMPLE), Ok(defaults));
    // Every line it gives stands for a setting that may be left out.
    let without = |line: &str| SAMPLE.replace(line, "");
    for line in SAMPLE.lines().filter(|line| line.contains(" = ")) {
        let needed = ["address = \"0.0.0.0:80\"", "backends = "];
        if !needed.iter().any(|start| line.starts_with(start)) {
            assert_eq!(in_file(&without(line)), in_file(SAMPLE), "{line}");
        }
    }
}

#[test]
fn the_sample_names_every_variable() {
    for setting in Cli::command().get_arguments() {
        let variable = setting.get_env().unwrap().to_str().unwrap();
        let named = SAMPLE.lines().any(|line| {
            let mut words =
                line.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
            words.any(|word| word == variable)
        });
        assert!(named || variable == "LB_CONFIG", "{variable}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_keys_there_are() {
    let error =
        in_file("[pools.quiz]\nbackends = [\"10.0.0.1:1\"]\n[pools.quiz.checks]\nrize = 2\n");
    let error = error.unwrap_err();
    assert!(
        error.starts_with("/lb.toml:4: unknown field `rize`"),
        "{error}"
    );
    assert!(
        error.contains("`rise`") && error.contains("rize = 2"),
        "{error}"
    );
    let error = in_file("[pool.quiz]\n").unwrap_err();
    assert!(
        error.contains(":1: ") && error.contains("`pools`"),
        "{error}"
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_line_and_the_remedy() {
    for (text, line, remedy) in [
        ("[clients]\nkeepalive_secs = 0\n", 2, "from 1 up"),
        ("\n[process]\nthreads = -1\n", 3, "from 1 up"),
        (
            "[pools.quiz]\nbackends = [\n  \"10.0.0.1:1\",\n  \"quiz\",\n]\n",
            2,
            "\"quiz\" is not an address with a port: write ip:port",
        ),
        ("[process]\nlog_format = \"xml\"\n", 2, "`text` or `json`"),
        ("[clients]\nmax_headers = \"100\"\n", 2, "i64"),
        ("[clients]\nmax_headers =\n", 2, ""),
        (
            "[clients]\ntrusted_proxies = [\"10.0.0.0/33\"]\n",
            2,
            "write one like 10.0.0.0/8",
        ),
    ] {
        let error = in_file(text).unwrap_err();
        let place = format!("/lb.toml:{line}: ");
        assert!(
            error.starts_with(&place) && error.contains(remedy),
            "{text} {error}"
        );
    }
}

#[test]
fn settings_that_do_not_fit_each_other_are_refused_with_the_line_of_one() {
    let pool = "[pools.quiz]\nbackends = [\"10.0.0.1:80\"]\n";
    for (text, line, remedy) in [
        (
            "[listeners.public]\naddress = \"10.0.0.1:80\"\n",
            2,
            "list the front-ends",
        ),
        (
            "[listeners.a]\naddress = \"10.0.0.9:80\"\npool = \"game\"\n",
            5,
            "add [pools.game]",
        ),
        (
            "[listeners.a]\naddress = \"127.0.0.1:8081\"\n",
            4,
            "a port of its own",
        ),
        ("[clients]\nmax_headers = 257\n", 4, "set 256 or less"),
        (
            "[clients.compression]\ngzip_level = 10\n",
            4,
            "set 9 or less",
        ),
        (
            "[listeners.a]\naddress = \"10.0.0.9:80\"\nproxy_protocol = true\n",
            5,
            "clients.trusted_proxies",
        ),
        ("[listeners]\n", 3, "add [listeners.public]"),
        (
            "[pools.quiz.retries]\nbudget_percent = 101\n",
            4,
            "set 100 or less",
        ),
        (
            "[pools.quiz.ejection]\nmax_percent = 101\n",
            4,
            "set 100 or less",
        ),
        ("hash_header = \"x-user\"\n", 3, "set algorithm"),
        ("[pools.empty]\n", 3, "list where the front-ends listen"),
    ] {
        let error = in_file(&format!("{pool}{text}")).unwrap_err();
        let place = format!("/lb.toml:{line}: ");
        assert!(
            error.starts_with(&place) && error.contains(remedy),
            "{text} {error}"
        );
    }
}

#[test]
fn the_environment_and_flags_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lb.toml");
    let text = "[pools.quiz]\nbackends = [\"10.0.0.1:1\"]\n[pools.quiz.retries]\nmax_tries = 7\n";
    std::fs::write(&path, text).unwrap();
    let file = ["--config", path.to_str().unwrap()];
    let alone = parse(&file).unwrap();
    assert_eq!(alone.pools[POOL].retries.max_tries, 7);
    let config = parse(&[&file[..], &["--max-tries", "2", "--backends", "10.0.0.2:2"]].concat());
    let pool = &config.unwrap().pools[POOL];
    assert_eq!(pool.retries.max_tries, 2);
    assert_eq!(pool.backends, ["10.0.0.2:2".parse().unwrap()]);
}

#[test]
fn a_flag_for_one_listener_or_pool_is_refused_beside_a_file_with_two() {
    let two = "[pools.a]\nbackends = [\"10.0.0.1:1\"]\n[pools.b]\nbackends = [\"10.0.0.1:2\"]\n\
        [listeners.a]\naddress = \"10.0.0.9:1\"\npool = \"a\"\n[listeners.b]\naddress = \"10.0.0.9:2\"\npool = \"b\"\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lb.toml");
    std::fs::write(&path, two).unwrap();
    let with = |flag: &str, value: &str| parse(&["--config", path.to_str().unwrap(), flag, value]);
    assert!(with("--max-tries", "2").is_ok());
    for (flag, value, variable) in [
        ("--listen", "10.0.0.9:3", "LB_LISTEN"),
        ("--backends", "10.0.0.1:3", "LB_BACKENDS"),
    ] {
        let error = with(flag, value).unwrap_err();
        assert!(
            error.contains(variable) && error.contains("in the file"),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = Path::new("/nowhere/lb.toml");
    let error = parse(&["check", missing.to_str().unwrap()]).unwrap_err();
    assert!(error.contains("/nowhere/lb.toml"), "{error}");
}

#[test]
fn what_a_reload_cannot_change_is_named_and_kept() {
    let running = in_file(SAMPLE).unwrap();
    let mut wanted = running.clone();
    wanted.process.threads += 1;
    wanted.process.grace = Duration::from_secs(77);
    wanted.admin.address.set_port(9);
    wanted.clients.max_connections = 5;
    wanted.clients.max_headers = 5;
    wanted.access_log.max_waiting += 1;
    wanted.pools.get_mut(POOL).unwrap().checks.rise = 9;
    let extra = wanted.pools[POOL].clone();
    wanted.pools.insert("more".to_owned(), extra);
    let (held, waiting) = reload::adopt(&running, wanted.clone());
    assert_eq!(
        waiting,
        [
            "admin.address",
            "clients.max_connections",
            "access_log.max_waiting",
            "process.threads",
            "pools.more"
        ]
    );
    assert_eq!(held.process.threads, running.process.threads);
    assert_eq!(held.process.grace, Duration::from_secs(77));
    assert_eq!(held.admin, running.admin);
    assert_eq!(
        (held.clients.max_connections, held.clients.max_headers),
        (running.clients.max_connections, 5)
    );
    assert_eq!(held.pools[POOL].checks.rise, 9);
    assert_eq!(reload::adopt(&held, held.clone()), (held, Vec::new()));
}

#[test]
fn whatever_the_file_holds_it_is_read_or_refused_with_a_line() {
    use proptest::prelude::*;
    let lines: Vec<String> = SAMPLE.lines().map(str::to_owned).collect();
    let most = lines.len();
    proptest!(|(from in 0..most, noise in "\\PC{0,20}", count in 0..most)| {
        let mut text = lines.clone();
        text.insert(from, noise);
        text.truncate(count + 1);
        if let Err(error) = file::parse(&text.join("\n")) {
            let line = error.split(':').next().unwrap().parse::<usize>();
            prop_assert!(line.is_ok_and(|line| (1..=most + 1).contains(&line)), "{error}");
        }
    });
}

#[test]
fn a_wrong_weight_is_refused_with_the_remedy() {
    for wrong in [
        "weight=0",
        "weight=1001",
        "3",
        "weight=",
        "weight=2 weight=3",
    ] {
        let error = parse(&["--backends", &format!("10.0.0.1:1 {wrong}")]).unwrap_err();
        assert!(error.contains("write weight=1 to weight=1000"), "{error}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_before_any_port_is_bound() {
    let pool = "[pools.quiz]\nbackends = [\"10.0.0.1:80\"]\n";
    let listener = "[listeners.a]\naddress = \"10.0.0.9:443\"\n";
    let tls = "tls = { certificate = \"/nowhere/a.pem\", key = \"/nowhere/a.key\" }\n";
    let error = in_file(&format!("{pool}{listener}{tls}")).unwrap_err();
    let remedy = if cfg!(feature = "tls") {
        "cannot read certificates from /nowhere/a.pem: write them as PEM"
    } else {
        "build it with --features tls"
    };
    assert!(error.starts_with("/lb.toml:5: "), "{error}");
    assert!(error.contains(remedy), "{error}");
    let half = parse(&["--backends", "10.0.0.1:1", "--tls-key", "/nowhere/a.key"]);
    assert!(half.unwrap_err().contains("--tls-certificate"));
}
