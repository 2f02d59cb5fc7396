#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use parking_lot::Mutex;
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Key, Page, Revision, Scan, Store, testing::FailingStore};
use store_memory::Memory;

use crate::*;

/// A store that cannot be frozen, and in which somebody writes whenever a page is read.
struct Moving {
    inner: Arc<Memory>,
    pages: AtomicU64,
    writing: AtomicBool,
}

impl Store for Moving {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, storage::Error>> {
        self.inner.get(key)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, storage::Error>> {
        Box::pin(async move {
            let page = self.inner.scan(scan).await;
            let number = self.pages.fetch_add(1, Ordering::Relaxed);
            if self.writing.load(Ordering::Relaxed) {
                // Behind the back of the walk and before it: what it has read changes, what it has not read goes.
                put(&*self.inner, "key/0001", Some(&format!("changed {number}"))).await;
                put(&*self.inner, &format!("key/{:04}", 199 - number), None).await;
                put(&*self.inner, &format!("a new key {number}"), Some("late")).await;
            }
            page
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        self.inner.commit(batch)
    }

    fn follow(&self) -> Changes {
        self.inner.follow()
    }
}

async fn put(store: &dyn Store, key: &str, value: Option<&str>) -> Revision {
    let writes = vec![(Key::new(key), value.map(|value| Bytes::copy_from_slice(value.as_bytes())))];
    store.commit(Batch { expect: vec![], writes }).await.unwrap()
}

async fn filled(entries: usize) -> Arc<Memory> {
    let store = Memory::new();
    for number in 0..entries {
        put(&*store, &format!("key/{number:04}"), Some(&"x".repeat(number))).await;
    }
    store
}

async fn all(store: &dyn Store) -> Vec<(String, Bytes)> {
    let scan = Scan { prefix: String::new(), after: None, limit: 1_000_000, values: true };
    let entries = store.scan(&scan).await.unwrap().entries.into_iter();
    entries.map(|(key, entry)| (key.as_str().to_owned(), entry.value)).filter(|(key, _)| !is_own(key)).collect()
}

async fn taken(store: Arc<dyn Store>, folder: &Path) -> PathBuf {
    let bytes = Mutex::new(Vec::new());
    let manifest =
        Manifest { id: "an id".to_owned(), created: "2026-01-01T00:00:00Z".to_owned(), ..Manifest::default() };
    let seal: SealSums = Arc::new(|sums| Ok(sums.iter().rev().copied().collect()));
    let push = |piece: Bytes| {
        bytes.lock().extend_from_slice(&piece);
        std::future::ready(Ok(()))
    };
    write(store, manifest, seal, push).await.unwrap();
    let file = folder.join("snapshot");
    std::fs::write(&file, bytes.into_inner()).unwrap();
    file
}

fn quiet(_: u64) {}

#[tokio::test]
async fn what_was_written_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(1500).await;
    put(&*store, MARKER, Some("no part of it")).await;
    let large = "y".repeat(3_000_000);
    let last = put(&*store, "large", Some(&large)).await;
    let before = all(&*store).await;
    let file = taken(Arc::clone(&store) as Arc<dyn Store>, folder.path()).await;
    let checked = check(&file, &["key/0003"]).unwrap();
    assert_eq!((checked.content.entries, checked.manifest.revision), (1501, last));
    assert_eq!(checked.manifest.id, "an id");
    assert_eq!(checked.kept("key/0003").unwrap(), "xxx");
    assert_eq!(checked.sealed_sums.iter().rev().copied().collect::<Vec<_>>(), checked.sums);
    // Into a store that holds something else.
    let target: Arc<dyn Store> = filled(3).await;
    put(&*target, "zzz", Some("goes away")).await;
    put(&*target, MARKER, Some("stays")).await;
    apply(&target, &file, &checked.content, &quiet).await.unwrap();
    assert_eq!(all(&*target).await, before);
    assert!(target.get(&Key::new(MARKER)).await.unwrap().is_some());
    // Again, as after a crash.
    apply(&target, &file, &checked.content, &quiet).await.unwrap();
    assert_eq!(all(&*target).await, before);
}

#[tokio::test]
async fn an_archive_can_be_listed_and_its_sums_checked_by_other_tools() {
    let folder = tempfile::tempdir().unwrap();
    let file = taken(filled(100).await, folder.path()).await;
    let run = |command: &str| {
        let output =
            std::process::Command::new("sh").arg("-c").arg(command).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let names = run(&format!("tar -tzf {}", file.display()));
    assert_eq!(names, "meta.json\nstate/00000001\nsummary.json\nSHA256SUMS\nSHA256SUMS.sealed\n");
    run(&format!("tar -xzf {} && sha256sum -c SHA256SUMS", file.display()));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_frozen_is_read_at_one_moment_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let inner = filled(200).await;
    let moving = Arc::new(Moving { inner: Arc::clone(&inner), pages: 0.into(), writing: true.into() });
    let file = taken(Arc::clone(&moving) as Arc<dyn Store>, folder.path()).await;
    moving.writing.store(false, Ordering::Relaxed);
    assert!(moving.pages.load(Ordering::Relaxed) > 2, "several pages");
    // The last change came before the walk's end, so the moment is now.
    let checked = check(&file, &["key/0001"]).unwrap();
    let now = all(&*inner).await;
    assert!(now.iter().any(|(key, _)| key == "a new key 0") && !now.iter().any(|(key, _)| key == "key/0199"));
    assert!(checked.kept("key/0001").unwrap().starts_with(b"changed"), "the correction counts");
    let target: Arc<dyn Store> = Memory::new();
    apply(&target, &file, &checked.content, &quiet).await.unwrap();
    assert_eq!(all(&*target).await, now);
}

#[tokio::test]
async fn a_file_that_is_cut_off_or_changed_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = taken(filled(120).await, folder.path()).await;
    let whole = std::fs::read(&file).unwrap();
    let changed = |bytes: &[u8]| {
        let path = folder.path().join("changed");
        std::fs::write(&path, bytes).unwrap();
        check(&path, &[])
    };
    assert!(changed(&whole).is_ok());
    for cut in (0..whole.len()).step_by(97).chain(whole.len() - 40..whole.len()) {
        let error = changed(&whole[..cut]).expect_err(&format!("cut at {cut}"));
        assert!(matches!(error, Error::Damaged(_) | Error::NotASnapshot(_)), "{cut}: {error}");
    }
    // Inside the compression, whose own checksum is made to fit: the sums find it.
    let mut plain = Vec::new();
    GzDecoder::new(&whole[..]).read_to_end(&mut plain).unwrap();
    let again = |plain: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(plain).unwrap();
        changed(&gzip.finish().unwrap())
    };
    assert!(again(&plain).is_ok(), "how it is compressed does not matter");
    let sealed = plain.windows(17).rposition(|name| name == b"SHA256SUMS.sealed").unwrap();
    for at in (0..sealed).step_by(211) {
        let mut odd = plain.clone();
        odd[at] ^= 1;
        // What is beside the names, sizes and contents of a tar archive means nothing.
        if let Ok(checked) = again(&odd) {
            assert_eq!(checked.content, changed(&whole).unwrap().content, "at {at}");
        }
    }
    let mut odd = plain.clone();
    let at = plain.windows(8).position(|key| key == b"key/0050").unwrap() + 10;
    odd[at] ^= 1;
    assert!(again(&odd).unwrap_err().to_string().contains("the checksum of state/00000001 is wrong"));
}

#[test]
fn other_files_and_newer_forms_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        check(&file, &[]).unwrap_err()
    };
    assert!(matches!(refused(b""), Error::NotASnapshot(_)));
    assert!(matches!(refused(b"some text that is no archive at all"), Error::NotASnapshot(_)));
    let gzipped = |name: &str, text: &str| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&crate::tar::head(name, text.len())).unwrap();
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.write_all(&vec![0; crate::tar::padding(text.len())]).unwrap();
        gzip.finish().unwrap()
    };
    assert!(matches!(
        refused(&gzipped("meta.json", "{\"Version\":1,\"ID\":\"of another server\"}")),
        Error::NotASnapshot(_)
    ));
    assert!(matches!(refused(&gzipped("state.bin", "x")), Error::NotASnapshot(_)));
    let newer = refused(&gzipped("meta.json", "{\"format\":2}"));
    assert_eq!(
        newer.to_string(),
        "the snapshot has format 2, this version knows formats up to 1: install a newer strongroom"
    );
    assert!(matches!(check(Path::new("/nowhere"), &[]), Err(Error::Io(_))));
}

#[tokio::test]
async fn a_copy_goes_on_where_it_was_cut_off_and_is_compared() {
    let source: Arc<dyn Store> = filled(700).await;
    let inner = Memory::new();
    let failing = FailingStore::new(Arc::clone(&inner) as Arc<dyn Store>);
    let target: Arc<dyn Store> = failing.clone();
    failing.fail_commit_after(9);
    let steps = Mutex::new(Vec::new());
    let note = |step| steps.lock().push(step);
    assert!(matches!(migrate(&source, &target, "here", false, &note).await, Err(Error::Storage(_))));
    let part = all(&*inner).await.len();
    assert!(part > 0 && part < 700);
    let other = migrate(&source, &target, "elsewhere", false, &note).await.unwrap_err();
    assert!(other.to_string().contains("-start-over"), "{other}");
    steps.lock().clear();
    let moved = migrate(&source, &target, "here", false, &note).await.unwrap();
    assert!(moved.resumed && moved.content.entries == 700);
    let copied = steps.lock().iter().filter_map(|step| if let Step::Copied(n) = step { Some(*n) } else { None }).max();
    assert!(copied.unwrap() < 700, "what was there is not copied again");
    assert!(matches!(steps.lock().last(), Some(Step::DestinationSummed(700))));
    assert_eq!(all(&*inner).await, all(&*source).await);
    assert_eq!(inner.get(&Key::new(MIGRATION)).await.unwrap(), None);
    let again = migrate(&source, &target, "here", false, &note).await.unwrap_err();
    assert!(again.to_string().contains("not empty"), "{again}");
    let nothing: Arc<dyn Store> = Memory::new();
    let empty = migrate(&nothing, &target, "here", false, &note).await.unwrap_err();
    assert!(empty.to_string().contains("the source is empty"), "no silent copy of nothing: {empty}");
}

#[tokio::test]
async fn a_copy_that_differs_is_told_and_done_anew() {
    let source: Arc<dyn Store> = filled(100).await;
    let target: Arc<dyn Store> = Memory::new();
    // Somebody writes to the destination meanwhile.
    let meddler = Arc::clone(&target);
    let meddled = AtomicBool::new(false);
    let note = |step: Step| {
        if matches!(step, Step::SourceSummed(_)) && !meddled.swap(true, Ordering::Relaxed) {
            futures::executor::block_on(put(&*meddler, "key/0007", Some("meddled")));
        }
    };
    assert!(matches!(migrate(&source, &target, "here", false, &note).await, Err(Error::Differs(_))));
    let moved = migrate(&source, &target, "here", false, &note).await.unwrap();
    assert!(!moved.resumed);
    assert_eq!(all(&*target).await, all(&*source).await);
}
