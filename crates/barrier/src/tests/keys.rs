//! Root keys, terms and counts.

use std::time::Duration;

use super::*;
use crate::{
    keyring::{BLOCK, Record},
    rotation::Root,
};

#[tokio::test]
async fn a_barrier_is_initialized_once_and_opened_by_its_key_alone() {
    let sealed = Sealed::new(Memory::new(), clock::Clock::system());
    let (root_key, other) = (RootKey::make(), RootKey::make());
    assert!(!sealed.is_initialized().await.unwrap());
    assert!(matches!(sealed.open(&root_key).await, Err(Error::NotInitialized)));
    let also = vec![(Key::new(seal::STORED_AT), Bytes::from_static(b"seal"))];
    sealed.initialize_with(&root_key, also).await.unwrap();
    assert!(sealed.is_initialized().await.unwrap());
    assert_eq!(get(&**sealed.store(), seal::STORED_AT).await.unwrap(), b"seal");
    assert!(matches!(sealed.initialize(&other).await, Err(Error::AlreadyInitialized)));
    assert!(matches!(sealed.open(&other).await, Err(Error::WrongKey)));
    sealed.open(&root_key).await.unwrap();
}

#[tokio::test]
async fn what_older_terms_sealed_stays_readable() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    for term in 1..=5_u32 {
        assert_eq!(barrier.key_status().unwrap().term, term);
        let key = format!("in/{term}");
        put(&*barrier, &key, &term.to_be_bytes()).await;
        assert_eq!(bench.sealed_value(&key).await[..4], term.to_be_bytes());
        bench.time.advance(Duration::from_secs(60));
        assert_eq!(barrier.rotate().await.unwrap(), term + 1);
    }
    assert_eq!(barrier.key_status().unwrap().install_time.as_second(), 300);
    for barrier in [barrier, bench.open().await] {
        for term in 1..=5_u32 {
            assert_eq!(get(&*barrier, &format!("in/{term}")).await.unwrap(), term.to_be_bytes());
        }
    }
}

#[tokio::test]
async fn encryptions_are_counted_and_never_too_few_after_a_crash() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    assert_eq!(barrier.key_status().unwrap().encryptions, 0);
    write(&*barrier, &[("a", Some(b"1")), ("b", Some(b"2")), ("c", None)]).await;
    put(&*barrier, "a", b"3").await;
    assert_eq!(barrier.key_status().unwrap().encryptions, 3);
    let commits = bench.below.commits();
    for _ in 0..100 {
        put(&*barrier, "a", b"4").await;
    }
    assert_eq!(bench.below.commits() - commits, 100, "counting costs no commit of its own");
    // The process ends without a word.
    std::mem::forget(barrier);
    let again = bench.open().await;
    let encryptions = again.key_status().unwrap().encryptions;
    assert!((103..=BLOCK).contains(&encryptions), "{encryptions}");
    put(&*again, "a", b"5").await;
    assert_eq!(again.key_status().unwrap().encryptions, encryptions + 1);
}

#[tokio::test]
async fn a_term_is_replaced_before_it_has_sealed_too_much() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    let config = RotationConfig { enabled: true, max_operations: 1_000_000, interval: 0 };
    barrier.set_rotate_config(config).await.unwrap();
    drop(barrier);
    // Nearly all of the term was handed out before.
    let root = Root::new(&bench.root_key);
    let mut record = root.open(&bench.sealed_value(KEYRING).await).unwrap();
    let mut handed_out = 0;
    while handed_out < 1_000_000 - 10 {
        handed_out += record.reserve((1_000_000 - 10 - handed_out).min(1000), Timestamp::UNIX_EPOCH).min(BLOCK);
        if handed_out > 1_000_000 - 10 - BLOCK {
            break;
        }
    }
    bench.overwrite(KEYRING, root.seal(&record).to_vec()).await;
    let barrier = bench.open().await;
    let start = barrier.key_status().unwrap();
    assert_eq!((start.term, start.encryptions), (1, handed_out));
    let writes: Vec<(String, Vec<u8>)> = (0..1000).map(|n| (n.to_string(), vec![0])).collect();
    let writes: Vec<_> = writes.iter().map(|(key, value)| (key.as_str(), Some(value.as_slice()))).collect();
    let mut last = start;
    while barrier.key_status().unwrap().term == 1 {
        write(&*barrier, &writes).await;
        let status = barrier.key_status().unwrap();
        assert!(status.encryptions <= 1_000_000);
        if status.term == 1 {
            assert_eq!(status.encryptions, last.encryptions + 1000);
            last = status;
        }
    }
    assert!(last.encryptions > 1_000_000 - BLOCK, "the term was used to its end: {last:?}");
    assert_eq!(get(&*barrier, "7").await.unwrap(), [0]);
}

#[tokio::test]
async fn a_term_is_replaced_when_its_interval_is_over() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    assert_eq!(barrier.rotate_config().unwrap(), RotationConfig::default());
    let day = RotationConfig { enabled: true, max_operations: 1_000_000, interval: 86_400 };
    barrier.set_rotate_config(day).await.unwrap();
    assert_eq!(barrier.rotate_if_due().await.unwrap(), None);
    bench.time.advance(Duration::from_secs(86_400));
    assert_eq!(barrier.rotate_if_due().await.unwrap(), Some(2));
    assert_eq!(barrier.rotate_if_due().await.unwrap(), None);
    let bad = RotationConfig { interval: 3600, ..day };
    assert!(matches!(barrier.set_rotate_config(bad).await, Err(Error::Interval(3600))));
    assert_eq!(bench.open().await.rotate_config().unwrap(), day, "settings are stored");
}

#[tokio::test]
async fn a_new_root_key_replaces_the_old_one_together_with_its_seal() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    put(&*barrier, "k", b"v").await;
    let new = RootKey::make();
    let also = vec![(Key::new(seal::STORED_AT), Bytes::from_static(b"new seal"))];
    barrier.change_root_key(&new, also.clone()).await.unwrap();
    assert_eq!(bench.sealed_value(seal::STORED_AT).await, b"new seal");
    assert!(matches!(bench.sealed.open(&bench.root_key).await, Err(Error::WrongKey)));
    assert_eq!(get(&*bench.sealed.open(&new).await.unwrap(), "k").await.unwrap(), b"v");
    // The running barrier goes on with the new key.
    barrier.rotate().await.unwrap();
    put(&*barrier, "k", b"w").await;
    assert_eq!(get(&*bench.sealed.open(&new).await.unwrap(), "k").await.unwrap(), b"w");

    bench.below.fail_commit_after(0);
    assert!(barrier.change_root_key(&RootKey::make(), also.clone()).await.is_err());
    bench.sealed.open(&new).await.expect("nothing was changed");
    // It was changed, but the reply was lost: the barrier finds out and goes on.
    let newest = RootKey::make();
    bench.below.lose_reply_once();
    assert!(barrier.change_root_key(&newest, also).await.is_err());
    barrier.rotate().await.unwrap();
    assert!(bench.sealed.open(&newest).await.is_ok() && bench.sealed.open(&new).await.is_err());
}

#[tokio::test]
async fn a_keyring_that_cannot_be_stored_seals_nothing() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    bench.below.fail_commit_after(0);
    let refused = barrier.commit(batch(&[("k", Some(b"v"))])).await;
    assert!(matches!(refused, Err(CommitError::Store(storage::Error::Unavailable(_)))));
    assert_eq!(bench.memory.len(), 1, "the keyring alone");
    put(&*barrier, "k", b"v").await;
    // A rotation whose reply is lost is found by the next change.
    bench.below.lose_reply_once();
    assert!(barrier.rotate().await.is_err());
    assert_eq!(barrier.rotate().await.unwrap(), 3);
    assert_eq!(get(&*barrier, "k").await.unwrap(), b"v");
}

#[test]
fn a_keyring_of_many_terms_stays_small() {
    let mut record = Record::new(Timestamp::UNIX_EPOCH);
    for _ in 0..1000 {
        record.rotate(Timestamp::UNIX_EPOCH);
    }
    assert!(record.encode().len() < 64 * 1024);
}
