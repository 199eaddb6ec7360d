//! A backup brings everything back.

use crate::common::compose::Compose;

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn what_was_destroyed_with_its_volumes_is_restored() {
    let stack = Compose::prepare("compose-backup", 5);
    stack.compose(&["up", "--detach", "--wait"]).await;
    stack.wait_for_page().await;
    let admin = stack.visitor();
    admin.log_in("admin", &stack.secret("site_password")).await;
    let (quiz, picture) = admin.create_quiz("What was lost?", 7).await;
    let bytes = admin.get(&picture).await.bytes().await.unwrap();
    stack.works("backup", &["saved"]).await;
    let again = stack.tool("backup", &["saved"]).await;
    assert!(!again.status.success(), "no backup is overwritten");

    let refused = stack.tool("restore", &["saved"]).await;
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && words.contains("not empty"),
        "{words}"
    );

    stack.compose(&["down", "--volumes"]).await;
    let dump = stack.root().join("saved/database.dump");
    let whole = std::fs::read(&dump).unwrap();
    std::fs::write(&dump, &whole[..whole.len() - 1]).unwrap();
    let refused = stack.tool("restore", &["saved"]).await;
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && words.contains("damaged"),
        "{words}"
    );
    std::fs::write(&dump, &whole).unwrap();

    stack.works("restore", &["saved"]).await;
    stack.wait_for_page().await;
    // The same user, with the same password and the session from before.
    assert!(admin.page("/").await.contains("admin"));
    assert!(admin.page(&quiz).await.contains("What was lost?"));
    let restored = admin.get(&picture).await.bytes().await.unwrap();
    assert_eq!(restored, bytes);
    stack
        .visitor()
        .log_in("pepe", &stack.secret("site_password"))
        .await;
    let (next, _) = admin.create_quiz("And after it?", 8).await;
    assert_ne!(next, quiz);
}
