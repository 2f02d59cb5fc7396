//! `operator import`: what one server holds is brought over to another, through its API alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

use crate::kit::start;

struct Pair {
    from: Server,
    source: Wire,
    to: Server,
    target: Wire,
}

struct Ran {
    code: Option<i32>,
    report: Value,
    err: String,
}

impl Pair {
    fn new() -> Self {
        let (from, source) = start();
        let (to, target) = start();
        Self { from, source, to, target }
    }

    fn run(&self, more: &[&str]) -> Ran {
        let token = self.from.folder().join("token");
        std::fs::write(&token, format!("{}\n", self.source.token())).unwrap();
        let mut arguments: Vec<String> = ["operator", "import", "-format=json"].map(str::to_owned).into();
        arguments.push(format!("-from-vault={}", self.from.address()));
        arguments.push(format!("-source-ca-cert={}", self.from.ca_file().display()));
        arguments.push(format!("-source-token-file={}", token.display()));
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        let output = self.to.cli(self.target.token(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let err = String::from_utf8(output.stderr).unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {err}"));
        Ran { code: output.status.code(), report, err }
    }
}

/// Mounts, secrets in both versions, policies, auth methods and identity.
fn fill(root: &Wire) {
    root.post("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" }, "description": "of teams" }))
        .done();
    root.post("sys/mounts/old", json!({ "type": "kv" })).done();
    root.post("sys/mounts/database", json!({ "type": "database" })).done();
    root.post("old/a/b", json!({ "x": "1", "n": 2 })).done();
    for n in 1..=5 {
        root.post("kv/data/team/app", json!({ "data": { "password": format!("secret-{n}") } })).ok();
    }
    root.post("kv/delete/team/app", json!({ "versions": [2] })).done();
    root.post("kv/destroy/team/app", json!({ "versions": [3] })).done();
    let settings = json!({ "custom_metadata": { "owner": "me" }, "cas_required": true, "max_versions": 7 });
    root.post("kv/metadata/team/app", settings).done();
    root.post("kv/data/one", json!({ "data": { "deep": { "er": ["x"] } } })).ok();
    root.post("sys/policies/acl/app", json!({ "policy": "path \"kv/*\" { capabilities = [\"read\"] }" })).done();
    let rule = "length = 20\nrule \"charset\" { charset = \"abc\" }";
    root.post("sys/policies/password/abc", json!({ "policy": rule })).done();
    root.post("sys/auth/approle", json!({ "type": "approle", "config": { "default_lease_ttl": "30m" } })).done();
    root.post("auth/approle/role/web", json!({ "token_policies": "app", "token_ttl": "10m", "secret_id_num_uses": 3 }))
        .ok();
    root.post("auth/approle/role/web/secret-id", json!({})).ok();
    root.post("sys/auth/people", json!({ "type": "userpass" })).done();
    root.post("auth/people/users/alice", json!({ "password": "hidden-one", "token_policies": "app" })).done();
    root.post("auth/token/roles/job", json!({ "allowed_policies": "app", "orphan": true })).done();
    let login = root.with_token("").post("auth/people/login/alice", json!({ "password": "hidden-one" })).ok();
    let entity = login["auth"]["entity_id"].as_str().unwrap();
    root.post(&format!("identity/entity/id/{entity}"), json!({ "name": "Alice", "metadata": { "team": "a" } })).done();
    let inner = root.post("identity/group", json!({ "name": "inner", "member_entity_ids": [entity] })).data();
    root.post("identity/group", json!({ "name": "outer", "member_group_ids": [inner["id"]], "policies": ["app"] }))
        .ok();
    let outside = root.post("identity/group", json!({ "name": "outside", "type": "external" })).data();
    let accessor = root.get("sys/auth").data()["people/"]["accessor"].clone();
    let alias = json!({ "name": "admins", "mount_accessor": accessor, "canonical_id": outside["id"] });
    root.post("identity/group-alias", alias).ok();
}

#[test]
fn everything_that_can_be_read_is_brought_over() {
    let pair = Pair::new();
    fill(&pair.source);
    let dry = pair.run(&["-dry-run"]);
    assert_eq!((dry.report["dry_run"].clone(), dry.code), (json!(true), Some(2)), "{}", dry.err);
    assert!(pair.target.get("sys/mounts").data().get("kv/").is_none(), "a dry run writes nothing");
    assert!(dry.err.contains("would bring secret: kv/team/app"), "{}", dry.err);

    let ran = pair.run(&[]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(!ran.err.contains("secret-1") && !ran.report.to_string().contains("hidden-one"));
    assert_eq!(ran.report["brought"], dry.report["brought"], "{}\n{}", dry.err, ran.err);
    let left: Vec<_> =
        ran.report["left_behind"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    for what in ["what is in database/", "1 secret ids of auth/approle/web", "user auth/people/alice"] {
        assert!(left.contains(&what), "{left:?}");
    }
    assert_eq!(left.len(), 3, "{left:?}");

    let (source, target) = (&pair.source, &pair.target);
    for path in [
        "old/a/b",
        "kv/data/one",
        "sys/policies/acl/app",
        "sys/policies/password/abc",
        "auth/approle/role/web",
        "auth/approle/role/web/role-id",
        "auth/token/roles/job",
    ] {
        let (mut there, mut here) = (source.get(path).data(), target.get(path).data());
        for times in ["created_time", "deletion_time"] {
            there["metadata"].as_object_mut().map(|metadata| metadata.remove(times));
            here["metadata"].as_object_mut().map(|metadata| metadata.remove(times));
        }
        assert_eq!(there, here, "{path}");
    }
    for version in 1..=5 {
        let path = format!("kv/data/team/app?version={version}");
        let (there, here) = (source.get(&path), target.get(&path));
        assert_eq!(there.status, here.status, "{version}: {here}");
        let (there, here) = (there.json()["data"].clone(), here.json()["data"].clone());
        assert_eq!((&there["data"], &there["metadata"]["destroyed"]), (&here["data"], &here["metadata"]["destroyed"]));
        assert_eq!(there["metadata"]["deletion_time"] == "", here["metadata"]["deletion_time"] == "");
    }
    let metadata = target.get("kv/metadata/team/app").data();
    assert_eq!(
        [
            &metadata["custom_metadata"],
            &metadata["cas_required"],
            &metadata["max_versions"],
            &metadata["current_version"]
        ],
        [&json!({ "owner": "me" }), &json!(true), &json!(7), &json!(5)]
    );
    assert_eq!(target.get("sys/mounts").data()["kv/"]["description"], "of teams");
    assert_eq!(target.get("sys/auth").data()["approle/"]["config"]["default_lease_ttl"], 1800);
    let alice = target.get("identity/entity/name/alice").data();
    assert_eq!((&alice["name"], &alice["metadata"]), (&json!("Alice"), &json!({ "team": "a" })));
    assert_eq!(
        (&alice["aliases"][0]["name"], &alice["aliases"][0]["mount_path"]),
        (&json!("alice"), &json!("auth/people/"))
    );
    assert_eq!(alice["group_ids"].as_array().unwrap().len(), 2, "{alice}");
    assert_eq!(target.get("identity/group/name/outside").data()["alias"]["name"], "admins");

    // The user made anew under the old name is the old entity.
    target.post("auth/people/users/alice", json!({ "password": "new-one" })).done();
    let login = target.with_token("").post("auth/people/login/alice", json!({ "password": "new-one" })).ok();
    assert_eq!(login["auth"]["entity_id"], alice["id"]);
    assert_eq!(login["auth"]["identity_policies"], json!(["app"]));
}

/// Begun anew it does only what is left to do, and what is here and differs is left as it is.
#[test]
fn it_goes_on_where_it_was_and_overwrites_nothing() {
    let pair = Pair::new();
    fill(&pair.source);
    let target = &pair.target;
    target.post("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" } })).done();
    target.post("kv/data/one", json!({ "data": { "another": "secret" } })).ok();
    target.post("sys/policies/acl/app", json!({ "policy": "path \"x\" { capabilities = [\"read\"] }" })).done();
    // As if it had been stopped in the middle of a secret.
    target.post("kv/data/team/app", json!({ "data": { "password": "secret-1" } })).ok();
    target.post("kv/data/team/app", json!({ "data": {} })).ok();
    let ran = pair.run(&[]);
    let left = ran.report["left_behind"].to_string();
    assert!(left.contains("secret kv/one") && left.contains("policy app"), "{left}");
    assert_eq!(target.get("kv/data/one").data()["data"], json!({ "another": "secret" }));
    assert!(target.get("sys/policies/acl/app").data()["policy"].as_str().unwrap().contains("path \"x\""));
    let secret = target.get("kv/data/team/app").data();
    assert_eq!((&secret["data"]["password"], &secret["metadata"]["version"]), (&json!("secret-5"), &json!(5)));

    let again = pair.run(&[]);
    assert_eq!(again.report["brought"], json!({}), "{}", again.err);
    assert_eq!(again.report["there_already"]["secret"], json!(2));
    assert_eq!(target.get("kv/data/team/app").data()["metadata"]["version"], 5);
}

#[test]
fn parts_and_mounts_can_be_chosen_and_mistakes_are_told() {
    let pair = Pair::new();
    fill(&pair.source);
    let ran = pair.run(&["-only=policies"]);
    assert_eq!((ran.code, ran.report["brought"].clone()), (Some(0), json!({ "policy": 1, "password policy": 1 })));
    let ran = pair.run(&["-only=mounts", "-only=kv", "-mount=old"]);
    assert_eq!(ran.report["brought"]["secret"], 1, "{}", ran.err);
    assert!(pair.target.get("sys/mounts").data().get("kv/").is_none());

    let cli = |arguments: &[&str]| {
        let output = pair.to.cli(pair.target.token(), arguments);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, err) = cli(&["operator", "import", "-from-vault=http://127.0.0.1:1"]);
    assert!(code == Some(1) && err.contains("SOURCE_TOKEN"), "{err}");
    let wrong = pair.from.folder().join("wrong");
    std::fs::write(&wrong, "hvs.wrong").unwrap();
    let from = format!("-from-vault={}", pair.from.address());
    let authority = format!("-source-ca-cert={}", pair.from.ca_file().display());
    let token = format!("-source-token-file={}", wrong.display());
    let (code, err) = cli(&["operator", "import", &from, &authority, &token]);
    assert!(code == Some(2) && err.contains("asking the server to read who we are"), "{err}");
}
