//! The commands of the network mode as a user types them.

mod common;

use common::eventually;
use common::scenario::{block_on, lab_name, lacks_or_skip};

/// `quiz-lab` as a user types it, who has come by SSH; how it ended, and what it said.
fn quiz_lab(name: &str, state: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let (command, rest) = arguments.split_first().unwrap();
    let output = std::process::Command::new(common::programs().join("quiz-lab"))
        .args([command, "--name", name, "--state", state.to_str().unwrap()])
        .args(rest)
        .env("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), words.into_owned())
}

/// Destroys a lab also when the test fails.
struct Destroyed<'a>(&'a str, &'a std::path::Path);

impl Drop for Destroyed<'_> {
    fn drop(&mut self) {
        quiz_lab(self.0, self.1, &["destroy"]);
    }
}

#[test]
fn the_commands_do_what_a_user_types_and_say_what_is_wrong() {
    let test = "the_commands_do_what_a_user_types_and_say_what_is_wrong";
    if lacks_or_skip(test) {
        return;
    }
    let folder = quiz_lab::state::scratch_folder().unwrap();
    let name = lab_name();
    let _gone = Destroyed(&name, folder.path());
    let lab = |arguments: &[&str]| quiz_lab(&name, folder.path(), arguments);
    let does = |arguments: &[&str]| {
        let (code, words) = lab(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {words}");
        words
    };
    let says = |arguments: &[&str], code: i32, what: &str| {
        let (ended, words) = lab(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {words}");
        assert!(words.contains(what), "{arguments:?}: {words}");
    };
    says(&["status"], 1, "`quiz-lab create` makes one");
    assert!(does(&["create", "--servers", "1"]).contains("198.18.2.2"));
    does(&["status"]);
    assert!(does(&["create", "--servers", "5"]).contains("with 1 front-ends"));
    for _ in 0..2 {
        does(&["add", "s4"]);
        says(&["add", "s4"], 1, "there already");
        does(&["remove", "s4"]);
    }
    says(&["remove", "s1"], 1, "last front-end");
    for host in ["lb", "db", "c1", "s04"] {
        says(&["add", host], 1, "only front-ends come and go");
        says(&["remove", host], 1, "only front-ends come and go");
    }
    says(&["exec", "c1", "--", "sh", "-c", "exit 7"], 7, "");
    says(
        &["exec", "c9", "--", "true"],
        1,
        "there is no host c9, but c1",
    );
    says(&["cut", "c1", "--lan", "4"], 1, "no cable in LAN 4");
    does(&["cut", "nas2"]);
    says(&["status"], 4, "CABLE PULLED: LAN 4");
    // What is cut off keeps nobody from going on with the rest.
    does(&["create", "--servers", "1"]);
    does(&["restore", "nas2"]);
    block_on(eventually("all is well again", async || {
        lab(&["status"]).0 == Some(0)
    }));
    does(&["shutdown", "-M", "s1"]);
    says(&["status"], 4, "down");
    does(&["start", "-M", "s1"]);
    assert!(does(&["map"]).contains("nas3"));
    // Another folder with the same name would take its hosts away.
    let other = quiz_lab::state::scratch_folder().unwrap();
    let (code, words) = quiz_lab(&name, other.path(), &["create"]);
    assert!(
        code == Some(1) && words.contains("in another folder"),
        "{words}"
    );
    does(&["destroy"]);
    does(&["destroy"]);
}
