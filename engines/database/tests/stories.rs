//! The engine in a server, with a real PostgreSQL, through an administrator who is no superuser.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clock::{Clock, Simulated};
use kit::{MEMBER, Server, connection};
use serde_json::{Value, json};
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Key, Page, Revision, Scan, Store};
use testkit::postgres::Postgres;

static POSTGRES: LazyLock<Postgres> = LazyLock::new(|| {
    let postgres = Postgres::start();
    postgres.psql("CREATE ROLE readers; CREATE TABLE shared (id int); INSERT INTO shared VALUES (7); GRANT SELECT ON shared TO readers");
    postgres
});

/// A server with a connection of its own administrator, so that tests do not rotate each other's passwords.
async fn server(name: &str) -> Server {
    let server = Server::start_simulated().await;
    POSTGRES.admin(name, "handed-over");
    POSTGRES.psql(&format!("GRANT readers TO {name} WITH ADMIN OPTION"));
    server.connect(&POSTGRES, name, "handed-over").await;
    server
}

async fn role(server: &Server, name: &str, more: Value) {
    let mut body = json!({"db_name": "db", "creation_statements": MEMBER, "default_ttl": "1h", "max_ttl": "2h"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.write(&format!("database/roles/{name}"), body).await.unwrap();
}

/// An account that exists, and may be changed by `admin`.
fn account(name: &str, password: &str, admin: &str) {
    POSTGRES.psql(&format!(
        "CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}' IN ROLE readers; GRANT \"{name}\" TO {admin} WITH ADMIN OPTION"
    ));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn login(data: &Value) -> Result<String, String> {
    POSTGRES.try_psql(&text(&data["username"]), &text(&data["password"]), "postgres", "SELECT id FROM shared")
}

#[tokio::test]
async fn a_user_is_made_renewed_and_ends_with_its_lease() {
    let server = server("life").await;
    role(&server, "app", json!({})).await;
    let made = server.read("database/creds/app").await.unwrap();
    let name = text(&made.data["username"]);
    assert!(name.starts_with("v-root-app-") && made.lease_id.starts_with("database/creds/app/"), "{made:?}");
    assert_eq!(made.lease_duration, 3600);
    assert_eq!(login(&made.data).unwrap(), "7");
    let url = text(&made.data["connection_url"]);
    assert_eq!(
        url,
        format!(
            "postgresql://{name}:{}@127.0.0.1:{}/postgres?sslmode=disable",
            text(&made.data["password"]),
            POSTGRES.port()
        )
    );

    server.time.as_ref().unwrap().advance(Duration::from_secs(600));
    let until = || {
        POSTGRES
            .psql(&format!("SELECT extract(epoch FROM rolvaliduntil)::bigint FROM pg_roles WHERE rolname = '{name}'"))
    };
    let before: i64 = until().parse().unwrap();
    let renewed = server.write("sys/leases/renew", json!({"lease_id": made.lease_id})).await.unwrap();
    assert_eq!(renewed.lease_duration, 3600);
    let after: i64 = until().parse().unwrap();
    assert!((599..=601).contains(&(after - before)), "{before} {after}");

    server.advance_until(Duration::from_secs(120), async || !POSTGRES.has_role(&name)).await;
    server.advance_until(Duration::from_secs(1), async || server.leases("app").await == 0).await;
}

#[tokio::test]
async fn revocation_removes_the_user_and_one_that_is_gone_is_a_success() {
    let server = server("gone").await;
    role(&server, "app", json!({"revocation_statements": ["DROP ROLE \"{{name}}\""]})).await;
    let first = server.read("database/creds/app").await.unwrap();
    let second = server.read("database/creds/app").await.unwrap();
    let name = |made: &kit::Answer| text(&made.data["username"]);
    server.write("sys/leases/revoke", json!({"lease_id": first.lease_id, "sync": true})).await.unwrap();
    assert!(!POSTGRES.has_role(&name(&first)) && POSTGRES.has_role(&name(&second)));
    POSTGRES.psql(&format!("DROP ROLE \"{}\"", name(&second)));
    server.write("sys/leases/revoke", json!({"lease_id": second.lease_id, "sync": true})).await.unwrap();
    assert_eq!(server.leases("app").await, 0);
    // A role that is gone still has its users' statements; a connection that is gone is kept for them.
    let third = server.read("database/creds/app").await.unwrap();
    server.delete("database/roles/app").await.unwrap();
    let deleted = server.delete("database/config/db").await.unwrap();
    assert!(deleted.warnings[0].contains("1 user(s)"), "{deleted:?}");
    assert!(server.read("database/config/db").await.is_err());
    server.write("sys/leases/revoke", json!({"lease_id": third.lease_id, "sync": true})).await.unwrap();
    assert!(!POSTGRES.has_role(&name(&third)));
}

/// A connection that is deleted and created again for another server must not have the users of the first looked for on
/// the second, where "already gone" would be a lie.
#[tokio::test]
async fn users_are_removed_where_they_were_made() {
    let server = server("moved").await;
    role(&server, "app", json!({})).await;
    let made = server.read("database/creds/app").await.unwrap();
    let other = Postgres::start();
    other.admin("moved", "handed-over");
    server.delete("database/config/db").await.unwrap();
    server.write("database/config/db", connection(&other, "moved", "handed-over")).await.unwrap();
    server.write("sys/leases/revoke", json!({"lease_id": made.lease_id, "sync": true})).await.unwrap();
    assert!(!POSTGRES.has_role(&text(&made.data["username"])));

    // For the same server, the connection that is created again goes on with the users of the first.
    server.write("database/config/again", connection(&POSTGRES, "moved", "handed-over")).await.unwrap();
    role(&server, "app", json!({"db_name": "again"})).await;
    let made = server.read("database/creds/app").await.unwrap();
    server.delete("database/config/again").await.unwrap();
    POSTGRES.psql("ALTER ROLE moved PASSWORD 'by-hand'");
    server.write("database/config/again", connection(&POSTGRES, "moved", "by-hand")).await.unwrap();
    server.write("sys/leases/revoke", json!({"lease_id": made.lease_id, "sync": true})).await.unwrap();
    assert!(!POSTGRES.has_role(&text(&made.data["username"])));

    server.write("database/config/shared", connection(&POSTGRES, "moved", "by-hand")).await.unwrap();
    let refused = server.write("database/rotate-root/shared", Value::Null).await.unwrap_err();
    assert!(refused.contains("again would be locked out"), "{refused}");
    // Another database of the same server, in the other form of an address.
    for (name, database) in [("words", "postgres"), ("others", "template1")] {
        let mut words = connection(&POSTGRES, "moved", "by-hand");
        let port = POSTGRES.port();
        words["connection_url"] = json!(format!(
            "host=127.0.0.1 port={port} user={{{{username}}}} password={{{{password}}}} dbname={database} sslmode=disable"
        ));
        server.write(&format!("database/config/{name}"), words).await.unwrap();
    }
    let refused = server.write("database/rotate-root/words", Value::Null).await.unwrap_err();
    assert!(refused.contains("others would be locked out"), "{refused}");
}

#[tokio::test]
async fn wrong_requests_are_refused_with_the_field_that_is_wrong() {
    let server = server("wrong").await;
    role(&server, "app", json!({})).await;
    let url = "postgresql://{{username}}:{{password}}@127.0.0.1:1/x";
    let cases = [
        ("config/x", json!({}), "plugin_name"),
        ("config/x", json!({"plugin_name": "mysql-database-plugin"}), "no kind of database"),
        ("config/x", json!({"plugin_name": "postgresql-database-plugin"}), "connection_url"),
        (
            "config/x",
            json!({"plugin_name": "postgresql-database-plugin", "connection_url": url, "username": "a", "password": "b"}),
            "verifying connection",
        ),
        ("config/db", json!({"connection_url": "postgresql://{{username}}@db/x?sslmode=no"}), "sslmode"),
        ("config/db", json!({"username_template": "{{ .RoleName }}"}), "same name"),
        ("config/db", json!({"password_policy": "none"}), "password policy"),
        ("config/db", json!({"password_authentication": "md5"}), "password_authentication"),
        ("config/db", json!({"rotation_period": "1s"}), "rotation_period"),
        ("config/db", json!({"root_rotation_statements": "ALTER ROLE x"}), "root_rotation_statements"),
        ("config/db", json!({"max_open_connections": -1}), "max_open_connections"),
        ("config/db", json!({"username": "another"}), "password of the new username"),
        ("roles/x", json!({}), "db_name"),
        ("roles/x", json!({"db_name": "db"}), "creation_statements"),
        (
            "roles/x",
            json!({"db_name": "db", "creation_statements": "CREATE ROLE {{name}} PASSWORD {{password}}"}),
            "single quotes",
        ),
        (
            "roles/x",
            json!({"db_name": "db", "creation_statements": MEMBER, "default_ttl": "2h", "max_ttl": "1h"}),
            "default_ttl",
        ),
        (
            "roles/x",
            json!({"db_name": "db", "creation_statements": MEMBER, "credential_type": "rsa_private_key"}),
            "credential_type",
        ),
        (
            "roles/x",
            json!({"db_name": "db", "creation_statements": MEMBER, "credential_config": {"size": "9"}}),
            "credential_config",
        ),
        (
            "roles/x",
            json!({"db_name": "db", "creation_statements": MEMBER, "revocation_statements": "DROP ROLE '{{password}}'"}),
            "revocation_statements",
        ),
        ("static-roles/x", json!({"db_name": "db", "rotation_period": "1h"}), "username is a required"),
        ("static-roles/x", json!({"username": "u", "rotation_period": "1h"}), "db_name is a required"),
        (
            "static-roles/x",
            json!({"username": "u", "db_name": "none", "rotation_period": "1h"}),
            "failed to find entry for connection",
        ),
        ("static-roles/x", json!({"username": "u", "db_name": "db"}), "one of rotation_period and rotation_schedule"),
        ("static-roles/x", json!({"username": "u", "db_name": "db", "rotation_schedule": "soon"}), "rotation_schedule"),
        (
            "static-roles/x",
            json!({"username": "u", "db_name": "db", "paired_username": "u", "rotation_period": "1h"}),
            "paired_username",
        ),
        ("static-roles/x", json!({"username": "wrong", "db_name": "db", "rotation_period": "1h"}), "rotate-root"),
        ("static-roles/app", json!({"username": "u", "db_name": "db", "rotation_period": "1h"}), "must be unique"),
        (
            "static-roles/x",
            json!({"username": "nobody-here", "db_name": "db", "rotation_period": "1h"}),
            "no user nobody-here",
        ),
        ("rotate-role/none", json!({}), "no static role found"),
        ("rotate-root/none", json!({}), "failed to find entry for connection"),
        ("orphans/db", json!({}), "usernames"),
    ];
    for (path, body, wanted) in cases {
        let refused = server.write(&format!("database/{path}"), body.clone()).await;
        assert!(refused.as_ref().is_err_and(|error| error.contains(wanted)), "{path} {body}: {refused:?}");
    }
    assert!(server.read("database/creds/none").await.unwrap_err().contains("unknown role: none"));
    assert!(server.list("database/static-roles").await.is_err(), "nothing half done");
    assert_eq!(server.list("database/config").await.unwrap(), json!(["db"]));
    assert_eq!(server.list("database/roles").await.unwrap(), json!(["app"]));
    server.write("database/config/db", json!({"allowed_roles": ["other", "team-*"]})).await.unwrap();
    assert!(server.read("database/creds/app").await.unwrap_err().contains("\"app\" is not an allowed role"));
}

#[tokio::test]
async fn a_write_leaves_what_it_does_not_name_and_shows_no_secret() {
    let server = server("merge").await;
    role(&server, "app", json!({"renew_statements": ["ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'"]})).await;
    server.write("database/roles/app", json!({"max_ttl": "3h"})).await.unwrap();
    let shown = server.read("database/roles/app").await.unwrap().data;
    assert_eq!((&shown["default_ttl"], &shown["max_ttl"]), (&json!(3600), &json!(10800)));
    assert_eq!(shown["creation_statements"], json!([MEMBER]));
    assert_eq!(shown["rollback_statements"], json!([]));
    server.write("database/config/db", json!({"max_open_connections": 2})).await.unwrap();
    let shown = server.read("database/config/db").await.unwrap().data;
    assert_eq!(shown["connection_details"]["username"], "merge");
    assert_eq!(shown["connection_details"]["max_open_connections"], 2);
    assert_eq!(shown["allowed_roles"], json!(["*"]));
    assert!(!shown.to_string().contains("handed-over"), "{shown}");
    let grant = json!({"creation_statements": "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'; GRANT SELECT ON shared TO \"{{name}}\""});
    let warned = server.write("database/roles/app", grant).await.unwrap();
    assert!(warned.warnings[0].contains("IN ROLE"), "{warned:?}");
}

#[tokio::test]
async fn the_handed_over_password_is_rotated_and_does_not_come_back() {
    let server = server("handed").await;
    role(&server, "app", json!({})).await;
    let works = |password: &str| POSTGRES.try_psql("handed", password, "postgres", "SELECT 1").is_ok();
    assert!(works("handed-over"));
    server.write("database/rotate-root/db", Value::Null).await.unwrap();
    assert!(!works("handed-over"));
    assert_eq!(login(&server.read("database/creds/app").await.unwrap().data).unwrap(), "7");
    let shown = server.read("database/config/db").await.unwrap().data;
    assert_eq!(shown["password_owned_by_server"], true);
    assert!(shown["last_vault_rotation"].is_string());

    // A declarative tool applies the whole configuration again, with the password of the first day.
    let applied = server.write("database/config/db", connection(&POSTGRES, "handed", "handed-over")).await.unwrap();
    assert!(applied.warnings[0].contains("not taken over"), "{applied:?}");
    server.write("database/reset/db", Value::Null).await.unwrap();
    server.read("database/creds/app").await.unwrap();
    server.write("database/rotate-root/db", Value::Null).await.unwrap();
    server.read("database/creds/app").await.unwrap();

    // An administrator repairs the account by hand: a password that works where ours does not is taken over.
    POSTGRES.psql("ALTER ROLE handed PASSWORD 'repaired'");
    let applied = server.write("database/config/db", connection(&POSTGRES, "handed", "repaired")).await.unwrap();
    assert_eq!(applied.warnings, [""; 0]);
    server.read("database/creds/app").await.unwrap();

    // The database moves to a server that knows the account by another password. The one that was made for the server
    // before, which still let it in there, was held to be in force, and the right one was refused.
    server.write("database/rotate-root/db", Value::Null).await.unwrap();
    let other = Postgres::start();
    other.admin("handed", "over-there");
    let refused = server.write("database/config/db", connection(&other, "handed", "wrong")).await.unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");
    let moved = server.write("database/config/db", connection(&other, "handed", "over-there")).await.unwrap();
    assert!(moved.warnings.len() == 1 && moved.warnings[0].contains("still leased"), "{moved:?}");
    other.psql("CREATE ROLE readers; GRANT readers TO handed WITH ADMIN OPTION");
    let made = server.read("database/creds/app").await.unwrap().data;
    assert!(other.has_role(&text(&made["username"])));
}

#[tokio::test]
async fn the_password_of_a_connection_rotates_by_plan() {
    let server = server("planned").await;
    server.write("database/config/db", json!({"rotation_period": "1d"})).await.unwrap();
    let gone = async || POSTGRES.try_psql("planned", "handed-over", "postgres", "SELECT 1").is_err();
    assert!(!gone().await);
    server.advance_until(Duration::from_secs(3600), gone).await;
    server
        .advance_until(Duration::ZERO, async || {
            server.read("database/config/db").await.unwrap().data["history"]
                .as_array()
                .is_some_and(|tries| !tries.is_empty())
        })
        .await;
    let shown = server.read("database/config/db").await.unwrap().data;
    assert!(shown["last_error"].is_null() && shown["next_vault_rotation"].is_string(), "{shown}");
    server.write("database/config/db", json!({"allowed_roles": "*"})).await.unwrap();
}

/// A store in which somebody else is quicker once: when a static role is stored for the second time from now.
struct Contended {
    below: Arc<dyn Store>,
    before: AtomicUsize,
}

impl Store for Contended {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, storage::Error>> {
        self.below.get(key)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, storage::Error>> {
        self.below.scan(scan)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        let role = batch.writes.iter().map(|(key, _)| key).find(|key| key.as_str().ends_with("/static-roles/app"));
        if let Some(key) = role
            && self.before.fetch_sub(1, Ordering::Relaxed) == 1
        {
            let key = key.clone();
            return Box::pin(async { Err(CommitError::Conflict(key)) });
        }
        self.below.commit(batch)
    }

    fn follow(&self) -> Changes {
        self.below.follow()
    }
}

/// The database had the new password already when a request changed the connection at the same time. That was told as a
/// failure that had left the old one in force, and the new one was stored seconds later.
#[tokio::test]
async fn a_rotation_that_meets_a_request_is_gone_on_with_at_once() {
    let time = Simulated::new(Clock::system().now());
    let store = Arc::new(Contended { below: store_memory::Memory::new(), before: AtomicUsize::new(usize::MAX) });
    let server = Server::initialise(Arc::<Contended>::clone(&store), time.clock(), Some(time)).await;
    POSTGRES.admin("met", "handed-over");
    account("s-met", "original", "met");
    server.connect(&POSTGRES, "met", "handed-over").await;
    let body = json!({"db_name": "db", "username": "s-met", "rotation_period": "1h"});
    server.write("database/static-roles/app", body).await.unwrap();
    store.before.store(2, Ordering::Relaxed);
    let mut shown = Value::Null;
    server
        .advance_until(Duration::from_secs(600), async || {
            shown = server.read("database/static-roles/app").await.unwrap().data;
            shown["history"].as_array().unwrap().len() > 1
        })
        .await;
    assert!(shown["last_error"].is_null() && shown["failures"] == 0, "{shown}");
    assert!(store.before.load(Ordering::Relaxed) > 2, "nobody was quicker");
    assert_eq!(login(&server.read("database/static-creds/app").await.unwrap().data).unwrap(), "7");
}

#[tokio::test]
async fn a_static_account_rotates_by_hand_and_by_plan() {
    let server = server("static").await;
    account("s-app", "original", "static");
    let body = json!({"db_name": "db", "username": "s-app", "rotation_period": "1h"});
    server.write("database/static-roles/app", body.clone()).await.unwrap();
    let read = async || server.read("database/static-creds/app").await.unwrap().data;
    let first = read().await;
    assert_eq!(login(&first).unwrap(), "7");
    assert_eq!(
        (&first["username"], &first["rotation_period"], &first["ttl"]),
        (&json!("s-app"), &json!(3600), &json!(3600))
    );
    assert!(text(&first["connection_url"]).contains("s-app:"));
    assert!(POSTGRES.try_psql("s-app", "original", "postgres", "SELECT 1").is_err(), "rotated at creation");

    server.time.as_ref().unwrap().advance(Duration::from_secs(1800));
    assert_eq!(read().await["ttl"], 1800);
    server.write("database/rotate-role/app", Value::Null).await.unwrap();
    let second = read().await;
    assert!(second["password"] != first["password"] && second["ttl"] == 3600, "{second}");
    assert!(login(&first).is_err() && login(&second).is_ok());

    let password = second["password"].clone();
    server.advance_until(Duration::from_secs(600), async || read().await["password"] != password).await;
    assert_eq!(login(&read().await).unwrap(), "7");
    let shown = server.read("database/static-roles/app").await.unwrap().data;
    assert_eq!(shown["history"].as_array().unwrap().len(), 3, "{shown}");
    assert!(shown["last_error"].is_null() && !shown.to_string().contains(&text(&read().await["password"])));

    let mut other = body.clone();
    other["username"] = json!("another");
    assert!(
        server
            .write("database/static-roles/app", other)
            .await
            .unwrap_err()
            .contains("cannot update static account username")
    );
    server
        .write("database/static-roles/app", json!({"rotation_schedule": "0 3 * * 6", "rotation_window": "2h"}))
        .await
        .unwrap();
    let creds = read().await;
    assert_eq!((&creds["rotation_schedule"], &creds["rotation_window"]), (&json!("0 3 * * 6"), &json!(7200)));
    assert!(creds.get("rotation_period").is_none() && login(&creds).is_ok());
    let next = text(&server.read("database/static-roles/app").await.unwrap().data["next_vault_rotation"]);
    let next: clock::Timestamp = next.parse().unwrap();
    assert_eq!(next.strftime("%a %H:%M").to_string(), "Sat 03:00");
    let left = clock::between(server.core.clock().now(), next);
    server.time.as_ref().unwrap().advance(left - Duration::from_secs(2));
    assert_eq!(read().await["password"], creds["password"]);
    let rotated = async || read().await["password"] != creds["password"];
    server.advance_at_most(Duration::from_secs(300), Duration::from_secs(1), rotated).await;
    let at: clock::Timestamp = text(&read().await["last_vault_rotation"]).parse().unwrap();
    assert!(at >= next && clock::between(next, at) < Duration::from_secs(600), "{next} {at}");
    server.delete("database/static-roles/app").await.unwrap();
    assert!(server.read("database/static-creds/app").await.is_err());
}

#[tokio::test]
async fn paired_accounts_keep_the_login_before_valid_for_a_period() {
    let server = server("paired").await;
    account("p-a", "original", "paired");
    account("p-b", "original", "paired");
    let body = json!({"db_name": "db", "username": "p-a", "paired_username": "p-b", "rotation_period": "1h"});
    server.write("database/static-roles/pair", body).await.unwrap();
    let mut before = server.read("database/static-creds/pair").await.unwrap().data;
    for wanted in ["p-b", "p-a", "p-b"] {
        server.write("database/rotate-role/pair", Value::Null).await.unwrap();
        let now = server.read("database/static-creds/pair").await.unwrap().data;
        assert_eq!(now["username"], wanted);
        assert!(login(&now).is_ok() && login(&before).is_ok(), "who read before goes on");
        before = now;
    }
}

#[tokio::test]
async fn a_login_can_change_with_each_reading_or_not_be_touched_at_first() {
    let server = server("reading").await;
    account("r-app", "original", "reading");
    account("r-imp", "imported", "reading");
    server
        .write("database/static-roles/read", json!({"db_name": "db", "username": "r-app", "rotate_on_read": true}))
        .await
        .unwrap();
    let first = server.read("database/static-creds/read").await.unwrap().data;
    assert_eq!(login(&first).unwrap(), "7");
    let second = server.read("database/static-creds/read").await.unwrap().data;
    assert!(login(&first).is_err() && login(&second).is_ok());

    let body = json!({"db_name": "db", "username": "r-imp", "rotation_period": "1d", "skip_import_rotation": true});
    server.write("database/static-roles/imported", body.clone()).await.unwrap();
    assert!(POSTGRES.try_psql("r-imp", "imported", "postgres", "SELECT 1").is_ok(), "left as it is");
    assert!(server.read("database/static-creds/imported").await.unwrap_err().contains("rotate-role"));
    server.delete("database/static-roles/imported").await.unwrap();
    let mut known = body;
    known["password"] = json!("imported");
    server.write("database/static-roles/imported", known).await.unwrap();
    assert!(login(&server.read("database/static-creds/imported").await.unwrap().data).is_ok());
    server.write("database/rotate-role/imported", Value::Null).await.unwrap();
    assert!(login(&server.read("database/static-creds/imported").await.unwrap().data).is_ok());
    assert!(POSTGRES.try_psql("r-imp", "imported", "postgres", "SELECT 1").is_err());
}

#[tokio::test]
async fn a_rotation_that_fails_leaves_the_old_value_and_is_seen() {
    let server = server("failing").await;
    account("f-app", "original", "failing");
    let body = json!({"db_name": "db", "username": "f-app", "rotation_period": "1h"});
    server.write("database/static-roles/app", body).await.unwrap();
    let before = server.read("database/static-creds/app").await.unwrap().data;
    server
        .write(
            "database/static-roles/app",
            json!({"rotation_statements": "ALTER ROLE \"{{name}}\" PASSWORD '{{password}}' NONSENSE"}),
        )
        .await
        .unwrap();
    assert!(
        server
            .write("database/rotate-role/app", Value::Null)
            .await
            .unwrap_err()
            .contains("does not accept the statement")
    );
    let shown = server.read("database/static-roles/app").await.unwrap().data;
    assert!(text(&shown["last_error"]).contains("nonsense") && shown["failures"] == 1, "{shown}");
    let now = server.read("database/static-creds/app").await.unwrap().data;
    assert!(now["password"] == before["password"] && login(&now).is_ok());
    server.write("database/static-roles/app", json!({"rotation_statements": []})).await.unwrap();
    // The service tries again by itself.
    server
        .advance_until(Duration::from_secs(5), async || {
            server.read("database/static-creds/app").await.unwrap().data["password"] != before["password"]
        })
        .await;
    server
        .advance_until(Duration::ZERO, async || {
            server.read("database/static-roles/app").await.unwrap().data["last_error"].is_null()
        })
        .await;
}

/// Also where nothing is planned: what was tried by hand or by a reading is seen by the next who looks.
#[tokio::test]
async fn a_rotation_by_hand_is_seen_although_none_is_planned() {
    let server = server("by_hand").await;
    account("h-app", "original", "by_hand");
    role(&server, "app", json!({})).await;
    let standing = async |path: &str| {
        let shown = server.read(path).await.unwrap().data;
        (shown["failures"].clone(), shown["last_error"].clone(), shown["history"].as_array().unwrap().len())
    };
    let nonsense = json!(["ALTER ROLE \"{{name}}\" PASSWORD '{{password}}' NONSENSE"]);
    server.write("database/config/db", json!({"root_rotation_statements": nonsense})).await.unwrap();
    assert_eq!(standing("database/config/db").await, (json!(0), Value::Null, 0));
    server.write("database/rotate-root/db", Value::Null).await.unwrap_err();
    let (failures, why, tries) = standing("database/config/db").await;
    assert!((failures, tries) == (json!(1), 1) && text(&why).contains("nonsense"), "{why}");
    server.read("database/creds/app").await.unwrap();
    server.write("database/config/db", json!({"root_rotation_statements": []})).await.unwrap();
    server.write("database/rotate-root/db", Value::Null).await.unwrap();
    assert_eq!(standing("database/config/db").await, (json!(0), Value::Null, 2));

    let body =
        json!({"db_name": "db", "username": "h-app", "rotate_on_read": true, "disable_automated_rotation": true});
    server.write("database/static-roles/account", body).await.unwrap();
    server.read("database/static-creds/account").await.unwrap();
    assert_eq!(standing("database/static-roles/account").await, (json!(0), Value::Null, 2));
    server.write("database/static-roles/account", json!({"rotation_statements": nonsense})).await.unwrap();
    let kept = server.read("database/static-creds/account").await.unwrap();
    assert!(kept.warnings[0].contains("could not be rotated") && login(&kept.data).is_ok(), "{kept:?}");
    let (failures, why, tries) = standing("database/static-roles/account").await;
    assert!((failures, tries) == (json!(1), 3) && text(&why).contains("nonsense"), "{why}");
    server.delete("database/static-roles/account").await.unwrap();
    let listed = server.read("sys/rotation").await.unwrap().data;
    assert_eq!(listed["rotations"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn orphans_are_listed_and_removed_only_by_name() {
    let server = server("orphan").await;
    role(&server, "app", json!({})).await;
    server
        .write("database/config/db", json!({"username_template": "{{ printf \"o-%s\" (random 20) }}"}))
        .await
        .unwrap();
    let kept = text(&server.read("database/creds/app").await.unwrap().data["username"]);
    let forced = server.read("database/creds/app").await.unwrap();
    let forced_name = text(&forced.data["username"]);
    server.write("sys/leases/revoke-force/database/creds/app", Value::Null).await.unwrap();
    let again = text(&server.read("database/creds/app").await.unwrap().data["username"]);
    let found = server.read("database/orphans/db").await.unwrap().data;
    let mut wanted = vec![kept.clone(), forced_name.clone()];
    wanted.sort();
    assert_eq!((&found["prefix"], &found["orphans"], &found["leased"]), (&json!("o-"), &json!(wanted), &json!(1)));
    let removed =
        server.write("database/orphans/db", json!({"usernames": [kept, again, "postgres"]})).await.unwrap().data;
    assert_eq!(removed["removed"], json!([kept]));
    assert!(removed["failed"][&again].is_string() && removed["failed"]["postgres"].is_string());
    assert!(POSTGRES.has_role(&forced_name) && POSTGRES.has_role(&again) && !POSTGRES.has_role(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_requests_at_once_all_get_a_user() {
    let server = std::sync::Arc::new(server("many").await);
    role(&server, "app", json!({})).await;
    let asking = (0..200).map(|_| {
        let server = std::sync::Arc::clone(&server);
        tokio::spawn(async move { server.read("database/creds/app").await.map(|made| text(&made.data["username"])) })
    });
    let mut names = std::collections::BTreeSet::new();
    for answer in futures::future::join_all(asking).await {
        names.insert(answer.unwrap().unwrap());
    }
    assert_eq!(names.len(), 200);
    server.write("sys/leases/revoke-prefix/database/creds/app", Value::Null).await.unwrap();
    server.advance_until(Duration::from_secs(1), async || server.leases("app").await == 0).await;
    assert!(names.iter().all(|name| !POSTGRES.has_role(name)));
}

#[tokio::test]
async fn a_database_that_was_down_past_expiry_loses_the_user_soon_after() {
    let postgres = Postgres::start();
    postgres.admin("admin", "admin");
    postgres.psql("CREATE ROLE readers; GRANT readers TO admin WITH ADMIN OPTION");
    let server = Server::start_simulated().await;
    server.connect(&postgres, "admin", "admin").await;
    role(&server, "app", json!({})).await;
    let name = text(&server.read("database/creds/app").await.unwrap().data["username"]);
    postgres.stop();
    let refused = server.read("database/creds/app").await.unwrap_err();
    assert!(refused.contains("cannot be reached") || refused.contains("connection broke"), "{refused}");
    // A dead target does not hold up the editing of its own configuration.
    server.write("database/config/db", json!({"allowed_roles": ["app"]})).await.unwrap();
    // An hour and the lease's own hour pass, with tries that fail.
    for _ in 0..120 {
        server.time.as_ref().unwrap().advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    postgres.start_again();
    assert!(postgres.has_role(&name));
    // As soon as it is asked again, which is after a pause of real time.
    server.advance_until(Duration::ZERO, async || server.read("database/creds/app").await.is_ok()).await;
    server.advance_at_most(Duration::from_secs(300), Duration::from_secs(5), async || !postgres.has_role(&name)).await;
}
