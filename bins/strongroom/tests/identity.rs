//! Identities through the running program: who is behind a token, and what that adds to its rights at once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use kit::PROGRAM;
use serde_json::{Value, json};
use testkit::{
    identity::Issuer,
    server::Server,
    wire::{Reply, Wire},
};

struct World {
    server: Server,
    root: Wire,
    platform: Issuer,
    /// The accessor of the mount at `auth/jwt/`.
    accessor: String,
}

const ISSUER: &str = "https://platform.example";

impl World {
    fn start() -> Self {
        let server = Server::start_plain(PROGRAM);
        let root = Wire::new(&server, server.root_token());
        let platform = Issuer::new(ISSUER);
        root.post("sys/auth/jwt", json!({ "type": "jwt" })).done();
        let keys = json!({ "jwt_validation_pubkeys": [platform.public_pem()], "bound_issuer": ISSUER });
        root.post("auth/jwt/config", keys).done();
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["strongroom"], "groups_claim": "groups",
            "claim_mappings": { "env": "env" }, "token_ttl": "1h",
        });
        root.post("auth/jwt/role/web", role).done();
        root.post("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "1" } })).done();
        let accessor = root.get("sys/auth").data()["jwt/"]["accessor"].as_str().unwrap().to_owned();
        Self { server, root, platform, accessor }
    }

    fn try_login(&self, name: &str, groups: &[&str]) -> Reply {
        let now = clock::Clock::system().now_seconds();
        let jwt = self.platform.sign(&json!({
            "iss": ISSUER, "aud": "strongroom", "sub": name, "iat": now, "nbf": now, "exp": now + 600,
            "groups": groups, "env": "prod",
        }));
        self.root.with_token("").post("auth/jwt/login", json!({ "role": "web", "jwt": jwt }))
    }

    fn login(&self, name: &str, groups: &[&str]) -> (Wire, Value) {
        let auth = self.try_login(name, groups).ok()["auth"].take();
        (self.root.with_token(auth["client_token"].as_str().unwrap()), auth)
    }

    fn policy(&self, name: &str, text: &str) {
        self.root.post(&format!("sys/policies/acl/{name}"), json!({ "policy": text })).done();
    }

    fn grant_read(&self, name: &str, path: &str) {
        self.policy(name, &format!("path \"{path}\" {{ capabilities = [\"read\"] }}"));
    }
}

#[test]
fn identity_is_a_mount_that_is_always_there() {
    let world = World::start();
    let mounts = world.root.get("sys/mounts").data();
    assert_eq!(mounts["identity/"]["type"], "identity");
    assert!(mounts["identity/"]["accessor"].as_str().unwrap().starts_with("identity_"));
    world.root.delete("sys/mounts/identity").refused(400, "cannot unmount");
    world.root.get("identity/nothing").refused(404, "unsupported path");
}

#[test]
fn what_an_entity_and_its_groups_are_given_binds_for_tokens_that_are_out() {
    let world = World::start();
    let root = &world.root;
    for secret in ["own", "team", "unit", "crew"] {
        root.post(&format!("kv/{secret}"), json!({ "a": "b" })).done();
        world.grant_read(secret, &format!("kv/{secret}"));
    }
    let (bob, auth) = world.login("bob", &["Crew"]);
    let id = auth["entity_id"].as_str().unwrap().to_owned();
    assert_eq!(auth["policies"], json!(["default"]));
    bob.get("kv/own").refused(403, "permission denied");

    root.post(&format!("identity/entity/id/{id}"), json!({ "policies": "OWN", "name": "bob" })).done();
    assert_eq!(bob.get("kv/own").data()["a"], "b");
    let team = root.post("identity/group", json!({ "name": "team", "policies": ["team"], "member_entity_ids": id }));
    let team = team.data()["id"].as_str().unwrap().to_owned();
    bob.get("kv/team").ok();
    root.post("identity/group", json!({ "name": "unit", "policies": ["unit"], "member_group_ids": [team] })).ok();
    bob.get("kv/unit").ok();
    let looked = bob.get("auth/token/lookup-self").data();
    assert_eq!(looked["policies"], json!(["default"]));
    assert_eq!(looked["identity_policies"], json!(["own", "team", "unit"]));
    assert_eq!(looked["entity_id"], id);
    let can = bob.post("sys/capabilities-self", json!({ "path": "kv/unit" })).data();
    assert_eq!(can["capabilities"], json!(["read"]));
    let accessor = json!({ "accessor": auth["accessor"], "path": "kv/unit" });
    assert_eq!(root.post("sys/capabilities-accessor", accessor.clone()).data()["capabilities"], json!(["read"]));
    let explained = root.post("sys/policies/explain", accessor).data();
    assert_eq!((&explained["allowed"], &explained["rules"][0]["policy"]), (&json!(true), &json!("unit")));

    // An external group is entered by what the login says.
    let crew = root.post("identity/group", json!({ "name": "crew", "type": "external", "policies": ["crew"] }));
    let crew = crew.data()["id"].as_str().unwrap().to_owned();
    let alias = json!({ "name": "crew", "mount_accessor": world.accessor, "canonical_id": crew });
    root.post("identity/group-alias", alias).ok();
    bob.get("kv/crew").refused(403, "permission denied");
    let renewed = bob.post("auth/token/renew-self", json!({})).ok();
    assert_eq!(renewed["auth"]["identity_policies"], json!(["crew", "own", "team", "unit"]));
    bob.get("kv/crew").ok();
    let shown = root.get(&format!("identity/group/id/{crew}")).data();
    assert_eq!(shown["member_entity_ids"], json!([id]));
    assert_eq!(shown["alias"]["name"], "crew");
    let (again, auth) = world.login("bob", &[]);
    assert_eq!(auth["identity_policies"], json!(["own", "team", "unit"]));
    again.get("kv/crew").refused(403, "permission denied");
    bob.get("kv/crew").refused(403, "permission denied");

    // A child belongs to the same entity; what the identity adds cannot be handed on as the token's own.
    world.policy("maker", "path \"auth/token/create*\" { capabilities = [\"update\", \"sudo\"] }");
    root.post("identity/group", json!({ "name": "team", "policies": ["team", "maker"] })).done();
    let child = bob.post("auth/token/create", json!({})).ok();
    assert_eq!(child["auth"]["entity_id"], id);
    assert_eq!(child["auth"]["token_policies"], json!(["default"]));
    assert_eq!(child["auth"]["identity_policies"], json!(["maker", "own", "team", "unit"]));
    let child = bob.with_token(child["auth"]["client_token"].as_str().unwrap());
    child.get("kv/unit").ok();
    let batch = bob.post("auth/token/create", json!({ "type": "batch" })).client_token();
    bob.with_token(&batch).get("kv/unit").ok();

    root.delete("identity/group/name/UNIT").done();
    for wire in [&bob, &child] {
        wire.get("kv/unit").refused(403, "permission denied");
        wire.get("kv/team").ok();
    }
    root.post("identity/entity/name/bob", json!({ "disabled": true })).done();
    bob.get("auth/token/lookup-self").refused(403, "permission denied");
    child.get("kv/team").refused(403, "permission denied");
    bob.with_token(&batch).get("kv/team").refused(403, "permission denied");
    world.try_login("BOB", &[]).refused(403, "permission denied");
    root.post("identity/entity/name/bob", json!({ "disabled": false })).done();
    bob.get("kv/team").ok();
    root.delete(&format!("identity/entity/id/{id}")).done();
    bob.get("kv/team").refused(403, "permission denied");
    let (_, auth) = world.login("bob", &[]);
    assert_ne!(auth["entity_id"], json!(id));
}

#[test]
fn templates_speak_of_the_identity_as_it_is_now() {
    let world = World::start();
    let root = &world.root;
    let (bob, auth) = world.login("svc-1", &[]);
    let id = auth["entity_id"].as_str().unwrap().to_owned();
    let group =
        root.post("identity/group", json!({ "name": "ops", "member_entity_ids": [id], "metadata": { "room": "r1" } }));
    let group = group.data()["id"].as_str().unwrap().to_owned();
    let accessor = &world.accessor;
    let paths = [
        "{{identity.entity.id}}".to_owned(),
        "{{identity.entity.name}}".to_owned(),
        "{{identity.entity.metadata.team}}".to_owned(),
        format!("{{{{identity.entity.aliases.{accessor}.name}}}}"),
        format!("{{{{identity.entity.aliases.{accessor}.metadata.env}}}}"),
        format!("{{{{identity.entity.aliases.{accessor}.custom_metadata.tier}}}}"),
        format!("{{{{identity.groups.ids.{group}.name}}}}"),
        "{{identity.groups.names.ops.metadata.room}}".to_owned(),
    ];
    let rules = paths
        .iter()
        .enumerate()
        .map(|(nth, path)| format!("path \"kv/p{nth}/{path}\" {{ capabilities = [\"create\", \"update\"] }}\n"));
    world.policy("mine", &rules.collect::<String>());
    root.post(
        &format!("identity/entity/id/{id}"),
        json!({ "policies": "mine", "name": "bob", "metadata": { "team": "t1" } }),
    )
    .done();
    let alias = json!({ "name": "svc-1", "mount_accessor": accessor, "canonical_id": id, "custom_metadata": { "tier": "gold" } });
    root.post("identity/entity-alias", alias).ok();
    let values = [id.as_str(), "bob", "t1", "svc-1", "prod", "gold", "ops", "r1"];
    for (nth, value) in values.iter().enumerate() {
        bob.post(&format!("kv/p{nth}/{value}"), json!({ "a": 1 })).done();
        bob.post(&format!("kv/p{nth}/other"), json!({ "a": 1 })).refused(403, "permission denied");
    }
    // The default policy lets everybody see themselves, and nobody else.
    assert_eq!(bob.get(&format!("identity/entity/id/{id}")).data()["name"], "bob");
    assert_eq!(bob.get("identity/entity/name/bob").data()["id"], id);
    bob.get("identity/entity/name/other").refused(403, "permission denied");
    root.post(&format!("identity/entity/id/{id}"), json!({ "metadata": { "team": "t2" } })).done();
    bob.post("kv/p2/t1", json!({ "a": 1 })).refused(403, "permission denied");
    bob.post("kv/p2/t2", json!({ "a": 1 })).done();
    // A value that would widen a path gives nothing.
    for wide in ["*", "a/b", "+", ""] {
        root.post(&format!("identity/entity/id/{id}"), json!({ "metadata": { "team": wide } })).done();
        bob.post("kv/p2/t2", json!({ "a": 1 })).refused(403, "permission denied");
        bob.post("kv/p2/a", json!({ "a": 1 })).refused(403, "permission denied");
    }
}

// Policy names were once compared in one spelling by identities and in another by tokens, and a group made its members
// root (CVE-2025-5999 and its like).
#[test]
fn no_identity_is_given_root() {
    let world = World::start();
    let root = &world.root;
    for name in ["root", "Root", " root", "ROOT\t", "default, rOOt"] {
        let body = json!({ "name": "x", "policies": name });
        root.post("identity/entity", body.clone()).refused(400, "policies cannot contain root");
        root.post("identity/group", body).refused(400, "policies cannot contain root");
    }
    root.list("identity/entity/name").refused(404, "");
}

#[test]
fn a_merge_that_clashes_says_with_what() {
    let world = World::start();
    let root = &world.root;
    let (bob, one) = world.login("bob", &[]);
    let (_, two) = world.login("robert", &[]);
    let (one, two) = (one["entity_id"].as_str().unwrap(), two["entity_id"].as_str().unwrap());
    let reply = root.post("identity/entity/merge", json!({ "from_entity_ids": [one], "to_entity_id": two }));
    reply.refused(400, "same mount accessor");
    let clash = &reply.json()["data"][0];
    assert_eq!((&clash["from_entity_id"], &clash["to_entity_id"]), (&json!(one), &json!(two)));
    let keep =
        json!({ "from_entity_ids": one, "to_entity_id": two, "conflicting_alias_ids_to_keep": clash["from_alias_id"] });
    root.post("identity/entity/merge", keep).done();
    assert_eq!(bob.get("auth/token/lookup-self").data()["entity_id"], two, "its tokens are tokens of the whole");
    root.get(&format!("identity/entity/id/{one}")).refused(404, "");
    let (_, again) = world.login("bob", &[]);
    assert_eq!(again["entity_id"], two);
}

#[test]
fn names_are_looked_up_and_what_is_not_there_is_nothing() {
    let world = World::start();
    let root = &world.root;
    let made = root.post("identity/entity", json!({ "name": "Bob/1", "metadata": { "a": "b" } })).data();
    assert_eq!(made["name"], "Bob/1");
    let id = made["id"].as_str().unwrap();
    root.post("identity/entity", json!({ "name": "bob/1", "disabled": "false" })).done();
    assert_eq!(root.get("identity/entity/name/BOB/1").data()["id"], id);
    let alias = json!({ "name": "Svc", "canonical_id": id, "mount_accessor": world.accessor });
    let alias = root.post("identity/entity-alias", alias).data();
    assert_eq!(alias["canonical_id"], id);
    for by in [
        json!({ "id": id }),
        json!({ "name": "bOB/1" }),
        json!({ "alias_id": alias["id"] }),
        json!({ "alias_name": "sVC", "alias_mount_accessor": world.accessor }),
    ] {
        assert_eq!(root.post("identity/lookup/entity", by).data()["id"], id);
    }
    root.post("identity/lookup/entity", json!({ "name": "none" })).done();
    root.post("identity/lookup/group", json!({ "alias_name": "x", "alias_mount_accessor": "y" })).done();
    root.post("identity/lookup/entity", json!({})).refused(400, "query parameter not supplied");
    root.post("identity/lookup/entity", json!({ "id": "a", "name": "b" })).refused(400, "query parameter conflict");
    root.post("identity/lookup/group", json!({ "alias_name": "x" })).refused(400, "both 'alias_name'");
    let wrong = json!({ "name": "x", "canonical_id": id, "mount_accessor": "auth_none_1" });
    root.post("identity/entity-alias", wrong).refused(400, "invalid mount accessor \"auth_none_1\"");
    let listed = root.list("identity/entity/id").data();
    assert_eq!(listed["keys"], json!([id]));
    assert_eq!(listed["key_info"][id]["aliases"][0]["mount_path"], "auth/jwt/");
    let listed = root.list("identity/entity-alias/id").data();
    assert_eq!(listed["key_info"][alias["id"].as_str().unwrap()]["canonical_id"], id);
    root.get("identity/group/id/none").refused(404, "");
    root.delete("identity/group/id/none").done();
    root.post("identity/entity/batch-delete", json!({ "entity_ids": [id, "none"] })).done();
    root.list("identity/entity/id").refused(404, "");
    root.list("identity/entity-alias/id").refused(404, "");
}

#[test]
fn many_that_take_one_name_at_once_get_one_entity() {
    let world = World::start();
    let spellings = ["shop", "Shop", "SHOP", "sHoP", "shOp", "shoP", "SHop", "shOP"];
    std::thread::scope(|scope| {
        for name in spellings {
            let (world, wire) = (&world, world.root.with_token(world.root.token()));
            scope.spawn(move || {
                wire.post("identity/entity", json!({ "name": name })).ok();
                wire.post("identity/group", json!({ "name": name })).ok();
                world.login(name, &[]);
            });
        }
    });
    let by_name = world.root.list("identity/entity/name").data();
    let named: Vec<&str> = by_name["keys"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(named.iter().filter(|name| name.eq_ignore_ascii_case("shop")).count(), 1, "{named:?}");
    assert_eq!(named.len(), 2, "the one that was named, and the one that logged in: {named:?}");
    assert_eq!(world.root.list("identity/group/id").data()["keys"].as_array().unwrap().len(), 1);
    assert_eq!(world.root.list("identity/entity-alias/id").data()["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_role_makes_tokens_for_listed_aliases() {
    let world = World::start();
    let root = &world.root;
    root.post("auth/token/create", json!({ "entity_alias": "web-1" })).refused(400, "in combination with token role");
    root.post("auth/token/roles/app", json!({ "allowed_entity_aliases": "WEB-*,one", "allowed_policies": "default" }))
        .done();
    root.post("auth/token/create/app", json!({ "entity_alias": "db-1" })).refused(400, "invalid 'entity_alias' value");
    let auth = root.post("auth/token/create/app", json!({ "entity_alias": "Web-1" })).ok()["auth"].take();
    let entity = root.get(&format!("identity/entity/id/{}", auth["entity_id"].as_str().unwrap())).data();
    assert_eq!(entity["aliases"][0]["name"], "Web-1");
    assert_eq!(entity["aliases"][0]["mount_type"], "token");
    let again = root.post("auth/token/create/app", json!({ "entity_alias": "wEB-1" })).ok();
    assert_eq!(again["auth"]["entity_id"], auth["entity_id"]);
    root.post("identity/entity", json!({ "id": auth["entity_id"], "disabled": true })).done();
    root.post("auth/token/create/app", json!({ "entity_alias": "web-1" })).refused(403, "permission denied");
}

#[test]
fn the_audit_log_says_whose_token_it_was_and_what_the_identity_added() {
    let world = World::start();
    let file = world.server.folder().join("audit.log");
    world.root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": file } })).done();
    let (bob, auth) = world.login("bob", &[]);
    let id = auth["entity_id"].as_str().unwrap();
    world.grant_read("extra", "kv/x");
    world.root.post(&format!("identity/entity/id/{id}"), json!({ "policies": ["extra"] })).done();
    bob.get("kv/x").refused(404, "");
    let log = std::fs::read_to_string(&file).unwrap();
    let mut entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entry = entries.rfind(|entry| entry["request"]["path"] == "kv/x").unwrap();
    assert_eq!(entry["auth"]["entity_id"], id);
    assert_eq!(entry["auth"]["identity_policies"], json!(["extra"]));
    assert_eq!(entry["auth"]["policies"], json!(["default", "extra"]));
    assert_eq!(entry["auth"]["policy_results"]["granting_policies"][0]["name"], "extra");
}
