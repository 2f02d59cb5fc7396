//! The conformance suite: what every store promises, each as a small story over a fresh, empty store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future};

use crate::{Batch, Change, Changes, CommitError, Error, Key, MAX_KEY, MAX_VALUE, Page, Revision, Scan, Store, Tx};

/// Checks that the stores `make` gives, each of them new and empty, are stores. Panics where one is not.
pub async fn conforms(make: impl AsyncFn() -> Arc<dyn Store>) {
    values_come_back_with_their_revision(&*make().await).await;
    revisions_ascend(&*make().await).await;
    absent_keys_can_be_deleted(&*make().await).await;
    keys_are_ordered_by_their_bytes(&*make().await).await;
    prefixes_are_plain_text(&*make().await).await;
    pages_follow_each_other(&*make().await).await;
    scans_can_leave_out_the_values(&*make().await).await;
    sizes_are_limited(&*make().await).await;
    expectations_are_checked(&*make().await).await;
    a_refused_batch_leaves_nothing(&*make().await).await;
    a_batch_may_only_expect(&*make().await).await;
    followers_hear_of_commits_in_order(&*make().await).await;
    followers_who_lag_are_told(make().await).await;
    counters_lose_nothing(make().await).await;
    pages_are_snapshots(make().await).await;
    equal_expectations_have_one_winner(make().await).await;
    a_frozen_store_stays_as_it_was(&*make().await).await;
}

async fn values_come_back_with_their_revision(store: &dyn Store) {
    assert_eq!(store.get(&Key::new("absent")).await.unwrap(), None);
    let first = put(store, "a", b"one").await;
    let bytes: Vec<u8> = (0..=255).collect();
    let second = write(store, &[("empty", Some(b"")), ("bytes", Some(&bytes)), ("sp ace/ü/'\"%_", Some(b"x"))]).await;
    assert_eq!(get(store, "a").await, Some((b"one".to_vec(), first)));
    assert_eq!(get(store, "empty").await, Some((Vec::new(), second)), "an empty value is not an absent one");
    assert_eq!(get(store, "bytes").await, Some((bytes, second)));
    assert_eq!(get(store, "sp ace/ü/'\"%_").await, Some((b"x".to_vec(), second)));
    assert_eq!(get(store, "A").await, None, "keys are compared by their bytes");
    let third = put(store, "a", b"two").await;
    assert_eq!(get(store, "a").await, Some((b"two".to_vec(), third)));
    delete(store, "a").await;
    assert_eq!(get(store, "a").await, None);
}

async fn revisions_ascend(store: &dyn Store) {
    let mut last = 0;
    for round in 0..10 {
        let written = put(store, "same", b"same").await;
        assert!(written > last, "revision {written} comes after {last}");
        let removed = delete(store, if round % 2 == 0 { "same" } else { "never there" }).await;
        assert!(removed > written, "a delete is a commit");
        last = removed;
    }
    let again = put(store, "same", b"same").await;
    assert!(again > last, "a key that comes back does not come back with an old revision");
}

async fn absent_keys_can_be_deleted(store: &dyn Store) {
    delete(store, "absent").await;
    write(store, &[("absent", None), ("present", Some(b"v"))]).await;
    assert!(get(store, "present").await.is_some());
    assert_eq!(keys(&all(store, "").await), ["present"]);
}

async fn keys_are_ordered_by_their_bytes(store: &dyn Store) {
    let shuffled =
        ["b", "a/b", "a", "é", "a-", "Z", "a0", "a/", "\u{10FFFF}", "~", "a/a", "B", "\u{FFFD}", "10", "9", " "];
    for key in shuffled {
        put(store, key, key.as_bytes()).await;
    }
    let mut sorted = shuffled;
    sorted.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let page = all(store, "").await;
    assert_eq!(keys(&page), sorted);
    for (key, entry) in page.entries {
        assert_eq!(entry.value, key.as_str(), "each key has its own value");
    }
}

async fn prefixes_are_plain_text(store: &dyn Store) {
    let stored =
        ["%", "_", "a", "a-", "a/", "a/b", "a/b/c", "a0", "aa", "b", "ab\u{10FFFF}", "ab\u{10FFFF}c", "ac", "A/b"];
    let writes: Vec<_> = stored.iter().map(|key| (*key, Some(b"v".as_slice()))).collect();
    write(store, &writes).await;
    for prefix in ["", "a", "a/", "a/b", "a/b/", "b", "ab", "ab\u{10FFFF}", "c", "%", "_", "A", "a/b/c/d", "\u{10FFFF}"]
    {
        let mut expected: Vec<_> = stored.into_iter().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(keys(&all(store, prefix).await), expected, "below {prefix:?}");
        for after in ["", "%", "a", "a/", "a/a", "a/b", "a/b/zzz", "ab\u{10FFFF}", "zz"] {
            let found = page(store, prefix, Some(after), 100).await;
            let expected: Vec<_> = expected.iter().filter(|key| **key > after).copied().collect();
            assert_eq!(keys(&found), expected, "below {prefix:?} after {after:?}");
            assert!(!found.more);
        }
    }
}

async fn pages_follow_each_other(store: &dyn Store) {
    let names: Vec<String> = (0..23).map(|n| format!("list/{n:02}")).collect();
    let writes: Vec<_> = names.iter().map(|name| (name.as_str(), Some(name.as_bytes()))).collect();
    write(store, &writes).await;
    write(store, &[("lis", Some(b"")), ("list", Some(b"")), ("list0", Some(b""))]).await;
    for limit in [1, 2, 7, 22, 23, 24, 1000] {
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = page(store, "list/", after.as_deref(), limit).await;
            assert!(page.entries.len() <= limit);
            seen.extend(keys(&page).into_iter().map(str::to_owned));
            assert_eq!(page.more, seen.len() < names.len(), "limit {limit}, {} seen", seen.len());
            if !page.more {
                break;
            }
            assert!(!page.entries.is_empty(), "a page that has more behind it is not empty");
            after = seen.last().cloned();
        }
        assert_eq!(seen, names, "limit {limit}");
    }
    assert_eq!(keys(&page(store, "list/", Some("list/05x"), 1).await), ["list/06"], "`after` need not exist");
    let zero = page(store, "list/", None, 0).await;
    assert_eq!((zero.entries.len(), zero.more), (1, true), "a limit of 0 counts as 1");
}

async fn scans_can_leave_out_the_values(store: &dyn Store) {
    let revision = write(store, &[("a", Some(b"value")), ("b", Some(b""))]).await;
    let scan = Scan { prefix: String::new(), after: None, limit: 10, values: false };
    let page = store.scan(&scan).await.unwrap();
    assert_eq!(keys(&page), ["a", "b"]);
    for (_, entry) in page.entries {
        assert_eq!((entry.value, entry.revision), (Bytes::new(), revision), "the revision comes, the value does not");
    }
}

async fn sizes_are_limited(store: &dyn Store) {
    let large: Vec<u8> = (0..3 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let key = "k".repeat(MAX_KEY);
    let revision = write(store, &[(&key, Some(&large)), ("small", Some(b"s"))]).await;
    assert!(get(store, &key).await == Some((large, revision)), "a large value comes back");
    let refuse = async |key: String, value: Bytes, what: usize| {
        let writes = vec![(Key::new("beside"), Some(Bytes::new())), (Key::from(key), Some(value))];
        let refused = store.commit(Batch { writes, ..Batch::default() }).await;
        let is_size = matches!(refused, Err(CommitError::Store(Error::TooLarge { limit, .. })) if limit == what);
        assert!(is_size, "{refused:?}");
        assert_eq!(get(store, "beside").await, None, "nothing of a refused batch is applied");
    };
    refuse("k".repeat(MAX_KEY + 1), Bytes::new(), MAX_KEY).await;
    refuse("value".to_owned(), vec![0; MAX_VALUE + 1].into(), MAX_VALUE).await;
}

async fn expectations_are_checked(store: &dyn Store) {
    let first = put(store, "k", b"1").await;
    let expecting = async |key: &str, revision| {
        let expect = vec![(Key::new(key), revision)];
        let writes = vec![(Key::new("out"), Some(Bytes::from_static(b"x")))];
        store.commit(Batch { expect, writes }).await
    };
    let conflict = |result: Result<Revision, CommitError>, on: &str| {
        assert!(matches!(&result, Err(CommitError::Conflict(key)) if key.as_str() == on), "{result:?}");
    };
    expecting("k", Some(first)).await.unwrap();
    expecting("absent", None).await.unwrap();
    conflict(expecting("k", None).await, "k");
    conflict(expecting("k", Some(first + 1)).await, "k");
    conflict(expecting("k", Some(0)).await, "k");
    conflict(expecting("absent", Some(first)).await, "absent");
    conflict(expecting("absent", Some(0)).await, "absent");
    let second = put(store, "k", b"1").await;
    conflict(expecting("k", Some(first)).await, "k");
    expecting("k", Some(second)).await.unwrap();
    delete(store, "k").await;
    conflict(expecting("k", Some(second)).await, "k");
    expecting("k", None).await.unwrap();
}

async fn a_refused_batch_leaves_nothing(store: &dyn Store) {
    let revision = write(store, &[("stays", Some(b"old")), ("goes", Some(b"old"))]).await;
    let batch = Batch {
        expect: vec![(Key::new("stays"), Some(revision)), (Key::new("other"), Some(1))],
        writes: vec![
            (Key::new("stays"), Some(Bytes::from_static(b"new"))),
            (Key::new("goes"), None),
            (Key::new("comes"), Some(Bytes::from_static(b"new"))),
        ],
    };
    assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict(key)) if key.as_str() == "other"));
    assert_eq!(get(store, "stays").await, Some((b"old".to_vec(), revision)));
    assert_eq!(get(store, "goes").await, Some((b"old".to_vec(), revision)));
    assert_eq!(get(store, "comes").await, None);
    assert!(put(store, "next", b"").await > revision, "the store works on");
}

async fn a_batch_may_only_expect(store: &dyn Store) {
    let revision = put(store, "k", b"v").await;
    let expecting = |revision| Batch { expect: vec![(Key::new("k"), revision)], ..Batch::default() };
    assert_eq!(store.commit(expecting(Some(revision))).await.unwrap(), revision, "nothing new was written");
    assert!(matches!(store.commit(expecting(None)).await, Err(CommitError::Conflict(_))));
    assert_eq!(store.commit(Batch::default()).await.unwrap(), revision);
}

async fn followers_hear_of_commits_in_order(store: &dyn Store) {
    put(store, "before", b"").await;
    let mut changes = store.follow();
    let mut other = store.follow();
    let first = write(store, &[("a", Some(b"")), ("b", Some(b""))]).await;
    let _ =
        store.commit(Batch { expect: vec![(Key::new("a"), None)], writes: vec![(Key::new("refused"), None)] }).await;
    let second = delete(store, "a").await;
    for changes in [&mut changes, &mut other] {
        let (revision, mut keys) = change(changes).await.expect("nothing lost");
        keys.sort();
        assert_eq!((revision, keys), (first, vec![Key::new("a"), Key::new("b")]));
        assert_eq!(change(changes).await.expect("nothing lost"), (second, vec![Key::new("a")]));
    }
}

/// Commits more than any follower is kept for. Then either all of it comes, or the loss is told before what follows it.
async fn followers_who_lag_are_told(store: Arc<dyn Store>) {
    let mut changes = store.follow();
    let writers = (0..32).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            for n in 0..80 {
                revisions.push(put(&*store, &format!("{task}/{n}"), b"").await);
            }
            revisions
        })
    });
    let mut expected: Vec<Revision> = future::join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    expected.sort_unstable();
    let end = put(&*store, "end", b"").await;
    expected.push(end);
    let (mut position, mut told) = (0, false);
    loop {
        let Some((revision, _)) = change(&mut changes).await else {
            told = true;
            continue;
        };
        let at = expected.iter().position(|expected| *expected == revision).expect("a revision that was committed");
        assert!(at >= position, "in order");
        assert!(at == position || told, "{} changes are missing and nobody was told", at - position);
        (position, told) = (at + 1, false);
        if revision == end {
            break;
        }
    }
}

async fn counters_lose_nothing(store: Arc<dyn Store>) {
    const TASKS: u64 = 32;
    const EACH: u64 = 8;
    let tasks = (0..TASKS).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..EACH {
                increment(&store, "shared").await;
                increment(&store, &format!("own/{task}")).await;
            }
        })
    });
    future::join_all(tasks).await.into_iter().for_each(Result::unwrap);
    let tx = Tx::new(store);
    assert_eq!(tx.get_json::<u64>(&Key::new("shared")).await.unwrap(), Some(TASKS * EACH));
    for task in 0..TASKS {
        assert_eq!(tx.get_json::<u64>(&Key::from(format!("own/{task}"))).await.unwrap(), Some(EACH));
    }
}

/// Reads, adds one, commits, and again on conflict.
async fn increment(store: &Arc<dyn Store>, key: &str) {
    let key = Key::new(key);
    loop {
        let tx = Tx::new(Arc::clone(store));
        let count: u64 = tx.get_json(&key).await.unwrap().unwrap_or_default();
        tx.put_json(key.clone(), &(count + 1)).unwrap();
        match tx.commit().await {
            Ok(_) => return,
            Err(CommitError::Conflict(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Two ends of a range always change together; whoever lists the range must never see them differ.
async fn pages_are_snapshots(store: Arc<dyn Store>) {
    let both = async |store: &dyn Store, n: u32| {
        let text = n.to_string();
        write(store, &[("range/first", Some(text.as_bytes())), ("range/last", Some(text.as_bytes()))]).await
    };
    let middle: Vec<String> = (0..100).map(|n| format!("range/m{n}")).collect();
    write(&*store, &middle.iter().map(|key| (key.as_str(), Some(b"".as_slice()))).collect::<Vec<_>>()).await;
    both(&*store, 0).await;
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for n in 1..=100 {
            both(&*writing, n).await;
        }
    });
    loop {
        let done = writer.is_finished();
        let entries: BTreeMap<_, _> = all(&*store, "range/").await.entries.into_iter().collect();
        assert_eq!(entries[&Key::new("range/first")], entries[&Key::new("range/last")]);
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(get(&*store, "range/last").await.unwrap().0, b"100");
}

/// Many who expect the same state of a key, at the same time: exactly one gets it.
async fn equal_expectations_have_one_winner(store: Arc<dyn Store>) {
    for expected in [None, Some(put(&*store, "there", b"").await)] {
        let key = if expected.is_some() { "there" } else { "not there" };
        let claims = (0..32).map(|n| {
            let batch = Batch {
                expect: vec![(Key::new(key), expected)],
                writes: vec![(Key::new(key), Some(Bytes::from(n.to_string())))],
            };
            let store = Arc::clone(&store);
            tokio::spawn(async move { (n, store.commit(batch).await) })
        });
        let results: Vec<_> = future::join_all(claims).await.into_iter().map(Result::unwrap).collect();
        let mut winners = Vec::new();
        for (n, result) in results {
            match result {
                Ok(revision) => winners.push((n, revision)),
                Err(CommitError::Conflict(at)) => assert_eq!(at.as_str(), key),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "one winner on {key:?}");
        assert_eq!(get(&*store, key).await, Some((winners[0].0.to_string().into_bytes(), winners[0].1)));
    }
}

/// What a store need not have; if it has it, it is one state in all pages.
async fn a_frozen_store_stays_as_it_was(store: &dyn Store) {
    for key in ["a", "b", "c", "d"] {
        put(store, key, b"before").await;
    }
    let last = delete(store, "d").await;
    let Some(frozen) = store.freeze().await.unwrap() else { return };
    assert_eq!(frozen.revision(), last);
    let page = async |after: Option<&str>| {
        let scan = Scan { prefix: String::new(), after: after.map(str::to_owned), limit: 2, values: true };
        frozen.scan(&scan).await.unwrap()
    };
    let first = page(None).await;
    assert_eq!((keys(&first), first.more), (vec!["a", "b"], true));
    write(store, &[("b", None), ("c", Some(b"after")), ("e", Some(b"after"))]).await;
    for _ in 0..2 {
        let second = page(Some("b")).await;
        assert_eq!((keys(&second), second.more), (vec!["c"], false));
        assert_eq!(&*second.entries[0].1.value, b"before");
    }
    assert_eq!(keys(&page(None).await), ["a", "b"]);
    assert_eq!(get(store, "c").await.unwrap().0, b"after", "writes go on meanwhile");
}

async fn put(store: &dyn Store, key: &str, value: &[u8]) -> Revision {
    write(store, &[(key, Some(value))]).await
}

async fn delete(store: &dyn Store, key: &str) -> Revision {
    write(store, &[(key, None)]).await
}

async fn write(store: &dyn Store, writes: &[(&str, Option<&[u8]>)]) -> Revision {
    let writes = writes.iter().map(|(key, value)| (Key::new(key), value.map(Bytes::copy_from_slice))).collect();
    store.commit(Batch { expect: Vec::new(), writes }).await.unwrap()
}

async fn get(store: &dyn Store, key: &str) -> Option<(Vec<u8>, Revision)> {
    store.get(&Key::new(key)).await.unwrap().map(|entry| (entry.value.to_vec(), entry.revision))
}

async fn page(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Page {
    let scan = Scan { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit, values: true };
    store.scan(&scan).await.unwrap()
}

async fn all(store: &dyn Store, prefix: &str) -> Page {
    let page = page(store, prefix, None, 1000).await;
    assert!(!page.more);
    page
}

fn keys(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|(key, _)| key.as_str()).collect()
}

/// The next change, or `None` where some were lost.
async fn change(changes: &mut Changes) -> Option<(Revision, Vec<Key>)> {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(30), changes.next()).await;
        match next.expect("a change within 30 seconds").expect("an endless stream") {
            Change::Keys(revision, keys) => return Some((revision, keys.to_vec())),
            Change::Lost => return None,
            Change::Current { .. } => {}
        }
    }
}
