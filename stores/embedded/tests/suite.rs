//! The embedded store is a store; and what it does beyond that: groups, backups, giving space back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future;
use storage::{Batch, CommitError, Error, Key, Scan, Store, testing::conforms};
use store_embedded::{Embedded, OpenError, Options};

fn open(path: &Path) -> Arc<Embedded> {
    Embedded::open(path, Options::default()).unwrap()
}

fn put(key: impl AsRef<str>, value: impl Into<Bytes>) -> Batch {
    Batch { expect: vec![], writes: vec![(Key::new(key), Some(value.into()))] }
}

async fn get(store: &Embedded, key: &str) -> Option<Bytes> {
    store.get(&Key::new(key)).await.unwrap().map(|entry| entry.value)
}

/// Directories for any number of stores.
async fn conforms_with(options: Options) {
    let directory = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let make = async || {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Embedded::open(&directory.path().join(n.to_string()), options.clone()).unwrap() as _
    };
    conforms(make).await;
}

#[tokio::test]
async fn embedded_conforms() {
    conforms_with(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn embedded_conforms_on_many_threads_with_little_memory() {
    conforms_with(Options { readers: 1, cache_kib: 64, idle: Duration::ZERO, ..Options::default() }).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening_and_revisions_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er");
    let store = open(&path);
    let first = store.commit(put("k", "v")).await.unwrap();
    drop(store);
    let names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "a closed store is one file, and its lock: {names:?}");
    let store = open(&path);
    assert_eq!(get(&store, "k").await.unwrap(), "v");
    assert_eq!(store.commit(put("k", "w")).await.unwrap(), first + 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in std::fs::read_dir(&path).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{} is for its owner only", file.display());
    }
}

#[tokio::test]
async fn commits_of_many_tasks_share_syncs() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tasks = (0..64).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..20 {
                store.commit(put(format!("{task}/{n}"), vec![7; 300])).await.unwrap();
            }
        })
    });
    future::join_all(tasks).await.into_iter().for_each(Result::unwrap);
    let stats = store.stats();
    println!("{stats:?}: {:.1} commits per sync", stats.commits as f64 / stats.syncs as f64);
    assert_eq!(stats.commits, 64 * 20);
    assert!(stats.syncs < stats.commits, "{stats:?}");
    assert!(stats.bytes > 64 * 20 * 300);
}

#[tokio::test]
async fn batches_of_one_group_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let claim = |n: usize| Batch { expect: vec![(Key::new("k"), None)], ..put("k", n.to_string()) };
    let results = future::join_all((0..50).map(|n| store.commit(claim(n)))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(store.stats().conflicts, 49);
    assert_eq!(get(&store, "k").await.unwrap(), "0", "they were served in their order");
}

#[tokio::test]
async fn a_batch_that_does_not_fit_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Embedded::open(directory.path(), Options { max_bytes: Some(256 * 1024), ..Options::default() }).unwrap();
    let sizes = [100, 300_000, 100, 400_000, 100];
    let commits = sizes.iter().enumerate().map(|(n, size)| store.commit(put(n.to_string(), vec![0; *size])));
    let fits: Vec<_> = future::join_all(commits).await.into_iter().map(|result| result.is_ok()).collect();
    assert_eq!(fits, [true, false, true, false, true]);
}

#[tokio::test]
async fn a_store_at_its_limit_loses_nothing_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let limited = || Options { max_bytes: Some(512 * 1024), ..Options::default() };
    let store = Embedded::open(directory.path(), limited()).unwrap();
    let mut written = 0;
    let refused = loop {
        match store.commit(put(format!("{written:03}"), vec![1; 10_000])).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, CommitError::Store(Error::Full(text)) if text.contains("max_bytes")), "{refused}");
    assert!(written > 30);
    assert!(store.commit(put("again", vec![1; 100_000])).await.is_err());
    drop(store);
    let store = Embedded::open(directory.path(), limited()).unwrap();
    for n in 0..written {
        assert_eq!(get(&store, &format!("{n:03}")).await.unwrap().len(), 10_000);
    }
    assert_eq!(get(&store, "again").await, None);
    store
        .commit(Batch { expect: vec![], writes: vec![(Key::new("000"), None), (Key::new("001"), None)] })
        .await
        .unwrap();
    store.commit(put("again", vec![1; 10_000])).await.unwrap();
    store.verify().await.unwrap();
    drop(store);
    let store = open(directory.path());
    store.commit(put("more", vec![1; 1_000_000])).await.expect("the limit is one of the options, not of the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_state_of_the_store_while_writes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("live"));
    let pair = |n: usize| Batch {
        writes: [put("a", n.to_string()).writes, put("b", n.to_string()).writes].concat(),
        ..Batch::default()
    };
    for n in 0..300 {
        store.commit(put(format!("bulk/{n}"), vec![3; 5_000])).await.unwrap();
    }
    store.commit(pair(0)).await.unwrap();
    let writing = Arc::clone(&store);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut n = 1;
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            writing.commit(pair(n)).await.unwrap();
            n += 1;
        }
    });
    let copies = directory.path().join("copies");
    std::fs::create_dir(&copies).unwrap();
    for n in 0..5 {
        let restored = copies.join(n.to_string());
        std::fs::create_dir(&restored).unwrap();
        store.backup_to(&restored.join("strongroom.db")).await.unwrap();
        let copy = open(&restored);
        copy.verify().await.unwrap();
        assert_eq!(get(&copy, "a").await.unwrap(), get(&copy, "b").await.unwrap());
        assert_eq!(get(&copy, "bulk/299").await.unwrap().len(), 5_000);
    }
    stop.send(()).unwrap();
    writer.await.unwrap();
    let existing = store.backup_to(&copies.join("0/strongroom.db")).await.unwrap_err();
    assert!(existing.to_string().contains("exists"), "{existing}");
    let nowhere = store.backup_to(&copies.join("none/x.db")).await.unwrap_err();
    assert!(nowhere.to_string().contains("none/x.db"), "{nowhere}");
}

#[tokio::test]
async fn deleted_space_goes_back_to_the_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { idle: Duration::from_millis(1), ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let keys: Vec<_> = (0..100).map(|n| Key::from(format!("{n:03}"))).collect();
    for key in &keys {
        store.commit(put(key.as_str(), vec![1; 100_000])).await.unwrap();
    }
    let delete = Batch { expect: vec![], writes: keys[1..].iter().map(|key| (key.clone(), None)).collect() };
    store.commit(delete).await.unwrap();
    // Reads do not disturb it.
    shrinks(&store, || async { assert_eq!(get(&store, "000").await.unwrap().len(), 100_000) }).await;
    store.verify().await.unwrap();
}

/// Waits until the file of a store whose deleted entries were most of it gets short. It is a matter of milliseconds; the
/// limit is for a machine that is busy with other things.
async fn shrinks<F: Future<Output = ()>>(store: &Embedded, meanwhile: impl Fn() -> F) {
    let shrunk = async {
        while std::fs::metadata(store.file()).unwrap().len() > 1_500_000 {
            meanwhile().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), shrunk).await.expect("the file shrinks");
}

#[tokio::test]
async fn a_reader_does_not_keep_deleted_space_for_good() {
    // The file gets shorter when the log is written back. That was tried once: if somebody read just then, the space
    // stayed until another four megabytes were written.
    let directory = tempfile::tempdir().unwrap();
    let options = Options { idle: Duration::from_millis(1), ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let keys: Vec<_> = (0..100).map(|n| Key::from(format!("{n:03}"))).collect();
    for key in &keys {
        store.commit(put(key.as_str(), vec![1; 100_000])).await.unwrap();
    }
    let reader = rusqlite::Connection::open(store.file()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count: i64 = reader.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 100);
    let delete = Batch { expect: vec![], writes: keys.iter().map(|key| (key.clone(), None)).collect() };
    store.commit(delete).await.unwrap();
    let before = store.stats().checkpoints;
    let tried_again = async {
        while store.stats().checkpoints < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), tried_again).await.expect("the log is written back again and again");
    assert!(std::fs::metadata(store.file()).unwrap().len() > 4_000_000, "taken away from under a reader");
    drop(reader);
    shrinks(&store, || std::future::ready(())).await;
    store.verify().await.unwrap();
}

#[tokio::test]
async fn the_log_does_not_grow_without_bound() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for n in 0..40 {
        store.commit(put((n % 3).to_string(), vec![n; 1_000_000])).await.unwrap();
        // Reads in between must not keep the log from beginning anew.
        let scan = Scan { prefix: String::new(), after: None, limit: 9, values: true };
        store.scan(&scan).await.unwrap();
    }
    let log = std::fs::metadata(directory.path().join("strongroom.db-wal")).unwrap().len();
    assert!(log < 16 * 1024 * 1024, "{log} bytes");
    assert!(store.stats().checkpoints >= 5, "{:?}", store.stats());
}

#[tokio::test]
async fn who_stops_waiting_does_not_stop_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    {
        let mut commit = store.commit(put("k", "v"));
        let _ = futures::poll!(&mut commit);
    }
    store.commit(put("later", "v")).await.unwrap();
    assert_eq!(get(&store, "k").await.unwrap(), "v");
}

#[tokio::test]
async fn a_second_opener_is_refused_with_the_first_ones_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let refused = Embedded::open(directory.path(), Options::default()).unwrap_err();
    assert!(matches!(&refused, OpenError::Locked { pid: Some(pid), .. } if *pid == std::process::id()));
    let text = refused.to_string();
    assert!(
        text.contains(directory.path().to_str().unwrap()) && text.contains(&std::process::id().to_string()),
        "{text}"
    );
    store.commit(put("k", "v")).await.unwrap();
    drop(store);
    open(directory.path());
}

/// Space was given back only when nobody had written for a second. A server that is never idle kept a file of the size
/// it once had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_gets_shorter_while_others_write_without_a_pause() {
    let directory = tempfile::tempdir().unwrap();
    // An idle time that never comes, and no pause between steps.
    let options = Options { idle: Duration::from_secs(86_400), busy: Duration::ZERO, ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let length = || std::fs::metadata(store.file()).unwrap().len();
    const ENTRIES: usize = 2000;
    const VALUE: usize = 8 * 1024;
    for group in 0..ENTRIES / 50 {
        let writes = (0..50).map(|n| (Key::new(format!("{:05}", group * 50 + n)), Some(Bytes::from(vec![7; VALUE]))));
        store.commit(Batch { expect: vec![], writes: writes.collect() }).await.unwrap();
    }
    let gone = (0..ENTRIES).filter(|n| n % 10 != 0).map(|n| (Key::new(format!("{n:05}")), None));
    store.commit(Batch { expect: vec![], writes: gone.collect() }).await.unwrap();
    let live = (ENTRIES / 10 * VALUE) as u64;
    let mut commits = 0;
    while length() > 2 * live {
        // One small commit after the other; each is answered, so none waits for the whole of it.
        store.commit(put("small", "x")).await.unwrap();
        commits += 1;
        assert!(commits < 5000, "{} bytes for {live} that live", length());
    }
    store.verify().await.unwrap();
    assert_eq!(get(&store, "00010").await.unwrap().len(), VALUE);
    assert_eq!(get(&store, "00011").await, None);
}
