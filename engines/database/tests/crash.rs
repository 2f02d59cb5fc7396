//! The process is killed at every place that matters, and started again: no user is left that the server does not know
//! of, and the administrator's login always works.
//!
//! The test runs itself as another process, with a store on disk; that one aborts at the fault point.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use clock::{Clock, Simulated, after};
use engine_database::FAULT_POINTS;
use kit::{MEMBER, Server};
use serde_json::{Value, json};
use storage::Store;
use testkit::postgres::Postgres;

#[test]
fn a_crash_at_any_step_leaves_no_unknown_user_and_a_working_login() {
    let postgres = Postgres::start();
    postgres.psql("CREATE ROLE readers; CREATE TABLE shared (id int); GRANT SELECT ON shared TO readers");
    postgres.psql("CREATE ROLE \"s-app\" LOGIN IN ROLE readers");
    for point in FAULT_POINTS {
        let dir = tempfile::tempdir().unwrap();
        postgres.psql("DROP ROLE IF EXISTS admin");
        postgres.admin("admin", "handed-over");
        postgres.psql("GRANT readers, \"s-app\" TO admin WITH ADMIN OPTION");
        let port = postgres.port().to_string();
        assert!(run("prepare", "", dir.path(), &port), "{point}: prepare");
        assert!(!run("act", point, dir.path(), &port), "{point}: the process reaches the point and dies there");
        assert!(run("recover", "", dir.path(), &port), "{point}: recover");
        let left = users(&postgres);
        let leased = std::fs::read_to_string(dir.path().join("leased")).unwrap();
        assert_eq!(
            left.len().to_string(),
            leased,
            "{point}: the users in the database are those with a lease: {left:?}"
        );
        for user in left {
            postgres.psql(&format!("DROP ROLE \"{user}\""));
        }
    }
}

fn users(postgres: &Postgres) -> Vec<String> {
    let users = postgres.psql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'");
    users.lines().map(str::to_owned).collect()
}

/// Runs one phase in a process of its own; whether it ended well.
fn run(phase: &str, fault: &str, dir: &Path, port: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(PHASE, phase).env(DIR, dir).env(PORT, port);
    if !fault.is_empty() {
        command.env("STRONGROOM_FAULT", fault);
    }
    let output = command.output().unwrap();
    let aborted = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(6);
    if !output.status.success() && !aborted {
        panic!(
            "{phase} {fault}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    output.status.success()
}

/// Does nothing unless [`run`] started it.
#[tokio::test]
async fn child() {
    let Ok(phase) = std::env::var(PHASE) else { return };
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let store: Arc<dyn Store> =
        store_embedded::Embedded::open(&dir.join("store"), store_embedded::Options::default()).unwrap();
    match phase.as_str() {
        "prepare" => prepare(store, &dir).await,
        "act" => act(&opened(store, &dir, None).await).await,
        "recover" => recover(store, &dir).await,
        other => panic!("{other}"),
    }
}

async fn prepare(store: Arc<dyn Store>, dir: &Path) {
    let server = Server::initialise(store, Clock::system(), None).await;
    std::fs::write(dir.join("keys"), format!("{}\n{}", server.key, server.token)).unwrap();
    server.write("sys/mounts/database", json!({"type": "database"})).await.unwrap();
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        std::env::var(PORT).unwrap()
    );
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url,
        "username": "admin", "password": "handed-over",
    });
    server.write("database/config/db", connection).await.unwrap();
    let role = json!({"db_name": "db", "creation_statements": MEMBER, "default_ttl": "1h", "max_ttl": "24h"});
    server.write("database/roles/app", role).await.unwrap();
    let account = json!({"db_name": "db", "username": "s-app", "rotation_period": "24h"});
    server.write("database/static-roles/account", account).await.unwrap();
    // One user that lives on whatever happens to the next.
    let made = server.read("database/creds/app").await.unwrap();
    std::fs::write(dir.join("lease"), made.lease_id).unwrap();
}

/// Every act in turn; the process dies in the one that has the fault point.
async fn act(server: &Server) {
    let made = server.read("database/creds/app").await.unwrap();
    server.write("sys/leases/renew", json!({"lease_id": made.lease_id})).await.unwrap();
    server.write("sys/leases/revoke", json!({"lease_id": made.lease_id, "sync": true})).await.unwrap();
    server.write("database/rotate-root/db", Value::Null).await.unwrap();
    server.write("database/rotate-role/account", Value::Null).await.unwrap();
}

/// After the restart: every login works, rotations go on, and what was pending comes to its end.
async fn recover(store: Arc<dyn Store>, dir: &Path) {
    // A little later: statements on their way to the database have arrived or never will.
    let time = Simulated::new(after(Clock::system().now(), Duration::from_secs(70)));
    let server = opened(store, dir, Some(time)).await;
    let creds = server.read("database/static-creds/account").await.unwrap().data;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // The administrator's and the account's logins work before anything else is done.
    server.read("database/creds/app").await.unwrap();
    assert!(logs_in(&text(&creds["connection_url"])).await, "the static account");
    for path in ["database/rotate-root/db", "database/rotate-role/account"] {
        server.write(path, Value::Null).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let creds = server.read("database/static-creds/account").await.unwrap().data;
    assert!(logs_in(&text(&creds["connection_url"])).await, "the static account, rotated");
    // Users without a lease go, those with one stay.
    let mut leased = Value::Null;
    server
        .advance_until(Duration::from_secs(1), async || {
            let found = server.read("database/orphans/db").await.unwrap().data;
            leased = found["leased"].clone();
            found["orphans"] == json!([]) && leased == server.leases("app").await
        })
        .await;
    let first = std::fs::read_to_string(dir.join("lease")).unwrap();
    server.write("sys/leases/lookup", json!({"lease_id": first})).await.unwrap();
    std::fs::write(dir.join("leased"), leased.to_string()).unwrap();
}

async fn logs_in(url: &str) -> bool {
    tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_ok()
}

async fn opened(store: Arc<dyn Store>, dir: &Path, time: Option<Simulated>) -> Server {
    let keys = std::fs::read_to_string(dir.join("keys")).unwrap();
    let (key, token) = keys.split_once('\n').unwrap();
    let clock = time.as_ref().map_or_else(Clock::system, Simulated::clock);
    Server::restart(store, clock, key.to_owned(), token.to_owned(), time).await
}

const PHASE: &str = "STRONGROOM_TEST_PHASE";
const DIR: &str = "STRONGROOM_TEST_DIR";
const PORT: &str = "STRONGROOM_TEST_PORT";
