//! When leases end, and what happens when the target does not let them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;

use std::{collections::HashMap, sync::Arc, time::Duration};

use gate::TokenId;
use kit::{Uneven, World, mount, seconds};
use storage::{Store, Tx, testing::FailingStore};
use store_memory::Memory;

#[tokio::test(start_paused = true)]
async fn a_lease_ends_at_its_time_and_not_before() {
    let world = World::new().running();
    world.settle().await;
    // The expirer has looked and found nothing; the lease is shorter than its pause.
    let id = world.lease("user", seconds(7)).await;
    world.pass(Duration::from_nanos(6_999_999_999)).await;
    assert_eq!(world.target.tries(&id), 0);
    world.pass(Duration::from_nanos(1)).await;
    assert_eq!(world.target.ids(), [id]);
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_time_between_two_milliseconds_is_kept() {
    let world = World::new().running();
    world.pass(Duration::from_nanos(400_000)).await;
    let id = world.lease("user", seconds(1)).await;
    world.pass(Duration::from_nanos(999_700_000)).await;
    assert_eq!(world.target.tries(&id), 0, "ended before its time");
    world.pass(Duration::from_millis(1)).await;
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_is_tried_for_as_long_as_it_takes() {
    let world = World::new().running();
    world.target.down.lock().insert("database/".to_owned());
    let id = world.lease("user", seconds(60)).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.target.tries(&id), 1);
    let record = world.lookup(&id).await.unwrap();
    assert_eq!((record.failures, record.last_error.as_deref()), (1, Some("connection refused")));
    // 2, 4, 8, 16 seconds; then, as it is the probe of its mount, every 20.
    for (wait, tries) in [(2, 2), (4, 3), (8, 4), (16, 5), (20, 6), (20, 7)] {
        world.pass(seconds(wait) - Duration::from_millis(1)).await;
        assert_eq!(world.target.tries(&id), tries - 1);
        world.pass(Duration::from_millis(1)).await;
        assert_eq!(world.target.tries(&id), tries);
    }
    for _ in 0..2000 {
        world.pass(seconds(20)).await;
    }
    assert!(world.target.tries(&id) > 2000, "given up after {} tries", world.target.tries(&id));
    world.target.down.lock().clear();
    world.pass(seconds(20)).await;
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn no_pause_is_longer_than_an_hour_and_few_are_shorter() {
    const MANY: u32 = 500;
    let world = World::new().running();
    world.target.down.lock().insert("database/".to_owned());
    let mut seen = HashMap::new();
    for n in 0..MANY {
        seen.insert(world.lease(&format!("user-{n}"), seconds(60)).await, (0, 0));
    }
    let mut longest = 0;
    for minute in 0..24 * 60 {
        world.pass(seconds(60)).await;
        for (id, (tries, tried_at)) in &mut seen {
            let now = world.target.tries(id);
            if now > *tries {
                longest = longest.max(if *tries > 0 { minute - *tried_at } else { 0 });
                (*tries, *tried_at) = (now, minute);
            }
        }
    }
    // Some more minutes for 500 at once.
    assert!((59..65).contains(&longest), "a pause of {longest} minutes");
    let least = seen.values().map(|(tries, _)| *tries).min().unwrap();
    // A dozen while the pauses double, then one an hour; and the probe, every 20 seconds, goes round.
    assert!(least >= 12 + 22, "a lease was tried {least} times in a day");
    let all: u32 = seen.values().map(|(tries, _)| *tries).sum();
    assert!(all < MANY * (13 + 25) + 24 * 3600 / 20, "{all} tries in a day: a dead target is not hammered");
    world.target.down.lock().clear();
    for _ in 0..5 {
        world.pass(seconds(20)).await;
    }
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn all_that_waits_for_a_target_ends_soon_after_it_is_back() {
    let world = World::new().running();
    world.target.down.lock().insert("database/".to_owned());
    for n in 0..40 {
        world.lease(&format!("user-{n}"), seconds(60)).await;
    }
    let lasting = world.lease("lasting", seconds(7000)).await;
    for _ in 0..90 {
        world.pass(seconds(60)).await;
    }
    let tries: u32 = world.target.tried.lock().values().sum();
    assert!(tries < 40 * 14 + 300, "{tries} tries in an hour and a half: a dead target is not hammered");
    assert_eq!(world.leases.failing(None, 100).await.unwrap().0.len(), 40);
    let revision =
        world.disk.get(&storage::Key::new(format!("sys/lease/id/{lasting}"))).await.unwrap().unwrap().revision;
    world.target.down.lock().clear();
    world.pass(seconds(20)).await;
    assert_eq!(world.target.ids().len(), 40);
    assert!(world.leases.failing(None, 100).await.unwrap().0.is_empty());
    // Each lease of the mount was written anew when the target came back, also those in force.
    let after = world.disk.get(&storage::Key::new(format!("sys/lease/id/{lasting}"))).await.unwrap().unwrap().revision;
    assert_eq!(revision, after, "a lease in force was rewritten");
}

/// The lease that the leash was handed to failed at that very moment, and put its own long pause over the short one: nobody
/// looked whether the target was back until that was over.
#[tokio::test(start_paused = true)]
async fn the_leash_is_not_lost_where_many_fail_at_once() {
    for seed in 0..60 {
        let world = World::over(Uneven::over(Memory::new(), seed)).running();
        world.target.down.lock().insert("database/".to_owned());
        for n in 0..8 {
            world.lease(&format!("user-{n}"), seconds(60)).await;
        }
        // Their pauses are of the same length, up to 64 seconds.
        for _ in 0..60 + 2 + 4 + 8 + 16 + 32 + 10 {
            world.pass(seconds(1)).await;
            world.settle().await;
        }
        world.target.down.lock().clear();
        for _ in 0..21 {
            world.pass(seconds(1)).await;
            world.settle().await;
        }
        assert_eq!(world.target.users.lock().len(), 0, "seed {seed}: nobody saw that the target was back");
        world.nothing_left().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_lengthen_the_wait_for_a_target() {
    // Which mounts fail was known in memory only. After a restart nothing probed, and each lease came back when its own
    // pause was over: up to an hour after the target was there again.
    let world = World::new().running();
    world.target.down.lock().insert("database/".to_owned());
    for n in 0..5 {
        world.lease(&format!("user-{n}"), seconds(60)).await;
    }
    for _ in 0..120 {
        world.pass(seconds(60)).await;
    }
    world.target.down.lock().clear();
    let world = world.restart();
    world.settle().await;
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_run_was_revoking_is_revoked_at_the_start_of_the_next() {
    // The claim of the killed run held for two minutes, in which nobody revoked.
    let world = World::new().running();
    world.target.hanging.lock().insert("database/".to_owned());
    let id = world.lease("user", seconds(60)).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.target.tries(&id), 1, "a revocation is under way");
    world.target.hanging.lock().clear();
    let world = world.restart();
    world.settle().await;
    assert_eq!(world.target.ids(), [id]);
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_fails_for_its_own_reason_does_not_keep_the_others_waiting() {
    let world = World::new().running();
    let owner = world.lease("owns-tables", seconds(60)).await;
    world.target.down.lock().insert(owner.0.to_string());
    world.pass(seconds(60)).await;
    assert_eq!(world.target.tries(&owner), 1);
    // It is the probe now. Then the target goes away, and comes back.
    world.target.down.lock().insert("database/".to_owned());
    for n in 0..10 {
        world.lease(&format!("user-{n}"), seconds(60)).await;
    }
    for _ in 0..180 {
        world.pass(seconds(60)).await;
    }
    world.target.down.lock().remove("database/");
    world.pass(seconds(20)).await;
    world.pass(seconds(20)).await;
    assert_eq!(world.target.ids().len(), 10, "the others wait although the target is back");
    // The successes of others do not make it be tried again and again.
    let tries = world.target.tries(&owner);
    for n in 0..20 {
        let id = world.lease(&format!("later-{n}"), seconds(3600)).await;
        world.leases.revoke(&id).await.unwrap().unwrap().await.unwrap().unwrap();
    }
    world.settle().await;
    assert!(world.target.tries(&owner) <= tries + 1);
}

#[tokio::test(start_paused = true)]
async fn one_mount_that_hangs_does_not_delay_the_others() {
    let world = World::new();
    let (hangs, works) = (mount("hangs/"), mount("works/"));
    world.target.hanging.lock().insert("hangs/".to_owned());
    // More than one pass goes by, and due before the others.
    for n in 0..1500 {
        world.lease_at(&hangs, &format!("stuck-{n}"), seconds(10)).await;
    }
    let id = world.lease_at(&works, "user", seconds(20)).await;
    let world = world.running();
    world.pass(seconds(20)).await;
    for _ in 0..20 {
        world.pass(Duration::from_millis(100)).await;
    }
    assert_eq!(world.target.ids(), [id]);
    assert!(world.target.tried.lock().len() < 1500);
}

#[tokio::test(start_paused = true)]
async fn many_leases_of_one_mount_end_without_waiting_for_the_clock() {
    // A mount took 16 at once and the next 16 a tenth of a second later, however quick it was: 100,000 leases took ten
    // minutes.
    let world = World::new();
    for n in 0..500 {
        world.lease(&format!("user-{n}"), seconds(10)).await;
    }
    let world = world.running();
    world.pass(seconds(10)).await;
    for _ in 0..40 {
        world.settle().await;
    }
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn leases_in_force_are_not_read_at_the_start() {
    let mut reads = Vec::new();
    for count in [10, 3000] {
        let disk: Arc<dyn Store> = Memory::new();
        let filled = World::over(Arc::clone(&disk));
        for n in 0..count {
            filled.lease(&format!("user-{n}"), seconds(3600)).await;
        }
        let store = FailingStore::new(disk);
        let started =
            World::with(Arc::clone(&store) as Arc<dyn Store>, filled.time.clone(), Arc::clone(&filled.target))
                .running();
        started.pass(seconds(60)).await;
        assert!(started.target.tried.lock().is_empty());
        reads.push(store.reads());
    }
    assert!(reads[0] == reads[1] && reads[0] < 12, "{reads:?} reads with 10 and with 3000 leases");
}

#[tokio::test(start_paused = true)]
async fn two_servers_over_one_store_revoke_once() {
    let disk: Arc<dyn Store> = Memory::new();
    let one = World::over(Arc::clone(&disk));
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(one.lease(&format!("user-{n}"), seconds(30)).await);
    }
    let two = World::with(disk, one.time.clone(), Arc::clone(&one.target)).running();
    let one = one.running();
    one.pass(seconds(30)).await;
    for _ in 0..5 {
        one.settle().await;
    }
    one.nothing_left().await;
    let mut revoked = two.target.ids();
    revoked.sort();
    ids.sort();
    assert_eq!(revoked, ids, "each once");
}

#[tokio::test(start_paused = true)]
async fn what_a_living_server_is_at_is_left_to_it_until_it_is_gone() {
    // A server that started took over whatever the others had under way: it revoked users that requests were being given, and
    // did again what another was doing.
    let disk: Arc<dyn Store> = Memory::new();
    let mut one = World::over(Arc::clone(&disk)).running();
    one.target.alive.lock().insert(one.leases.instance().to_owned());
    one.target.hanging.lock().insert("database/".to_owned());
    let due = one.lease("due", seconds(30)).await;
    one.pass(seconds(30)).await;
    assert_eq!(one.target.tries(&due), 1, "a revocation is under way");
    one.target.hanging.lock().clear();
    let intent = one.intent(&one.mount, "app", "asked-for").await.unwrap();
    one.target.users.lock().insert("asked-for".to_owned());
    let two = World::with(disk, one.time.clone(), Arc::clone(&one.target)).running();
    two.pass(seconds(10)).await;
    assert_eq!((one.target.tries(&due), one.target.tries(&intent)), (1, 0));
    // It is killed, and the other one hears of that.
    one.stop();
    one.target.alive.lock().clear();
    two.leases.adopt();
    two.settle().await;
    let mut revoked = two.target.ids();
    revoked.sort();
    let mut both = vec![due, intent];
    both.sort();
    assert_eq!(revoked, both);
    two.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_ran_out_is_not_put_off_by_who_had_it() {
    // A server that stood still in the middle of a revocation came back and put off what another one was at by then.
    let disk: Arc<dyn Store> = Memory::new();
    let one = World::over(Arc::clone(&disk)).running();
    one.target.alive.lock().insert(one.leases.instance().to_owned());
    one.target.hanging.lock().insert("database/".to_owned());
    let id = one.lease("user", seconds(30)).await;
    one.pass(seconds(30)).await;
    let mut two = World::with(disk, one.time.clone(), Arc::default());
    two.target.hanging.lock().insert("database/".to_owned());
    two.target.alive.lock().insert(one.leases.instance().to_owned());
    two = two.running();
    tokio::time::advance(seconds(30)).await;
    // The claim of the first one runs out; the second one claims, and is at work.
    two.pass(seconds(121)).await;
    assert_eq!((one.target.tries(&id), two.target.tries(&id)), (1, 1));
    let claimed = two.lookup(&id).await.unwrap();
    // The first one goes on, and its own patience is over: this is a failure to it.
    tokio::time::advance(seconds(31)).await;
    one.settle().await;
    let after = two.lookup(&id).await.unwrap();
    assert_eq!((after.due, after.claimed_by == two.leases.instance()), (claimed.due, true), "left as it was");
}

#[tokio::test(start_paused = true)]
async fn a_refused_claim_is_tried_again_at_once() {
    // The expirer left a thing alone whose claim met another change, and slept for a minute: the change had woken it
    // while it was still at work on that very thing.
    let store = FailingStore::new(Memory::new());
    let world = World::over(Arc::clone(&store) as Arc<dyn Store>).running();
    let id = world.lease("user", seconds(5)).await;
    world.settle().await;
    store.conflict(1);
    world.pass(seconds(5)).await;
    assert_eq!(world.target.ids(), [id]);
    // A store that fails is asked again, at intervals.
    let id = world.lease("user", seconds(5)).await;
    world.settle().await;
    store.fail_commit_after(0);
    world.pass(seconds(5)).await;
    assert_eq!(world.target.tries(&id), 0);
    world.pass(seconds(1)).await;
    assert_eq!(world.target.tries(&id), 1);
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn leases_of_a_mount_that_is_gone_become_orphans() {
    let world = World::new().running();
    let id = world.lease("user", seconds(5)).await;
    world.target.gone.lock().insert("database/".to_owned());
    world.pass(seconds(5)).await;
    assert_eq!(world.keys("sys/lease/").await, [format!("{}{id}", leases::ORPHAN)]);
    assert!(world.keys("sys/due/").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_are_ended_when_they_are_due_and_tried_again() {
    let world = World::new().running();
    let token = TokenId("a".into());
    let at = clock::after(world.time.clock().now(), seconds(9));
    let tx = Tx::new(Arc::clone(&world.disk));
    world.leases.watch_token(&tx, &token, None, Some(at));
    tx.commit().await.unwrap();
    *world.target.tokens_fail.lock() = true;
    world.pass(seconds(9)).await;
    assert!(world.target.tokens.lock().is_empty());
    *world.target.tokens_fail.lock() = false;
    world.pass(seconds(2)).await;
    world.pass(seconds(1)).await;
    assert_eq!(*world.target.tokens.lock(), [token]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_entry_of_the_index_does_not_lose_the_lease() {
    let world = World::new();
    let id = world.lease("user", seconds(60)).await;
    // As if a crash or an older version had left it elsewhere in the index.
    let tx = Tx::new(Arc::clone(&world.disk));
    for key in world.keys("sys/due/").await {
        tx.delete(storage::Key::new(&key));
    }
    tx.put(storage::Key::new(format!("sys/due/{:015}/l/{id}", 1)), bytes::Bytes::new());
    tx.commit().await.unwrap();
    let world = world.running();
    world.settle().await;
    assert_eq!(world.target.tries(&id), 0, "ended before its time");
    world.pass(seconds(60)).await;
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn leases_of_namespaces_lie_apart_and_end_by_one_index() {
    let mut world = World::new().running();
    let within = |id: &str, path: &str| {
        let namespace = gate::Namespace::known(id, path);
        gate::MountInfo { namespace, ..gate::MountInfo::clone(&mount("database/")) }
    };
    let (a, b) = (within("aaaaaa", "a/"), within("bbbbbb", "b/"));
    let of_root = world.lease("root", seconds(60)).await;
    let of_a = world.lease_at(&a, "a", seconds(60)).await;
    let of_b = world.lease_at(&b, "b", seconds(120)).await;
    assert_eq!([of_root.namespace(), of_a.namespace(), of_b.namespace()], ["", "aaaaaa", "bbbbbb"]);
    for (namespace, id) in [("", &of_root), ("aaaaaa", &of_a), ("bbbbbb", &of_b)] {
        let (ids, more) = world.leases.ids(namespace, "database/", None, 10).await.unwrap();
        assert_eq!((ids, more), (vec![id.clone()], false));
        assert!(world.leases.is_active(id).await.unwrap());
        assert!(world.lookup(id).await.is_some());
    }
    assert_eq!(world.keys("ns/aaaaaa/").await.len(), 1);
    // Another run of the server ends them all, without knowing a namespace.
    world = world.restart();
    world.pass(seconds(60)).await;
    assert_eq!(world.keys("ns/aaaaaa/").await, Vec::<String>::new());
    assert_eq!(world.keys("ns/bbbbbb/").await.len(), 1);
    world.pass(seconds(60)).await;
    assert_eq!(world.keys("ns/").await, Vec::<String>::new());
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn quotas_count_the_leases_of_their_namespace() {
    let world = World::new();
    let namespace = gate::Namespace::known("aaaaaa", "a/");
    let inside = gate::MountInfo { namespace, ..gate::MountInfo::clone(&mount("database/")) };
    let quota = |path: &str, max_leases| leases::LeaseQuota { path: path.to_owned(), role: String::new(), max_leases };
    world.leases.quotas().set(vec![quota("a/", 3), quota("a/database/", 1), quota("database/", 2)]);
    let allowed = async |mount: &gate::MountInfo| world.intent(mount, "app", "u").await.is_ok();
    let other = gate::MountInfo { path: "other/".into(), uuid: "other".into(), ..gate::MountInfo::clone(&inside) };
    assert!(allowed(&inside).await);
    assert!(!allowed(&inside).await, "the mount of the namespace is full");
    // That of another mount of the namespace counts them all.
    assert!(allowed(&other).await && allowed(&other).await);
    assert!(!allowed(&other).await, "the namespace is full");
    // A mount of the same path in the root namespace is another.
    assert!(allowed(&world.mount).await && allowed(&world.mount).await);
    assert!(!allowed(&world.mount).await);
    // One without a path counts them all, those from before too; a nearer one holds in its place.
    let tx = storage::Tx::new(Arc::clone(&world.disk));
    tx.put(storage::Key::from(format!("{}aaaaaa", gate::namespace::IDS)), "a/".into());
    tx.commit().await.unwrap();
    world.leases.quotas().set(vec![quota("", 7), quota("database/", 3)]);
    assert!(allowed(&inside).await && allowed(&other).await);
    assert!(!allowed(&other).await, "five were there already");
    assert!(allowed(&world.mount).await && !allowed(&world.mount).await);
    world.leases.quotas().set(vec![quota("", 8)]);
    assert!(!allowed(&other).await && !allowed(&world.mount).await);
}
