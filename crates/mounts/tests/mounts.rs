//! What is mounted where, across restarts.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use api::Verb;
use clock::{Clock, Simulated, Timestamp};
use engine::{Cx, Done, Engine, Error, Kind, Opening, Routes};
use gate::{MountClass, Namespace};
use mounts::{Builtin, Limits, Mounts, NewMount};
use storage::{Store, Tx, testing::FailingStore};
use store_memory::Memory;

struct Nothing;

impl Engine for Nothing {
    fn open(_: Opening) -> Self {
        Self
    }

    fn routes() -> Routes<Self> {
        Routes::default().on(Verb::Read, "it", "Do nothing.", it)
    }
}

async fn it(_: Cx<Nothing>, (): ()) -> Result<Done, Error> {
    Ok(Done)
}

static KINDS: &[Kind] = &[
    Kind::secret::<Nothing>("kv", "Nothing."),
    Kind::secret::<Nothing>("database", "Nothing."),
    Kind::auth::<Nothing>("jwt", "Nothing."),
];

fn clock() -> Clock {
    Simulated::new(Timestamp::from_second(1_800_000_000).unwrap()).clock()
}

async fn load(store: &Arc<dyn Store>, kinds: &'static [Kind]) -> Mounts {
    let builtins = vec![Builtin {
        path: "sys/",
        kind: "system",
        class: MountClass::Secret,
        description: "",
        backend: engine::backend(Nothing),
    }];
    Mounts::load(Namespace::root(), Arc::clone(store), clock(), kinds, Limits::default(), builtins).await.unwrap()
}

fn new(path: &str, kind: &str) -> NewMount {
    NewMount { path: path.to_owned(), kind: kind.to_owned(), ..NewMount::default() }
}

#[tokio::test]
async fn paths_do_not_clash() {
    let store: Arc<dyn Store> = Memory::new();
    let mounts = load(&store, KINDS).await;
    mounts.enable(MountClass::Secret, new("/team/kv/", "kv")).await.unwrap();
    for path in ["team/kv", "team", "team/kv/below", "sys", "sys/x", "auth/x", "cubbyhole", "", "a b", "x*", "a+/b"] {
        let refused = mounts.enable(MountClass::Secret, new(path, "kv")).await;
        assert!(matches!(refused.err(), Some(Error::Invalid(_))), "{path:?} was taken");
    }
    mounts.enable(MountClass::Secret, new("team/kvx", "kv-v2")).await.unwrap();
    mounts.enable(MountClass::Auth, new("team/kv", "jwt")).await.unwrap();
    assert!(mounts.enable(MountClass::Auth, new("kv", "kv")).await.is_err(), "a secrets engine is no auth method");
    assert!(mounts.enable(MountClass::Secret, new("none", "none")).await.is_err());
    let (found, rest) = mounts.find("team/kv/data/a").unwrap();
    assert_eq!((&*found.info.path, rest), ("team/kv/", "data/a"));
    assert_eq!(mounts.find("team/kv").unwrap().1, "");
    assert!(mounts.find("team/kvy/data").is_none() && mounts.find("team").is_none() && mounts.find("").is_none());
    assert_eq!(&*mounts.find("auth/team/kv/login").unwrap().0.info.path, "auth/team/kv/");
    let kvx = mounts.exactly("team/kvx").unwrap();
    assert_eq!((kvx.entry.kind.as_str(), kvx.entry.options["version"].as_str()), ("kv", "2"));
    // All of it stands after a restart.
    let again = load(&store, KINDS).await;
    assert_eq!(again.list(MountClass::Secret).len(), 3);
    assert_eq!(again.exactly("team/kvx").unwrap().info.uuid, kvx.info.uuid);
}

#[tokio::test]
async fn a_mount_that_is_being_removed_is_gone_from_the_routes_and_resumed_after_a_restart() {
    let store: Arc<dyn Store> = Memory::new();
    let mounts = load(&store, KINDS).await;
    let kv = mounts.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    let tx = Tx::new(Arc::clone(&store));
    for n in 0..1200 {
        tx.put(storage::Key::new(format!("{}{n}", kv.prefix)), bytes::Bytes::from_static(b"x"));
    }
    tx.commit().await.unwrap();
    assert!(mounts.taint("none").await.unwrap().is_none());
    assert!(mounts.taint("sys").await.is_err());
    mounts.taint("kv").await.unwrap().unwrap();
    assert!(mounts.find("kv/a").is_none() && mounts.by_uuid(&kv.info.uuid).is_some());
    // Its path is free for another at once.
    let next = mounts.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    drop(mounts);
    let mounts = load(&store, KINDS).await;
    let leaving = mounts.leaving();
    assert_eq!(leaving.len(), 1);
    mounts.remove(&leaving[0]).await.unwrap();
    assert!(mounts.by_uuid(&kv.info.uuid).is_none() && mounts.leaving().is_empty());
    let scan = storage::Scan { prefix: kv.prefix.to_string(), after: None, limit: 1, values: false };
    assert!(store.scan(&scan).await.unwrap().entries.is_empty());
    assert_eq!(mounts.find("kv/a").unwrap().0.info.uuid, next.info.uuid);
}

#[tokio::test]
async fn settings_and_paths_change_without_the_id() {
    let store: Arc<dyn Store> = Memory::new();
    let mounts = load(&store, KINDS).await;
    let kv = mounts.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    mounts
        .tune("kv", |entry| {
            entry.config.max_lease_ttl = api::Ttl(std::time::Duration::from_secs(60));
            Ok(())
        })
        .await
        .unwrap();
    let info = Arc::clone(&mounts.exactly("kv").unwrap().info);
    assert_eq!((info.max_ttl.as_secs(), info.default_ttl.as_secs()), (60, 60));
    let wrong = mounts.tune("kv", |entry| {
        entry.config.default_lease_ttl = api::Ttl(std::time::Duration::from_secs(61));
        Ok(())
    });
    assert!(wrong.await.is_err());
    mounts.rename("kv", "moved/kv").await.unwrap();
    assert!(mounts.find("kv/a").is_none());
    let moved = mounts.exactly("moved/kv").unwrap();
    assert_eq!((&moved.info.uuid, moved.info.max_ttl.as_secs()), (&kv.info.uuid, 60));
    assert_eq!(moved.entry.former_paths, ["kv/"]);
    assert!(mounts.rename("sys", "x").await.is_err() && mounts.rename("none", "x").await.is_err());
    mounts.rename("moved/kv", "kv").await.unwrap();
    assert_eq!(mounts.exactly("kv").unwrap().entry.former_paths, ["moved/kv/"]);
}

#[tokio::test]
async fn a_mount_of_a_kind_that_this_build_does_not_know_is_kept() {
    // What it leased was taken for leases of a mount that is gone, and given up; its path was free for another.
    let store: Arc<dyn Store> = Memory::new();
    let database = load(&store, KINDS).await.enable(MountClass::Secret, new("database", "database")).await.unwrap();
    let (older, _) = KINDS.split_at(1);
    let mounts = load(&store, older).await;
    assert!(mounts.find("database/creds/app").is_none());
    assert!(mounts.is_left_out(&database.info.uuid) && !mounts.is_left_out("none"));
    assert!(mounts.enable(MountClass::Secret, new("database", "kv")).await.is_err());
    mounts.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    let mounts = load(&store, KINDS).await;
    assert_eq!(mounts.find("database/creds/app").unwrap().0.info.uuid, database.info.uuid);
    assert!(!mounts.is_left_out(&database.info.uuid));
}

#[tokio::test]
async fn a_mount_knows_of_the_requests_it_answers() {
    let store: Arc<dyn Store> = Memory::new();
    let mounts = load(&store, KINDS).await;
    mounts.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    let (_, rest, one) = mounts.enter("kv/a").unwrap();
    assert_eq!(rest, "a");
    // A request stays one of the mount's however the mount changes.
    mounts.tune("kv", |_| Ok(())).await.unwrap();
    mounts.rename("kv", "moved").await.unwrap();
    let two = mounts.enter("moved/a").unwrap().2;
    let tainted = mounts.taint("moved").await.unwrap().unwrap();
    assert!(mounts.enter("moved/a").is_none());
    drop(one);
    assert!(tainted.is_in_use());
    drop(two);
    assert!(!tainted.is_in_use());
}

#[tokio::test]
async fn what_could_not_be_stored_is_not_mounted() {
    let store = FailingStore::new(Memory::new());
    let mounts = load(&(Arc::clone(&store) as Arc<dyn Store>), KINDS).await;
    store.fail_commit_after(0);
    assert!(mounts.enable(MountClass::Secret, new("kv", "kv")).await.is_err());
    assert!(mounts.find("kv/a").is_none());
    mounts.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    store.fail_commit_after(0);
    assert!(mounts.taint("kv").await.is_err() && mounts.find("kv/a").is_some());
    store.fail_commit_after(0);
    assert!(mounts.rename("kv", "other").await.is_err() && mounts.find("kv/a").is_some());
}

/// Takes a note away in each step.
fn step(view: storage::View, _: Timestamp) -> storage::BoxFuture<'static, Result<bool, Error>> {
    Box::pin(async move {
        let (notes, more) = view.scan("old/", None, 1).await?;
        notes.iter().for_each(|(path, _)| view.delete(path));
        Ok(more)
    })
}

struct Versioned {
    version: String,
    upgrading: bool,
}

impl Engine for Versioned {
    fn open(opening: Opening) -> Self {
        let version = opening.mount.options.get("version").cloned().unwrap_or_default();
        Self { version, upgrading: opening.upgrading }
    }

    fn routes() -> Routes<Self> {
        Routes::default().on(Verb::Read, "it", "Tell the version.", told)
    }
}

async fn told(cx: Cx<Versioned>, (): ()) -> Result<Done, Error> {
    Err(Error::invalid(format!("{} {}", cx.engine().version, cx.engine().upgrading)))
}

static UPGRADED: &[Kind] = &[Kind::secret::<Versioned>("kv", "Versions.").upgraded_by(step)];

fn versioned(version: &str) -> impl FnOnce(&mut mounts::Entry) -> Result<(), Error> {
    move |entry| {
        entry.options.insert("version".to_owned(), version.to_owned());
        Ok(())
    }
}

#[tokio::test]
async fn a_higher_version_is_reached_in_steps_that_an_interruption_does_not_undo() {
    let memory: Arc<dyn Store> = Memory::new();
    let store = FailingStore::new(Arc::clone(&memory));
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let mounts = load(&shared, UPGRADED).await;
    let kv = mounts.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    let tx = Tx::new(Arc::clone(&shared));
    for n in 0..4 {
        tx.view(Arc::clone(&kv.prefix)).put(&format!("old/{n}"), "x".into());
    }
    tx.commit().await.unwrap();
    assert!(mounts.tune("kv", |_| Ok(())).await.unwrap().is_none());
    assert!(mounts.tune("kv", versioned("3")).await.is_err());
    let (before, _, under_way) = mounts.enter("kv/it").unwrap();
    let was = mounts.tune("kv", versioned("2")).await.unwrap().unwrap();
    assert!(!mounts.exactly("kv").unwrap().is_in_use() && was.is_in_use() && Arc::ptr_eq(&was.info, &before.info));
    drop(under_way);
    assert!(!was.is_in_use());
    assert!(mounts.exactly("kv").unwrap().entry.upgrading);

    store.fail_commit_after(2);
    assert!(mounts.upgrade(&kv.info.uuid).await.is_err());
    assert!(mounts.exactly("kv").unwrap().entry.upgrading, "half of it is not all of it");
    // A restart finds it, and goes on.
    let mounts = load(&memory, UPGRADED).await;
    let found: Vec<_> = mounts.upgrading().iter().map(|mounted| mounted.info.uuid.to_string()).collect();
    assert_eq!(found, [kv.info.uuid.to_string()]);
    mounts.upgrade(&kv.info.uuid).await.unwrap();
    assert!(mounts.upgrading().is_empty() && !mounts.exactly("kv").unwrap().entry.upgrading);
    let left =
        memory.scan(&storage::Scan { prefix: kv.prefix.to_string(), after: None, limit: 9, values: false }).await;
    assert!(left.unwrap().entries.is_empty());
    mounts.upgrade(&kv.info.uuid).await.unwrap();
    // Versions are not taken away again.
    let error = mounts.tune("kv", versioned("1")).await.err().unwrap();
    assert!(error.to_string().starts_with("options.version: versions cannot be taken away"), "{error}");
    assert!(mounts.tune("kv", versioned("2")).await.unwrap().is_none());
}

#[tokio::test]
async fn versions_that_there_are_not_are_refused() {
    let store: Arc<dyn Store> = Memory::new();
    let mounts = load(&store, UPGRADED).await;
    let options = |version: &str| [("version".to_owned(), version.to_owned())].into();
    for (kind, version) in [("kv", "3"), ("kv", "two"), ("kv", "0"), ("generic", "2")] {
        let mount = NewMount { options: options(version), ..new("x", kind) };
        let error = mounts.enable(MountClass::Secret, mount).await.err().unwrap();
        assert!(error.to_string().starts_with("options.version: "), "{kind} {version}: {error}");
    }
    for (path, kind, version) in [("a", "kv", "1"), ("b", "kv", "2"), ("c", "generic", ""), ("d", "kv-v2", "1")] {
        mounts.enable(MountClass::Secret, NewMount { options: options(version), ..new(path, kind) }).await.unwrap();
    }
    assert_eq!(mounts.exactly("d").unwrap().entry.options["version"], "2", "the type's name wins");
    mounts.enable(MountClass::Secret, new("e", "generic")).await.unwrap();
    assert_eq!(mounts.exactly("e").unwrap().entry.kind, "kv");
}

#[tokio::test]
async fn headers_are_let_through_however_they_are_written() {
    let store: Arc<dyn Store> = Memory::new();
    let mounts = load(&store, KINDS).await;
    let config = mounts::Config {
        passthrough_request_headers: vec![" X-Team".to_owned()],
        allowed_response_headers: vec!["Location".to_owned()],
        ..mounts::Config::default()
    };
    mounts.enable(MountClass::Secret, NewMount { config, ..new("kv", "kv") }).await.unwrap();
    let info = Arc::clone(&mounts.exactly("kv").unwrap().info);
    assert!(info.lets_in("x-team") && info.lets_in("if-none-match") && !info.lets_in("location"));
    assert!(info.lets_out("location") && info.lets_out("etag") && !info.lets_out("x-team"));
}

#[tokio::test]
async fn nodes_take_over_what_each_other_did() {
    let store: Arc<dyn Store> = Memory::new();
    let (here, there) = (load(&store, KINDS).await, load(&store, KINDS).await);
    assert_eq!(here.list(MountClass::Secret).len(), 1, "what is part of the program is there once");
    let made = here.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    assert!(there.find("kv/a").is_none());
    there.sync(&made.info.uuid).await.unwrap();
    let taken_over = there.find("kv/a").unwrap().0;
    assert_eq!(taken_over.info.uuid, made.info.uuid);
    // What is tuned keeps its engine, what is moved gets another one.
    here.tune("kv", |entry| {
        entry.description = "tuned".to_owned();
        Ok(())
    })
    .await
    .unwrap();
    there.sync(&made.info.uuid).await.unwrap();
    let tuned = there.exactly("kv").unwrap();
    assert_eq!(tuned.entry.description, "tuned");
    assert!(Arc::ptr_eq(&tuned.backend, &taken_over.backend));
    here.rename("kv", "moved").await.unwrap();
    there.sync_all().await.unwrap();
    assert!(there.find("kv/a").is_none());
    assert!(!Arc::ptr_eq(&there.exactly("moved").unwrap().backend, &tuned.backend));
    // What is being removed is in no route, and in the end is gone.
    let tainted = here.taint("moved").await.unwrap().unwrap();
    there.sync(&made.info.uuid).await.unwrap();
    assert!(there.find("moved/a").is_none() && there.by_uuid(&made.info.uuid).unwrap().entry.tainted);
    here.remove(&tainted).await.unwrap();
    there.sync(&made.info.uuid).await.unwrap();
    assert!(there.by_uuid(&made.info.uuid).is_none());
}

#[tokio::test]
async fn a_node_that_does_not_know_of_a_change_yet_overwrites_nothing() {
    let store: Arc<dyn Store> = Memory::new();
    let (here, there) = (load(&store, KINDS).await, load(&store, KINDS).await);
    here.enable(MountClass::Secret, new("kv", "kv")).await.unwrap();
    let taken = there.enable(MountClass::Secret, new("kv", "database")).await;
    assert!(matches!(taken.err(), Some(Error::Invalid(_))), "the name is given away");
    here.taint("kv").await.unwrap().unwrap();
    let gone = there.tune("kv", |_| Ok(())).await;
    assert!(matches!(gone.err(), Some(Error::Invalid(_))), "it does not come back by being tuned");
    let again = load(&store, KINDS).await;
    assert!(again.find("kv/a").is_none());
}
