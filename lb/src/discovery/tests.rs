//! What is kept, what is replaced, and what a file may hold.

use super::*;

fn set(port: u16) -> Members {
    Members::from([(SocketAddr::from(([10, 0, 0, 1], port)), 1)])
}

fn asked() -> Asked {
    Asked::new("dns:quiz:3000".parse().unwrap())
}

#[test]
fn a_good_answer_replaces_the_last_one() {
    let mut asked = asked();
    asked.answered(Ok(set(1)));
    asked.answered(Ok(set(2)));
    assert_eq!(asked.last_good, set(2));
}

#[test]
fn an_error_a_timeout_or_an_empty_answer_keeps_the_last_good_set() {
    let mut asked = asked();
    asked.answered(Ok(set(1)));
    asked.answered(Err(io::Error::other("servfail")));
    asked.answered(Err(late(Duration::ZERO)));
    asked.answered(Ok(Members::new()));
    assert_eq!((&asked.last_good, asked.failing), (&set(1), true));
    asked.answered(Ok(set(1)));
    assert!(!asked.failing);
}

#[test]
fn a_file_has_a_backend_per_line_and_remarks() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let members = |text: &str| {
        fs::write(file.path(), text).unwrap();
        read(file.path(), 5).map_err(|error| error.to_string())
    };
    let text = "# the old ones\n10.0.0.1:1\n\n  10.0.0.1:2 weight=3 # strong\n";
    let found = members(text).unwrap();
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [5, 3]);
    assert_eq!(members("# none"), Ok(Members::new()));
    for wrong in ["10.0.0.1:1\nquiz\n", "10.0.0.1:1\ndns:quiz:1\n"] {
        let error = members(wrong).unwrap_err();
        assert!(
            error.starts_with("line 2: ") && error.contains("write ip:port"),
            "{error}"
        );
    }
}
