//! The life of a lease: intent, grant, renewal, end; and what a crash at any commit leaves of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;

use std::{sync::Arc, time::Duration};

use gate::{Error, LeaseGrant, TokenId};
use kit::{World, mount, seconds};
use leases::{LeaseQuota, Ownership, State};
use storage::{
    Store, Tx,
    testing::{CrashStore, FailingStore, When},
};
use store_memory::Memory;

#[tokio::test(start_paused = true)]
async fn a_lease_is_promised_granted_renewed_and_revoked() {
    let world = World::new().running();
    let id = world.intent(&world.mount, "app", "user").await.unwrap();
    assert!(id.0.starts_with("database/creds/app/"), "{id}");
    assert!(world.lookup(&id).await.is_none(), "an intent is shown");
    assert_eq!(world.leases.stands(&id, &world.mount.uuid).await.unwrap(), Some(State::Pending));
    world.target.users.lock().insert("user".to_owned());
    let granted = world.grant(&world.mount, &id, seconds(600)).await.unwrap();
    assert_eq!((granted.duration, granted.renewable), (seconds(600), true));
    assert!(world.keys("sys/lease/pending/").await.is_empty());

    world.pass(seconds(300)).await;
    let tx = Tx::new(Arc::clone(&world.disk));
    let record = world.leases.lookup(&tx, &id).await.unwrap().unwrap();
    let (until, warnings) = world.leases.renewal(&record, Some(seconds(900))).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(world.leases.renewed(&tx, record, until).await.unwrap(), seconds(900));
    tx.commit().await.unwrap();
    world.pass(seconds(600)).await;
    assert!(world.lookup(&id).await.is_some(), "ended at the time it had before it was renewed");
    assert_eq!(world.keys("sys/due/").await.len(), 1);

    let done = world.leases.revoke(&id).await.unwrap().unwrap();
    assert_eq!(done.await.unwrap(), Ok(()));
    world.nothing_left().await;
    assert!(world.leases.revoke(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn renewals_are_held_at_the_longest_life() {
    let world = World::new();
    let id = world.lease("user", seconds(3600)).await;
    let renewal = async |increment| {
        let record = world.lookup(&id).await.unwrap();
        world.leases.renewal(&record, increment)
    };
    world.time.advance(seconds(3000));
    assert_eq!(renewal(None).await.unwrap().0, clock::after(world.time.clock().now(), seconds(3600)));
    let (until, warnings) = renewal(Some(seconds(9000))).await.unwrap();
    assert_eq!(clock::between(world.time.clock().now(), until), seconds(4200));
    assert!(warnings[0].contains("max_ttl of \"7200s\""), "{warnings:?}");
    world.time.advance(seconds(600));
    assert!(renewal(None).await.unwrap_err().to_string().contains("expired"));
}

#[tokio::test]
async fn what_a_batch_token_leases_never_outlives_it() {
    // The first life was cut at the token's end, but a renewal went on to the longest life of the mount.
    let world = World::new();
    let id = world.intent(&world.mount, "app", "user").await.unwrap();
    let tx = Tx::new(Arc::clone(&world.disk));
    let end = clock::after(world.time.clock().now(), seconds(600));
    let owned = Ownership { mount: &world.mount, path: "database/creds/app", owner: None, owner_expires: Some(end) };
    let grant = LeaseGrant {
        intent: Some(id.clone()),
        revocation: secret::SecretBytes::new(Vec::new()),
        ttl: Some(seconds(3600)),
        max_ttl: None,
        renewable: true,
    };
    assert_eq!(world.leases.grant(&tx, owned, grant).await.unwrap().duration, seconds(600));
    tx.commit().await.unwrap();
    world.time.advance(seconds(300));
    let record = world.lookup(&id).await.unwrap();
    assert_eq!(world.leases.renewal(&record, Some(seconds(3600))).unwrap().0, end);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_intent_is_revoked_as_one() {
    let world = World::new().running();
    let id = world.intent(&world.mount, "app", "user").await.unwrap();
    world.target.users.lock().insert("user".to_owned());
    world.leases.abandon(&id).await.unwrap();
    world.settle().await;
    assert_eq!(*world.target.revoked.lock(), [(id.clone(), true)]);
    world.nothing_left().await;
    assert!(matches!(world.grant(&world.mount, &id, seconds(60)).await, Err(Error::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_nobody_gives_up_ends_by_itself() {
    let world = World::new().running();
    let id = world.intent(&world.mount, "app", "user").await.unwrap();
    world.pass(leases::INTENT_LIFE - Duration::from_millis(1)).await;
    assert_eq!(world.target.tries(&id), 0);
    world.pass(Duration::from_millis(1)).await;
    assert_eq!(*world.target.revoked.lock(), [(id, true)]);
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn an_intent_of_a_token_that_ends_is_told_to_be_one() {
    // The end of a token marked its intents for revocation and forgot that they were intents; the engine then looked
    // for a user that was never made.
    let world = World::new().running();
    let id = world.intent(&world.mount, "app", "user").await.unwrap();
    let waits = world.leases.revoke_of_token(&TokenId("token-1".into())).await.unwrap();
    assert_eq!(waits.len(), 1);
    world.settle().await;
    assert_eq!(*world.target.revoked.lock(), [(id, true)]);
}

#[tokio::test(start_paused = true)]
async fn all_leases_of_a_token_end_however_many() {
    let world = World::new().running();
    for n in 0..200 {
        world.lease(&format!("user-{n}"), seconds(3600)).await;
    }
    let waits = world.leases.revoke_of_token(&TokenId("token-1".into())).await.unwrap();
    assert_eq!(waits.len(), 200);
    for wait in waits {
        assert_eq!(wait.await.unwrap(), Ok(()));
    }
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn intents_of_an_earlier_run_are_revoked_at_the_start() {
    let world = World::new();
    let id = world.intent(&world.mount, "app", "user").await.unwrap();
    world.target.users.lock().insert("user".to_owned());
    let world = world.restart();
    world.settle().await;
    assert_eq!(*world.target.revoked.lock(), [(id, true)]);
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_loses_nothing() {
    for when in [When::Before, When::After] {
        for n in 0.. {
            let disk: Arc<dyn Store> = Memory::new();
            let store = CrashStore::new(Arc::clone(&disk), n, when);
            let world = World::over(Arc::clone(&store) as Arc<dyn Store>).running();
            let done = store
                .until_crash(async {
                    let id = world.lease("user", seconds(600)).await;
                    let _ = world.leases.revoke(&id).await.unwrap().unwrap().await;
                    let _second = world.lease("other", seconds(60)).await;
                    world.pass(seconds(60)).await;
                })
                .await;
            let (time, target) = (world.time.clone(), Arc::clone(&world.target));
            drop(world);
            let world = World::with(disk, time, target).running();
            // Whatever the crash left is ended: an intent at once, a lease at its time, a claim when it runs out.
            for _ in 0..8 {
                world.pass(seconds(200)).await;
            }
            world.nothing_left().await;
            if done.is_some() {
                assert!(n >= 6, "the story has only {n} commits");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn quotas_hold_and_are_given_back_once() {
    let store = FailingStore::new(Memory::new());
    let world = World::over(Arc::clone(&store) as Arc<dyn Store>).running();
    let quota = LeaseQuota { path: "database/".to_owned(), role: String::new(), max_leases: 3 };
    world.lease("before", seconds(3600)).await;
    world.leases.quotas().set(vec![quota]);
    let first = world.lease("one", seconds(3600)).await;
    world.lease("two", seconds(3600)).await;
    let full = world.intent(&world.mount, "app", "three").await;
    assert!(matches!(full, Err(Error::Quota { .. })), "{full:?}");
    // The quota of one mount is not that of another.
    world.lease_at(&mount("other/"), "else", seconds(3600)).await;

    // A commit that was refused and tried again gave the place back for each try, and more leases than the quota
    // allows were made.
    let gone = world.leases.revoke(&first).await.unwrap().unwrap();
    store.conflict(3);
    assert_eq!(gone.await.unwrap(), Ok(()));
    world.settle().await;
    world.lease("three", seconds(3600)).await;
    let full = world.intent(&world.mount, "app", "four").await;
    assert!(matches!(full, Err(Error::Quota { .. })), "{full:?}");

    store.fail_commit_after(0);
    let second = world.keys("sys/lease/id/database/").await[0].trim_start_matches("sys/lease/id/").to_owned();
    world.leases.force(&gate::LeaseId(second.as_str().into())).await.unwrap_err();
    world.leases.force(&gate::LeaseId(second.into())).await.unwrap();
    store.fail_commit_after(0);
    assert!(matches!(world.intent(&world.mount, "app", "four").await, Err(Error::Unavailable(_))));
    world.lease("four", seconds(3600)).await;
    assert!(world.intent(&world.mount, "app", "five").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_away_leaves_an_orphan_and_nothing_else() {
    let world = World::new().running();
    let id = world.lease("user", seconds(600)).await;
    world.target.down.lock().insert("database/".to_owned());
    let waiting = world.leases.revoke(&id).await.unwrap().unwrap();
    assert!(waiting.await.unwrap().is_err());
    world.settle().await;
    assert_eq!(world.leases.failing(None, 10).await.unwrap().0.len(), 1);
    assert!(world.leases.force(&id).await.unwrap());
    assert!(!world.leases.force(&id).await.unwrap());
    assert_eq!(world.keys("sys/lease/").await, [format!("{}{id}", leases::ORPHAN)]);
    assert!(world.keys("sys/due/").await.is_empty());
    assert!(world.leases.failing(None, 10).await.unwrap().0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_was_handed_is_hidden_until_it_is_gone() {
    // After a crash a list named the ids of users that were never handed out.
    let world = World::new();
    let given = world.lease("given", seconds(60)).await;
    let intent = world.intent(&world.mount, "app", "under way").await.unwrap();
    world.target.users.lock().insert("under way".to_owned());
    let hidden = async |world: &World| Vec::from_iter(world.leases.hidden().await.unwrap());
    assert_eq!(hidden(&world).await, [intent.0.to_string()]);
    // The process dies, and what was under way cannot be revoked yet.
    world.target.down.lock().insert(intent.0.to_string());
    let world = world.restart();
    world.pass(seconds(1)).await;
    assert!(world.target.tries(&intent) > 0);
    assert_eq!(hidden(&world).await, [intent.0.to_string()]);
    world.target.down.lock().clear();
    world.pass(seconds(3600)).await;
    assert_eq!(hidden(&world).await, [""; 0]);
    assert!(world.target.ids().contains(&intent) && world.target.ids().contains(&given));
}
