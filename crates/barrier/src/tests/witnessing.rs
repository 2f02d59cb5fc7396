//! Who made something of entries learns when they change.

use super::*;

/// What the work read, and whether that still stands.
async fn witness(barrier: &Arc<Unsealed>, keys: &[&str]) -> Option<Witness> {
    let work = async {
        for key in keys {
            barrier.get(&Key::new(key)).await.unwrap();
        }
    };
    barrier.witness(work).await.1
}

#[tokio::test]
async fn a_change_to_what_was_read_is_noticed_and_another_is_not() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    put(&*barrier, "read", b"1").await;
    let read = witness(&barrier, &["read", "absent"]).await.unwrap();
    let nothing = witness(&barrier, &[]).await.unwrap();
    assert!(barrier.bears_out(&read));
    assert!(barrier.bears_out(&read), "as often as it is asked");
    put(&*barrier, "read", b"2").await;
    assert!(!barrier.bears_out(&read));
    assert!(barrier.bears_out(&nothing));
    let read = witness(&barrier, &["read", "absent"]).await.unwrap();
    put(&*barrier, "absent", b"1").await;
    assert!(!barrier.bears_out(&read), "that nothing was there is something that was read");
}

#[tokio::test]
async fn a_refused_commit_is_noticed_too() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    let read = witness(&barrier, &["k"]).await.unwrap();
    let batch = Batch { expect: vec![(Key::new("k"), Some(7))], writes: vec![(Key::new("k"), None)] };
    assert!(matches!(barrier.commit(batch).await, Err(CommitError::Conflict(_))));
    assert!(!barrier.bears_out(&read), "whether it came to something may be open");
    assert!(witness(&barrier, &["k"]).await.is_some(), "it is over");
}

#[tokio::test]
async fn a_commit_on_another_node_is_noticed() {
    let bench = Bench::new().await;
    let (here, there) = (bench.open().await, bench.open().await);
    let read = witness(&here, &["k"]).await.unwrap();
    put(&*there, "k", b"1").await;
    while here.bears_out(&read) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn there_is_no_witness_to_lists_and_writes_and_nothing_outlives_the_barrier() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    let scan = Scan { prefix: String::new(), after: None, limit: 1, values: false };
    assert!(barrier.witness(barrier.scan(&scan)).await.1.is_none());
    assert!(barrier.witness(put(&*barrier, "k", b"1")).await.1.is_none());
    let checks = Batch { expect: vec![(Key::new("absent"), None)], writes: Vec::new() };
    assert!(barrier.witness(barrier.commit(checks)).await.1.is_some());
    let read = witness(&barrier, &["k"]).await.unwrap();
    barrier.close();
    assert!(!barrier.bears_out(&read));
    let bare = bench.sealed.clone().with_cache(0).open(&bench.root_key).await.unwrap();
    assert!(witness(&bare, &["k"]).await.is_none(), "who keeps nothing has nothing to vouch with");
}
