//! What clients other than `object_store` ask for.

use http::Method;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore as _, ObjectStoreExt as _, PutOptions};

use crate::common::{TestCluster, client, presign};
use crate::signed::{ask, tagged};

async fn put(cluster: &TestCluster, key: &str, body: &str) -> String {
    let (store, path) = (cluster.store(0), Path::from(key));
    let put = store.put(&path, body.to_owned().into()).await;
    put.unwrap().e_tag.unwrap()
}

#[tokio::test]
async fn a_copy_keeps_the_metadata_or_takes_new_one() {
    let cluster = TestCluster::start().await;
    let to = cluster.nodes[0].config.listen;
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "image/png"),
        (Attribute::Metadata("author".into()), "pepe"),
    ]);
    let (store, path) = (cluster.store(0), Path::from("a b"));
    let options = PutOptions::from(attributes.clone());
    let put = store.put_opts(&path, "x".into(), options).await.unwrap();
    let source = ("x-amz-copy-source", "quiz/a%20b");
    let copied = ask(to, Method::PUT, "/quiz/kept", "", &[source]).await;
    assert_eq!(copied.0, 200, "{copied:?}");
    let kept = cluster.store(1).get(&Path::from("kept")).await.unwrap();
    assert_eq!(kept.attributes, attributes);
    assert_eq!(kept.meta.e_tag, put.e_tag);
    let replace = [
        source,
        ("x-amz-metadata-directive", "REPLACE"),
        ("content-type", "text/plain"),
    ];
    // Also onto itself, which is how clients change metadata.
    for target in ["/quiz/new", "/quiz/a%20b"] {
        let copied = ask(to, Method::PUT, target, "", &replace).await;
        assert_eq!(copied.0, 200, "{copied:?}");
    }
    for key in ["new", "a b"] {
        let new = cluster.store(2).get(&Path::from(key)).await.unwrap();
        let expected = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
        assert_eq!(new.attributes, expected);
        assert_eq!(new.bytes().await.unwrap(), "x");
    }
    let (status, text) = ask(to, Method::PUT, "/quiz/a%20b", "", &[source]).await;
    assert!(status == 400 && text.contains("InvalidRequest"), "{text}");
}

#[tokio::test]
async fn a_copy_heeds_the_conditions_on_both_ends() {
    let cluster = TestCluster::start().await;
    let to = cluster.nodes[0].config.listen;
    let tag = put(&cluster, "a", "1").await;
    put(&cluster, "b", "2").await;
    let source = ("x-amz-copy-source", "/quiz/a");
    for (header, status) in [
        (("if-none-match", "*"), 412),
        (("if-match", tag.as_str()), 412),
        (("x-amz-copy-source-if-none-match", &tag), 412),
        (("x-amz-copy-source-if-match", "\"00\""), 412),
        (("x-amz-copy-source-if-match", &tag), 200),
        (("if-match", &tag), 200),
    ] {
        let copied = ask(to, Method::PUT, "/quiz/b", "", &[header, source]).await;
        assert_eq!(copied.0, status, "{header:?} {copied:?}");
    }
    for (source, status) in [("/quiz/none", 404), ("/other/a", 404), ("/quiz/%01", 400)] {
        let source = ("x-amz-copy-source", source);
        let copied = ask(to, Method::PUT, "/quiz/c", "", &[source]).await;
        assert_eq!(copied.0, status, "{copied:?}");
    }
}

#[tokio::test]
async fn a_condition_that_could_not_be_kept_is_refused() {
    let cluster = TestCluster::start().await;
    let to = cluster.nodes[0].config.listen;
    let condition = [("content-length", "0"), ("if-none-match", "\"abc\"")];
    let put = ask(to, Method::PUT, "/quiz/a", "", &condition).await;
    assert_eq!(put.0, 501, "{put:?}");
}

#[tokio::test]
async fn a_read_heeds_its_conditions() {
    let cluster = TestCluster::start().await;
    let to = cluster.nodes[1].config.listen;
    let tag = put(&cluster, "a", "1").await;
    let past = "Mon, 01 Jan 2001 00:00:00 GMT";
    let future = "Wed, 01 Jan 2098 00:00:00 GMT";
    for method in [Method::GET, Method::HEAD] {
        for (header, status) in [
            (("if-match", tag.as_str()), 200),
            (("if-match", "*"), 200),
            (("if-match", "\"other\""), 412),
            (("if-none-match", &tag), 304),
            (("if-none-match", "*"), 304),
            (("if-none-match", "\"other\""), 200),
            (("if-modified-since", past), 200),
            (("if-modified-since", future), 304),
            (("if-unmodified-since", past), 412),
            (("if-unmodified-since", future), 200),
        ] {
            let read = ask(to, method.clone(), "/quiz/a", "", &[header]).await;
            assert_eq!(read.0, status, "{method} {header:?}");
        }
        let version = ask(to, method.clone(), "/quiz/a", "versionId=null", &[]).await;
        assert_eq!(version.0, 200);
        let version = ask(to, method, "/quiz/a", "versionId=7", &[]).await;
        assert_eq!(version.0, 404);
    }
}

/// What is between `before` and the next tag, wherever it is.
fn values(xml: &str, before: &str) -> Vec<String> {
    let found = xml.split(before).skip(1);
    found
        .map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect()
}

/// Keys and folded prefixes of all pages of a listing, which goes on with `marker` from what `next` says.
async fn pages(cluster: &TestCluster, query: &[&str], marker: &str, next: &str) -> Vec<String> {
    let to = cluster.nodes[2].config.listen;
    let (mut seen, mut from) = (Vec::new(), String::new());
    loop {
        let at = format!("{marker}={from}");
        let mut query = [query, &[&at]].concat();
        query.sort_unstable();
        let (status, text) = ask(to, Method::GET, "/quiz", &query.join("&"), &[]).await;
        assert_eq!(status, 200, "{text}");
        seen.extend(values(&text, "<Key>"));
        seen.extend(values(&text, "<CommonPrefixes><Prefix>"));
        if tagged(&text, "IsTruncated") == "false" {
            return seen;
        }
        let name = tagged(&text, next);
        from = name.replace('/', "%2F").replace(' ', "%20");
    }
}

#[tokio::test]
async fn the_older_listing_and_that_of_versions_go_on_from_keys() {
    let cluster = TestCluster::start().await;
    let all = ["a/1", "a/2", "b", "c d", "e/1", "f"];
    for key in all {
        put(&cluster, key, "x").await;
    }
    for size in ["max-keys=1", "max-keys=2", "max-keys=1000"] {
        let listed = pages(&cluster, &[size], "marker", "NextMarker").await;
        assert_eq!(listed, all);
        let folding = [size, "delimiter=%2F"];
        let mut listed = pages(&cluster, &folding, "marker", "NextMarker").await;
        listed.sort();
        assert_eq!(listed, ["a/", "b", "c d", "e/", "f"]);
        let versions = [size, "versions="];
        let listed = pages(&cluster, &versions, "key-marker", "NextKeyMarker").await;
        assert_eq!(listed, all);
    }
    let to = cluster.nodes[0].config.listen;
    let (_, text) = ask(to, Method::GET, "/quiz", "versions=", &[]).await;
    assert_eq!(tagged(&text, "VersionId"), "null");
    for query in [
        "encoding-type=url&prefix=c",
        "encoding-type=url&list-type=2&prefix=c",
    ] {
        let (_, text) = ask(to, Method::GET, "/quiz", query, &[]).await;
        assert_eq!(tagged(&text, "Key"), "c%20d");
        assert_eq!(tagged(&text, "EncodingType"), "url");
    }
    let gone = ask(to, Method::DELETE, "/quiz/b", "versionId=null", &[]).await;
    assert_eq!(gone.0, 204);
    assert!(cluster.store(1).head(&Path::from("b")).await.is_err());
}

#[tokio::test]
async fn the_one_bucket_is_there_and_stays() {
    let cluster = TestCluster::start().await;
    let to = cluster.nodes[0].config.listen;
    put(&cluster, "a", "1").await;
    for (method, path, query, status, says) in [
        (Method::PUT, "/quiz", "", 200, ""),
        (Method::PUT, "/other", "", 400, "TooManyBuckets"),
        (Method::HEAD, "/quiz", "", 200, ""),
        (Method::HEAD, "/other", "", 404, ""),
        (Method::GET, "/quiz", "location=", 200, "LocationConstraint"),
        (
            Method::GET,
            "/quiz",
            "versioning=",
            200,
            "VersioningConfiguration",
        ),
        (Method::DELETE, "/other", "", 404, "NoSuchBucket"),
        (Method::DELETE, "/quiz", "", 409, "BucketNotEmpty"),
        (Method::DELETE, "/quiz/a", "", 204, ""),
        (Method::DELETE, "/quiz", "", 403, "AccessDenied"),
    ] {
        let (found, text) = ask(to, method.clone(), path, query, &[]).await;
        assert_eq!(found, status, "{method} {path}?{query}: {text}");
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn without_a_signature_objects_are_read_only_where_that_is_allowed() {
    for allowed in [false, true] {
        let cluster = TestCluster::start_with(|config| {
            config.fsync = false;
            config.anonymous_read = allowed;
        })
        .await;
        put(&cluster, "a", "1").await;
        let to = cluster.nodes[0].config.listen;
        let http = reqwest::Client::new();
        let status = async |method: Method, target: &str| {
            let request = http.request(method, format!("http://{to}{target}"));
            request.send().await.unwrap().status().as_u16()
        };
        let or_refused = |status| if allowed { status } else { 403 };
        assert_eq!(status(Method::GET, "/quiz/a").await, or_refused(200));
        assert_eq!(status(Method::HEAD, "/quiz/a").await, or_refused(200));
        assert_eq!(status(Method::GET, "/quiz/none").await, or_refused(404));
        let chosen = "/quiz/a?response%2Dcontent-type=text/html";
        assert_eq!(status(Method::GET, chosen).await, or_refused(400));
        for (method, target) in [
            (Method::GET, "/quiz"),
            (Method::GET, "/quiz?list-type=2"),
            (Method::GET, "/quiz?versions"),
            (Method::GET, "/quiz?uploads"),
            (Method::GET, "/"),
            (Method::HEAD, "/quiz"),
            (Method::PUT, "/quiz/b"),
            (Method::DELETE, "/quiz/a"),
            (Method::POST, "/quiz/a?uploads"),
            (Method::POST, "/quiz?delete"),
        ] {
            let refused = status(method.clone(), target).await;
            assert_eq!(refused, 403, "{method} {target}");
        }
        let skipping = client(to).with_skip_signature(true).build().unwrap();
        assert_eq!(skipping.get(&Path::from("a")).await.is_ok(), allowed);
    }
}

#[tokio::test]
async fn a_presigned_request_is_good_for_what_was_signed() {
    let cluster = TestCluster::start().await;
    let to = cluster.nodes[0].config.listen;
    let http = reqwest::Client::new();
    let target = presign(&cluster, Method::PUT, "a").await;
    let put = http.put(format!("http://{to}{target}")).body("hello");
    assert_eq!(put.send().await.unwrap().status(), 200);
    let other = target.replace("/quiz/a?", "/quiz/b?");
    let put = http.put(format!("http://{to}{other}")).body("hello");
    assert_eq!(put.send().await.unwrap().status(), 403);
    let get = http.get(format!("http://{to}{target}"));
    assert_eq!(get.send().await.unwrap().status(), 403);
    let target = presign(&cluster, Method::GET, "a").await;
    let get = http.get(format!("http://{to}{target}"));
    assert_eq!(get.send().await.unwrap().text().await.unwrap(), "hello");
    let longer = target.replace("X-Amz-Expires=600", "X-Amz-Expires=6000");
    assert_ne!(longer, target);
    let get = http.get(format!("http://{to}{longer}"));
    assert_eq!(get.send().await.unwrap().status(), 403);
}
