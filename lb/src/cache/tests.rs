use std::time::Duration;

use super::*;

fn cache() -> Cache {
    Cache::new(config::Cache::default(), CacheNumbers::new().unwrap())
}

fn request(path: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
    request.insert_header("host", "quiz").unwrap();
    for (name, value) in headers {
        request.append_header(*name, *value).unwrap();
    }
    request
}

fn reply(headers: &[(&'static str, &str)]) -> ResponseHeader {
    let mut reply = ResponseHeader::build(200, None).unwrap();
    reply.insert_header("content-length", "5").unwrap();
    for (name, value) in headers {
        reply.insert_header(*name, *value).unwrap();
    }
    reply
}

fn keeps(visitor: &[(&'static str, &str)], headers: &[(&'static str, &str)]) -> bool {
    let judged = cache().judge(&request("/static/a", visitor), &reply(headers));
    judged.is_cacheable()
}

const FOR_ALL: (&str, &str) = ("cache-control", "public, max-age=60");
const FOR_EVER: (&str, &str) = ("cache-control", "public, max-age=60, immutable");

#[test]
fn only_what_says_public_and_for_how_long_is_kept() {
    for (say, kept) in [
        ("public, max-age=60", true),
        ("public, s-maxage=1", true),
        ("max-age=60", false),
        ("public", false),
        ("public, max-age=0", false),
        ("public, no-cache, max-age=60", false),
        ("public, private, max-age=60", false),
        ("public, no-store, max-age=60", false),
    ] {
        assert_eq!(keeps(&[], &[("cache-control", say)]), kept, "{say}");
    }
    assert!(!keeps(&[], &[]));
}

#[test]
fn what_is_not_for_all_is_not_kept() {
    for (header, kept) in [
        (("set-cookie", "a=b"), false),
        (("vary", "*"), false),
        (("vary", "accept, *"), false),
        (("content-encoding", "gzip"), false),
        (("content-length", "4194305"), false),
        (("content-length", "4194304"), true),
        (("vary", "accept"), true),
    ] {
        assert_eq!(keeps(&[], &[FOR_ALL, header]), kept, "{header:?}");
    }
    let coded = [
        FOR_ALL,
        ("content-encoding", "br"),
        ("vary", "Accept-Encoding"),
    ];
    assert!(keeps(&[], &coded));
    let mut missing = reply(&[FOR_ALL]);
    missing.set_status(404).unwrap();
    assert!(
        !cache()
            .judge(&request("/static/a", &[]), &missing)
            .is_cacheable()
    );
}

#[test]
fn for_known_visitors_only_what_never_changes_is_kept() {
    for visitor in [("cookie", "session=1"), ("authorization", "Bearer x")] {
        assert!(!keeps(&[visitor], &[FOR_ALL]), "{visitor:?}");
        assert!(keeps(&[visitor], &[FOR_EVER]), "{visitor:?}");
    }
}

#[test]
fn what_belongs_to_one_connection_or_request_is_left_out() {
    let passing = [
        FOR_ALL,
        ("connection", "close"),
        ("x-request-id", "1"),
        ("age", "9"),
    ];
    let judged = cache().judge(&request("/static/a", &[]), &reply(&passing));
    let meta = judged.unwrap_meta();
    for (name, _) in &passing[1..] {
        assert!(!meta.headers().contains_key(*name), "{name}");
    }
    assert_eq!(meta.fresh_sec(), Duration::from_mins(1).as_secs());
}

#[test]
fn one_key_is_for_what_backends_are_told_alike() {
    let primary = |request: &RequestHeader, origin: &Origin| {
        use pingora::cache::key::CacheHashKey;
        key("quiz", origin, request).primary()
    };
    let plain = Origin::default();
    let one = primary(&request("/static/a?b", &[]), &plain);
    assert_eq!(
        one,
        primary(&request("/static/a?b", &[("accept", "x")]), &plain)
    );
    let mut upper = request("/static/a?b", &[]);
    upper.insert_header("host", "QUIZ").unwrap();
    assert_eq!(one, primary(&upper, &plain));
    let mut other_host = upper.clone();
    other_host.insert_header("host", "other").unwrap();
    let https = Origin {
        https: true,
        ..Origin::default()
    };
    let named = Origin {
        host: Some("other".parse().unwrap()),
        ..Origin::default()
    };
    let others = [
        primary(&request("/static/a?c", &[]), &plain),
        primary(&request("/static/a", &[]), &plain),
        primary(&request("/static/a?b", &[("cookie", "x")]), &plain),
        primary(&other_host, &plain),
        primary(&upper, &https),
        primary(&upper, &named),
    ];
    for (at, other) in others.iter().enumerate() {
        assert_ne!(&one, other, "{at}");
    }
}

#[test]
fn only_plain_requests_below_the_paths_are_admitted() {
    let cache = cache();
    assert!(cache.admits(&request("/static/a", &[])));
    assert!(cache.admits(&request("/images/a", &[("cookie", "session=1")])));
    for (path, header) in [
        ("/", ("accept", "x")),
        ("/staticx", ("accept", "x")),
        ("/static/a", ("content-length", "1")),
        ("/static/a", ("transfer-encoding", "chunked")),
        ("/static/a", ("upgrade", "websocket")),
        // It would be taken away on the way to the backend, and the reply kept for those who send it.
        ("/static/a", ("connection", "accept-language")),
        ("/static/a", ("connection", "keep-alive, Accept-Language")),
    ] {
        assert!(
            !cache.admits(&request(path, &[header])),
            "{path} {header:?}"
        );
    }
    let usual = ("connection", "Keep-Alive, close");
    assert!(cache.admits(&request("/static/a", &[usual])));
    let mut post = request("/static/a", &[]);
    post.set_method(Method::POST);
    assert!(!cache.admits(&post));
    let off = config::Cache {
        enabled: false,
        ..config::Cache::default()
    };
    cache.adopt(off);
    assert!(!cache.admits(&request("/static/a", &[])));
}
