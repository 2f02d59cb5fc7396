//! Namespaces in a whole server with a store that can be looked into: what their deletion leaves, and what they cost at the
//! start.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clock::Clock;
use kit::{MEMBER, Server, connection};
use serde_json::{Value, json};
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Error, Key, Page, Revision, Scan, Store};
use store_memory::Memory;
use testkit::postgres::Postgres;

static POSTGRES: LazyLock<Postgres> = LazyLock::new(|| {
    let postgres = Postgres::start();
    postgres.psql("CREATE ROLE readers");
    postgres.admin("keeper", "handed-over");
    postgres.psql("GRANT readers TO keeper WITH ADMIN OPTION");
    postgres
});

/// A database in the namespace with this path.
async fn database(server: &Server, at: &str) {
    server.write(&format!("{at}sys/mounts/database"), json!({"type": "database"})).await.unwrap();
    let login = connection(&POSTGRES, "keeper", "handed-over");
    server.write(&format!("{at}database/config/db"), login).await.unwrap();
    let role = json!({"db_name": "db", "creation_statements": MEMBER, "default_ttl": "1h", "max_ttl": "2h"});
    server.write(&format!("{at}database/roles/app"), role).await.unwrap();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// What the store holds of a namespace, by the keys that lie in clear.
async fn keys(server: &Server, id: &str) -> Vec<String> {
    let scan = Scan { prefix: String::new(), after: None, limit: 1_000_000, values: false };
    let page = server.store.scan(&scan).await.unwrap();
    let keys = page.entries.iter().map(|(key, _)| key.as_str().to_owned());
    keys.filter(|key| key.contains(id)).collect()
}

#[tokio::test]
async fn a_deleted_namespace_leaves_no_user_behind_and_nothing_in_the_store() {
    let server = Server::start_simulated().await;
    let made = server.write("sys/namespaces/team", json!({})).await.unwrap();
    let id = text(&made.data["id"]);
    database(&server, "").await;
    database(&server, "team/").await;
    let outside = server.read("database/creds/app").await.unwrap();
    let inside = server.read("team/database/creds/app").await.unwrap();
    assert!(inside.lease_id.starts_with("database/creds/app/") && inside.lease_id.ends_with(&format!(".{id}")));
    let (outer, inner) = (text(&outside.data["username"]), text(&inside.data["username"]));
    // Each namespace knows its own lease.
    let lookup = async |at: &str, lease: &str| {
        server.write(&format!("{at}sys/leases/lookup"), json!({"lease_id": lease})).await.is_ok()
    };
    assert!(lookup("", &outside.lease_id).await && lookup("team/", &inside.lease_id).await);
    assert!(!lookup("team/", &outside.lease_id).await && !lookup("", &inside.lease_id).await);
    server.write("team/sys/leases/renew", json!({"lease_id": inside.lease_id})).await.unwrap();
    server.write("team/auth/token/create", json!({"policies": ["default"]})).await.unwrap();
    server.write("team/identity/entity", json!({"name": "bob"})).await.unwrap();
    assert!(keys(&server, &id).await.len() > 10);

    server.delete("sys/namespaces/team").await.unwrap();
    assert!(server.read("team/database/creds/app").await.is_err());
    // The clock goes on, and the background work with it.
    server.advance_until(Duration::from_secs(1), async || server.list("sys/namespaces").await.is_err()).await;
    assert!(!POSTGRES.has_role(&inner), "{inner} lives on");
    assert!(POSTGRES.has_role(&outer), "{outer} is gone");
    assert_eq!(keys(&server, &id).await, Vec::<String>::new());
    assert!(lookup("", &outside.lease_id).await);
}

#[tokio::test]
async fn a_lease_of_a_namespace_ends_although_nobody_asked_for_the_namespace_since_the_start() {
    let server = Server::start_simulated().await;
    server.write("sys/namespaces/quiet", json!({})).await.unwrap();
    database(&server, "quiet/").await;
    let name = text(&server.read("quiet/database/creds/app").await.unwrap().data["username"]);
    server.core.seal().await;
    let (clock, time) = (server.core.clock().clone(), server.time.clone());
    let server = Server::restart(server.store, clock, server.key, server.token, time).await;
    server.advance_until(Duration::from_secs(120), async || !POSTGRES.has_role(&name)).await;
}

/// What was begun is done after a restart, and no request is needed for it.
#[tokio::test]
async fn removals_that_a_seal_cut_off_go_on_after_it() {
    let server = Server::start_simulated().await;
    let mut ids = Vec::new();
    for name in ["mount", "whole"] {
        let made = server.write(&format!("sys/namespaces/{name}"), json!({})).await.unwrap();
        database(&server, &format!("{name}/")).await;
        ids.push(text(&made.data["id"]));
    }
    let mount = text(&server.read("mount/sys/mounts").await.unwrap().data["database/"]["uuid"]);
    let users = [
        server.read("mount/database/creds/app").await.unwrap(),
        server.read("whole/database/creds/app").await.unwrap(),
    ]
    .map(|made| text(&made.data["username"]));
    server.delete("mount/sys/mounts/database").await.unwrap();
    server.delete("sys/namespaces/whole").await.unwrap();
    server.core.seal().await;
    let (clock, time) = (server.core.clock().clone(), server.time.clone());
    let server = Server::restart(server.store, clock, server.key, server.token, time).await;
    let gone = async || {
        keys(&server, &ids[1]).await.is_empty()
            && keys(&server, &mount).await.is_empty()
            && keys(&server, "namespace-work").await.is_empty()
    };
    server.advance_until(Duration::from_secs(1), gone).await;
    assert!(users.iter().all(|user| !POSTGRES.has_role(user)), "{users:?}");
    assert!(server.read("mount/sys/mounts").await.unwrap().data.get("database/").is_none());
    assert_eq!(server.list("sys/namespaces").await.unwrap(), json!(["mount/"]));
}

/// A store that counts what is read of it.
struct Counting {
    below: Arc<dyn Store>,
    reads: AtomicUsize,
}

impl Store for Counting {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.below.get(key)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            let page = self.below.scan(scan).await?;
            self.reads.fetch_add(1 + page.entries.len(), Ordering::Relaxed);
            Ok(page)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        self.below.commit(batch)
    }

    fn follow(&self) -> Changes {
        self.below.follow()
    }
}

/// How much is read at a start, by the background work too, after `count` namespaces were made.
async fn reads_at_the_start(count: usize) -> usize {
    let server = Server::initialise(Memory::new(), Clock::system(), None).await;
    for index in 0..count {
        server.write(&format!("sys/namespaces/n{index}"), json!({})).await.unwrap();
        server.write(&format!("n{index}/sys/policies/acl/app"), json!({"policy": "path \"x\" {}"})).await.unwrap();
    }
    server.core.seal().await;
    let counting = Arc::new(Counting { below: server.store, reads: AtomicUsize::default() });
    let store = Arc::clone(&counting) as Arc<dyn Store>;
    let server = Server::restart(store, Clock::system(), server.key, server.token, None).await;
    server.read("auth/token/lookup-self").await.unwrap();
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    counting.reads.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_thousand_namespaces_are_not_read_at_the_start() {
    let (one, thousand) = (reads_at_the_start(1).await, reads_at_the_start(1000).await);
    assert_eq!(one, thousand);
}
