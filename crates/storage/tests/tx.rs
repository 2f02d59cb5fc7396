//! The unit of work over the memory store: merging of own writes, folders, pages, conflicts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::StreamExt as _;
use proptest::prelude::*;
use storage::{
    Batch, Change, CommitError, Error, Folder, Key, Part, Scan, Store, Tx, View,
    testing::{CrashStore, FailingStore, When},
};
use store_memory::Memory;

async fn filled(keys: &[&str]) -> Arc<Memory> {
    let store = Memory::new();
    let writes = keys.iter().map(|key| (Key::new(key), Some(Bytes::copy_from_slice(key.as_bytes())))).collect();
    store.commit(Batch { expect: vec![], writes }).await.unwrap();
    store
}

async fn scan(tx: &Tx, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
    let scan = Scan { prefix: prefix.into(), after: after.map(Into::into), limit, values: true };
    let (entries, more) = tx.scan(&scan).await.unwrap();
    (entries.into_iter().map(|(key, _)| key.as_str().to_owned()).collect(), more)
}

fn names(names: &[&str], more: bool) -> Folder {
    Folder { names: names.iter().map(|name| (*name).to_owned()).collect(), more }
}

async fn list(view: &View, folder: &str, after: Option<&str>, limit: usize) -> Folder {
    view.list(folder, after, limit).await.unwrap()
}

#[tokio::test]
async fn reads_see_own_writes_and_others_do_not() {
    let store = filled(&["a", "b"]).await;
    let tx = Tx::new(store.clone());
    tx.put(Key::new("a"), Bytes::from_static(b"mine"));
    tx.delete(Key::new("b"));
    assert_eq!(tx.get(&Key::new("a")).await.unwrap().unwrap(), "mine");
    assert_eq!(tx.get(&Key::new("b")).await.unwrap(), None);
    let other = Tx::new(store.clone());
    assert_eq!(other.get(&Key::new("a")).await.unwrap().unwrap(), "a");
    tx.commit().await.unwrap().unwrap();
    assert_eq!(store.get(&Key::new("a")).await.unwrap().unwrap().value, "mine");
    assert_eq!(store.get(&Key::new("b")).await.unwrap(), None);
}

#[tokio::test]
async fn a_part_names_nothing_outside_of_itself_and_shares_the_commit() {
    let store = filled(&["a", "p/a", "p/b/c", "pa", "q/a"]).await;
    let whole = Tx::new(store.clone());
    let part = Part::new(store.clone(), "p/");
    let inside = whole.within(&part);
    assert_eq!(inside.get(&Key::new("a")).await.unwrap().unwrap(), "p/a");
    assert_eq!(inside.get(&Key::new("../a")).await.unwrap(), None);
    assert_eq!(scan(&inside, "", None, 10).await, (vec!["a".to_owned(), "b/c".to_owned()], false));
    assert_eq!(scan(&inside, "", Some("a"), 10).await, (vec!["b/c".to_owned()], false));
    assert_eq!(scan(&inside, "", None, 1).await, (vec!["a".to_owned()], true));
    inside.put(Key::new("new"), Bytes::from_static(b"1"));
    inside.delete(Key::new("a"));
    whole.put(Key::new("b"), Bytes::from_static(b"2"));
    // Each sees what the other wrote, by its own name.
    assert_eq!(whole.get(&Key::new("p/new")).await.unwrap().unwrap(), "1");
    assert_eq!(scan(&inside, "", None, 10).await.0, ["b/c", "new"]);
    assert_eq!(list(&inside.view("b/"), "", None, 10).await, names(&["c"], false));
    assert!(std::ptr::eq(inside.whole(), &*whole) && Arc::ptr_eq(inside.outer(), &whole));
    assert!(std::ptr::eq(whole.whole(), &*whole) && !inside.is_read_only());
    // What was read through the part is expected of the store.
    let other = Tx::new(store.clone());
    other.put(Key::new("p/a"), Bytes::from_static(b"other"));
    other.commit().await.unwrap();
    assert!(matches!(inside.commit().await, Err(CommitError::Conflict(key)) if key.as_str() == "p/a"));
    inside.put(Key::new("new"), Bytes::from_static(b"1"));
    whole.put(Key::new("b"), Bytes::from_static(b"2"));
    inside.commit().await.unwrap().unwrap();
    assert_eq!(store.get(&Key::new("b")).await.unwrap().unwrap().value, "2");
    assert_eq!(part.get(&Key::new("new")).await.unwrap().unwrap().value, "1");
    assert!(whole.is_read_only());
}

#[tokio::test]
async fn who_follows_a_part_hears_of_its_keys_alone() {
    let store = Memory::new();
    let mut changes = Part::new(store.clone(), "p/").follow();
    for keys in [&["a", "pa"][..], &["q/a", "p/a", "p/b"]] {
        let writes = keys.iter().map(|key| (Key::new(key), Some(Bytes::new()))).collect();
        store.commit(Batch { expect: vec![], writes }).await.unwrap();
    }
    match changes.next().await.unwrap() {
        Change::Keys(2, keys) => assert_eq!(keys.iter().map(Key::as_str).collect::<BTreeSet<_>>(), ["a", "b"].into()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_said_to_only_read_cannot_commit_a_write() {
    let store = filled(&["a"]).await;
    let tx = Tx::new(store.clone());
    tx.forbid_writes();
    assert_eq!(tx.get(&Key::new("a")).await.unwrap().unwrap(), "a");
    assert_eq!(tx.commit().await.unwrap(), None);
    tx.put(Key::new("b"), Bytes::new());
    assert!(matches!(tx.commit().await, Err(CommitError::Store(Error::Damaged(_)))));
    tx.clear();
    tx.delete(Key::new("a"));
    assert!(tx.commit().await.is_err(), "another try may not either");
    assert!(store.get(&Key::new("a")).await.unwrap().is_some() && store.get(&Key::new("b")).await.unwrap().is_none());
}

#[tokio::test]
async fn scans_merge_what_is_stored_with_what_is_written() {
    let tx = Tx::new(filled(&["p/b", "p/d", "p/f", "q"]).await);
    tx.put(Key::new("p/a"), Bytes::new());
    tx.put(Key::new("p/c"), Bytes::new());
    tx.put(Key::new("p/z"), Bytes::new());
    tx.put(Key::new("o"), Bytes::new());
    tx.delete(Key::new("p/d"));
    assert_eq!(
        scan(&tx, "p/", None, 10).await,
        (vec!["p/a".into(), "p/b".into(), "p/c".into(), "p/f".into(), "p/z".into()], false)
    );
    assert_eq!(scan(&tx, "p/", None, 2).await, (vec!["p/a".into(), "p/b".into()], true));
    assert_eq!(scan(&tx, "p/", Some("p/b"), 2).await, (vec!["p/c".into(), "p/f".into()], true));
    assert_eq!(scan(&tx, "p/", Some("p/f"), 2).await, (vec!["p/z".into()], false));
}

#[tokio::test]
async fn a_page_whose_entries_are_all_deleted_is_passed_over() {
    let stored: Vec<String> = (0..200).map(|n| format!("k/{n:03}")).collect();
    let tx = Tx::new(filled(&stored.iter().map(String::as_str).collect::<Vec<_>>()).await);
    for key in &stored[..150] {
        tx.delete(Key::new(key));
    }
    assert_eq!(scan(&tx, "k/", None, 3).await, (vec!["k/150".into(), "k/151".into(), "k/152".into()], true));
    for key in &stored[151..] {
        tx.delete(Key::new(key));
    }
    assert_eq!(scan(&tx, "k/", None, 1).await, (vec!["k/150".into()], false), "`more` does not count what is deleted");
    let view = tx.view("k/");
    assert_eq!(list(&view, "", None, 1).await, names(&["150"], false));
}

#[tokio::test]
async fn scans_without_values_have_none_of_their_own_either() {
    let tx = Tx::new(filled(&["a"]).await);
    tx.put(Key::new("b"), Bytes::from_static(b"value"));
    let scan = Scan { prefix: String::new(), after: None, limit: 9, values: false };
    let (entries, _) = tx.scan(&scan).await.unwrap();
    assert!(entries.len() == 2 && entries.iter().all(|(_, value)| value.is_empty()));
}

#[tokio::test]
async fn a_key_read_as_absent_must_still_be_absent() {
    let store = filled(&[]).await;
    let tx = Tx::new(store.clone());
    assert_eq!(tx.get(&Key::new("new")).await.unwrap(), None);
    tx.put(Key::new("new"), Bytes::from_static(b"1"));
    let rival = Tx::new(store.clone());
    rival.put(Key::new("new"), Bytes::from_static(b"2"));
    rival.commit().await.unwrap();
    assert!(matches!(tx.commit().await, Err(CommitError::Conflict(key)) if key.as_str() == "new"));
    assert_eq!(store.get(&Key::new("new")).await.unwrap().unwrap().value, "2");
}

#[tokio::test]
async fn the_first_read_stands() {
    let store = filled(&["k"]).await;
    let tx = Tx::new(store.clone());
    tx.get(&Key::new("k")).await.unwrap();
    let rival = Tx::new(store.clone());
    rival.put(Key::new("k"), Bytes::from_static(b"theirs"));
    rival.commit().await.unwrap();
    assert_eq!(tx.get(&Key::new("k")).await.unwrap().unwrap(), "theirs");
    tx.put(Key::new("out"), Bytes::new());
    assert!(matches!(tx.commit().await, Err(CommitError::Conflict(_))), "the second read must not hide the change");
}

#[tokio::test]
async fn blind_writes_and_pure_reads_do_not_conflict() {
    let store = filled(&["k"]).await;
    let (reader, writer) = (Tx::new(store.clone()), Tx::new(store.clone()));
    reader.get(&Key::new("k")).await.unwrap();
    writer.put(Key::new("k"), Bytes::from_static(b"1"));
    let rival = Tx::new(store.clone());
    rival.put(Key::new("k"), Bytes::from_static(b"2"));
    rival.commit().await.unwrap();
    assert!(reader.is_read_only());
    assert_eq!(reader.commit().await.unwrap(), None);
    assert!(writer.commit().await.unwrap().is_some());
    assert_eq!(writer.commit().await.unwrap(), None, "a committed unit of work is empty");
}

#[tokio::test]
async fn clear_forgets_reads_and_writes() {
    let store = filled(&["k"]).await;
    let tx = Tx::new(store.clone());
    tx.get(&Key::new("k")).await.unwrap();
    tx.put(Key::new("gone"), Bytes::new());
    tx.clear();
    let rival = Tx::new(store.clone());
    rival.delete(Key::new("k"));
    rival.commit().await.unwrap();
    tx.put(Key::new("out"), Bytes::new());
    tx.commit().await.unwrap();
    assert_eq!(store.get(&Key::new("gone")).await.unwrap(), None);
}

#[tokio::test]
async fn folders_are_listed_in_order_each_once() {
    let stored = ["m/a", "m/a-b", "m/a/x", "m/a/y/z", "m/a0", "m/b/1", "m/b/2", "m/c", "n"];
    let view = Tx::new(filled(&stored).await).view("m/");
    assert_eq!(list(&view, "", None, 100).await, names(&["a", "a-b", "a/", "a0", "b/", "c"], false));
    assert_eq!(list(&view, "a/", None, 100).await, names(&["x", "y/"], false));
    assert_eq!(list(&view, "", None, 2).await, names(&["a", "a-b"], true));
    assert_eq!(list(&view, "", Some("a-b"), 2).await, names(&["a/", "a0"], true));
    assert_eq!(list(&view, "", Some("a/"), 2).await, names(&["a0", "b/"], true));
    assert_eq!(list(&view, "", Some("b"), 2).await, names(&["b/", "c"], false));
    assert_eq!(list(&view, "", Some("b/"), 2).await, names(&["c"], false));
    assert_eq!(list(&view, "", Some("zz"), 2).await, names(&[], false));
    assert_eq!(list(&view, "none/", None, 2).await, names(&[], false));
    assert_eq!(list(&view, "", None, 0).await, names(&[], true));
    assert_eq!(list(&view.view("a/"), "", None, 9).await, names(&["x", "y/"], false));
}

#[tokio::test]
async fn a_folder_with_much_in_it_costs_few_look_ups() {
    let mut stored = vec!["f/z".to_owned()];
    for folder in ["f/a", "f/b", "f/c"] {
        stored.extend((0..2000).map(|n| format!("{folder}/{n}")));
    }
    let failing = FailingStore::new(filled(&stored.iter().map(String::as_str).collect::<Vec<_>>()).await);
    let view = Tx::new(failing.clone()).view("f/");
    assert_eq!(list(&view, "", None, 100).await, names(&["a/", "b/", "c/", "z"], false));
    assert!(failing.reads() <= 4, "{} look-ups", failing.reads());
}

#[tokio::test]
async fn the_folder_itself_and_the_greatest_character_do_not_confuse_a_listing() {
    let view = Tx::new(filled(&["f/", "f/a/\u{10FFFF}", "f/a/\u{10FFFF}\u{10FFFF}x", "f/b"]).await).view("f/");
    assert_eq!(list(&view, "", None, 9).await, names(&["a/", "b"], false));
    assert_eq!(list(&view, "", Some("a/"), 9).await, names(&["b"], false));
    assert_eq!(list(&view, "", None, 1).await, names(&["a/"], true));
}

#[tokio::test]
async fn damaged_json_does_not_quote_the_value() {
    let tx = Tx::new(filled(&["hunter2"]).await);
    tx.put(Key::new("k"), Bytes::from_static(b"\"hunter2"));
    let error = tx.get_json::<u64>(&Key::new("k")).await.unwrap_err();
    assert!(matches!(&error, Error::Damaged(text) if !text.contains("hunter2")), "{error}");
    tx.put_json(Key::new("list"), &vec![7_u64; 5000]).unwrap();
    assert_eq!(tx.get_json::<Vec<u64>>(&Key::new("list")).await.unwrap(), Some(vec![7; 5000]));
}

#[tokio::test]
async fn failures_come_where_they_were_ordered() {
    let inner = filled(&["k"]).await;
    let store = FailingStore::new(inner.clone());
    let put = async |n: &str| {
        let tx = Tx::new(store.clone());
        tx.put(Key::new(n), Bytes::new());
        tx.commit().await
    };
    store.fail_commit_after(1);
    put("1").await.unwrap();
    assert!(matches!(put("2").await, Err(CommitError::Store(Error::Unavailable(_)))));
    put("3").await.unwrap();
    store.lose_reply_once();
    assert!(put("4").await.is_err());
    store.conflict(1);
    assert!(matches!(put("5").await, Err(CommitError::Conflict(_))));
    store.fill(true);
    assert!(matches!(put("6").await, Err(CommitError::Store(Error::Full(_)))));
    store.fill(false);
    store.fail_all(true);
    assert!(put("7").await.is_err() && store.get(&Key::new("k")).await.is_err());
    store.fail_all(false);
    store.fail_read_after(1);
    assert!(store.get(&Key::new("k")).await.is_ok() && store.get(&Key::new("k")).await.is_err());
    assert!(store.get(&Key::new("k")).await.is_ok());
    let tx = Tx::new(inner);
    assert_eq!(scan(&tx, "", None, 99).await.0, ["1", "3", "4", "k"]);
    assert_eq!(store.commits(), 7);
}

#[tokio::test]
async fn a_crash_stops_everything_at_the_chosen_commit() {
    for when in [When::Before, When::After] {
        for n in 0.. {
            let disk = Memory::new();
            let store = CrashStore::new(disk.clone(), n, when);
            let work = async {
                for key in ["1", "2", "3"] {
                    let tx = Tx::new(store.clone());
                    tx.put(Key::new(key), Bytes::new());
                    tx.commit().await.unwrap();
                }
            };
            let done = store.until_crash(work).await;
            let survived = (n + usize::from(when == When::After)).min(3);
            assert_eq!((disk.len(), done.is_some()), (survived, n >= 3));
            if done.is_some() {
                break;
            }
        }
    }
}

proptest! {
    /// Whatever is stored and written, a scan through the unit of work gives what it would after the commit.
    #[test]
    fn scans_agree_with_what_a_commit_leaves(
        stored in prop::collection::btree_set("[ab/]{0,4}", 0..12),
        written in prop::collection::btree_map("[ab/]{0,4}", any::<bool>(), 0..8),
        prefix in "[ab/]{0,2}",
        after in prop::option::of("[ab/]{0,3}"),
        limit in 1_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let stored: Vec<&str> = stored.iter().map(String::as_str).collect();
            let tx = Tx::new(filled(&stored).await);
            let mut model: BTreeSet<&str> = stored.into_iter().collect();
            for (key, put) in &written {
                if *put {
                    tx.put(Key::new(key), Bytes::new());
                    model.insert(key);
                } else {
                    tx.delete(Key::new(key));
                    model.remove(key.as_str());
                }
            }
            let below = |key: &&str| key.starts_with(&prefix) && after.as_deref().is_none_or(|after| *key > after);
            let expected: Vec<&str> = model.iter().copied().filter(below).collect();
            let (found, more) = scan(&tx, &prefix, after.as_deref(), limit).await;
            assert_eq!(found, expected.iter().take(limit).copied().collect::<Vec<_>>());
            assert_eq!(more, expected.len() > limit);

            let folders: BTreeSet<&str> = model.iter().filter_map(|key| key.strip_prefix(prefix.as_str()))
                .filter_map(|rest| rest.split_inclusive('/').next()).collect();
            let mut walked = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let page = list(&tx.view(prefix.as_str()), "", after.as_deref(), limit).await;
                walked.extend(page.names);
                if !page.more {
                    break;
                }
                after = walked.last().cloned();
            }
            assert_eq!(walked, folders.into_iter().collect::<Vec<_>>());
        });
    }
}
