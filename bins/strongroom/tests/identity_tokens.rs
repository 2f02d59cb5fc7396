//! Identity tokens of the running program, verified by somebody else: another auth mount that only knows the public keys.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use kit::PROGRAM;
use serde_json::json;
use testkit::{server::Server, wire::Wire};

#[test]
fn who_has_the_public_keys_can_tell_who_somebody_is() {
    let server = Server::start_plain(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    let anybody = root.with_token("");
    root.post("sys/auth/approle", json!({ "type": "approle" })).done();
    root.post(
        "auth/approle/role/shop",
        json!({ "bind_secret_id": false, "token_ttl": "1h", "bound_cidr_list": "127.0.0.0/8" }),
    )
    .done();
    let role_id = root.get("auth/approle/role/shop/role-id").data()["role_id"].clone();
    let auth = anybody.post("auth/approle/login", json!({ "role_id": role_id })).ok()["auth"].take();
    let shop = root.with_token(auth["client_token"].as_str().unwrap());
    let id = auth["entity_id"].as_str().unwrap();
    root.post("identity/oidc/config", json!({ "issuer": server.address() })).ok();
    let issuer = format!("{}/v1/identity/oidc", server.address());
    let told = anybody.get("identity/oidc/.well-known/openid-configuration").ok();
    assert_eq!(told["issuer"], issuer);

    root.post(
        "sys/policies/acl/teller",
        json!({ "policy": "path \"identity/oidc/token/*\" { capabilities = [\"read\"] }" }),
    )
    .done();
    shop.get("identity/oidc/token/partner").refused(403, "permission denied");
    root.post(&format!("identity/entity/id/{id}"), json!({ "policies": "teller", "metadata": { "kind": "web" } }))
        .done();
    let algorithms = ["RS256", "ES256", "ES384", "EdDSA"];
    for algorithm in algorithms {
        let key = json!({ "algorithm": algorithm, "allowed_client_ids": "partner" });
        root.post(&format!("identity/oidc/key/{algorithm}"), key).done();
        let template = r#"{"kind": {{identity.entity.metadata.kind}}}"#;
        let role = json!({ "key": algorithm, "client_id": "partner", "ttl": "10m", "template": template });
        root.post(&format!("identity/oidc/role/{algorithm}"), role).done();
    }
    root.post("sys/auth/partner", json!({ "type": "jwt" })).done();
    root.post("auth/partner/config", json!({ "oidc_discovery_url": issuer, "bound_issuer": issuer })).done();
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["partner"],
        "claim_mappings": { "kind": "kind" }, "token_ttl": "1h",
    });
    root.post("auth/partner/role/any", role).done();
    for algorithm in algorithms {
        let token = shop.get(&format!("identity/oidc/token/{algorithm}")).data()["token"].as_str().unwrap().to_owned();
        assert_eq!(anybody.post("identity/oidc/introspect", json!({ "token": token })).status, 403);
        assert_eq!(root.post("identity/oidc/introspect", json!({ "token": token })).ok(), json!({ "active": true }));
        let known = anybody.post("auth/partner/login", json!({ "role": "any", "jwt": token })).ok();
        assert_eq!(known["auth"]["metadata"]["kind"], "web", "{algorithm}");
        let entity = root.get(&format!("identity/entity/id/{}", known["auth"]["entity_id"].as_str().unwrap())).data();
        assert_eq!(entity["aliases"][0]["name"], id, "{algorithm}");
        let (words, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{words}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
        anybody.post("auth/partner/login", json!({ "role": "any", "jwt": forged })).fails(400);
    }
}
