//! The barrier as its callers use it.

mod caching;
mod keys;
mod nodes;
mod tampering;
mod witnessing;

use std::sync::Arc;

use bytes::Bytes;
use clock::{Simulated, Timestamp};
use seal::RootKey;
use storage::{Batch, CommitError, Entry, Key, Page, Revision, Scan, Store, testing::FailingStore};
use store_memory::Memory;

use super::*;

/// A barrier over a store in memory, with everything a test wants to look at or break.
struct Bench {
    memory: Arc<Memory>,
    below: Arc<FailingStore>,
    sealed: Sealed,
    root_key: RootKey,
    time: Simulated,
}

impl Bench {
    async fn new() -> Self {
        let memory = Memory::new();
        let below = FailingStore::new(memory.clone());
        let time = Simulated::new(Timestamp::UNIX_EPOCH);
        let sealed = Sealed::new(below.clone(), time.clock());
        let root_key = RootKey::make();
        sealed.initialize(&root_key).await.unwrap();
        Self { memory, below, sealed, root_key, time }
    }

    async fn open(&self) -> Arc<Unsealed> {
        self.sealed.open(&self.root_key).await.unwrap()
    }

    /// Every key and value that lies in the store below.
    async fn raw(&self) -> Vec<(Key, Entry)> {
        all(&*self.memory, "").await.entries
    }

    /// The stored bytes of `key`.
    async fn sealed_value(&self, key: &str) -> Vec<u8> {
        self.memory.get(&Key::new(key)).await.unwrap().unwrap().value.to_vec()
    }

    /// Overwrites what is stored at `key`, behind the barrier's back.
    async fn overwrite(&self, key: &str, value: Vec<u8>) {
        put(&*self.memory, key, &value).await;
    }
}

async fn put(store: &dyn Store, key: &str, value: &[u8]) -> Revision {
    write(store, &[(key, Some(value))]).await
}

async fn write(store: &dyn Store, writes: &[(&str, Option<&[u8]>)]) -> Revision {
    store.commit(batch(writes)).await.unwrap()
}

fn batch(writes: &[(&str, Option<&[u8]>)]) -> Batch {
    let writes = writes.iter().map(|(key, value)| (Key::new(key), value.map(Bytes::copy_from_slice))).collect();
    Batch { expect: Vec::new(), writes }
}

async fn get(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    store.get(&Key::new(key)).await.unwrap().map(|entry| entry.value.to_vec())
}

async fn all(store: &dyn Store, prefix: &str) -> Page {
    let scan = Scan { prefix: prefix.to_owned(), after: None, limit: 1000, values: true };
    store.scan(&scan).await.unwrap()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_barrier_is_a_store() {
    for cache in [DEFAULT_CACHE, 4096, 0] {
        storage::testing::conforms(async || {
            let bench = Bench::new().await;
            let store: Arc<dyn Store> = bench.sealed.clone().with_cache(cache).open(&bench.root_key).await.unwrap();
            store
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_written_is_found_below() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    let secret = b"correct horse battery staple";
    write(&*barrier, &[("kv/one", Some(secret)), ("kv/two", Some(secret)), ("kv/empty", Some(b""))]).await;
    barrier.rotate().await.unwrap();
    barrier.change_root_key(&RootKey::make(), Vec::new()).await.unwrap();
    put(&*barrier, "kv/three", secret).await;
    let raw = bench.raw().await;
    assert_eq!(raw.len(), 6, "four entries, the keyring and the copy of the root key");
    for (key, entry) in &raw {
        for piece in secret.windows(6) {
            assert!(!contains(&entry.value, piece), "{key:?}");
        }
        assert!(!contains(&entry.value, bench.root_key.expose()));
    }
    let values: Vec<_> = raw.iter().map(|(_, entry)| entry.value.clone()).collect();
    assert!(values.iter().enumerate().all(|(n, value)| !values[..n].contains(value)), "equal values look different");
    for key in ["kv/one", "kv/two", "kv/three"] {
        assert_eq!(get(&*barrier, key).await.unwrap(), secret);
    }
    let page = all(&*barrier, "").await;
    assert_eq!(page.entries.len(), 4);
    assert_eq!(page.entries[1].1.value, secret.as_slice());
}

#[tokio::test]
async fn the_records_of_the_barrier_are_not_data() {
    let bench = Bench::new().await;
    bench.overwrite(seal::STORED_AT, b"{}".to_vec()).await;
    let barrier = bench.open().await;
    put(&*barrier, "core/other", b"x").await;
    for key in [KEYRING, ROOT_KEY, seal::STORED_AT] {
        assert_eq!(get(&*barrier, key).await, None);
        let refused = barrier.commit(batch(&[(key, Some(b"x"))])).await;
        assert!(matches!(refused, Err(CommitError::Store(storage::Error::Damaged(_)))));
        assert!(barrier.commit(batch(&[(key, None)])).await.is_err());
    }
    for limit in 1..5 {
        let scan = Scan { prefix: "core/".to_owned(), after: None, limit, values: false };
        let page = barrier.scan(&scan).await.unwrap();
        assert_eq!((page.entries.len(), page.more), (1, false));
    }
    assert!(bench.sealed.is_initialized().await.unwrap());
}

#[tokio::test]
async fn a_closed_barrier_does_nothing_more() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    put(&*barrier, "k", b"v").await;
    assert!(get(&*barrier, "k").await.is_some() && get(&*barrier, "absent").await.is_none());
    barrier.close();
    let sealed = |error: storage::Error| assert!(matches!(error, storage::Error::Sealed));
    sealed(barrier.get(&Key::new("k")).await.unwrap_err());
    sealed(barrier.get(&Key::new("absent")).await.unwrap_err());
    sealed(barrier.scan(&Scan { prefix: String::new(), after: None, limit: 1, values: false }).await.unwrap_err());
    for writes in [&[("k", Some(b"w".as_slice()))], &[("k", None)]] {
        let refused = barrier.commit(batch(writes)).await;
        assert!(matches!(refused, Err(CommitError::Store(storage::Error::Sealed))));
    }
    for refused in [
        barrier.rotate().await.map(drop),
        barrier.rotate_if_due().await.map(drop),
        barrier.set_rotate_config(RotationConfig::default()).await,
        barrier.change_root_key(&RootKey::make(), Vec::new()).await,
        barrier.key_status().map(drop),
        barrier.rotate_config().map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Storage(storage::Error::Sealed))));
    }
    let mut changes = barrier.follow();
    assert!(futures::StreamExt::next(&mut changes).await.is_none());
    assert_eq!((barrier.cache.len(), format!("{barrier:?}").as_str()), (0, "Unsealed(closed)"));
    let again = bench.open().await;
    assert_eq!(get(&*again, "k").await.unwrap(), b"v");
}

#[tokio::test]
async fn a_dropped_barrier_leaves_no_task_behind() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    let weak = Arc::downgrade(&barrier);
    drop(barrier);
    assert!(weak.upgrade().is_none());
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    while alive() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn values_are_limited_by_what_the_store_below_takes() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    let limit = storage::MAX_VALUE - OVERHEAD;
    let refused = barrier.commit(batch(&[("k", Some(&vec![0; limit + 1]))])).await;
    let size = limit + 1;
    assert!(
        matches!(refused, Err(CommitError::Store(storage::Error::TooLarge { size: s, limit: l })) if (s, l) == (size, limit))
    );
    put(&*barrier, "k", &vec![7; limit]).await;
    assert_eq!(get(&*barrier, "k").await.unwrap().len(), limit);
}

#[tokio::test]
async fn faults_of_the_store_below_come_through() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    put(&*barrier, "k", b"old").await;
    bench.below.fill(true);
    assert!(matches!(
        barrier.commit(batch(&[("k", Some(b"new"))])).await,
        Err(CommitError::Store(storage::Error::Full(_)))
    ));
    bench.below.fill(false);
    bench.below.conflict(1);
    assert!(matches!(barrier.commit(batch(&[("k", Some(b"new"))])).await, Err(CommitError::Conflict(_))));
    bench.below.fail_reads(true);
    assert!(matches!(barrier.get(&Key::new("k")).await, Err(storage::Error::Unavailable(_))));
    bench.below.fail_reads(false);
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"old");
    // The commit was applied but its reply was lost: the next read tells the truth.
    bench.below.lose_reply_once();
    assert!(barrier.commit(batch(&[("k", Some(b"new"))])).await.is_err());
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"new");
}
