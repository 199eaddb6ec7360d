//! What a client of `object_store` sees of three healthy nodes.

use crate::common::{ACCESS_KEY, TestCluster, client, eventually, presign};
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, TagSet,
    UpdateVersion,
};

fn update(e_tag: Option<String>) -> PutMode {
    PutMode::Update(UpdateVersion {
        e_tag,
        version: None,
    })
}

#[tokio::test]
async fn an_object_put_through_one_node_is_read_through_every_other() {
    let cluster = TestCluster::start().await;
    let path = Path::from("images/ab/abc.png");
    let data = vec![7_u8; 200_000];
    let put = cluster
        .store(0)
        .put(&path, data.clone().into())
        .await
        .unwrap();
    for node in 0..3 {
        let store = cluster.store(node);
        let got = store.get(&path).await.unwrap();
        assert_eq!(got.meta.e_tag, put.e_tag, "the same tag on every node");
        assert_eq!(got.bytes().await.unwrap(), data);
        assert_eq!(store.head(&path).await.unwrap().size, 200_000);
        assert_eq!(
            store.get_range(&path, 65_530..65_540).await.unwrap(),
            data[..10]
        );
    }
    cluster.store(1).delete(&path).await.unwrap();
    for node in 0..3 {
        let gone = cluster.store(node).get(&path).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })));
    }
    cluster.store(2).delete(&path).await.unwrap();
}

#[tokio::test]
async fn the_tag_is_the_md5_of_the_content_and_metadata_is_kept() {
    let cluster = TestCluster::start().await;
    let path = Path::from("a");
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "image/png".into());
    attributes.insert(Attribute::CacheControl, "max-age=604800".into());
    attributes.insert(Attribute::ContentDisposition, "inline".into());
    attributes.insert(Attribute::ContentEncoding, "gzip".into());
    attributes.insert(Attribute::ContentLanguage, "es".into());
    attributes.insert(Attribute::Metadata("author".into()), "pepe".into());
    let options = PutOptions::from(attributes.clone());
    let put = cluster
        .store(0)
        .put_opts(&path, "abc".into(), options)
        .await
        .unwrap();
    assert_eq!(put.e_tag.unwrap(), "\"900150983cd24fb0d6963f7d28e17f72\"");
    let got = cluster.store(1).get(&path).await.unwrap();
    assert_eq!(got.attributes, attributes);
}

#[tokio::test]
async fn a_listing_pages_folds_and_starts_where_told() {
    let cluster = TestCluster::start().await;
    let store = cluster.store(0);
    let paths: Vec<Path> = (0..1_050)
        .map(|i| Path::from(format!("many/{i:04}")))
        .collect();
    for group in paths.chunks(16) {
        try_join_all(group.iter().map(|path| store.put(path, "x".into())))
            .await
            .unwrap();
    }
    store.put(&Path::from("other/a"), "y".into()).await.unwrap();
    store.put(&Path::from("top"), "z".into()).await.unwrap();
    let store = cluster.store(2);
    let listed: Vec<_> = store
        .list(Some(&Path::from("many")))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        listed.iter().map(|o| &o.location).collect::<Vec<_>>(),
        paths.iter().collect::<Vec<_>>()
    );
    let folded = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(
        folded.common_prefixes,
        [Path::from("many"), Path::from("other")]
    );
    assert_eq!(folded.objects[0].location, Path::from("top"));
    let after: Vec<_> = store
        .list_with_offset(Some(&Path::from("many")), &Path::from("many/1047"))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(after.len(), 2);
    let before_prefix = store.list_with_offset(Some(&Path::from("other")), &Path::from("a"));
    assert_eq!(
        before_prefix.try_collect::<Vec<_>>().await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_conditional_put_succeeds_once() {
    let cluster = TestCluster::start().await;
    let path = Path::from("once");
    let create = || PutMode::Create.into();
    let first = cluster
        .store(0)
        .put_opts(&path, "1".into(), create())
        .await
        .unwrap();
    let again = cluster.store(1).put_opts(&path, "2".into(), create()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    let options = || update(first.e_tag.clone()).into();
    cluster
        .store(2)
        .put_opts(&path, "3".into(), options())
        .await
        .unwrap();
    let stale = cluster
        .store(0)
        .put_opts(&path, "4".into(), options())
        .await;
    assert!(matches!(stale, Err(Error::Precondition { .. })));
    cluster.store(1).delete(&path).await.unwrap();
    cluster
        .store(0)
        .put_opts(&path, "5".into(), create())
        .await
        .unwrap();
}

#[tokio::test]
async fn of_many_creates_at_once_exactly_one_succeeds() {
    let cluster = TestCluster::start().await;
    for round in 0..10 {
        let path = Path::from(format!("race/{round}"));
        let creates = (0..9).map(async |i| {
            let body = format!("{i}");
            let store = cluster.store(i % 3);
            store
                .put_opts(&path, body.into(), PutMode::Create.into())
                .await
        });
        let results = futures::future::join_all(creates).await;
        assert_eq!(
            results.iter().filter(|r| r.is_ok()).count(),
            1,
            "{results:?}"
        );
        for failed in results.iter().filter_map(|r| r.as_ref().err()) {
            assert!(matches!(failed, Error::AlreadyExists { .. }), "{failed}");
        }
    }
}

#[tokio::test]
async fn five_workers_on_three_nodes_increment_without_losing_one() {
    let cluster = TestCluster::start().await;
    let path = Path::from("counter");
    cluster.store(0).put(&path, "0".into()).await.unwrap();
    let workers = (0..5).map(async |worker| {
        let store = cluster.store(worker % 3);
        for _ in 0..10 {
            loop {
                let got = store.get(&path).await.unwrap();
                let mode = update(got.meta.e_tag.clone());
                let text = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
                let next = (text.parse::<u32>().unwrap() + 1).to_string();
                match store.put_opts(&path, next.into(), mode.into()).await {
                    Ok(_) => break,
                    Err(Error::Precondition { .. }) => {}
                    Err(error) => panic!("neither done nor refused: {error}"),
                }
            }
        }
    });
    futures::future::join_all(workers).await;
    let end = cluster
        .store(1)
        .get(&path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(end, "50");
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let cluster = TestCluster::start().await;
    let address = cluster.nodes[0].config.listen;
    let path = Path::from("a");
    let wrong_secret = client(address)
        .with_secret_access_key("wrong")
        .build()
        .unwrap();
    let wrong_key = client(address)
        .with_access_key_id("stranger")
        .build()
        .unwrap();
    let unsigned = client(address).with_skip_signature(true).build().unwrap();
    for store in [wrong_secret, wrong_key, unsigned] {
        let refused = store.put(&path, "x".into()).await.unwrap_err();
        assert!(
            matches!(refused, Error::PermissionDenied { .. }),
            "{refused}"
        );
    }
    assert!(cluster.blobs(0).is_empty());
    assert_ne!(ACCESS_KEY, "stranger");
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_fits_is_not() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.max_object_bytes = 100_000;
    })
    .await;
    let store = cluster.store(0);
    store
        .put(&Path::from("fits"), vec![0; 100_000].into())
        .await
        .unwrap();
    let refused = store
        .put(&Path::from("not"), vec![0; 100_001].into())
        .await
        .unwrap_err();
    assert!(
        format!("{refused:?}").contains("EntityTooLarge"),
        "{refused:?}"
    );
    assert!(store.head(&Path::from("not")).await.is_err());
}

#[tokio::test]
async fn an_upload_above_the_limit_is_told_to_slow_down_before_its_body_is_read() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.max_uploads = 1;
    })
    .await;
    let path = Path::from("a");
    // The first upload holds the one place: its head is there and its body never comes.
    let presigned = presign(&cluster, http::Method::PUT, "slow").await;
    let mut slow = tokio::net::TcpStream::connect(cluster.nodes[0].config.listen)
        .await
        .unwrap();
    let head = format!(
        "PUT {presigned} HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\n\r\n",
        cluster.nodes[0].config.listen
    );
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes())
        .await
        .unwrap();
    eventually("an upload is told to slow down", async || {
        match cluster.store(0).put(&path, "x".into()).await {
            Ok(_) => false,
            Err(error) => {
                assert!(format!("{error:?}").contains("SlowDown"), "{error:?}");
                true
            }
        }
    })
    .await;
    drop(slow);
    eventually("the place is free again", async || {
        cluster.store(0).put(&path, "x".into()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn what_is_not_served_says_so() {
    let cluster = TestCluster::start().await;
    let store = cluster.store(0);
    let mut tags = TagSet::default();
    tags.push("a", "b");
    let tagged = PutOptions::from(tags);
    let refused = store.put_opts(&Path::from("a"), "x".into(), tagged).await;
    let text = format!("{:?}", refused.unwrap_err());
    assert!(text.contains("NotImplemented"), "{text}");
    let elsewhere = client(cluster.nodes[0].config.listen)
        .with_bucket_name("other")
        .build()
        .unwrap();
    let missing = elsewhere
        .put(&Path::from("a"), "x".into())
        .await
        .unwrap_err();
    assert!(
        format!("{missing:?}").contains("NoSuchBucket"),
        "{missing:?}"
    );
}
