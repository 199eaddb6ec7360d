//! What one client may ask of a node, and what it may not.

use crate::common::TestCluster;
use crate::signed::Signed;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The body is never sent, so an answer shows that nobody waits for it.
#[tokio::test]
async fn a_form_of_a_stranger_is_refused_before_its_body_is_read() {
    let cluster = TestCluster::start().await;
    for kind in ["multipart/form-data", " Multipart/Form-Data"] {
        let address = cluster.nodes[0].config.listen;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /quiz HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}; boundary=x\r\n\
             content-length: 4000000000\r\n\r\n--x\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = vec![0; 12];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, b"HTTP/1.1 405");
    }
}

#[tokio::test]
async fn a_thousand_objects_are_deleted_by_one_request() {
    let cluster = TestCluster::start().await;
    let store = cluster.store(0);
    let paths: Vec<_> = (0..1_000).map(|i| Path::from(format!("{i:04}"))).collect();
    for group in paths.chunks(16) {
        let puts = group.iter().map(|path| store.put(path, "x".into()));
        futures::future::try_join_all(puts).await.unwrap();
    }
    let all = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
    let deleted: Vec<_> = store.delete_stream(all).try_collect().await.unwrap();
    assert_eq!(deleted.len(), 1_000);
    let left: Vec<_> = cluster.store(1).list(None).try_collect().await.unwrap();
    assert!(left.is_empty(), "{} are left", left.len());
}

#[tokio::test]
async fn a_delete_of_more_than_a_thousand_keys_is_refused() {
    let cluster = TestCluster::start().await;
    let keys: String = (0..1_001)
        .map(|i| format!("<Object><Key>{i}</Key></Object>"))
        .collect();
    let request = Signed {
        method: http::Method::POST,
        path: "/quiz",
        query: "delete=",
        headers: &[],
        payload: "UNSIGNED-PAYLOAD",
        body: format!("<Delete>{keys}</Delete>").into_bytes(),
    };
    let (status, text) = request.send(cluster.nodes[0].config.listen).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("MalformedXML"), "{text}");
}
