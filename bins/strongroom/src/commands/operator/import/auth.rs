//! The configuration of auth methods, as far as it can be read.

use serde_json::{Map, Value, json};

use super::{
    Brought,
    mounts::{Mount, Mounts},
    policies::pick,
    report::Report,
    source::{Source, Target},
};

/// Settings that the roles of all methods share.
const TOKEN: [&str; 9] = [
    "token_bound_cidrs",
    "token_explicit_max_ttl",
    "token_max_ttl",
    "token_no_default_policy",
    "token_num_uses",
    "token_period",
    "token_policies",
    "token_ttl",
    "token_type",
];
const APPROLE: [&str; 6] =
    ["bind_secret_id", "local_secret_ids", "secret_id_bound_cidrs", "secret_id_num_uses", "secret_id_ttl", "policies"];
const JWT_CONFIG: [&str; 7] = [
    "bound_issuer",
    "default_role",
    "jwks_ca_pem",
    "jwks_url",
    "jwt_supported_algs",
    "jwt_validation_pubkeys",
    "oidc_discovery_url",
];
const JWT_ROLE: [&str; 11] = [
    "bound_audiences",
    "bound_claims",
    "bound_claims_type",
    "bound_subject",
    "claim_mappings",
    "clock_skew_leeway",
    "expiration_leeway",
    "groups_claim",
    "not_before_leeway",
    "role_type",
    "user_claim",
];
const TOKEN_ROLE: [&str; 13] = [
    "allowed_entity_aliases",
    "allowed_policies",
    "allowed_policies_glob",
    "disallowed_policies",
    "disallowed_policies_glob",
    "orphan",
    "path_suffix",
    "renewable",
    "token_bound_cidrs",
    "token_explicit_max_ttl",
    "token_no_default_policy",
    "token_num_uses",
    "token_period",
];

pub(super) async fn bring(found: &Mounts, source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    roles("auth/token/roles", ("token role", "auth/token"), &[&TOKEN_ROLE, &["token_type"]], source, target, report)
        .await?;
    for mount in &found.auth {
        let root = format!("auth/{}", mount.path.trim_end_matches('/'));
        match mount.kind.as_str() {
            "approle" => approle(&root, source, target, report).await?,
            "jwt" | "oidc" => jwt(&root, source, target, report).await?,
            "userpass" => userpass(&root, source, report).await?,
            _ => other(mount, report),
        }
    }
    Ok(())
}

fn other(mount: &Mount, report: &mut Report<'_>) {
    let why = format!("the configuration of {:?} is not brought over; set it up anew", mount.kind);
    report.left(format!("auth method {}", mount.path), why);
}

/// Roles, each with the fields that are known here.
async fn roles(
    folder: &str,
    (kind, root): (&'static str, &str),
    fields: &[&[&str]],
    source: &Source,
    target: &Target<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<String>, crate::failure::Failure> {
    let names = source.list(folder, report).await?;
    let mut settled = Vec::new();
    for name in names {
        let path = format!("{folder}/{name}");
        let Some(role) = source.read(&path, report).await? else { continue };
        let wanted: Map<String, Value> = fields.iter().flat_map(|fields| pick(&role, fields)).collect();
        if target.settle(&path, wanted, (kind, &format!("{root}/{name}")), report).await? {
            settled.push(name);
        }
    }
    Ok(settled)
}

async fn approle(root: &str, source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    let folder = format!("{root}/role");
    for name in roles(&folder, ("approle role", root), &[&APPROLE, &TOKEN], source, target, report).await? {
        let path = format!("{folder}/{name}/role-id");
        let Some(there) = source.read(&path, report).await? else { continue };
        let here = if target.dry_run { None } else { target.read(&path).await? };
        if here.as_ref().is_none_or(|here| here["role_id"] != there["role_id"]) {
            let body = json!({ "role_id": there["role_id"] });
            target.write(&path, body, &format!("the role id of {root}/{name}"), report).await?;
        }
        let secret_ids = source.list(&format!("{folder}/{name}/secret-id"), report).await?.len();
        if secret_ids > 0 {
            let why = "secret ids cannot be read; make new ones";
            report.left(format!("{secret_ids} secret ids of {root}/{name}"), why);
        }
    }
    Ok(())
}

async fn jwt(root: &str, source: &Source, target: &Target<'_>, report: &mut Report<'_>) -> Brought {
    let path = format!("{root}/config");
    if let Some(config) = source.read(&path, report).await? {
        if config["oidc_client_id"].as_str().is_some_and(|id| !id.is_empty()) {
            report.left(format!("the browser login of {root}"), "its client secret cannot be read");
        }
        let wanted = pick(&config, &JWT_CONFIG);
        if !wanted.is_empty() {
            target.settle(&path, wanted, ("jwt configuration", root), report).await?;
        }
    }
    roles(&format!("{root}/role"), ("jwt role", root), &[&JWT_ROLE, &TOKEN], source, target, report).await?;
    Ok(())
}

async fn userpass(root: &str, source: &Source, report: &mut Report<'_>) -> Brought {
    for name in source.list(&format!("{root}/users"), report).await? {
        report.left(format!("user {root}/{name}"), "the password cannot be read; make the user with a new one");
    }
    Ok(())
}
