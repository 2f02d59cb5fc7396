//! When rotations are done, and what happens when they fail.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{collections::HashSet, sync::Arc, time::Duration};

use clock::{Simulated, Timestamp};
use gate::{Error, MountClass, MountInfo, Plan, RotationStatus};
use parking_lot::Mutex;
use rotation::{Item, Rotate, Rotations};
use storage::{
    BoxFuture, Scan, Store, Tx,
    testing::{CrashStore, FailingStore, When},
};
use store_memory::Memory;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn mount(name: &str) -> MountInfo {
    MountInfo {
        namespace: gate::Namespace::root(),
        uuid: name.into(),
        accessor: "a".into(),
        path: format!("{name}/").into(),
        kind: "database",
        class: MountClass::Secret,
        options: Arc::default(),
        default_ttl: seconds(60),
        max_ttl: seconds(60),
        clear_request_keys: Arc::default(),
        clear_response_keys: Arc::default(),
        passed_headers: Arc::default(),
        reply_headers: Arc::default(),
    }
}

fn every(period: u64) -> Plan {
    Plan { period: Some(seconds(period)), schedule: None, window: None, first_now: false }
}

/// What rotates: notes what it did, fails and hangs on demand.
#[derive(Default)]
struct Target {
    done: Mutex<Vec<String>>,
    tried: Mutex<u32>,
    down: Mutex<bool>,
    gone: Mutex<bool>,
    hanging: Mutex<HashSet<String>>,
    /// Done in the middle of a rotation.
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Rotate for Target {
    fn rotate<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            *self.tried.lock() += 1;
            if *self.gone.lock() {
                return Ok(false);
            }
            let hangs = self.hanging.lock().contains(&item.mount);
            if hangs {
                std::future::pending::<()>().await;
            }
            let meanwhile = self.meanwhile.lock().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            if *self.down.lock() {
                return Err(Error::Target("connection refused".to_owned()));
            }
            self.done.lock().push(item.id.clone());
            Ok(true)
        })
    }
}

struct World {
    disk: Arc<dyn Store>,
    time: Simulated,
    rotations: Arc<Rotations>,
    target: Arc<Target>,
    runner: tokio::task::JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        Self::over(Memory::new())
    }

    fn over(disk: Arc<dyn Store>) -> Self {
        Self::with(disk, Simulated::new("2027-01-01T00:00:00Z".parse().unwrap()), Arc::default())
    }

    fn with(disk: Arc<dyn Store>, time: Simulated, target: Arc<Target>) -> Self {
        let rotations = Rotations::new(Arc::clone(&disk), time.clock());
        let runner = tokio::spawn(Arc::clone(&rotations).run(Arc::<Target>::clone(&target)));
        Self { disk, time, rotations, target, runner }
    }

    async fn plan(&self, mount: &MountInfo, id: &str, plan: Option<Plan>) {
        let tx = Tx::new(Arc::clone(&self.disk));
        self.rotations.plan(&tx, mount, id, plan).await.unwrap();
        tx.commit().await.unwrap();
        self.rotations.wake();
    }

    async fn status(&self, id: &str) -> RotationStatus {
        let tx = Tx::new(Arc::clone(&self.disk));
        self.rotations.status(&tx, &mount("db"), id).await.unwrap().unwrap()
    }

    async fn settle(&self) {
        for _ in 0..300 {
            tokio::task::yield_now().await;
        }
    }

    async fn pass(&self, time: Duration) {
        self.settle().await;
        self.time.advance(time);
        self.settle().await;
    }

    fn count(&self) -> usize {
        self.target.done.lock().len()
    }

    fn now(&self) -> Timestamp {
        self.time.clock().now()
    }

    async fn keys(&self) -> usize {
        let scan = Scan { prefix: "sys/rotation/".to_owned(), after: None, limit: 1000, values: false };
        self.disk.scan(&scan).await.unwrap().entries.len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.runner.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_kept_to_the_second() {
    let world = World::new();
    world.settle().await;
    world.plan(&mount("db"), "app", Some(every(30))).await;
    for n in 1..=3 {
        world.pass(seconds(30) - Duration::from_millis(1)).await;
        assert_eq!(world.count(), n - 1);
        world.pass(Duration::from_millis(1)).await;
        assert_eq!(world.count(), n);
    }
    let status = world.status("app").await;
    assert_eq!((status.last, status.failures, status.history.len()), (Some(world.now()), 0, 3));
    assert_eq!(status.next, Some(clock::after(world.now(), seconds(30))));
    assert_eq!(world.rotations.list(None, 10).await.unwrap().0.len(), 1);
    world.plan(&mount("db"), "app", None).await;
    assert_eq!(world.keys().await, 0);
    world.pass(seconds(100)).await;
    assert_eq!(world.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_first_may_be_due_at_once() {
    let world = World::new();
    world.settle().await;
    world.plan(&mount("db"), "app", Some(Plan { first_now: true, ..every(3600) })).await;
    world.settle().await;
    assert_eq!(world.count(), 1);
    // To plan the same again is not to begin again.
    world.plan(&mount("db"), "app", Some(Plan { first_now: true, ..every(3600) })).await;
    world.pass(seconds(3599)).await;
    assert_eq!(world.count(), 1);
    world.pass(seconds(1)).await;
    assert_eq!(world.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_fails_comes_back_with_growing_pauses() {
    let world = World::new();
    world.plan(&mount("db"), "app", Some(every(60))).await;
    *world.target.down.lock() = true;
    world.pass(seconds(60)).await;
    for (wait, tries) in [(5, 2), (10, 3), (20, 4), (40, 5), (80, 6), (160, 7), (320, 8), (600, 9), (600, 10)] {
        world.pass(seconds(wait) - Duration::from_millis(1)).await;
        assert_eq!(*world.target.tried.lock(), tries - 1);
        world.pass(Duration::from_millis(1)).await;
        assert_eq!(*world.target.tried.lock(), tries);
    }
    let status = world.status("app").await;
    assert_eq!((status.failures, status.last), (10, None));
    assert!(status.last_error.unwrap().contains("connection refused"));
    *world.target.down.lock() = false;
    world.pass(seconds(600)).await;
    let status = world.status("app").await;
    assert_eq!((status.failures, status.last_error, status.last), (0, None, Some(world.now())));
    assert_eq!(status.history.len(), 11);
    for _ in 0..30 {
        world.pass(seconds(60)).await;
    }
    assert_eq!(world.status("app").await.history.len(), 20, "the history is bounded");
}

#[tokio::test(start_paused = true)]
async fn what_is_rotated_by_hand_only_shows_how_it_went_and_is_never_due() {
    let world = World::new();
    let by_hand = async |outcome: Result<(), String>| {
        let tx = Tx::new(Arc::clone(&world.disk));
        world.rotations.rotated(&tx, &mount("db"), "root", outcome).await.unwrap();
        tx.commit().await.unwrap();
        world.rotations.wake();
    };
    by_hand(Err("connection refused".to_owned())).await;
    let failed = world.status("root").await;
    assert_eq!((failed.failures, failed.last_error.as_deref()), (1, Some("connection refused")));
    assert_eq!((failed.next, failed.last), (None, None));
    by_hand(Ok(())).await;
    world.pass(seconds(3600 * 24)).await;
    let done = world.status("root").await;
    assert_eq!((done.failures, done.last_error, done.next, done.history.len()), (0, None, None, 2));
    assert_eq!(*world.target.tried.lock(), 0);
    let (listed, _) = world.rotations.list(None, 10).await.unwrap();
    assert!(listed[0].plan.is_by_hand() && listed.len() == 1);
    // A plan that comes later counts from the rotation by hand.
    world.plan(&mount("db"), "root", Some(every(3600 * 48))).await;
    assert_eq!(world.status("root").await.next, done.last.map(|last| clock::after(last, seconds(3600 * 48))));
    world.plan(&mount("db"), "root", None).await;
    assert_eq!(world.keys().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_changed_plan_keeps_its_history() {
    let world = World::new();
    world.plan(&mount("db"), "app", Some(every(60))).await;
    world.pass(seconds(60)).await;
    world.pass(seconds(30)).await;
    let last = world.status("app").await.last;
    world.plan(&mount("db"), "app", Some(every(100))).await;
    let status = world.status("app").await;
    assert_eq!((status.last, status.history.len()), (last, 1));
    assert_eq!(status.next, Some(clock::after(last.unwrap(), seconds(100))));
    // Shorter than what has passed: now.
    world.plan(&mount("db"), "app", Some(every(10))).await;
    world.settle().await;
    assert_eq!(world.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_changes_during_its_rotation_does_not_lose_it() {
    // The outcome was dropped: the status said that it had never rotated, and it rotated again at once.
    let world = World::new();
    world.plan(&mount("db"), "app", Some(every(60))).await;
    let (rotations, disk) = (Arc::clone(&world.rotations), Arc::clone(&world.disk));
    *world.target.meanwhile.lock() = Some(Box::pin(async move {
        let tx = Tx::new(disk);
        rotations.plan(&tx, &mount("db"), "app", Some(every(90))).await.unwrap();
        tx.commit().await.unwrap();
    }));
    world.pass(seconds(60)).await;
    let status = world.status("app").await;
    assert_eq!((status.last, status.history.len()), (Some(world.now()), 1));
    assert_eq!(status.next, Some(clock::after(world.now(), seconds(90))));
    assert_eq!(world.keys().await, 2);
    // What the engine records by itself is not recorded twice.
    let (rotations, disk) = (Arc::clone(&world.rotations), Arc::clone(&world.disk));
    *world.target.meanwhile.lock() = Some(Box::pin(async move {
        let tx = Tx::new(disk);
        rotations.rotated(&tx, &mount("db"), "app", Ok(())).await.unwrap();
        tx.commit().await.unwrap();
    }));
    world.pass(seconds(90)).await;
    assert_eq!(world.status("app").await.history.len(), 2);
    world.pass(seconds(90)).await;
    assert_eq!(world.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn behind_its_window_a_rotation_waits_for_its_next_time() {
    let world = World::new();
    let plan =
        Plan { period: None, schedule: Some("0 3 * * *".to_owned()), window: Some(seconds(3600)), first_now: false };
    world.plan(&mount("db"), "app", Some(plan)).await;
    *world.target.down.lock() = true;
    world.pass(seconds(3 * 3600)).await;
    assert_eq!(*world.target.tried.lock(), 1);
    for _ in 0..6 * 60 {
        world.pass(seconds(60)).await;
    }
    // A retry began its own window, so that one that kept failing was tried all day.
    let tried = *world.target.tried.lock();
    assert!((8..20).contains(&tried), "{tried} tries");
    let next: Timestamp = "2027-01-02T03:00:00Z".parse().unwrap();
    assert_eq!(world.status("app").await.next, Some(next));
    *world.target.down.lock() = false;
    world.pass(clock::between(world.now(), next)).await;
    assert_eq!(world.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_servers_over_one_store_rotate_once() {
    let one = World::new();
    let two = World::with(Arc::clone(&one.disk), one.time.clone(), Arc::clone(&one.target));
    for n in 0..20 {
        one.plan(&mount("db"), &format!("app-{n}"), Some(every(50))).await;
    }
    for round in 1..=3 {
        one.pass(seconds(50)).await;
        two.settle().await;
        one.settle().await;
        assert_eq!(one.count(), round * 20);
    }
}

#[tokio::test(start_paused = true)]
async fn one_mount_that_hangs_does_not_delay_the_others() {
    let world = World::new();
    world.target.hanging.lock().insert("stuck".to_owned());
    for n in 0..100 {
        world.plan(&mount("stuck"), &format!("{n:03}"), Some(every(10))).await;
    }
    world.plan(&mount("works"), "app", Some(every(11))).await;
    world.pass(seconds(10)).await;
    world.pass(seconds(1)).await;
    assert_eq!(*world.target.done.lock(), ["app"]);
    world.target.hanging.lock().clear();
    // Those that hang are given up in real time.
    tokio::time::advance(seconds(121)).await;
    for _ in 0..20 {
        world.pass(seconds(600)).await;
    }
    assert!(world.count() > 100, "{}", world.count());
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_loses_no_plan() {
    for when in [When::Before, When::After] {
        for n in 0.. {
            let disk: Arc<dyn Store> = Memory::new();
            let before = World::over(Arc::clone(&disk));
            before.plan(&mount("db"), "app", Some(every(60))).await;
            let time = before.time.clone();
            drop(before);
            let store = CrashStore::new(Arc::clone(&disk), n, when);
            let world = World::with(Arc::clone(&store) as Arc<dyn Store>, time.clone(), Arc::default());
            let done = store
                .until_crash(async {
                    world.settle().await;
                    world.pass(seconds(60)).await;
                    assert_eq!(world.count(), 1);
                })
                .await;
            let target = Arc::clone(&world.target);
            drop(world);
            let world = World::with(disk, time, target);
            // A claim whose owner died runs out.
            world.pass(seconds(180)).await;
            world.pass(seconds(60)).await;
            assert!(world.count() >= 1 && world.status("app").await.last.is_some(), "lost behind {n} commits");
            assert_eq!(world.keys().await, 2);
            if done.is_some() {
                assert!(n >= 2);
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mount_takes_its_plans_with_it() {
    let world = World::new();
    for n in 0..300 {
        world.plan(&mount("db"), &format!("app-{n}"), Some(every(60))).await;
    }
    world.plan(&mount("other"), "app", Some(every(60))).await;
    world.rotations.forget_mount("db").await.unwrap();
    assert_eq!(world.keys().await, 2);
    *world.target.gone.lock() = true;
    world.pass(seconds(60)).await;
    assert_eq!(world.keys().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_is_asked_again() {
    let store = FailingStore::new(Memory::new());
    let world = World::over(Arc::clone(&store) as Arc<dyn Store>);
    world.plan(&mount("db"), "app", Some(every(60))).await;
    world.settle().await;
    store.fail_all(true);
    world.pass(seconds(60)).await;
    assert_eq!(world.count(), 0);
    store.fail_all(false);
    world.pass(seconds(1)).await;
    assert_eq!(world.count(), 1);
}
