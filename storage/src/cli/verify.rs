//! `quiz-storage verify`.

use std::fmt::Write as _;
use std::io::Write;

use http::Method;

use super::ask::{LONG, ask, write};
use crate::config::AdminUrl;
use crate::human;
use crate::verify::Verified;

/// Compares the nodes. Returns whether they are identical.
pub(super) async fn show(
    out: &mut impl Write,
    admin: &AdminUrl,
    json: bool,
) -> anyhow::Result<bool> {
    let verified: Verified = ask(admin, Method::POST, "/verify", LONG).await?;
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(&verified)?)
    } else {
        lines(&verified)
    };
    write(out, &text)?;
    Ok(verified.identical)
}

fn lines(verified: &Verified) -> String {
    let mut text = String::new();
    for tree in &verified.nodes {
        let (node, objects) = (tree.node, human::count(tree.objects));
        match &tree.digest {
            Some(digest) => writeln!(text, "node {node}  {digest}  {objects} objects"),
            None => writeln!(text, "node {node}  not compared"),
        }
        .expect("a String grows");
    }
    let end = if verified.identical {
        "identical\n".to_owned()
    } else if verified.nodes.iter().any(|tree| tree.digest.is_none()) {
        "not compared: a node does not answer or is being rebuilt\n".to_owned()
    } else {
        let count = human::count(verified.different);
        let keys: Vec<_> = verified
            .examples
            .iter()
            .map(|key| format!("{key:?}"))
            .collect();
        format!(
            "NOT identical: {count} keys differ, among them {}\n",
            keys.join(", ")
        )
    };
    text + &end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Tree;

    #[test]
    fn what_differs_is_named() {
        let tree = |node, digest: &str| Tree {
            node,
            digest: Some(digest.to_owned()),
            objects: 1_234,
        };
        let verified = Verified {
            format: 1,
            identical: false,
            nodes: vec![tree(1, "aa"), tree(2, "ab")],
            different: 1,
            examples: vec!["a\u{1}b".to_owned()],
        };
        let expected = "node 1  aa  1,234 objects\nnode 2  ab  1,234 objects\n\
            NOT identical: 1 keys differ, among them \"a\\u{1}b\"\n";
        assert_eq!(lines(&verified), expected);
    }
}
