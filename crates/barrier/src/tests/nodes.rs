//! Several nodes over one store.

use std::collections::HashSet;

use super::*;

#[tokio::test]
async fn nodes_that_rotate_at_the_same_time_make_terms_that_all_can_read() {
    let bench = Bench::new().await;
    let nodes = futures::future::join_all((0..4).map(|_| bench.open())).await;
    let rotations = nodes.iter().map(|node| async { node.rotate().await.unwrap() });
    let terms: HashSet<u32> = futures::future::join_all(rotations).await.into_iter().collect();
    assert_eq!(terms, (2..=5).collect());
    for (n, node) in nodes.iter().enumerate() {
        put(&**node, &format!("by/{n}"), &[n as u8]).await;
    }
    for node in &nodes {
        for n in 0..nodes.len() {
            assert_eq!(get(&**node, &format!("by/{n}")).await.unwrap(), [n as u8]);
        }
    }
}

#[tokio::test]
async fn a_value_of_a_term_not_heard_of_yet_is_read() {
    let bench = Bench::new().await;
    let (here, there) = (bench.open().await, bench.open().await);
    there.rotate().await.unwrap();
    put(&*there, "k", b"v").await;
    // On this runtime the follower of `here` had no chance to run yet.
    assert_eq!(get(&*here, "k").await.unwrap(), b"v");
    let page = all(&*here, "").await;
    assert_eq!(page.entries[0].1.value, b"v".as_slice());
}

#[tokio::test]
async fn nodes_share_the_count_of_encryptions() {
    let bench = Bench::new().await;
    let (here, there) = (bench.open().await, bench.open().await);
    for n in 0..10 {
        put(&*here, "here", &[n]).await;
        put(&*there, "there", &[n]).await;
    }
    let fresh = bench.open().await.key_status().unwrap();
    assert_eq!(fresh.encryptions, 2 * crate::keyring::BLOCK, "one block for each node");
}

#[tokio::test]
async fn a_node_follows_a_rekey_through_another() {
    let bench = Bench::new().await;
    let (here, there) = (bench.open().await, bench.open().await);
    put(&*here, "k", b"1").await;
    let (second, third) = (RootKey::make(), RootKey::make());
    there.change_root_key(&second, Vec::new()).await.unwrap();
    // This one has to write the keyring, under the key it does not know yet.
    assert_eq!(here.rotate().await.unwrap(), 2);
    while there.key_status().unwrap().term < 2 {
        tokio::task::yield_now().await;
    }
    here.change_root_key(&third, Vec::new()).await.unwrap();
    assert_eq!(there.rotate().await.unwrap(), 3);
    assert!(bench.sealed.open(&second).await.is_err());
    assert_eq!(get(&*bench.sealed.open(&third).await.unwrap(), "k").await.unwrap(), b"1");
}

/// The copy of the root key is under the newest term, and that one is in the keyring under the new root key.
#[tokio::test]
async fn a_node_that_missed_both_a_rotation_and_a_rekey_says_so_and_still_reads() {
    let bench = Bench::new().await;
    let (here, there) = (bench.open().await, bench.open().await);
    put(&*here, "k", b"v").await;
    // On this runtime the follower of `here` has no chance to run in between.
    there.rotate().await.unwrap();
    there.change_root_key(&RootKey::make(), Vec::new()).await.unwrap();
    put(&*there, "new", b"v").await;
    assert!(matches!(here.rotate().await, Err(Error::RootKeyReplaced)));
    let refused = here.get(&Key::new("new")).await.unwrap_err();
    assert!(refused.to_string().contains("unseal it again"), "{refused}");
    assert_eq!(get(&*here, "k").await.unwrap(), b"v");
}

#[tokio::test]
async fn followers_of_one_node_see_what_another_wrote_and_never_the_old_value() {
    let bench = Bench::new().await;
    let (here, there) = (bench.open().await, bench.open().await);
    put(&*here, "k", b"0").await;
    let mut changes = here.follow();
    for n in 1..50_u8 {
        assert_eq!(get(&*here, "k").await.unwrap(), [if n == 1 { b'0' } else { n - 1 }]);
        there.rotate().await.unwrap();
        put(&*there, "k", &[n]).await;
        let change = futures::StreamExt::next(&mut changes).await.unwrap();
        assert!(
            matches!(change, storage::Change::Keys(_, keys) if *keys == [Key::new("k")]),
            "the keyring is not shown"
        );
        assert_eq!(get(&*here, "k").await.unwrap(), [n]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_change_everything_at_once_stay_whole() {
    let bench = Bench::new().await;
    let nodes = futures::future::join_all((0..3).map(|_| bench.open())).await;
    let tasks = nodes.into_iter().enumerate().map(|(n, node)| {
        tokio::spawn(async move {
            for round in 0..30_u8 {
                let key = format!("{n}/{round}");
                put(&*node, &key, &[round]).await;
                match node.rotate().await {
                    Ok(_) | Err(Error::Contended) => {}
                    Err(error) => panic!("{error}"),
                }
                assert_eq!(get(&*node, &key).await.unwrap(), [round]);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let fresh = bench.open().await;
    assert_eq!(all(&*fresh, "").await.entries.len(), 90);
    assert!(fresh.key_status().unwrap().term > 30);
}
