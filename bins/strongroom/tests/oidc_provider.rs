//! Signing in elsewhere with an identity that is kept here: the authorisation code flow of OpenID Connect.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use kit::PROGRAM;
use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

/// What RFC 7636 gives as its example.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const BACK: &str = "https://app.example/back";

struct World {
    server: Server,
    root: Wire,
    /// Somebody with an entity.
    bob: Wire,
    id: String,
}

impl World {
    fn start() -> Self {
        let server = Server::start_plain(PROGRAM);
        let root = Wire::new(&server, server.root_token());
        let role = json!({ "allowed_entity_aliases": "*", "allowed_policies": "default" });
        root.post("auth/token/roles/people", role).done();
        let auth = root.post("auth/token/create/people", json!({ "entity_alias": "bob" })).ok()["auth"].take();
        let id = auth["entity_id"].as_str().unwrap().to_owned();
        let named = json!({ "name": "bob", "metadata": { "mail": "bob@app.example" } });
        root.post(&format!("identity/entity/id/{id}"), named).done();
        let bob = root.with_token(auth["client_token"].as_str().unwrap());
        let template = r#"{"name": {{identity.entity.name}}, "mail": {{identity.entity.metadata.mail}}}"#;
        root.post("identity/oidc/scope/profile", json!({ "template": template, "description": "Who." })).done();
        let address = server.address();
        let provider = json!({ "issuer": address, "allowed_client_ids": "*", "scopes_supported": "profile" });
        root.post("identity/oidc/provider/people", provider).done();
        Self { server, root, bob, id }
    }

    fn client(&self, name: &str, kind: &str) -> Value {
        let client = json!({
            "redirect_uris": [BACK, "http://127.0.0.1/back"], "assignments": "allow_all", "client_type": kind,
            "id_token_ttl": "10m", "access_token_ttl": "5m",
        });
        self.root.post(&format!("identity/oidc/client/{name}"), client).done();
        self.root.get(&format!("identity/oidc/client/{name}")).data()
    }

    fn authorize(&self, change: Value) -> Reply {
        let mut asked = json!({
            "scope": "openid profile more", "response_type": "code", "redirect_uri": BACK, "state": "s-1", "nonce": "n-1",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        });
        asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.bob.post("identity/oidc/provider/people/authorize", asked)
    }

    fn code(&self, client: &Value) -> String {
        let reply = self.authorize(json!({ "client_id": client["client_id"] })).ok();
        assert_eq!(reply["state"], "s-1");
        reply["code"].as_str().unwrap().to_owned()
    }

    fn exchange(&self, client: &Value, code: &str, change: Value) -> Reply {
        let mut asked = json!({
            "grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "client_id": client["client_id"],
            "client_secret": client["client_secret"], "code_verifier": VERIFIER,
        });
        asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.root.with_token("").post("identity/oidc/provider/people/token", asked)
    }

    fn userinfo(&self, access: &Value) -> Reply {
        let bearer = format!("Bearer {}", access.as_str().unwrap());
        let path = "identity/oidc/provider/people/userinfo";
        self.root.with_token("").send("GET", path, &[("Authorization", &bearer)], None)
    }
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    reply.must_be_lawful();
    assert_eq!((reply.status, reply.json()["error"].as_str()), (status, Some(code)), "{reply}");
}

#[test]
fn a_client_signs_people_in() {
    let world = World::start();
    let client = world.client("app", "confidential");
    assert!(client["client_secret"].as_str().unwrap().starts_with("hvo_secret_"));
    assert_eq!(client["client_id"].as_str().unwrap().len(), 32);
    let told = world.root.with_token("").get("identity/oidc/provider/people/.well-known/openid-configuration").ok();
    let issuer = format!("{}/v1/identity/oidc/provider/people", world.server.address());
    assert_eq!(told["issuer"], issuer);
    assert_eq!(told["token_endpoint"], format!("{issuer}/token"));

    let code = world.code(&client);
    let tokens = world.exchange(&client, &code, json!({})).ok();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(300)));
    let info = world.userinfo(&tokens["access_token"]).ok();
    assert_eq!(info, json!({ "sub": world.id, "name": "bob", "mail": "bob@app.example" }));

    // Somebody else who knows only the public keys believes the token.
    world.root.post("sys/auth/app", json!({ "type": "jwt" })).done();
    world.root.post("auth/app/config", json!({ "oidc_discovery_url": issuer, "bound_issuer": issuer })).done();
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": [client["client_id"]],
        "bound_claims": { "nonce": "n-1" }, "claim_mappings": { "mail": "mail" },
    });
    world.root.post("auth/app/role/any", role).done();
    let login = json!({ "role": "any", "jwt": tokens["id_token"] });
    let known = world.root.with_token("").post("auth/app/login", login).ok();
    assert_eq!(known["auth"]["metadata"]["mail"], "bob@app.example");

    // With the secret in a header, as a form, and the code in a query.
    let query = format!(
        "identity/oidc/provider/people/authorize?scope=openid&response_type=code&client_id={}&redirect_uri={BACK}",
        client["client_id"].as_str().unwrap()
    );
    let code = world.bob.get(&query).ok()["code"].as_str().unwrap().to_owned();
    use base64::Engine as _;
    let pair = format!("{}:{}", client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri=https%3A%2F%2Fapp.example%2Fback");
    let headers = [("Authorization", basic.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let path = "identity/oidc/provider/people/token";
    let tokens = world.root.with_token("").send("POST", path, &headers, Some(form.as_bytes())).ok();
    assert_eq!(world.userinfo(&tokens["access_token"]).ok(), json!({ "sub": world.id }), "only what was asked for");
}

#[test]
fn a_code_is_good_once_for_its_client_and_whoever_asked_for_it() {
    let world = World::start();
    let (app, other) = (world.client("app", "confidential"), world.client("other", "confidential"));
    let code = world.code(&app);
    world.exchange(&app, &code, json!({})).ok();
    refused(&world.exchange(&app, &code, json!({})), 400, "invalid_grant");
    refused(&world.exchange(&other, &world.code(&app), json!({})), 400, "invalid_grant");
    let wrong = [
        (json!({ "redirect_uri": "http://127.0.0.1/back" }), 400, "invalid_grant"),
        (json!({ "code_verifier": null }), 400, "invalid_grant"),
        (json!({ "code_verifier": CHALLENGE }), 400, "invalid_grant"),
        (json!({ "grant_type": "password" }), 400, "unsupported_grant_type"),
        (json!({ "code": "x" }), 400, "invalid_grant"),
        (json!({ "client_secret": "hvo_secret_x" }), 401, "invalid_client"),
        (json!({ "client_secret": null }), 401, "invalid_client"),
        (json!({ "client_id": "x" }), 401, "invalid_client"),
        (json!({ "client_secret": other["client_secret"] }), 401, "invalid_client"),
    ];
    for (change, status, code) in wrong {
        refused(&world.exchange(&app, &world.code(&app), change), status, code);
    }
    // One that was tried with a wrong proof cannot be tried again with the right one.
    let code = world.code(&app);
    refused(&world.exchange(&app, &code, json!({ "code_verifier": "y".repeat(43) })), 400, "invalid_grant");
    refused(&world.exchange(&app, &code, json!({})), 400, "invalid_grant");
    let reply = world.exchange(&app, &code, json!({ "client_id": "x" }));
    assert_eq!(reply.header("www-authenticate"), Some("Basic"));
}

#[test]
fn nobody_is_signed_in_who_is_not_meant_or_sent_elsewhere() {
    let world = World::start();
    let app = world.client("app", "confidential");
    let with = |change: Value| {
        let mut asked = json!({ "client_id": app["client_id"] });
        asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.authorize(asked)
    };
    for (change, code) in [
        (json!({ "client_id": "x" }), "invalid_client_id"),
        (json!({ "redirect_uri": "https://app.example/back/" }), "invalid_redirect_uri"),
        (json!({ "redirect_uri": "https://app.example.evil/back" }), "invalid_redirect_uri"),
        (json!({ "scope": "profile" }), "invalid_scope"),
        (json!({ "response_type": "token" }), "unsupported_response_type"),
        (json!({ "code_challenge_method": "S512" }), "invalid_request"),
        (json!({ "code_challenge": "short" }), "invalid_request"),
        (json!({ "request": "x" }), "request_not_supported"),
    ] {
        let reply = with(change);
        refused(&reply, 400, code);
        assert_eq!(reply.json()["state"], "s-1");
    }
    with(json!({ "redirect_uri": "http://127.0.0.1:49152/back", "max_age": 3600 })).ok();
    let public = world.client("cli", "public");
    assert!(public["client_secret"].is_null());
    let plain = json!({ "client_id": public["client_id"], "code_challenge": null });
    refused(&world.authorize(plain), 400, "invalid_request");
    let code = world.code(&public);
    world.exchange(&public, &code, json!({})).ok();
    // The root token is nobody.
    let query = format!(
        "identity/oidc/provider/people/authorize?scope=openid&response_type=code&client_id={}&redirect_uri={BACK}",
        app["client_id"].as_str().unwrap()
    );
    refused(&world.root.get(&query), 400, "access_denied");
    world.root.with_token("").get(&query).refused(403, "permission denied");

    // Assignments: by entity, by group, and at once.
    let code = world.code(&app);
    let tokens = world.exchange(&app, &world.code(&app), json!({})).ok();
    world.root.post("identity/oidc/assignment/few", json!({ "entity_ids": [], "group_ids": [] })).done();
    world.root.post("identity/oidc/client/app", json!({ "assignments": "few" })).done();
    refused(&with(json!({})), 400, "access_denied");
    refused(&world.exchange(&app, &code, json!({})), 400, "invalid_grant");
    refused(&world.userinfo(&tokens["access_token"]), 401, "invalid_token");
    let group = world.root.post("identity/group", json!({ "name": "g", "member_entity_ids": world.id })).data();
    world.root.post("identity/oidc/assignment/few", json!({ "group_ids": group["id"] })).done();
    world.userinfo(&tokens["access_token"]).ok();
    let code = world.code(&app);
    world.root.post("identity/entity/name/bob", json!({ "disabled": true })).done();
    refused(&world.exchange(&app, &code, json!({})), 400, "invalid_grant");
    refused(&world.userinfo(&tokens["access_token"]), 401, "invalid_token");
    refused(&world.userinfo(&json!("hvs.x")), 401, "invalid_token");
    // An access token opens nothing else.
    let access = world.root.with_token(tokens["access_token"].as_str().unwrap());
    access.get("auth/token/lookup-self").refused(403, "permission denied");
}

#[test]
fn what_belongs_together_is_kept_together() {
    let world = World::start();
    let root = &world.root;
    let app = world.client("app", "confidential");
    for (path, text) in [
        ("identity/oidc/scope/profile", "referenced by these providers: people"),
        ("identity/oidc/assignment/allow_all", "not allowed"),
        ("identity/oidc/provider/default", "not allowed"),
        ("identity/oidc/key/default", "referenced by these clients: app"),
    ] {
        root.delete(path).refused(400, text);
    }
    for (path, body, text) in [
        ("identity/oidc/scope/openid", json!({}), "reserved"),
        ("identity/oidc/scope/x", json!({ "template": "{\"sub\": 1}" }), "not allowed"),
        ("identity/oidc/assignment/allow_all", json!({}), "not allowed"),
        ("identity/oidc/client/app", json!({ "key": "other" }), "key modification"),
        ("identity/oidc/client/app", json!({ "client_type": "public" }), "client_type modification"),
        ("identity/oidc/client/app", json!({ "id_token_ttl": "25h" }), "cannot be greater"),
        ("identity/oidc/client/x", json!({ "assignments": "none" }), "no assignment"),
        ("identity/oidc/client/x", json!({ "key": "none" }), "no named key"),
        ("identity/oidc/client/x", json!({ "redirect_uris": "back" }), "whole URIs"),
        ("identity/oidc/provider/x", json!({ "scopes_supported": "none" }), "no scope"),
        ("identity/oidc/provider/x", json!({ "issuer": "nowhere" }), "invalid issuer"),
    ] {
        root.post(path, body).refused(400, text);
    }
    assert_eq!(root.list("identity/oidc/provider").data()["keys"], json!(["default", "people"]));
    assert_eq!(root.list("identity/oidc/assignment").data()["keys"], json!(["allow_all"]));
    assert_eq!(root.list("identity/oidc/scope").data()["keys"], json!(["profile"]));
    let listed = root.list("identity/oidc/client").data();
    assert_eq!(listed["key_info"]["app"]["client_id"], app["client_id"]);
    assert!(listed["key_info"]["app"]["client_secret"].is_null());
    assert_eq!(root.get("identity/oidc/provider/default").data()["allowed_client_ids"], json!(["*"]));
    root.delete("identity/oidc/client/app").done();
    root.delete("identity/oidc/key/default").done();
    refused(&world.authorize(json!({ "client_id": app["client_id"] })), 400, "invalid_client_id");
    root.list("identity/oidc/client").refused(404, "");
}
