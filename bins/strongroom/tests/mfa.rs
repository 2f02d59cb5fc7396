//! The second factor of logins through the running program.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{io::Write as _, process::Stdio, time::Duration};

use secret::{SecretBytes, SecretString};
use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

use crate::kit::{policy, start};

/// A server where logins by userpass need a code. Codes last an hour, so that none runs out during a test.
struct World {
    server: Server,
    root: Wire,
    method: String,
}

/// An authenticator.
struct Phone {
    codes: totp::Settings,
    key: SecretBytes,
}

impl Phone {
    fn new(shown: &Value) -> Self {
        let url = shown["url"].as_str().unwrap();
        let (_, key) = url.split_once("&secret=").unwrap();
        let key = totp::parse_key(&SecretString::new(key.to_owned())).unwrap();
        Self { codes: totp::Settings { period: HOUR, digits: 8, ..totp::Settings::default() }, key }
    }

    /// The code of the moment, or of so many hours later.
    fn code(&self, hours: u32) -> String {
        let at = clock::after(clock::Clock::system().now(), HOUR * hours);
        self.codes.code(&self.key, at).expose().clone()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

impl World {
    fn new() -> Self {
        let (server, root) = start();
        root.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
        policy(&root, "own", "path \"cubbyhole/*\" { capabilities = [\"read\", \"update\"] }");
        for name in ["alice", "bob"] {
            let user = json!({ "password": "right", "token_policies": "own", "token_ttl": "10m" });
            root.post(&format!("auth/userpass/users/{name}"), user).done();
        }
        let body = json!({ "issuer": "Strongroom", "period": "1h", "digits": 8, "method_name": "phone", "max_validation_attempts": 3 });
        let made = root.post("identity/mfa/method/totp", body).data();
        Self { server, root, method: made["method_id"].as_str().unwrap().to_owned() }
    }

    fn enforce(&self, whom: Value) {
        let mut body = json!({ "mfa_method_ids": [self.method] });
        body.as_object_mut().unwrap().extend(whom.as_object().unwrap().clone());
        self.root.post("identity/mfa/login-enforcement/all", body).done();
    }

    fn login(&self, name: &str, headers: &[(&str, &str)]) -> Reply {
        let body = json!({ "password": "right" }).to_string();
        let anybody = self.root.with_token("");
        anybody.send("POST", &format!("auth/userpass/login/{name}"), headers, Some(body.as_bytes()))
    }

    /// Who logs in once without a second factor has an entity.
    fn entity(&self, name: &str) -> String {
        self.login(name, &[]).ok()["auth"]["entity_id"].as_str().unwrap().to_owned()
    }

    fn phone(&self, entity: &str) -> Phone {
        let body = json!({ "method_id": self.method, "entity_id": entity });
        Phone::new(&self.root.post("identity/mfa/method/totp/admin-generate", body).data())
    }

    fn waiting(&self, name: &str) -> String {
        self.login(name, &[]).ok()["auth"]["mfa_requirement"]["mfa_request_id"].as_str().unwrap().to_owned()
    }

    fn validate(&self, id: &str, code: &str) -> Reply {
        let body = json!({ "mfa_request_id": id, "mfa_payload": { &self.method: [code] } });
        self.root.with_token("").post("sys/mfa/validate", body)
    }
}

#[test]
fn a_login_waits_for_its_code_and_is_finished_once() {
    let world = World::new();
    let entity = world.entity("alice");
    let phone = world.phone(&entity);
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    let reply = world.login("alice", &[]).ok();
    let auth = &reply["auth"];
    assert_eq!(
        (&auth["client_token"], &auth["accessor"], &auth["entity_id"]),
        (&json!(""), &json!(""), &json!(entity))
    );
    assert_eq!((&auth["policies"], &auth["lease_duration"]), (&json!([]), &json!(0)));
    let any = &auth["mfa_requirement"]["mfa_constraints"]["all"]["any"];
    assert_eq!(*any, json!([{ "type": "totp", "id": world.method, "uses_passcode": true, "name": "phone" }]));
    assert!(reply["warnings"][0].as_str().unwrap().contains("subject to MFA validation"), "{reply}");

    let id = auth["mfa_requirement"]["mfa_request_id"].as_str().unwrap();
    world.validate(id, "000000").refused(403, "login MFA validation failed");
    let finished = world.validate(id, &phone.code(0)).ok()["auth"].clone();
    assert_eq!((&finished["policies"], &finished["entity_id"]), (&json!(["default", "own"]), &json!(entity)));
    assert_eq!((&finished["mfa_requirement"], &finished["lease_duration"]), (&Value::Null, &json!(600)));
    let alice = world.root.with_token(finished["client_token"].as_str().unwrap());
    let about = alice.get("auth/token/lookup-self").data();
    assert_eq!(
        (&about["path"], &about["display_name"]),
        (&json!("auth/userpass/login/alice"), &json!("userpass-alice"))
    );
    alice.post("auth/token/renew-self", json!({})).ok();
    world.validate(id, &phone.code(1)).refused(400, "no login waits under this id");

    // Spaces make no other code of it (CVE-2025-6014), nor does the other way to show it.
    let used = phone.code(0);
    let spaced = format!("{} {} ", &used[..3], &used[3..]);
    let id = world.waiting("alice");
    for code in [&used, &spaced] {
        world.validate(&id, code).refused(403, "code already used");
    }
    let header = format!("phone:{used}");
    world.login("alice", &[("X-Vault-MFA", &header)]).refused(403, "code already used");
    world.login("alice", &[("X-Vault-MFA", &header)]).refused(403, "try again in");
}

#[test]
fn a_code_can_come_with_the_login_itself() {
    let world = World::new();
    let phone = world.phone(&world.entity("alice"));
    world.enforce(json!({ "auth_method_types": "userpass" }));
    let by_name = format!("PHONE:{}", phone.code(0));
    world.login("alice", &[("X-Vault-MFA", &by_name)]).ok()["auth"]["client_token"].as_str().unwrap();
    world.login("alice", &[("X-Vault-MFA", &by_name)]).refused(403, "code already used");
    let by_id = format!("{}:{}", world.method, phone.code(1));
    let token = world.login("alice", &[("X-Vault-MFA", &by_id)]).client_token();
    world.root.with_token(&token).get("auth/token/lookup-self").ok();
    world.login("alice", &[("X-Vault-MFA", "other:123456")]).refused(403, "a code of one of its methods is missing");
    world.login("alice", &[("X-Vault-MFA", "nothing")]).refused(400, "X-Vault-MFA: use METHOD:CODE");
    world.login("bob", &[("X-Vault-MFA", "phone:123456")]).refused(403, "has no secret for this method");
}

#[test]
fn who_guesses_codes_has_to_wait() {
    let world = World::new();
    let (alice, bob) = (world.entity("alice"), world.entity("bob"));
    let (alice, bob) = (world.phone(&alice), world.phone(&bob));
    world.enforce(json!({ "auth_method_types": "userpass" }));
    let id = world.waiting("alice");
    for _ in 0..3 {
        world.validate(&id, "abcdef").refused(403, "the code is wrong or too old");
    }
    world.validate(&id, &alice.code(0)).refused(403, "please try again in");
    let id = world.waiting("alice");
    world.validate(&id, &alice.code(0)).refused(403, "please try again in");
    // The others do not wait with her.
    world.validate(&world.waiting("bob"), &bob.code(0)).client_token();
}

#[test]
fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let world = World::new();
    world.phone(&world.entity("alice"));
    world.enforce(json!({ "auth_method_types": "userpass" }));
    let id = world.waiting("alice");
    let replies = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..12)
            .map(|n| {
                let (world, id) = (&world, &id);
                scope.spawn(move || world.validate(id, &format!("x{n:05}")).text())
            })
            .collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect::<Vec<_>>()
    });
    let looked_at = replies.iter().filter(|text| text.contains("wrong or too old")).count();
    assert_eq!(looked_at, 3, "{replies:?}");
}

#[test]
fn an_enforcement_reaches_whom_it_names() {
    let world = World::new();
    let (alice, bob) = (world.entity("alice"), world.entity("bob"));
    let waits = |name: &str| world.login(name, &[]).ok()["auth"]["client_token"] == "";
    let accessor = world.root.get("sys/auth").data()["userpass/"]["accessor"].clone();
    let below = world.root.post("identity/group", json!({ "name": "below", "member_entity_ids": [bob] })).data();
    let above = json!({ "name": "above", "member_group_ids": [below["id"]] });
    let above = world.root.post("identity/group", above).data()["id"].clone();
    let none = json!([]);
    for (whom, whose) in [
        (json!({ "identity_entity_ids": [alice] }), [true, false]),
        (json!({ "identity_entity_ids": none, "identity_group_ids": [above] }), [false, true]),
        (json!({ "identity_group_ids": none, "auth_method_accessors": accessor }), [true, true]),
        (json!({ "auth_method_accessors": none, "auth_method_types": ["approle"] }), [false, false]),
    ] {
        world.enforce(whom.clone());
        assert_eq!([waits("alice"), waits("bob")], whose, "{whom}");
    }
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    assert!(waits("alice"));
    world.root.delete("identity/mfa/login-enforcement/ALL").done();
    assert!(!waits("alice"));
    let token = world.login("alice", &[]).client_token();
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    world.root.with_token(&token).get("auth/token/lookup-self").ok();
}

#[test]
fn a_login_waits_through_a_restart_but_not_without_its_mount() {
    let mut world = World::new();
    let phone = world.phone(&world.entity("alice"));
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    let id = world.waiting("alice");
    world.server.stop();
    world.server.launch();
    world.server.unseal();
    world.root = Wire::new(&world.server, world.server.root_token());
    world.validate(&id, &phone.code(0)).client_token();

    let id = world.waiting("alice");
    world.root.delete("sys/auth/userpass").done();
    world.validate(&id, &phone.code(1)).refused(400, "the auth method of this login is gone");
}

#[test]
fn a_login_that_was_to_be_wrapped_is_wrapped_in_the_end() {
    let world = World::new();
    let phone = world.phone(&world.entity("alice"));
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    let waits = world.login("alice", &[("X-Vault-Wrap-TTL", "60")]).ok();
    let id = waits["auth"]["mfa_requirement"]["mfa_request_id"].as_str().unwrap();
    let wrapped = world.validate(id, &phone.code(0)).ok();
    assert_eq!(wrapped["auth"], Value::Null);
    let token = wrapped["wrap_info"]["token"].as_str().unwrap();
    world.root.with_token(token).post("sys/wrapping/unwrap", json!({})).client_token();
}

#[test]
fn everybody_makes_their_own_secret_once() {
    let world = World::new();
    policy(&world.root, "enrol", "path \"identity/mfa/method/totp/generate\" { capabilities = [\"update\"] }");
    let path = "identity/mfa/method/totp";
    world.root.post("auth/userpass/users/alice/policies", json!({ "token_policies": "enrol" })).done();
    let auth = world.login("alice", &[]).ok()["auth"].clone();
    let alice = world.root.with_token(auth["client_token"].as_str().unwrap());
    let shown = alice.post(&format!("{path}/generate"), json!({ "method_id": world.method })).data();
    assert!(shown["url"].as_str().unwrap().starts_with("otpauth://totp/Strongroom:"), "{shown}");
    assert!(shown["barcode"].as_str().unwrap().starts_with("iVBORw0KGgo"), "a PNG picture");
    let again = alice.post(&format!("{path}/generate"), json!({ "method_id": world.method })).ok();
    assert_eq!(again["data"], Value::Null);
    assert!(again["warnings"][0].as_str().unwrap().contains("already has a secret"), "{again}");
    alice.post(&format!("{path}/admin-destroy"), json!({})).refused(403, "permission denied");

    let entity = auth["entity_id"].as_str().unwrap();
    let whose = json!({ "method_id": "phone", "entity_id": entity });
    world.root.post(&format!("{path}/admin-destroy"), whose.clone()).done();
    let other = alice.post(&format!("{path}/generate"), json!({ "method_id": world.method })).data();
    assert_ne!(other["url"], shown["url"]);
    world.root.post(&format!("{path}/generate"), json!({ "method_id": world.method })).refused(400, "has no entity");

    // Who becomes one with somebody else keeps the secret; who goes takes it along.
    let bob = world.entity("bob");
    let phone = Phone::new(&other);
    let keep = json!({ "from_entity_ids": [entity], "to_entity_id": bob });
    world.root.post("identity/entity/merge", keep).fails(400);
    let alias = world.root.get(&format!("identity/entity/id/{bob}")).data()["aliases"][0]["id"].clone();
    let keep = json!({ "from_entity_ids": [entity], "to_entity_id": bob, "conflicting_alias_ids_to_keep": [alias] });
    world.root.post("identity/entity/merge", keep).done();
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    world.validate(&world.waiting("bob"), &phone.code(0)).client_token();
}

#[test]
fn methods_and_enforcements_are_kept_as_they_are_told() {
    let world = World::new();
    let root = &world.root;
    let path = format!("identity/mfa/method/totp/{}", world.method);
    let shown = root.get(&path).data();
    let expected = json!({
        "type": "totp", "id": world.method, "name": "phone", "issuer": "Strongroom", "period": 3600, "key_size": 20,
        "qr_size": 200, "algorithm": "SHA1", "digits": 8, "skew": 1, "max_validation_attempts": 3,
        "namespace_id": "root", "namespace_path": "",
    });
    assert_eq!(shown, expected);
    assert_eq!(root.get(&format!("identity/mfa/method/{}", world.method)).data(), expected);
    root.post(&path, json!({ "algorithm": "SHA512", "digits": 6, "skew": 0, "qr_size": 0 })).done();
    let changed = root.get(&path).data();
    assert_eq!(
        [&changed["algorithm"], &changed["digits"], &changed["skew"], &changed["period"]],
        [&json!("SHA512"), &json!(6), &json!(0), &json!(3600)]
    );
    for list in ["identity/mfa/method", "identity/mfa/method/totp"] {
        let listed = root.list(list).data();
        assert_eq!(
            (&listed["keys"], &listed["key_info"][&world.method]["name"]),
            (&json!([world.method]), &json!("phone"))
        );
    }
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    let enforcement = root.get("identity/mfa/login-enforcement/all").data();
    assert_eq!(
        (&enforcement["mfa_method_ids"], &enforcement["auth_method_types"], &enforcement["identity_group_ids"]),
        (&json!([world.method]), &json!(["userpass"]), &json!([]))
    );
    assert_eq!(root.list("identity/mfa/login-enforcement").data()["keys"], json!(["all"]));
    root.delete(&path).refused(400, "still used by the login enforcement \"all\"");
    root.delete("identity/mfa/login-enforcement/all").done();
    root.delete(&path).done();
    root.get(&path).refused(404, "");
    root.list("identity/mfa/method").refused(404, "");
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let world = World::new();
    let root = &world.root;
    for (body, text) in [
        (json!({}), "issuer must be set"),
        (json!({ "issuer": "a", "algorithm": "MD5" }), "algorithm: use SHA1"),
        (json!({ "issuer": "a", "digits": 7 }), "digits: use 6 or 8"),
        (json!({ "issuer": "a", "digits": 300 }), "digits: use 6 or 8"),
        (json!({ "issuer": "a", "skew": 2 }), "skew: use 0 or 1"),
        (json!({ "issuer": "a", "period": "0s" }), "period: use whole seconds"),
        (json!({ "issuer": "a", "key_size": 8 }), "key_size"),
        (json!({ "issuer": "a", "qr_size": 100_000 }), "qr_size"),
        (json!({ "issuer": "a", "max_validation_attempts": 100_000 }), "max_validation_attempts"),
        (json!({ "issuer": "a", "method_name": "PHONE" }), "another method has this name"),
        (json!({ "issuer": "a\nb" }), "issuer must be set"),
    ] {
        root.post("identity/mfa/method/totp", body).refused(400, text);
    }
    root.post("identity/mfa/method/totp/nothing", json!({ "issuer": "a" })).refused(400, "there is no MFA method");
    for kind in ["duo", "okta", "pingid"] {
        root.post(&format!("identity/mfa/method/{kind}"), json!({})).refused(400, "is not served");
    }
    let method = &world.method;
    for (body, text) in [
        (json!({}), "missing method ids"),
        (json!({ "mfa_method_ids": ["x"], "auth_method_types": ["userpass"] }), "there is no MFA method"),
        (json!({ "mfa_method_ids": [method] }), "must be specified"),
        (json!({ "mfa_method_ids": [method], "auth_method_types": ["kv"] }), "auth_method_types: use"),
        (json!({ "mfa_method_ids": [method], "auth_method_accessors": ["x"] }), "auth_method_accessors"),
        (json!({ "mfa_method_ids": [method], "identity_group_ids": ["x"] }), "identity_group_ids"),
        (json!({ "mfa_method_ids": [method], "identity_entity_ids": ["x"] }), "identity_entity_ids"),
    ] {
        root.post("identity/mfa/login-enforcement/e", body).refused(400, text);
    }
    let anybody = root.with_token("");
    for (body, text) in [
        (json!({}), "missing request ID"),
        (json!({ "mfa_request_id": "x" }), "missing mfa_payload"),
        (json!({ "mfa_request_id": "x", "mfa_payload": { method: [] } }), "exactly one code"),
        (json!({ "mfa_request_id": "x", "mfa_payload": { method: ["1", "2"] } }), "exactly one code"),
        (json!({ "mfa_request_id": "x", "mfa_payload": { method: "1" } }), "mfa_payload"),
        (json!({ "mfa_request_id": "x", "mfa_payload": { method: ["1"] } }), "no login waits under this id"),
    ] {
        anybody.post("sys/mfa/validate", body).refused(400, text);
    }
    for body in [json!({}), json!({ "method_id": method, "entity_id": "x" }), json!({ "method_id": "x" })] {
        root.post("identity/mfa/method/totp/admin-generate", body.clone()).fails(400);
        root.post("identity/mfa/method/totp/admin-destroy", body).fails(400);
    }
}

#[test]
fn neither_codes_nor_secrets_are_in_the_audit_log() {
    let world = World::new();
    let path = world.server.folder().join("audit.log");
    world.root.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": path } })).done();
    let entity = world.entity("alice");
    let shown = world
        .root
        .post("identity/mfa/method/totp/admin-generate", json!({ "method_id": world.method, "entity_id": entity }));
    let shown = shown.data();
    let phone = Phone::new(&shown);
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    let (id, code) = (world.waiting("alice"), phone.code(0));
    world.validate(&id, "98765432").refused(403, "login MFA");
    let token = world.validate(&id, &code).client_token();
    let text = std::fs::read_to_string(&path).unwrap();
    let key = shown["url"].as_str().unwrap().rsplit('=').next().unwrap();
    for secret in [key, "otpauth:", &code, "98765432", &token, &id] {
        assert!(!text.contains(secret), "{secret} is in the audit log");
    }
    assert!(text.contains("sys/mfa/validate") && text.contains("login MFA validation failed"));
}

#[test]
fn the_command_line_brings_the_code_or_says_what_is_missing() {
    let world = World::new();
    let phone = world.phone(&world.entity("alice"));
    world.enforce(json!({ "auth_method_types": ["userpass"] }));
    let home = world.server.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    let run = |args: &[&str], input: &str| {
        let mut command = world.server.command("", args);
        command.env("HOME", &home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let login = ["login", "-method=userpass", "username=alice", "password=right"];
    let (code, out, err) = run(&login, "");
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.contains("write sys/mfa/validate -") && out.contains(&world.method), "{out}{err}");
    assert!(!home.join(".vault-token").exists(), "there is no token to keep");
    let id = out.lines().find_map(|line| line.strip_prefix("mfa_request_id")).unwrap().trim();
    let body = json!({ "mfa_request_id": id, "mfa_payload": { &world.method: [phone.code(0)] } }).to_string();
    let (code, out, err) = run(&["write", "-field=token", "sys/mfa/validate", "-"], &body);
    assert_eq!((code, out.starts_with("hvs.")), (Some(0), true), "{out}{err}");
    let mfa = format!("-mfa=phone:{}", phone.code(1));
    let (code, out, err) = run(&[&login[..], &[&mfa]].concat(), "");
    assert_eq!((code, out.contains("You are now authenticated")), (Some(0), true), "{out}{err}");
    assert!(home.join(".vault-token").exists());
}
