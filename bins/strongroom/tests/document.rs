//! What clients read of the server's routes: the OpenAPI document, and what the user interface asks for.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use serde_json::json;

use crate::kit::{policy, start, token};

#[test]
fn the_document_shows_what_the_caller_can_reach() {
    let (_server, root) = start();
    root.post("sys/mounts/kv", json!({ "type": "kv-v2" })).done();
    root.post("sys/auth/approle", json!({ "type": "approle" })).done();
    let all = root.get("sys/internal/specs/openapi").ok();
    assert!(all["openapi"].as_str().unwrap().starts_with("3."));
    let paths = all["paths"].as_object().unwrap();
    for path in ["/sys/health", "/sys/mounts/{path}", "/kv/data/{path}", "/auth/approle/login", "/auth/token/create"] {
        assert!(paths.contains_key(path), "{path}");
    }
    let tune = &paths["/sys/config/cors"];
    assert_eq!(tune["x-vault-sudo"], true);
    let schema = tune["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
    let schema = &all["components"]["schemas"][schema.rsplit('/').next().unwrap()];
    assert_eq!(schema["properties"]["allowed_origins"]["type"], "array");
    assert_eq!(schema["properties"]["enable"]["type"], "boolean");
    assert_eq!(paths["/auth/approle/login"]["x-vault-unauthenticated"], true);

    // Clients are generated from these names, and from what replies hold.
    root.post("sys/mounts/old", json!({ "type": "kv-v1" })).done();
    let generic = root.get("sys/internal/specs/openapi?generic_mount_paths=true").ok();
    for (path, method, id) in [
        ("/{kv_v2_mount_path}/data/{path}", "get", "kv-v2-read"),
        ("/{kv_v2_mount_path}/metadata/{path}/", "get", "kv-v2-list"),
        ("/{kv_v2_mount_path}/webhooks/{name}", "post", "kv-v2-write-webhooks-name"),
        ("/{kv_v1_mount_path}/{path}", "post", "kv-v1-write"),
        ("/auth/{approle_mount_path}/login", "post", "app-role-login"),
        ("/auth/token/roles/{role_name}", "get", "token-read-role"),
        ("/sys/mounts/{path}/tune", "post", "mounts-tune-configuration-parameters"),
        ("/sys/tools/random/{source}/{urlbytes}", "post", "generate-random-with-source-and-bytes"),
        ("/sys/leases/lookup/", "get", "leases-look-up"),
        ("/identity/mfa/method/totp/{method_id}", "get", "mfa-read-totp-method"),
        ("/cubbyhole/{path}", "delete", "cubbyhole-delete"),
    ] {
        assert_eq!(generic["paths"][path][method]["operationId"], id, "{path}");
    }
    let reply = &generic["paths"]["/sys/health"]["get"]["responses"]["200"];
    assert_eq!(reply["description"], "OK");
    let schema = |path: &str| {
        let reply = &generic["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let name = reply["$ref"].as_str().unwrap_or_else(|| panic!("{path} has no schema")).rsplit('/').next().unwrap();
        generic["components"]["schemas"][name]["properties"].as_object().unwrap().clone()
    };
    // What a schema says is there, is there with that type; what is there is in the schema.
    root.post("kv/data/a", json!({ "data": { "b": "c" } })).ok();
    root.post("auth/token/roles/r", json!({})).done();
    for (path, asked) in [
        ("/sys/key-status", "sys/key-status"),
        ("/sys/mounts/{path}", "sys/mounts/kv"),
        ("/sys/policies/acl/{name}", "sys/policies/acl/default"),
        ("/sys/seal-status", "sys/seal-status"),
        ("/sys/rotate/config", "sys/rotate/config"),
        ("/sys/config/cors", "sys/config/cors"),
        ("/sys/quotas/config", "sys/quotas/config"),
        ("/auth/token/lookup-self", "auth/token/lookup-self"),
        ("/auth/token/roles/{role_name}", "auth/token/roles/r"),
        ("/{kv_v2_mount_path}/metadata/{path}", "kv/metadata/a"),
        ("/{kv_v2_mount_path}/data/{path}", "kv/data/a"),
        ("/{kv_v2_mount_path}/config", "kv/config"),
    ] {
        let reply = root.get(asked).ok();
        let data = if reply["data"].is_object() { &reply["data"] } else { &reply };
        let known = schema(path);
        for (field, value) in data.as_object().unwrap() {
            let kind = known.get(field).map(|schema| schema["type"].as_str().unwrap().to_owned());
            let fits = match kind.as_deref() {
                Some("string") => value.is_string() || value.is_null(),
                Some("integer") => value.is_i64() || value.is_u64(),
                Some("boolean") => value.is_boolean(),
                Some("array") => value.is_array() || value.is_null(),
                Some("object") => value.is_object() || value.is_null(),
                // The document has what Vault's has; a reply may say more.
                None => true,
                Some(_) => false,
            };
            assert!(fits, "{asked}: {field} is {value}, the schema says {kind:?}");
        }
    }

    policy(&root, "reader", "path \"kv/data/app/*\" { capabilities = [\"read\"] }");
    let mine = token(&root, &["reader"]).get("sys/internal/specs/openapi").ok();
    let mine = mine["paths"].as_object().unwrap();
    assert!(mine.contains_key("/kv/data/{path}") && mine.contains_key("/sys/health"));
    assert!(!mine.contains_key("/kv/metadata/{path}") && !mine.contains_key("/sys/mounts/{path}"), "{mine:?}");
    let open = root.with_token("").get("sys/internal/specs/openapi").ok();
    let open = open["paths"].as_object().unwrap();
    assert!(open.contains_key("/sys/health") && open.contains_key("/sys/wrapping/unwrap"));
    assert!(!open.contains_key("/kv/data/{path}") && !open.contains_key("/sys/mounts"));
    root.with_token("nonsense").get("sys/internal/specs/openapi").refused(403, "permission denied");

    // Help has its part of it.
    let help = root.get("kv/data/x?help=1").ok();
    assert!(help["openapi"]["paths"].as_object().unwrap().contains_key("/kv/data/{path}"));
    assert!(help["help"].as_str().unwrap().contains("Matching Route: ^data/(?P<path>.*)$"), "{help}");
    assert_eq!(help["see_also"], json!([]));
}

#[test]
fn the_user_interface_is_told_what_it_asks_for() {
    let (_server, root) = start();
    assert_eq!(root.get("sys/internal/ui/namespaces").data(), json!({ "keys": [] }));
    root.with_token("").get("sys/internal/ui/namespaces").refused(403, "permission denied");
    assert_eq!(root.with_token("").get("sys/internal/ui/feature-flags").data(), json!({ "feature_flags": [] }));
    assert_eq!(root.get("sys/internal/ui/version").data()["version"], "1.16.3");
    assert_eq!(root.get("sys/internal/ui/resultant-acl").data()["root"], true);
    let random = root.post("sys/tools/random/seal/16", json!({ "format": "hex" })).data();
    assert_eq!(random["random_bytes"].as_str().unwrap().len(), 32);
    let random = root.post("sys/tools/random/all", json!({ "bytes": 5, "format": "hex" })).data();
    assert_eq!(random["random_bytes"].as_str().unwrap().len(), 10);
    root.post("sys/tools/random/tap/16", json!({})).refused(400, "source");
    let hash = root.post("sys/tools/hash/sha3-256", json!({ "input": "" })).data();
    assert_eq!(hash["sum"], "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a");
}
