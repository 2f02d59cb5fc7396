//! Search by name and notes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use api::{Operation, Verb};
use engine::{Caller, Error, testing::Mounted};
use serde_json::{Value, json};

const LIST: &[Operation] = &[Operation::List];
const READ: &[Operation] = &[Operation::Read];

async fn mount() -> Mounted {
    let mount = Mounted::with(engine_kv::KIND, &[("version", "2")]);
    let secrets = [
        ("prod/shop/payment", json!({ "owner": "Shop", "tier": "1" })),
        ("prod/shop/Stripe-Key", json!({ "owner": "shop" })),
        ("prod/mail/smtp", json!({ "owner": "mail" })),
        ("prod/mail", json!({})),
        ("test/shop/payment", json!({ "owner": "shop" })),
        ("payment", json!({})),
    ];
    for (path, custom) in secrets {
        mount.write(&format!("data/{path}"), json!({ "data": { "password": "hunter2" } })).await.unwrap();
        mount.write(&format!("metadata/{path}"), json!({ "custom_metadata": custom })).await.unwrap();
    }
    mount
}

async fn keys(mount: &Mounted, caller: Option<&Arc<Caller>>, path: &str) -> Vec<String> {
    match mount.send_as(caller, Verb::List, path, Value::Null).await {
        Ok(found) => serde_json::from_value(found.data["keys"].clone()).unwrap(),
        Err(Error::NotFound) => Vec::new(),
        Err(error) => panic!("{path}: {error}"),
    }
}

#[tokio::test]
async fn secrets_are_found_by_name_and_notes() {
    let mount = mount().await;
    let all =
        ["payment", "prod/mail", "prod/mail/smtp", "prod/shop/Stripe-Key", "prod/shop/payment", "test/shop/payment"];
    let cases: &[(&str, &[&str])] = &[
        ("search", &all),
        ("search/", &all),
        ("search/prod", &["mail", "mail/smtp", "shop/Stripe-Key", "shop/payment"]),
        ("search/prod/shop/", &["Stripe-Key", "payment"]),
        ("search/none", &[]),
        ("search?name=PAYMENT", &["payment", "prod/shop/payment", "test/shop/payment"]),
        ("search?name=prod/*payment", &["prod/shop/payment"]),
        ("search?name=*-key", &["prod/shop/Stripe-Key"]),
        ("search?name=payment*", &["payment"]),
        ("search?meta.owner=shop", &["prod/shop/Stripe-Key", "prod/shop/payment", "test/shop/payment"]),
        ("search?meta.owner=s*&meta.tier=1", &["prod/shop/payment"]),
        ("search?meta.owner=s", &[]),
        ("search/prod?meta.owner=*&name=m", &["mail/smtp", "shop/payment"]),
        ("search?depth=1", &["payment", "prod/", "test/"]),
        ("search?depth=2", &["payment", "prod/mail", "prod/mail/", "prod/shop/", "test/shop/"]),
        ("search/prod?depth=1", &["mail", "mail/", "shop/"]),
        ("search?depth=1&name=prod", &["prod/"]),
    ];
    for (path, expected) in cases {
        let found = keys(&mount, None, path).await;
        assert_eq!(found, *expected, "{path}");
    }
    let read = mount.read("search/prod?name=smtp").await.unwrap();
    assert_eq!(read.data, json!({ "keys": ["mail/smtp"], "more": false }));
    assert!(matches!(mount.read("search?name=nothing").await, Err(Error::NotFound)));
    for bad in ["search?limit=x", "search?depth=-1", "search?color=red", "search?name=a&name=b"] {
        assert!(matches!(mount.read(bad).await, Err(Error::Invalid(_))), "{bad}");
    }
}

#[tokio::test]
async fn only_what_the_caller_may_see_is_found() {
    let mount = mount().await;
    let search = ("kv/search/*", &[Operation::List, Operation::Read][..]);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a [Operation])], &'a [&'a str], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        // Who may search but nothing else learns nothing.
        ("nothing", &[search], &[], &[]),
        // Who may read a value knows its name, not its notes.
        ("reader", &[search, ("kv/data/prod/shop/payment", READ)], &["prod/shop/payment"], &[]),
        // Who may list a folder knows the names in it, not in those below.
        ("lister", &[search, ("kv/metadata/prod/", LIST)], &["prod/mail"], &[]),
        ("roots", &[search, ("kv/metadata/", LIST)], &["payment"], &[]),
        // Who may read the notes may look for them.
        (
            "noter",
            &[search, ("kv/metadata/prod/shop/*", READ)],
            &["prod/shop/Stripe-Key", "prod/shop/payment"],
            &["prod/shop/Stripe-Key", "prod/shop/payment"],
        ),
    ];
    for (name, rules, by_name, by_notes) in cases {
        let caller = mount.caller(name, rules);
        assert_eq!(keys(&mount, Some(&caller), "search/?name=*").await, *by_name, "{name}");
        assert_eq!(keys(&mount, Some(&caller), "search/?meta.owner=shop").await, *by_notes, "{name}");
    }
    let folders = mount.caller("folders", &[search, ("kv/metadata/prod/", LIST)]);
    assert_eq!(keys(&mount, Some(&folders), "search/prod?depth=1").await, ["mail", "mail/", "shop/"]);
    let outsider = mount.caller("outsider", &[("kv/metadata/*", LIST)]);
    let denied = mount.send_as(Some(&outsider), Verb::List, "search/prod", Value::Null).await;
    assert!(matches!(denied, Err(Error::Denied(_))));
}

#[tokio::test]
async fn pages_join_to_the_whole_and_their_work_is_bounded() {
    let mount = Mounted::with(engine_kv::KIND, &[("version", "2")]);
    for n in 0..30 {
        for m in 0..4 {
            mount
                .write(&format!("metadata/f{n:02}/s{m}"), json!({ "custom_metadata": { "m": m.to_string() } }))
                .await
                .unwrap();
        }
    }
    for query in ["", "&meta.m=2", "&depth=1", "&name=s3", "&name=f2*&depth=1"] {
        let whole = keys(&mount, None, &format!("search?limit=1000{query}")).await;
        assert!(!whole.is_empty());
        for limit in [1, 3, 7, 120] {
            let (mut joined, mut after) = (Vec::new(), String::new());
            loop {
                let page = mount.list(&format!("search?limit={limit}{query}&after={after}")).await.unwrap().data;
                let keys: Vec<String> = serde_json::from_value(page["keys"].clone()).unwrap();
                assert!(keys.len() <= limit);
                joined.extend(keys);
                match page["after"].as_str() {
                    Some(next) => after = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(joined, whole, "{limit} {query}");
        }
    }
}

#[tokio::test]
async fn a_page_ends_after_so_much_work_even_if_nothing_is_found() {
    let mount = Mounted::with(engine_kv::KIND, &[("version", "2")]);
    for n in 0..6000 {
        mount.write(&format!("metadata/s{n:04}"), json!({})).await.unwrap();
    }
    let page = mount.list("search?name=s5999").await.unwrap().data;
    assert_eq!((&page["keys"], &page["more"]), (&json!([]), &json!(true)));
    let after = page["after"].as_str().unwrap();
    let page = mount.list(&format!("search?name=s5999&after={after}")).await.unwrap().data;
    assert_eq!(page, json!({ "keys": ["s5999"], "more": false }));
    let page = mount.list("search").await.unwrap().data;
    assert_eq!(page["keys"].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn secrets_are_found_by_how_they_are() {
    let mount = Mounted::with(engine_kv::KIND, &[("version", "2")]);
    let put = async |path: &str| {
        mount.write(&format!("data/{path}"), json!({ "data": { "password": "hunter2" } })).await.unwrap();
    };
    put("old").await;
    mount.time().advance(std::time::Duration::from_secs(60));
    put("twice").await;
    put("twice").await;
    put("gone").await;
    mount.delete("data/gone").await.unwrap();
    mount.write("metadata/noted", json!({ "custom_metadata": { "owner": "shop" } })).await.unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("state=live", &["old", "twice"]),
        ("state=deleted", &["gone"]),
        ("state=empty", &["noted"]),
        ("label=previous", &["twice"]),
        ("label=current&state=live&name=o", &["old"]),
        ("label=none", &[]),
        ("updated_after=2027-01-15T08:00:30Z", &["gone", "noted", "twice"]),
        ("updated_before=2027-01-15T08:00:30Z", &["old"]),
        ("updated_after=2027-01-15T08:00:30Z&meta.owner=*", &["noted"]),
    ];
    for (query, expected) in cases {
        assert_eq!(keys(&mount, None, &format!("search?{query}")).await, *expected, "{query}");
    }
    for bad in ["state=x", "updated_after=yesterday", "updated_before=5"] {
        let error = mount.read(&format!("search?{bad}")).await.unwrap_err();
        assert!(error.to_string().starts_with(bad.split('=').next().unwrap()), "{error}");
    }
    // Who may read a value knows its name, not how it is.
    let reader = mount.caller("reader", &[("kv/search", READ), ("kv/search/*", LIST), ("kv/data/*", READ)]);
    assert_eq!(keys(&mount, Some(&reader), "search/?state=live").await, Vec::<String>::new());
    assert_eq!(keys(&mount, Some(&reader), "search/?name=old").await, ["old"]);
}
