//! The routes that a server says it has, read out of its help, and how to send anything to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

use super::PROGRAM;

/// Routes that answer without a token.
pub(crate) const OPEN: &[&str] = &[
    "auth/approle/login",
    "auth/jwt/login",
    "auth/jwt/oidc/auth_url",
    "auth/jwt/oidc/callback",
    "identity/oidc/.well-known/keys",
    "identity/oidc/.well-known/openid-configuration",
    "identity/oidc/provider/{name}/.well-known/keys",
    "identity/oidc/provider/{name}/.well-known/openid-configuration",
    "identity/oidc/provider/{name}/token",
    "identity/oidc/provider/{name}/userinfo",
    "sys/decode-token",
    "sys/internal/specs/openapi",
    "sys/internal/ui/feature-flags",
    "sys/internal/ui/mounts",
    "sys/internal/ui/mounts/{path...}",
    "sys/internal/ui/namespaces",
    "sys/mfa/validate",
    "sys/replication/status",
    "sys/wrapping/lookup",
    "sys/wrapping/pubkey",
    "sys/wrapping/unwrap",
];

/// Fields that a route takes and its help does not tell of, because it reads its input in its own way.
pub(crate) const MORE: &[(&str, &str)] = &[
    (
        "auth/approle/role/{name}",
        "bind_secret_id bound_cidr_list local_secret_ids role_id secret_id_bound_cidrs secret_id_num_uses secret_id_ttl",
    ),
    ("auth/approle/role/{name}", TOKEN_FIELDS),
    (
        "auth/jwt/role/{name}",
        "bound_audiences bound_claims bound_claims_type bound_subject claim_mappings clock_skew_leeway expiration_leeway \
         groups_claim max_token_life not_before_leeway role_type single_use user_claim user_claim_json_pointer max_age",
    ),
    ("auth/jwt/role/{name}", TOKEN_FIELDS),
    ("kv/data/{path...}", "data options"),
    ("kv/metadata/{path...}", "max_versions cas_required delete_version_after custom_metadata"),
];

pub(crate) const TOKEN_FIELDS: &str = "token_bound_cidrs token_explicit_max_ttl token_max_ttl token_no_default_policy token_num_uses \
    token_period token_policies token_ttl token_type policies period ttl";

/// What a route needs beside the field in question, to come so far as to look at it.
pub(crate) fn base(pattern: &str) -> Value {
    match pattern {
        "auth/jwt/role/{name}" => json!({ "user_claim": "sub", "bound_subject": "x" }),
        "database/config/{name}" => json!({
            "plugin_name": "postgresql-database-plugin", "verify_connection": false, "username": "x", "password": "x",
            "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/x",
        }),
        "database/roles/{name}" | "database/static-roles/{name}" => json!({ "db_name": "none" }),
        // RSA keys take a while to make.
        "identity/oidc/key/{name}" => json!({ "algorithm": "ES256" }),
        "identity/oidc/role/{name}" => json!({ "key": "none" }),
        "kv/rotation/{path...}" => json!({ "field": "a" }),
        "sys/auth/{path...}" => json!({ "type": "approle" }),
        "sys/mounts/{path...}" => json!({ "type": "kv" }),
        // Where a limit that is met by chance holds up nothing else.
        "sys/quotas/rate-limit/{name}" => json!({ "rate": 1_000_000, "path": "kv1/nowhere" }),
        "sys/quotas/lease-count/{name}" => json!({ "max_leases": 1_000_000 }),
        _ => json!({}),
    }
}

/// A route as its mount's help tells it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) pattern: String,
    /// `read`, `list`, `write`, `patch`, `delete`, with the fields that are taken.
    pub(crate) verbs: BTreeMap<String, Vec<String>>,
}

impl Route {
    /// The path with names in place of its captures.
    pub(crate) fn path(&self, name: &str) -> String {
        let part = |part: &str| match part {
            part if part.ends_with("...}") => format!("{name}/below"),
            part if part.starts_with('{') => name.to_owned(),
            part => part.to_owned(),
        };
        self.pattern.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = |(verb, fields)| {
            let (verb, fields): (&String, &Vec<String>) = (verb, fields);
            fields.iter().map(move |field| (verb.as_str(), field.as_str()))
        };
        self.verbs.iter().flat_map(fields)
    }
}

/// A server with every kind of mount, on plain HTTP: there are many requests.
pub(crate) fn start_with_routes() -> (Server, Wire, Vec<Route>) {
    let server = Server::start_plain(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    root.post("sys/mounts/kv", json!({ "type": "kv-v2" })).done();
    root.post("sys/mounts/kv1", json!({ "type": "kv-v1" })).done();
    root.post("sys/mounts/database", json!({ "type": "database" })).done();
    root.post("sys/auth/approle", json!({ "type": "approle" })).done();
    root.post("sys/auth/jwt", json!({ "type": "jwt" })).done();
    root.post("sys/audit/journal", json!({ "type": "journal" })).done();
    let mounts = ["sys", "cubbyhole", "kv", "kv1", "database", "identity", "auth/token", "auth/approle", "auth/jwt"];
    let mut routes: Vec<_> = mounts.iter().flat_map(|mount| routes(&root, mount)).collect();
    for (pattern, fields) in MORE {
        let route = routes.iter_mut().find(|route| route.pattern == *pattern).unwrap_or_else(|| panic!("{pattern}"));
        for verb in ["write", "patch"] {
            if let Some(known) = route.verbs.get_mut(verb) {
                known.extend(fields.split_whitespace().map(str::to_owned));
            }
        }
    }
    assert!(routes.len() > 100, "{}", routes.len());
    (server, root, routes)
}

pub(crate) fn routes(root: &Wire, mount: &str) -> Vec<Route> {
    let help = root.get(&format!("{mount}?help=1")).ok()["help"].as_str().unwrap().to_owned();
    let mut routes: Vec<Route> = Vec::new();
    let mut verb = String::new();
    for line in help.lines() {
        if let Some(pattern) = line.strip_prefix("## ") {
            routes.push(Route { pattern: pattern.to_owned(), verbs: BTreeMap::new() });
        } else if let Some(fields) = line.strip_prefix("            takes: ") {
            let fields = fields.split(", ").map(str::to_owned).collect();
            routes.last_mut().unwrap().verbs.insert(verb.clone(), fields);
        } else if let Some(text) = line.strip_prefix("    ").filter(|text| !text.starts_with(' ')) {
            verb = text.split(' ').next().unwrap().to_owned();
            routes.last_mut().unwrap().verbs.insert(verb.clone(), Vec::new());
        }
    }
    assert!(!routes.is_empty(), "{help}");
    routes
}

/// Routes whose success would end the test, or never ends.
pub(crate) fn ends_the_test(pattern: &str) -> bool {
    matches!(pattern, "kv/events/{path...}" | "sys/monitor" | "sys/seal" | "auth/token/revoke-self")
}

pub(crate) fn method(verb: &str) -> &'static str {
    match verb {
        "delete" => "DELETE",
        "list" => "LIST",
        "patch" => "PATCH",
        "read" => "GET",
        "scan" => "SCAN",
        _ => "POST",
    }
}

pub(crate) fn send(wire: &Wire, verb: &str, path: &str, body: &[u8]) -> Reply {
    let kind = [("Content-Type", if verb == "patch" { "application/merge-patch+json" } else { "application/json" })];
    wire.send(method(verb), path, &kind, Some(body))
}

/// Whether a path is one that a pattern means.
pub(crate) fn fits(pattern: &str, path: &str) -> bool {
    let (mut parts, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(part), _) if part.ends_with("...}") => return true,
            (Some(part), Some(name)) if part == name || part.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// The one reply of status 500 that is the caller's fault, as in Vault.
pub(crate) fn names_no_connection(reply: &Reply) -> bool {
    reply.status == 500 && reply.text().contains("failed to find entry for connection")
}
