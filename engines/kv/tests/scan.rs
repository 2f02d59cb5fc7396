//! Names at any depth, with versions and without.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use api::{Operation, Verb};
use engine::{Caller, Error, testing::Mounted};
use serde_json::{Value, json};

const SCAN: &[Operation] = &[Operation::Scan];

/// A mount with the paths, and the family of routes that they are listed at.
async fn mounts(paths: &[String]) -> [(Mounted, &'static str); 2] {
    let (one, two) = (Mounted::new(engine_kv::KIND), Mounted::with(engine_kv::KIND, &[("version", "2")]));
    for path in paths {
        one.write(path, json!({ "v": path })).await.unwrap();
        two.write(&format!("data/{path}"), json!({ "data": { "v": path } })).await.unwrap();
    }
    [(one, ""), (two, "metadata/")]
}

async fn keys(mount: &Mounted, caller: Option<&Arc<Caller>>, path: &str) -> Vec<String> {
    match mount.send_as(caller, Verb::Scan, path, Value::Null).await {
        Ok(found) => serde_json::from_value(found.data["keys"].clone()).unwrap(),
        Err(Error::NotFound) => Vec::new(),
        Err(error) => panic!("{path}: {error}"),
    }
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[tokio::test]
async fn all_names_below_a_folder_are_listed() {
    let paths = owned(&["a", "a/b", "a/b/c/d", "a/x", "ab", "z/é"]);
    for (mount, family) in mounts(&paths).await {
        let at = |path: &str| format!("{family}{path}");
        assert_eq!(keys(&mount, None, &at("")).await, paths);
        assert_eq!(keys(&mount, None, &at("a")).await, ["b", "b/c/d", "x"]);
        assert_eq!(keys(&mount, None, &at("a/")).await, ["b", "b/c/d", "x"]);
        assert_eq!(keys(&mount, None, &at("a/b/c")).await, ["d"]);
        assert!(keys(&mount, None, &at("none")).await.is_empty());
        assert_eq!(keys(&mount, None, &at("?limit=2")).await, ["a", "a/b"]);
        assert_eq!(keys(&mount, None, &at("?limit=2&after=a/b")).await, ["a/b/c/d", "a/x"]);
        assert!(keys(&mount, None, &at("?after=z/é")).await.is_empty());
        let bad = mount.send(Verb::Scan, &at("?limit=x"), Value::Null).await;
        assert!(matches!(bad, Err(Error::Invalid(_))));
    }
}

#[tokio::test]
async fn many_names_are_listed_whole() {
    let paths: Vec<_> = (0..2500).map(|n| format!("f{}/s{n:04}", n / 500)).collect();
    let [(mount, _), _] = mounts(&paths).await;
    assert_eq!(keys(&mount, None, "").await, paths);
    assert_eq!(keys(&mount, None, "?limit=1700").await, paths[..1700]);
}

#[tokio::test]
async fn folders_that_may_not_be_scanned_are_passed_over() {
    let paths = owned(&["app/one", "app/sub/two", "hr/pay/three", "top"]);
    for (mount, family) in mounts(&paths).await {
        let rule = |path: &str| format!("kv/{family}{path}");
        // A right on the root of the mount, on one folder, and on one below it.
        let (root, app, sub) = (rule(""), rule("app/"), rule("app/sub/"));
        let some = mount.caller("some", &[(&root, SCAN), (&app, SCAN)]);
        assert_eq!(keys(&mount, Some(&some), family).await, ["app/one", "top"]);
        let more = mount.caller("more", &[(&root, SCAN), (&app, SCAN), (&sub, SCAN)]);
        assert_eq!(keys(&mount, Some(&more), family).await, ["app/one", "app/sub/two", "top"]);
        let lister = mount.caller("lister", &[(&rule("*"), &[Operation::List, Operation::Read])]);
        let denied = mount.send_as(Some(&lister), Verb::Scan, family, Value::Null).await;
        assert!(matches!(denied, Err(Error::Denied(_))), "{denied:?}");
    }
}
