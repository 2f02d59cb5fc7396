//! The store in PostgreSQL is a store, over a real one; and what it does beyond that: several servers, faults, hostile settings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt as _, future};
use secret::SecretString;
use storage::{Batch, Change, Changes, CommitError, Error, Key, Revision, Store, testing::conforms};
use store_postgresql::{OpenError, Options, Postgresql};
use testkit::postgres::Postgres;

/// One server for all tests: each takes tables of its own.
static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start);

fn table() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("store_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn options(url: &str, table: &str) -> Options {
    Options {
        connection_url: SecretString::new(url.to_owned()),
        table: table.to_owned(),
        max_parallel: 6,
        max_staleness: Duration::from_millis(500),
    }
}

async fn open(table: &str) -> Arc<Postgresql> {
    Postgresql::open(options(&POSTGRES.superuser_url(), table)).await.unwrap()
}

fn put(key: impl AsRef<str>, value: impl Into<Bytes>) -> Batch {
    Batch { expect: vec![], writes: vec![(Key::new(key), Some(value.into()))] }
}

async fn get(store: &Postgresql, key: &str) -> Option<Bytes> {
    store.get(&Key::new(key)).await.unwrap().map(|entry| entry.value)
}

#[tokio::test]
async fn postgresql_conforms() {
    conforms(async || open(&table()).await as _).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgresql_conforms_on_many_threads_with_few_connections() {
    conforms(async || {
        let fewest = store_postgresql::FEWEST;
        let options = Options { max_parallel: fewest, ..options(&POSTGRES.superuser_url(), &table()) };
        Postgresql::open(options).await.unwrap() as _
    })
    .await;
}

/// The next commit that a follower is told of.
async fn next(changes: &mut Changes) -> (Revision, Vec<String>) {
    loop {
        let change = tokio::time::timeout(Duration::from_secs(60), changes.next()).await;
        match change.expect("news within a minute").expect("an endless stream") {
            Change::Keys(revision, keys) => {
                return (revision, keys.iter().map(|key| key.as_str().to_owned()).collect());
            }
            Change::Lost => panic!("nothing was lost"),
            Change::Current { .. } => {}
        }
    }
}

/// Waits until a follower is up to date as of now or later.
async fn current(changes: &mut Changes) -> Revision {
    let from = Instant::now();
    loop {
        let change = tokio::time::timeout(Duration::from_secs(60), changes.next()).await;
        if let Change::Current { revision, at } = change.expect("a sign of life within a minute").expect("endless")
            && at >= from
        {
            return revision;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_see_what_each_other_writes_and_hear_of_it_in_order() {
    let table = table();
    // All at once: whoever comes first makes the tables.
    let stores = future::join_all((0..4).map(|_| open(&table))).await;
    let mut changes: Vec<Changes> = stores.iter().map(|store| store.follow()).collect();
    let mut expected = Vec::new();
    for n in 0..40 {
        let key = format!("k{}", n % 7);
        let revision = stores[n % 4].commit(put(&key, n.to_string())).await.unwrap();
        assert_eq!(get(&stores[(n + 1) % 4], &key).await.unwrap(), n.to_string(), "read on another one right after");
        expected.push((revision, vec![key]));
    }
    for changes in &mut changes {
        for expected in &expected {
            assert_eq!(next(changes).await, *expected);
        }
        assert_eq!(current(changes).await, expected.last().unwrap().0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_servers_that_count_the_same_none_loses_a_count() {
    let table = table();
    let stores = future::join_all((0..3).map(|_| open(&table))).await;
    let tasks = stores.iter().flat_map(|store| (0..4).map(|_| Arc::clone(store))).map(|store| {
        tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let before = store.get(&Key::new("count")).await.unwrap();
                    let count: u64 =
                        before.as_ref().map_or(0, |entry| String::from_utf8_lossy(&entry.value).parse().unwrap());
                    let expect = vec![(Key::new("count"), before.map(|entry| entry.revision))];
                    match store.commit(Batch { expect, ..put("count", (count + 1).to_string()) }).await {
                        Ok(_) => break,
                        Err(CommitError::Conflict(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    });
    future::join_all(tasks.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    assert_eq!(get(&stores[0], "count").await.unwrap(), "120");
}

#[tokio::test]
async fn what_waits_is_written_together_and_answered_apart() {
    let store = open(&table()).await;
    let first = store.commit(put("shared", "0")).await.unwrap();
    let before = store.stats();
    let batches = (0..64).map(|n| Batch {
        expect: if n % 2 == 0 { vec![(Key::new("shared"), Some(first))] } else { vec![] },
        writes: vec![(Key::new(if n % 2 == 0 { "shared" } else { "own" }), Some(n.to_string().into()))],
    });
    let answers = future::join_all(batches.map(|batch| store.commit(batch))).await;
    let won = answers.iter().step_by(2).filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1, "of those who expected the same");
    assert!(answers.iter().skip(1).step_by(2).all(Result::is_ok), "others are not drawn in");
    let after = store.stats();
    assert_eq!((after.commits - before.commits, after.conflicts - before.conflicts), (33, 31));
    assert!(after.transactions - before.transactions <= 4, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_went_away_is_a_fault_that_passes() {
    let postgres = Postgres::start();
    let store = Postgresql::open(options(&postgres.superuser_url(), "strongroom")).await.unwrap();
    let mut changes = store.follow();
    let revision = store.commit(put("k", "v")).await.unwrap();
    assert_eq!(next(&mut changes).await.0, revision);
    postgres.stop();
    let error = store.get(&Key::new("k")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let error = store.commit(put("k", "w")).await.unwrap_err();
    assert!(matches!(error, CommitError::Store(Error::Unavailable(_))), "{error}");
    postgres.start_again();
    assert_eq!(get(&store, "k").await.unwrap(), "v");
    let again = store.commit(put("k", "x")).await.unwrap();
    assert!(again > revision);
    assert_eq!(next(&mut changes).await, (again, vec!["k".to_owned()]), "followed again, and nothing was missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_cut_again_and_again_lose_no_commit_and_double_none() {
    let postgres = Postgres::start();
    let store = Postgresql::open(options(&postgres.superuser_url(), "strongroom")).await.unwrap();
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        let (mut count, mut unsure) = (0_u64, 0);
        for _ in 0..100 {
            let before = loop {
                if let Ok(before) = writing.get(&Key::new("n")).await {
                    break before;
                }
            };
            let stored: u64 = before.as_ref().map_or(0, |entry| String::from_utf8_lossy(&entry.value).parse().unwrap());
            assert!(stored == count || unsure > 0 && stored == count + 1, "{stored} after {count}");
            (count, unsure) = (stored, 0);
            let expect = vec![(Key::new("n"), before.map(|entry| entry.revision))];
            match writing.commit(Batch { expect, ..put("n", (count + 1).to_string()) }).await {
                Ok(_) => count += 1,
                Err(CommitError::Store(Error::Unavailable(_))) => unsure = 1,
                Err(error) => panic!("{error}"),
            }
        }
        count
    });
    while !writer.is_finished() {
        postgres.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strongroom'");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let count = writer.await.unwrap();
    assert!(count > 50, "most went through: {count}");
    let stored = loop {
        if let Ok(entry) = store.get(&Key::new("n")).await {
            break entry.unwrap();
        }
    };
    assert!(String::from_utf8_lossy(&stored.value).parse::<u64>().unwrap() >= count);
}

#[tokio::test]
async fn who_hangs_in_the_middle_of_a_commit_does_not_hold_up_the_others_for_long() {
    let table = table();
    let store = open(&table).await;
    store.commit(put("k", "0")).await.unwrap();
    // What a server leaves behind that is stopped while it holds the lock. PostgreSQL ends it after the time that the store
    // asks for on each of its connections.
    let sql = format!(
        "SET idle_in_transaction_session_timeout = '2s'; BEGIN; \
         SELECT value FROM {table}_meta WHERE name = 'revision' FOR UPDATE; SELECT pg_sleep(2)"
    );
    let hanging = tokio::task::spawn_blocking(move || POSTGRES.psql(&sql));
    tokio::time::sleep(Duration::from_millis(300)).await;
    store.commit(put("k", "1")).await.unwrap();
    assert_eq!(get(&store, "k").await.unwrap(), "1");
    hanging.await.unwrap();
}

#[tokio::test]
async fn a_follower_that_was_away_for_too_long_is_told() {
    let table = table();
    let store = open(&table).await;
    let mut changes = store.follow();
    store.commit(put("k", "0")).await.unwrap();
    assert_eq!(next(&mut changes).await.1, ["k"]);
    // As after a long time without a connection: the changes between are taken out.
    POSTGRES.psql(&format!(
        "BEGIN; UPDATE {table}_meta SET value = value + 100 WHERE name = 'revision'; \
         INSERT INTO {table}_changes SELECT value, 0, '' FROM {table}_meta WHERE name = 'revision'; COMMIT"
    ));
    loop {
        match tokio::time::timeout(Duration::from_secs(60), changes.next()).await.unwrap().unwrap() {
            Change::Lost => break,
            Change::Current { .. } => {}
            Change::Keys(..) => panic!("what lies between is not known"),
        }
    }
    let revision = store.commit(put("k", "1")).await.unwrap();
    assert_eq!(next(&mut changes).await, (revision, vec!["k".to_owned()]), "and goes on from there");
}

#[tokio::test]
async fn a_user_without_special_rights_is_enough_and_one_with_too_few_is_told() {
    POSTGRES.psql("CREATE ROLE plain LOGIN PASSWORD 'pw-plain'");
    POSTGRES.psql("CREATE ROLE poor LOGIN PASSWORD 'pw-poor'");
    POSTGRES.psql("CREATE SCHEMA of_plain AUTHORIZATION plain");
    let url = |user: &str| POSTGRES.url(user, &format!("pw-{user}"), "postgres");
    let store = Postgresql::open(options(&url("plain"), "of_plain.secrets")).await.unwrap();
    store.commit(put("k", "v")).await.unwrap();
    assert_eq!(get(&store, "k").await.unwrap(), "v");
    let error = Postgresql::open(options(&url("poor"), "of_plain.secrets")).await.unwrap_err();
    assert!(matches!(error, OpenError::NotPermitted { .. }), "{error}");
    // Tables that are there need no right to make any.
    POSTGRES.psql("GRANT USAGE ON SCHEMA of_plain TO poor");
    POSTGRES.psql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA of_plain TO poor");
    let store = Postgresql::open(options(&url("poor"), "of_plain.secrets")).await.unwrap();
    assert_eq!(get(&store, "k").await.unwrap(), "v");
    store.commit(put("k", "w")).await.unwrap();
}

#[tokio::test]
async fn hostile_settings_get_clear_errors_without_the_password() {
    let url = |user: &str, password: &str, database: &str| POSTGRES.url(user, password, database);
    let good = POSTGRES.superuser_url();
    POSTGRES.psql("CREATE TABLE vault_kv_store (parent_path text, path text, key text, value bytea)");
    POSTGRES.psql("CREATE TABLE odd_meta (other text)");
    let newer = table();
    drop(open(&newer).await);
    POSTGRES.psql(&format!("UPDATE {newer}_meta SET value = 99 WHERE name = 'format'"));
    let cases = [
        (url("postgres", "hunter2", "postgres"), "strongroom", "password authentication failed"),
        (url("nobody", "hunter2", "postgres"), "strongroom", "cannot connect to the store"),
        (good.replace("/postgres?", "/nowhere?"), "strongroom", "does not exist"),
        ("postgres://a:hunter2@127.0.0.1:1/x".to_owned(), "strongroom", "cannot connect to the store"),
        (good.clone(), "vault_kv_store", "was not made by strongroom"),
        (good.clone(), "odd", "was not made by strongroom"),
        (good.clone(), "a;drop", "table: use letters"),
        (good.clone(), "missing_schema.strongroom", "table: "),
        (good.clone(), newer.as_str(), "has format 99"),
        (good.replace("sslmode=disable", "sslmode=verify-full"), "strongroom", "cannot connect to the store"),
    ];
    for (url, table, wanted) in cases {
        let error = Postgresql::open(options(&url, table)).await.unwrap_err().to_string();
        let wanted = wanted.replace("has format", "have format");
        assert!(error.contains(&wanted), "{table}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let few = Options { max_parallel: 2, ..options(&good, "strongroom") };
    assert!(Postgresql::open(few).await.unwrap_err().to_string().starts_with("max_parallel: "));
}

#[tokio::test]
async fn of_several_hosts_the_one_that_takes_writes_is_used() {
    let standby = Postgres::start();
    standby.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    standby.psql("SELECT pg_reload_conf()");
    let table = table();
    let password = POSTGRES.superuser_url();
    let password = password.split(':').nth(2).and_then(|rest| rest.split('@').next()).unwrap();
    standby.psql(&format!("BEGIN READ WRITE; ALTER ROLE postgres PASSWORD '{password}'; COMMIT"));
    let url = format!(
        "postgres://postgres:{password}@127.0.0.1:{},127.0.0.1:{}/postgres?sslmode=disable",
        standby.port(),
        POSTGRES.port()
    );
    let store = Postgresql::open(options(&url, &table)).await.unwrap();
    store.commit(put("k", "v")).await.unwrap();
    assert_eq!(POSTGRES.psql(&format!("SELECT count(*) FROM {table}")), "1");
}
