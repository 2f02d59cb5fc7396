//! What the cache spares, and that it never shows what was true once.

use std::sync::{Mutex, atomic::AtomicBool, atomic::Ordering};

use storage::{BoxFuture, Changes};
use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn what_was_read_is_not_read_again() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    put(&*barrier, "k", b"v").await;
    get(&*barrier, "k").await;
    get(&*barrier, "absent").await;
    let reads = bench.below.reads();
    for _ in 0..10 {
        assert_eq!(get(&*barrier, "k").await.unwrap(), b"v");
        assert_eq!(get(&*barrier, "absent").await, None);
    }
    assert_eq!(bench.below.reads(), reads);
    write(&*barrier, &[("k", None), ("absent", Some(b"here"))]).await;
    assert_eq!(get(&*barrier, "k").await, None);
    assert_eq!(get(&*barrier, "absent").await.unwrap(), b"here");
}

#[tokio::test]
async fn lost_news_empties_the_cache() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    put(&*barrier, "k", b"old").await;
    get(&*barrier, "k").await;
    // More commits than any follower is kept for, while the barrier's own has no chance to run.
    let sealed = {
        let other = bench.open().await;
        put(&*other, "k", b"new").await;
        bench.sealed_value("k").await
    };
    for n in 0..storage::Feed::CAPACITY + 10 {
        bench.overwrite("k", sealed.clone()).await;
        assert!(n > 0 || get(&*barrier, "k").await.unwrap() == b"old", "not heard of yet");
    }
    while get(&*barrier, "k").await.unwrap() == b"old" {
        tokio::task::yield_now().await;
    }
}

/// A store whose reads and commits wait at a gate, after the read was done or before the commit is.
struct Gated {
    inner: Arc<dyn Store>,
    gates: Mutex<Vec<Arc<Gate>>>,
    on_read: AtomicBool,
    on_commit: AtomicBool,
}

#[derive(Default)]
struct Gate {
    reached: Notify,
    opened: Notify,
}

impl Gated {
    fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            gates: Mutex::default(),
            on_read: AtomicBool::new(false),
            on_commit: AtomicBool::new(false),
        })
    }

    /// The next read (or commit) will wait at this gate.
    fn gate(&self, on: &AtomicBool) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        self.gates.lock().unwrap().push(Arc::clone(&gate));
        on.store(true, Ordering::SeqCst);
        gate
    }

    async fn wait(&self, on: &AtomicBool) {
        if on.swap(false, Ordering::SeqCst) {
            let gate = self.gates.lock().unwrap().pop().unwrap();
            gate.reached.notify_one();
            gate.opened.notified().await;
        }
    }
}

impl Store for Gated {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, storage::Error>> {
        Box::pin(async move {
            let found = self.inner.get(key).await;
            self.wait(&self.on_read).await;
            found
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, storage::Error>> {
        self.inner.scan(scan)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            self.wait(&self.on_commit).await;
            self.inner.commit(batch).await
        })
    }

    fn follow(&self) -> Changes {
        self.inner.follow()
    }
}

async fn gated() -> (Arc<Gated>, Arc<Unsealed>) {
    let store = Gated::new(Memory::new());
    let sealed = Sealed::new(store.clone(), Simulated::new(Timestamp::UNIX_EPOCH).clock());
    let root_key = RootKey::make();
    sealed.initialize(&root_key).await.unwrap();
    let barrier = sealed.open(&root_key).await.unwrap();
    put(&*barrier, "k", b"old").await;
    (store, barrier)
}

fn spawn_get(barrier: &Arc<Unsealed>) -> tokio::task::JoinHandle<Option<Vec<u8>>> {
    let barrier = Arc::clone(barrier);
    tokio::spawn(async move { get(&*barrier, "k").await })
}

#[tokio::test]
async fn a_read_that_a_commit_overtook_does_not_put_the_old_value_back() {
    let (store, barrier) = gated().await;
    let gate = store.gate(&store.on_read);
    let reader = spawn_get(&barrier);
    gate.reached.notified().await;
    put(&*barrier, "k", b"new").await;
    gate.opened.notify_one();
    assert_eq!(reader.await.unwrap().unwrap(), b"old", "it began before");
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"new");
}

#[tokio::test]
async fn a_read_during_a_commit_is_not_kept() {
    let (store, barrier) = gated().await;
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"old");
    let gate = store.gate(&store.on_commit);
    let writer = tokio::spawn({
        let barrier = Arc::clone(&barrier);
        async move { put(&*barrier, "k", b"new").await }
    });
    gate.reached.notified().await;
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"old");
    assert_eq!(barrier.cache.len(), 0);
    gate.opened.notify_one();
    writer.await.unwrap();
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"new");
}

#[tokio::test]
async fn a_read_that_ends_after_the_barrier_was_closed_leaves_nothing() {
    let (store, barrier) = gated().await;
    let gate = store.gate(&store.on_read);
    let reader = spawn_get(&barrier);
    gate.reached.notified().await;
    barrier.close();
    gate.opened.notify_one();
    reader.await.unwrap();
    assert_eq!(barrier.cache.len(), 0);
    assert!(matches!(barrier.get(&Key::new("k")).await, Err(storage::Error::Sealed)));
}

/// A client hung up, so nobody waits for the commit any more; the store below applies it all the same.
#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_heard_of() {
    let (store, barrier) = gated().await;
    let gate = store.gate(&store.on_commit);
    let writer = tokio::spawn({
        let barrier = Arc::clone(&barrier);
        async move { put(&*barrier, "k", b"new").await }
    });
    gate.reached.notified().await;
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"old");
    assert_eq!(barrier.cache.len(), 1);
    let sealed = {
        let term = barrier.reserve(1).await.unwrap();
        envelope::seal(&term.key, term.number, "k", b"new")
    };
    put(&*store.inner, "k", &sealed).await;
    while get(&*barrier, "k").await.unwrap() == b"old" {
        tokio::task::yield_now().await;
    }
}

/// Writers count up; readers must never see a number go down, nor the writer an older one than it wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_and_writers_never_see_the_past() {
    let bench = Bench::new().await;
    let barrier = bench.sealed.clone().with_cache(256 * 1024).open(&bench.root_key).await.unwrap();
    let number = |bytes: Vec<u8>| u64::from_be_bytes(bytes.try_into().unwrap());
    for key in 0..8 {
        put(&*barrier, &key.to_string(), &0_u64.to_be_bytes()).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|key: usize| {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                let key = key.to_string();
                for n in 1..=300_u64 {
                    put(&*barrier, &key, &n.to_be_bytes()).await;
                    assert_eq!(number(get(&*barrier, &key).await.unwrap()), n);
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..8)
        .map(|reader: usize| {
            let (barrier, done) = (Arc::clone(&barrier), Arc::clone(&done));
            tokio::spawn(async move {
                let mut seen = [0; 8];
                let mut at = reader;
                while !done.load(Ordering::SeqCst) {
                    at = (at + 3) % 8;
                    let now = number(get(&*barrier, &at.to_string()).await.unwrap());
                    assert!(now >= seen[at], "{now} after {}", seen[at]);
                    seen[at] = now;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    for key in 0..8 {
        assert_eq!(number(get(&*barrier, &key.to_string()).await.unwrap()), 300);
    }
}
