//! Tokens that live as long as a process does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use kit::{World, seconds};
use storage::{Store, testing::FailingStore};
use store_memory::Memory;
use tokens::Issued;

async fn bind(world: &World, token: &Issued, grace: u64) {
    let tx = world.tx();
    world.tokens.bind(&tx, &token.id, seconds(grace)).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_a_grace_period_after_its_last_stream() {
    let world = World::new().await;
    let token = world.plain(3600).await;
    bind(&world, &token, 10).await;
    let mut first = world.liveness.attach(token.id.clone(), seconds(10));
    let line = first.next().await.unwrap();
    assert_eq!(&line[..], b"{\"bound\":true,\"grace\":10}\n");
    let second = world.liveness.attach(token.id.clone(), seconds(10));
    drop(first);
    world.pass(seconds(100)).await;
    assert!(world.alive(&token).await, "another stream is attached");
    drop(second);
    world.pass(seconds(9)).await;
    assert!(world.alive(&token).await);
    // It comes back within the period, and goes again.
    drop(world.liveness.attach(token.id.clone(), seconds(10)));
    world.pass(seconds(9)).await;
    assert!(world.alive(&token).await, "ended by the timer of an earlier stream");
    world.pass(seconds(1)).await;
    assert!(!world.alive(&token).await);
    world.nothing_left().await;
    assert!(!world.liveness.is_present(&token.id));
}

#[tokio::test(start_paused = true)]
async fn silence_is_death_once_the_holder_has_beaten() {
    let world = World::new().await;
    let token = world.plain(36_000).await;
    bind(&world, &token, 9).await;
    assert!(world.liveness.beat(&token.id).is_err(), "a beat without a stream");
    let mut stream = world.liveness.attach(token.id.clone(), seconds(9));
    stream.next().await.unwrap();
    // Without beats the stream itself is the sign of life.
    for _ in 0..20 {
        let next = stream.next();
        let ((), line) = tokio::join!(world.pass(seconds(3)), next);
        assert!(line.is_some());
    }
    world.liveness.beat(&token.id).unwrap();
    for n in 1..=3 {
        let ((), line) = tokio::join!(world.pass(seconds(3)), stream.next());
        assert!(line.is_some(), "silent for {} seconds", 3 * n);
    }
    let ((), line) = tokio::join!(world.pass(seconds(3)), stream.next());
    assert!(line.is_none(), "silent for longer than the grace period");
    assert!(!world.alive(&token).await);
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_with_its_token() {
    let world = World::new().await;
    let token = world.plain(3600).await;
    bind(&world, &token, 9).await;
    let mut stream = world.liveness.attach(token.id.clone(), seconds(9));
    stream.next().await.unwrap();
    world.tokens.revoke_now(&token.id).await.unwrap();
    let ((), line) = tokio::join!(world.pass(seconds(3)), stream.next());
    assert!(line.is_none());
    world.settle().await;
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_holders_have_their_grace_period_to_come_back() {
    let world = World::new().await;
    let (gone, back) = (world.plain(3600).await, world.plain(3600).await);
    bind(&world, &gone, 10).await;
    bind(&world, &back, 10).await;
    let (disk, time) = (Arc::clone(&world.disk), world.time.clone());
    drop(world);
    let world = World::over(disk, time).await;
    let resumed = tokio::spawn(Arc::clone(&world.liveness).resume(|_| true));
    world.pass(seconds(9)).await;
    bind(&world, &back, 10).await;
    let stream = world.liveness.attach(back.id.clone(), seconds(10));
    assert!(world.alive(&gone).await);
    world.pass(seconds(1)).await;
    assert!(!world.alive(&gone).await && world.alive(&back).await);
    resumed.await.unwrap().unwrap();
    drop(stream);
    world.pass(seconds(10)).await;
    assert!(!world.alive(&back).await);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_tied_after_a_restart_is_left_alone_by_it() {
    // While one token of an earlier run still had time, all tied tokens were looked through each second; a new one that
    // was met between its tie and its stream counted as one that had not come back, and was revoked.
    let world = World::new().await;
    let old = world.plain(7200).await;
    bind(&world, &old, 3600).await;
    let (disk, time) = (Arc::clone(&world.disk), world.time.clone());
    drop(world);
    let world = World::over(disk, time).await;
    let _resumed = tokio::spawn(Arc::clone(&world.liveness).resume(|_| true));
    world.pass(seconds(100)).await;
    let new = world.plain(3600).await;
    bind(&world, &new, 5).await;
    world.pass(seconds(2)).await;
    assert!(world.alive(&new).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_does_not_spare_the_token() {
    // One refused commit ended the whole resumption: the tied tokens of an earlier run lived on until the next start.
    let store = FailingStore::new(Memory::new());
    let time = clock::Simulated::new("2027-01-01T00:00:00Z".parse().unwrap());
    let world = World::over(Arc::clone(&store) as Arc<dyn Store>, time.clone()).await;
    let (one, two) = (world.plain(3600).await, world.plain(3600).await);
    bind(&world, &one, 10).await;
    bind(&world, &two, 10).await;
    drop(world);
    let world = World::over(Arc::clone(&store) as Arc<dyn Store>, time).await;
    store.fail_reads(true);
    let resumed = tokio::spawn(Arc::clone(&world.liveness).resume(|_| true));
    world.pass(seconds(5)).await;
    store.fail_reads(false);
    world.pass(seconds(1)).await;
    store.fail_all(true);
    world.pass(seconds(4)).await;
    assert!(resumed.now_or_never().is_none());
    store.fail_all(false);
    for _ in 0..4 {
        world.pass(seconds(1)).await;
    }
    assert!(!world.alive(&one).await && !world.alive(&two).await);
}
