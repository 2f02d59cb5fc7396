//! Every call of vaultrs, the Vault client of Rust, for what a server of this kind serves.
//!
//! The environment says where the server is (not initialised yet) and where PostgreSQL is. Each call prints a line: PASS
//! or FAIL, its area, its name, and what went wrong. The program itself ends well whatever the calls do.

mod identity;

use std::{collections::HashMap, env, fmt::Debug};

use serde_json::{Value, json};
use vaultrs::{
    api::{self, ResponseWrapper},
    auth,
    client::{Client, VaultClient, VaultClientSettingsBuilder},
    cubbyhole, database, kv1, kv2, sys, token,
};

fn connect(token: &str) -> VaultClient {
    let mut settings = VaultClientSettingsBuilder::default();
    settings.address(env::var("COMPAT_ADDR").unwrap()).token(token).ca_certs(vec![env::var("COMPAT_CA").unwrap()]);
    VaultClient::new(settings.build().unwrap()).unwrap()
}

/// Makes a note of a call; `right` says whether what came back is.
pub(crate) fn note<T, E: Debug>(area: &str, name: &str, result: Result<T, E>, right: impl Fn(&T) -> bool) -> Option<T> {
    match result {
        Ok(reply) if right(&reply) => {
            println!("PASS {area} | {name}");
            Some(reply)
        }
        Ok(_) => {
            println!("FAIL {area} | {name} | an unexpected reply");
            None
        }
        Err(error) => {
            let text = format!("{error:?}").split_whitespace().collect::<Vec<_>>().join(" ");
            println!("FAIL {area} | {name} | {}", text.chars().take(300).collect::<String>());
            None
        }
    }
}

pub(crate) fn any<T>(_: &T) -> bool {
    true
}

async fn opening() -> VaultClient {
    let area = "sys: seal";
    let nobody = connect("");
    note(area, "status", nobody.status().await, |status| matches!(status, sys::ServerStatus::UNINITIALIZED));
    let made = sys::start_initialization(&nobody, 2, 2, None).await;
    let made = note(area, "start_initialization", made, |made| made.keys.len() == 2).unwrap();
    let first = sys::unseal(&nobody, Some(made.keys[0].clone()), None, None).await;
    note(area, "unseal", first, |reply| reply.progress == 1);
    sys::unseal(&nobody, Some(made.keys[1].clone()), None, None).await.unwrap();
    let root = connect(&made.root_token);
    note(area, "health", sys::health(&root).await, |health| health.initialized && !health.sealed);
    note(area, "seal", sys::seal(&root).await, any);
    for key in made.keys {
        sys::unseal(&nobody, Some(key), None, None).await.unwrap();
    }
    root
}

async fn mounts(root: &VaultClient) {
    let area = "sys: mounts";
    let mut two = api::sys::requests::EnableEngineRequestBuilder::default();
    two.options(HashMap::from([("version".to_owned(), "2".to_owned())]));
    note(area, "mount::enable", sys::mount::enable(root, "two", "kv", Some(&mut two)).await, any);
    note(area, "mount::list", sys::mount::list(root).await, |mounts| mounts["two/"].mount_type == "kv");
    let shown = sys::mount::get_configuration_of_a_secret_engine(root, "two").await;
    note(area, "mount::get_configuration_of_a_secret_engine", shown, any);
    let moved = note(area, "remount::remount", sys::remount::remount(root, "two", "moved").await, any);
    if let Some(moved) = moved {
        note(area, "remount::remount_status", sys::remount::remount_status(root, &moved.migration_id).await, any);
    }
    note(area, "mount::disable", sys::mount::disable(root, "moved").await, any);
    sys::mount::enable(root, "two", "kv", Some(&mut two)).await.unwrap();
    note(area, "auth::enable", sys::auth::enable(root, "approle", "approle", None).await, any);
    note(area, "auth::list", sys::auth::list(root).await, |auths| auths["approle/"].mount_type == "approle");
    sys::auth::enable(root, "going", "approle", None).await.unwrap();
    note(area, "auth::disable", sys::auth::disable(root, "going").await, any);
    let area = "sys: policies";
    let text = "path \"two/*\" { capabilities = [\"read\"] }";
    note(area, "policy::set", sys::policy::set(root, "reader", text).await, any);
    note(area, "policy::read", sys::policy::read(root, "reader").await, |policy| policy.rules == text);
    note(area, "policy::list", sys::policy::list(root).await, |list| list.policies.contains(&"reader".to_owned()));
    sys::policy::set(root, "gone", text).await.unwrap();
    note(area, "policy::delete", sys::policy::delete(root, "gone").await, any);
    note("sys: tools", "tools::random", sys::tools::random(root, None).await, |reply| !reply.random_bytes.is_empty());
    let area = "sys: wrapping";
    let endpoint = api::sys::requests::ListMountsRequest::builder().build().unwrap();
    if let Some(wrapped) = note(area, "ResponseWrapper::wrap", endpoint.wrap(root).await, any) {
        let token = wrapped.info.token.clone();
        note(area, "wrapping::lookup", sys::wrapping::lookup(root, &token).await, any);
        let inside = sys::wrapping::unwrap::<Value>(root, Some(&token)).await;
        note(area, "wrapping::unwrap", inside, |inside| inside.get("two/").is_some());
    }
}

async fn tokens(root: &VaultClient) {
    let area = "auth: token";
    let ask = || {
        let mut ask = api::token::requests::CreateTokenRequestBuilder::default();
        ask.policies(vec!["reader".to_owned()]).ttl("1h");
        ask
    };
    let made = note(area, "new", token::new(root, Some(&mut ask())).await, |auth| auth.lease_duration == 3600).unwrap();
    let own = connect(&made.client_token);
    note(area, "new_orphan", token::new_orphan(root, None).await, |auth| auth.orphan);
    note(area, "lookup", token::lookup(root, &made.client_token).await, |found| found.accessor == made.accessor);
    note(area, "lookup_accessor", token::lookup_accessor(root, &made.accessor).await, any);
    note(area, "lookup_self", token::lookup_self(&own).await, |found| found.id == made.client_token);
    let long = |auth: &api::AuthInfo| auth.lease_duration == 7200;
    note(area, "renew", token::renew(root, &made.client_token, Some("2h")).await, long);
    note(area, "renew_accessor", token::renew_accessor(root, &made.accessor, Some("2h")).await, long);
    note(area, "renew_self", token::renew_self(&own, Some("2h")).await, long);
    let mut role = api::token::requests::SetTokenRoleRequestBuilder::default();
    role.allowed_policies(vec!["reader".to_owned()]);
    note(area, "role::set", token::role::set(root, "builder", Some(&mut role)).await, any);
    note(area, "role::read", token::role::read(root, "builder").await, |role| role.name == "builder");
    note(area, "role::list", token::role::list(root).await, |list| list.keys == ["builder"]);
    note(area, "new_role", token::new_role(root, "builder", None).await, any);
    note(area, "role::delete", token::role::delete(root, "builder").await, any);
    note(area, "revoke", token::revoke(root, &made.client_token).await, any);
    let again = async || token::new(root, Some(&mut ask())).await.unwrap();
    note(area, "revoke_accessor", token::revoke_accessor(root, &again().await.accessor).await, any);
    note(area, "revoke_orphan", token::revoke_orphan(root, &again().await.client_token).await, any);
    note(area, "revoke_self", token::revoke_self(&connect(&again().await.client_token)).await, any);
    note(area, "tidy", token::tidy(root).await, any);
}

async fn approle(root: &VaultClient) {
    let (area, at) = ("auth: approle", "approle");
    let mut role = api::auth::approle::requests::SetAppRoleRequestBuilder::default();
    role.token_policies(vec!["reader".to_owned()]).token_ttl("20m");
    note(area, "role::set", auth::approle::role::set(root, at, "web", Some(&mut role)).await, any);
    note(area, "role::read", auth::approle::role::read(root, at, "web").await, |role| role.token_ttl == 1200);
    note(area, "role::list", auth::approle::role::list(root, at).await, |list| list.keys == ["web"]);
    note(area, "role::read_id", auth::approle::role::read_id(root, at, "web").await, any);
    note(area, "role::update_id", auth::approle::role::update_id(root, at, "web", "web-role").await, any);
    let made = auth::approle::role::secret::generate(root, at, "web", None).await;
    let made = note(area, "secret::generate", made, any).unwrap();
    let custom = auth::approle::role::secret::custom(root, at, "web", "my-own-secret", None).await;
    note(area, "secret::custom", custom, |reply| reply.secret_id == "my-own-secret");
    note(area, "secret::list", auth::approle::role::secret::list(root, at, "web").await, |list| list.keys.len() == 2);
    note(area, "secret::read", auth::approle::role::secret::read(root, at, "web", &made.secret_id).await, any);
    let read = auth::approle::role::secret::read_accessor(root, at, "web", &made.secret_id_accessor).await;
    note(area, "secret::read_accessor", read, any);
    note(area, "login", auth::approle::login(&connect(""), at, "web-role", &made.secret_id).await, any);
    note(area, "secret::delete", auth::approle::role::secret::delete(root, at, "web", &made.secret_id).await, any);
    let other = auth::approle::role::secret::generate(root, at, "web", None).await.unwrap().secret_id_accessor;
    note(area, "secret::delete_accessor", auth::approle::role::secret::delete_accessor(root, at, "web", &other).await, any);
    note(area, "tidy", auth::approle::tidy(root, at).await, any);
    note(area, "role::delete", auth::approle::role::delete(root, at, "web").await, any);
}

async fn logins(root: &VaultClient) {
    let (area, at) = ("auth: userpass", "userpass");
    sys::auth::enable(root, at, at, None).await.unwrap();
    note(area, "user::set", auth::userpass::user::set(root, at, "Alice", "right", None).await, any);
    note(area, "user::list", auth::userpass::user::list(root, at).await, |list| list.keys == ["alice"]);
    note(area, "user::read", auth::userpass::user::read(root, at, "alice").await, any);
    note(area, "user::update_policies", auth::userpass::user::update_policies(root, at, "alice", "reader").await, any);
    let login = auth::userpass::login(&connect(""), at, "alice", "right").await;
    note(area, "login", login, |auth| auth.policies.contains(&"reader".to_owned()));
    note(area, "user::update_password", auth::userpass::user::update_password(root, at, "alice", "new").await, any);
    auth::userpass::login(&connect(""), at, "alice", "new").await.unwrap();
    note(area, "user::delete", auth::userpass::user::delete(root, at, "alice").await, any);

    let (area, at) = ("auth: jwt", "jwt");
    sys::auth::enable(root, at, at, None).await.unwrap();
    let mut config = api::auth::oidc::requests::SetConfigurationRequestBuilder::default();
    config.jwt_validation_pubkeys(vec![env::var("COMPAT_PUBLIC_KEY").unwrap()]);
    config.bound_issuer(env::var("COMPAT_ISSUER").unwrap());
    note(area, "config::set", auth::oidc::config::set(root, at, Some(&mut config)).await, any);
    note(area, "config::read", auth::oidc::config::read(root, at).await, any);
    let mut role = api::auth::oidc::requests::SetRoleRequestBuilder::default();
    role.role_type("jwt").bound_audiences(vec!["strongroom".to_owned()]);
    note(area, "role::set", auth::oidc::role::set(root, at, "app", "sub", vec![], Some(&mut role)).await, any);
    note(area, "role::read", auth::oidc::role::read(root, at, "app").await, |role| role.user_claim == "sub");
    note(area, "role::list", auth::oidc::role::list(root, at).await, |list| list.keys == ["app"]);
    let jwt = env::var("COMPAT_JWT").unwrap();
    note(area, "login", auth::oidc::login(&connect(""), at, &jwt, Some("app".to_owned())).await, any);
    note(area, "role::delete", auth::oidc::role::delete(root, at, "app").await, any);
}

async fn kv_two(root: &VaultClient) {
    let area = "secrets: kv 2";
    let mut config = api::kv2::requests::SetConfigurationRequestBuilder::default();
    config.max_versions(5_u64).delete_version_after("768h");
    note(area, "config::set", kv2::config::set(root, "two", Some(&mut config)).await, any);
    note(area, "config::read", kv2::config::read(root, "two").await, |config| config.max_versions == 5);
    let set = kv2::set(root, "two", "a/b", &json!({ "x": "1" })).await;
    note(area, "set", set, |made| made.version == 1);
    let options = api::kv2::requests::SetSecretRequestOptions { cas: 1 };
    let set = kv2::set_with_options(root, "two", "a/b", &json!({ "x": "2" }), options).await;
    note(area, "set_with_options", set, |made| made.version == 2);
    note(area, "read", kv2::read::<Value>(root, "two", "a/b").await, |data| data["x"] == "2");
    note(area, "read_version", kv2::read_version::<Value>(root, "two", "a/b", 1).await, |data| data["x"] == "1");
    note(area, "list", kv2::list(root, "two", "a").await, |keys| *keys == ["b"]);
    let mut metadata = api::kv2::requests::SetSecretMetadataRequestBuilder::default();
    metadata.custom_metadata(HashMap::from([("owner".to_owned(), "me".to_owned())]));
    note(area, "set_metadata", kv2::set_metadata(root, "two", "a/b", Some(&mut metadata)).await, any);
    note(area, "read_metadata", kv2::read_metadata(root, "two", "a/b").await, |found| found.versions.len() == 2);
    note(area, "delete_latest", kv2::delete_latest(root, "two", "a/b").await, any);
    note(area, "undelete_versions", kv2::undelete_versions(root, "two", "a/b", vec![2]).await, any);
    note(area, "delete_versions", kv2::delete_versions(root, "two", "a/b", vec![1]).await, any);
    note(area, "destroy_versions", kv2::destroy_versions(root, "two", "a/b", vec![1]).await, any);
    note(area, "delete_metadata", kv2::delete_metadata(root, "two", "a/b").await, any);
}

async fn plain(root: &VaultClient) {
    let data = HashMap::from([("x", "1")]);
    let area = "secrets: cubbyhole";
    note(area, "set", cubbyhole::set(root, "cubbyhole", "a/b", &data).await, any);
    note(area, "get", cubbyhole::get::<Value>(root, "cubbyhole", "a/b").await, |data| data["x"] == "1");
    note(area, "get_raw", cubbyhole::get_raw(root, "cubbyhole", "a/b").await, any);
    note(area, "list", cubbyhole::list(root, "cubbyhole", "a").await, |list| list.data.keys == ["b"]);
    note(area, "delete", cubbyhole::delete(root, "cubbyhole", "a/b").await, any);
    let area = "secrets: kv 1";
    note(area, "enable", sys::mount::enable(root, "one", "kv", None).await, any);
    note(area, "set", kv1::set(root, "one", "a/b", &data).await, any);
    note(area, "get", kv1::get::<Value>(root, "one", "a/b").await, |data| data["x"] == "1");
    note(area, "get_raw", kv1::get_raw(root, "one", "a/b").await, any);
    note(area, "list", kv1::list(root, "one", "a").await, |list| list.data.keys == ["b"]);
    note(area, "delete", kv1::delete(root, "one", "a/b").await, any);
}

async fn databases(root: &VaultClient) {
    let (area, at) = ("secrets: database", "database");
    sys::mount::enable(root, at, at, None).await.unwrap();
    let mut shop = api::database::requests::PostgreSQLConnectionRequestBuilder::default();
    shop.plugin_name("postgresql-database-plugin").connection_url(env::var("COMPAT_PG_TEMPLATE").unwrap());
    shop.username("strongroom").password(env::var("COMPAT_PG_PASSWORD").unwrap()).allowed_roles(vec!["*".to_owned()]);
    note(area, "connection::postgres", database::connection::postgres(root, at, "shop", Some(&mut shop)).await, any);
    note(area, "connection::read", database::connection::read(root, at, "shop").await, any);
    note(area, "connection::list", database::connection::list(root, at).await, |list| list.keys == ["shop"]);
    note(area, "connection::reset", database::connection::reset(root, at, "shop").await, any);
    let mut app = api::database::requests::SetRoleRequestBuilder::default();
    let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'";
    app.db_name("shop").creation_statements(vec![create.to_owned()]).default_ttl("1h");
    note(area, "role::set", database::role::set(root, at, "app", Some(&mut app)).await, any);
    note(area, "role::read", database::role::read(root, at, "app").await, |role| role.db_name == "shop");
    note(area, "role::list", database::role::list(root, at).await, |list| list.keys == ["app"]);
    note(area, "role::creds", database::role::creds(root, at, "app").await, any);
    let mut report = api::database::requests::SetStaticRoleRequestBuilder::default();
    let change = "ALTER ROLE \"{{name}}\" PASSWORD '{{password}}'";
    report.db_name("shop").username("report").rotation_period("3600").rotation_statements(vec![change.to_owned()]);
    note(area, "static_role::set", database::static_role::set(root, at, "report", Some(&mut report)).await, any);
    note(area, "static_role::read", database::static_role::read(root, at, "report").await, any);
    note(area, "static_role::list", database::static_role::list(root, at).await, |list| list.keys == ["report"]);
    note(area, "static_role::creds", database::static_role::creds(root, at, "report").await, any);
    note(area, "static_role::rotate", database::static_role::rotate(root, at, "report").await, any);
    note(area, "static_role::delete", database::static_role::delete(root, at, "report").await, any);
    note(area, "connection::rotate", database::connection::rotate(root, at, "shop").await, any);
    note(area, "role::delete", database::role::delete(root, at, "app").await, any);
    note(area, "connection::delete", database::connection::delete(root, at, "shop").await, any);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let root = opening().await;
    mounts(&root).await;
    tokens(&root).await;
    approle(&root).await;
    logins(&root).await;
    kv_two(&root).await;
    plain(&root).await;
    databases(&root).await;
    identity::all(&root).await;
}
