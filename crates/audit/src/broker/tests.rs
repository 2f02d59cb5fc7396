use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use clock::Simulated;
use parking_lot::Mutex;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::*;
use crate::{
    file::{self, File, Target},
    hashing::Hasher,
    options::Common,
};

/// Takes lines, refuses them, or does not answer, as the test says.
#[derive(Default)]
struct Fake {
    lines: Mutex<Vec<String>>,
    failing: AtomicBool,
    stuck: Mutex<Option<Vec<futures::channel::oneshot::Sender<()>>>>,
    tries: AtomicUsize,
}

impl Fake {
    fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    fn stick(&self) {
        *self.stuck.lock() = Some(Vec::new());
    }

    fn unstick(&self) {
        *self.stuck.lock() = None;
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}

/// Shares a [`Fake`] with the broker.
struct FakeDevice(Arc<Fake>);

impl Device for FakeDevice {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn write(&self, line: &[u8]) -> Written {
        let (fake, line) = (self.0.clone(), String::from_utf8(line.to_vec()).unwrap());
        fake.tries.fetch_add(1, Ordering::Relaxed);
        let waiting = fake.stuck.lock().as_mut().map(|waiting| {
            let (release, released) = futures::channel::oneshot::channel();
            waiting.push(release);
            released
        });
        async move {
            if let Some(waiting) = waiting {
                let _ = waiting.await;
            }
            if fake.failing.load(Ordering::Relaxed) {
                return Err(Error::Full("/fake".into()));
            }
            fake.lines.lock().push(line);
            Ok(())
        }
        .boxed()
        .into()
    }

    fn reopen(&self) -> Written {
        let failing = self.0.failing.load(Ordering::Relaxed);
        Written::known(if failing { Err(Error::Closed) } else { Ok(()) })
    }

    fn check(&self) -> Written {
        self.reopen()
    }

    fn close(&self) -> Written {
        Written::known(Ok(()))
    }
}

struct Scene {
    broker: Arc<Broker>,
    time: Simulated,
}

impl Scene {
    fn new() -> Self {
        let time = Simulated::new("2026-01-02T03:04:05Z".parse().unwrap());
        Self { broker: Arc::new(Broker::new(time.clock(), Settings::default())), time }
    }

    async fn with(&self, path: &str) -> Arc<Fake> {
        let fake = Arc::new(Fake::default());
        self.broker.enable(path, Arc::new(FakeDevice(fake.clone())), format(path)).await.unwrap();
        fake
    }

    async fn record(&self, id: &str) -> Result<(), Unwritten> {
        record(&self.broker, id).await
    }

    /// Records while the time runs; returns how much of it passed.
    async fn record_over_time(&self, id: &str) -> (Result<(), Unwritten>, Duration) {
        let start = self.time.clock().now();
        let (broker, id) = (self.broker.clone(), id.to_owned());
        let recording = tokio::spawn(async move { record(&broker, &id).await });
        while !recording.is_finished() {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            if !recording.is_finished() {
                self.time.advance(Duration::from_millis(100));
            }
        }
        (recording.await.unwrap(), clock::between(start, self.time.clock().now()))
    }

    /// Lets the background work of `span` happen.
    async fn pass(&self, span: Duration) {
        for _ in 0..span.as_millis() / 100 {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.time.advance(Duration::from_millis(100));
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn condition(&self, path: &str) -> Condition {
        self.broker.health().into_iter().find(|health| health.path == path).unwrap().condition
    }
}

fn format(salt: &str) -> Format {
    Format::new(Hasher::new(salt.as_bytes()), Common::default())
}

async fn record(broker: &Broker, id: &str) -> Result<(), Unwritten> {
    let request = Request { id, operation: "read", path: "secret/data/x", ..Request::default() };
    broker.record(&Entry::request(Timestamp::UNIX_EPOCH, &request)).await
}

#[tokio::test]
async fn without_devices_everything_passes() {
    let scene = Scene::new();
    assert!(scene.broker.is_empty());
    scene.record("r").await.unwrap();
}

#[tokio::test]
async fn every_device_gets_every_entry_with_its_own_salt() {
    let scene = Scene::new();
    let (a, b) = (scene.with("a/").await, scene.with("b").await);
    let request = Request { client_token: crate::Sensitive::new("hvs.T"), ..Request::default() };
    scene.broker.record(&Entry::request(Timestamp::UNIX_EPOCH, &request)).await.unwrap();
    for (fake, path) in [(&a, "a"), (&b, "b/")] {
        let lines = fake.lines();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("\"path\":\"sys/audit/test\""), "{}", lines[0]);
        assert!(lines[1].contains(&scene.broker.hash(path, b"hvs.T").unwrap()));
    }
    assert_ne!(scene.broker.hash("a", b"hvs.T").unwrap(), scene.broker.hash("b", b"hvs.T").unwrap());
    assert!(matches!(scene.broker.hash("c", b"x"), Err(Error::Unknown(path)) if path == "c"));
}

#[tokio::test]
async fn with_a_failing_device_alone_nothing_passes() {
    let scene = Scene::new();
    let a = scene.with("a").await;
    a.fail(true);
    for id in ["r-1", "r-2"] {
        let refused = scene.record(id).await.unwrap_err();
        assert_eq!(refused.faults.len(), 1);
        assert_eq!(
            refused.to_string(),
            "no audit device took the entry (a/: the disk that holds /fake is full; free some space)"
        );
    }
    assert!(matches!(scene.condition("a"), Condition::Bypassed { reason, .. } if reason.contains("is full")));
    // It is tried again at once when it is the only one.
    a.fail(false);
    scene.record("r-3").await.unwrap();
    // And in use again, with a word about the gap.
    scene.pass(Duration::from_secs(6)).await;
    assert_eq!(scene.condition("a"), Condition::Healthy);
    let lines = a.lines();
    let notice: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(notice.pointer("/request/path").unwrap(), "sys/audit/a");
    assert_eq!(notice.pointer("/request/actor").unwrap(), "system");
    assert_eq!(notice.pointer("/request/data/unconfirmed_entries").unwrap(), 2);
    let count = lines.len();
    scene.record("r-4").await.unwrap();
    assert_eq!(a.lines().len(), count + 1);
    assert_eq!(scene.broker.health()[0].unconfirmed, 0);
}

#[tokio::test]
async fn one_healthy_device_is_enough() {
    let scene = Scene::new();
    let (a, b) = (scene.with("a").await, scene.with("b").await);
    b.fail(true);
    scene.record("r-1").await.unwrap();
    scene.record("r-2").await.unwrap();
    assert_eq!(a.lines().len(), 3);
    // The failing one is not asked again for each entry.
    assert_eq!(b.tries.load(Ordering::Relaxed), 2);
    let health = scene.broker.health();
    assert_eq!((health[0].written, health[0].unconfirmed), (2, 0));
    assert_eq!((health[1].written, health[1].unconfirmed), (0, 2));
    a.fail(true);
    scene.record("r-3").await.unwrap_err();
}

#[tokio::test]
async fn a_stuck_device_is_waited_for_once() {
    let scene = Scene::new();
    let (a, b) = (scene.with("a").await, scene.with("b").await);
    b.stick();
    let (outcome, took) = scene.record_over_time("r-1").await;
    outcome.unwrap();
    assert_eq!(took, Duration::from_secs(2));
    for id in ["r-2", "r-3", "r-4"] {
        let (outcome, took) = scene.record_over_time(id).await;
        outcome.unwrap();
        assert_eq!(took, Duration::ZERO);
    }
    assert_eq!(a.lines().len(), 5);
    assert!(
        matches!(scene.condition("b"), Condition::Bypassed { reason, .. } if reason == "the audit device did not answer within 2s")
    );
    // While it is stuck nothing more is heaped on it.
    scene.pass(Duration::from_secs(60)).await;
    assert_eq!(b.tries.load(Ordering::Relaxed), 2);
    b.unstick();
    scene.pass(Duration::from_secs(1)).await;
    assert_eq!(scene.condition("b"), Condition::Healthy);
    scene.record("r-5").await.unwrap();
    let lines = b.lines();
    // The test entry, the one that was stuck, the word about the gap, the new one.
    assert_eq!(lines.len(), 4);
    assert!(lines[1].contains("r-1") && lines[2].contains("\"unconfirmed_entries\":4") && lines[3].contains("r-5"));
}

#[tokio::test]
async fn a_stuck_device_alone_refuses_within_the_deadline() {
    let scene = Scene::new();
    let a = scene.with("a").await;
    a.stick();
    for id in ["r-1", "r-2"] {
        let (outcome, took) = scene.record_over_time(id).await;
        outcome.unwrap_err();
        assert_eq!(took, Duration::from_secs(2));
    }
}

/// Hands two entries over, and waits for both at the end.
async fn settle_both(scene: &Scene, ids: [&str; 2], between: impl AsyncFnOnce()) -> Result<(), Unwritten> {
    let entry = |id| {
        let request = Request { id, operation: "read", path: "secret/data/x", ..Request::default() };
        scene.broker.hand_over(&Entry::request(Timestamp::UNIX_EPOCH, &request))
    };
    let first = entry(ids[0]);
    between().await;
    scene.broker.settle([first, entry(ids[1])]).await
}

#[tokio::test]
async fn two_entries_are_waited_for_together_and_neither_may_be_missing() {
    let scene = Scene::new();
    let a = scene.with("a").await;
    settle_both(&scene, ["r-1", "r-2"], async || ()).await.unwrap();
    let lines = a.lines();
    assert!(lines[1].contains("r-1") && lines[2].contains("r-2"), "{lines:?}");
    // A device that has only one of them is not enough, whichever it is.
    let first_fails = settle_both(&scene, ["r-3", "r-4"], async || {
        a.fail(true);
        let _ = scene.record("r-between").await;
        let b = scene.with("b").await;
        assert_eq!(b.lines().len(), 1);
    });
    first_fails.await.unwrap_err();
    let b_alone = settle_both(&scene, ["r-5", "r-6"], async || ()).await;
    b_alone.unwrap();
    assert!(scene.broker.disable("b").await);
    a.fail(false);
    let second_fails = settle_both(&scene, ["r-7", "r-8"], async || {
        // What was handed over is taken when it is asked for.
        a.stick();
    });
    let late = async {
        for _ in 0..40 {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            scene.time.advance(Duration::from_millis(100));
        }
    };
    let (outcome, ()) = futures::join!(second_fails, late);
    outcome.unwrap_err();
}

#[tokio::test]
async fn enabling_a_bad_device_changes_nothing() {
    let scene = Scene::new();
    let fake = Arc::new(Fake::default());
    fake.fail(true);
    let enable = |path: &'static str, format| scene.broker.enable(path, Arc::new(FakeDevice(fake.clone())), format);
    assert!(matches!(enable("a", format("a")).await, Err(Error::Full(_))));
    assert!(scene.broker.is_empty());
    scene.record("r").await.unwrap();
    let untested = Format::new(Hasher::new(b"a"), Common { skip_test: true, ..Common::default() });
    enable("a", untested).await.unwrap();
    scene.record("r").await.unwrap_err();
    fake.fail(false);
    assert!(matches!(enable("a/", format("a")).await, Err(Error::Exists(path)) if path == "a"));
}

#[tokio::test]
async fn a_removed_device_is_out_of_the_way() {
    let scene = Scene::new();
    let a = scene.with("a").await;
    a.fail(true);
    scene.record("r-1").await.unwrap_err();
    assert!(scene.broker.disable("a/").await);
    assert!(!scene.broker.disable("a").await);
    scene.record("r-2").await.unwrap();
    let tries = a.tries.load(Ordering::Relaxed);
    scene.pass(Duration::from_secs(30)).await;
    assert_eq!(a.tries.load(Ordering::Relaxed), tries);
}

#[tokio::test]
async fn reopening_names_those_that_could_not() {
    let scene = Scene::new();
    let (_a, b) = (scene.with("a").await, scene.with("b").await);
    assert!(scene.broker.reopen_all().await.is_empty());
    b.fail(true);
    let failed = scene.broker.reopen_all().await;
    assert!(matches!(failed.as_slice(), [(path, Error::Closed)] if path == "b"));
    assert_eq!(scene.broker.check_all().await.len(), 1);
    assert!(scene.broker.close().await.is_empty());
}

#[tokio::test]
async fn a_closed_broker_lets_nothing_through() {
    // The devices were taken away as if there had never been any, and what was still under way went out unrecorded.
    let scene = Scene::new();
    let _a = scene.with("a").await;
    assert!(!scene.broker.is_empty());
    assert!(scene.broker.close().await.is_empty());
    assert!(!scene.broker.is_empty());
    assert!(scene.record("r-1").await.unwrap_err().is_closed());
    // One that never had a device has nothing to close.
    let bare = Scene::new();
    bare.broker.close().await;
    assert!(bare.broker.is_empty());
    bare.record("r-2").await.unwrap();
}

#[tokio::test]
async fn a_pipe_that_nobody_drains_does_not_block_callers() {
    // The story: an audit file turns out to be a pipe to a dead log shipper, and every request hangs.
    let scene = Scene::new();
    let good = scene.with("good").await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let reader = fs::OpenOptions::new().read(true).custom_flags(nonblock).open(&path).unwrap();
    let device = File::new(file::Settings { target: Target::Path(path), mode: None }).unwrap();
    scene.broker.enable("pipe", Arc::new(device), format("pipe")).await.unwrap();
    let long = "x".repeat(200_000);
    let (outcome, took) = scene.record_over_time(&long).await;
    outcome.unwrap();
    assert_eq!(took, Duration::from_secs(2));
    let (outcome, took) = scene.record_over_time("r-2").await;
    outcome.unwrap();
    assert_eq!(took, Duration::ZERO);
    assert_eq!(good.lines().len(), 3);
    drop(reader);
    assert!(scene.broker.disable("pipe").await);
}

#[tokio::test]
async fn concurrent_entries_all_arrive_whole() {
    let scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let device = File::new(file::Settings { target: Target::Path(path.clone()), mode: None }).unwrap();
    scene.broker.enable("file", Arc::new(device), format("file")).await.unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|id| {
            let broker = scene.broker.clone();
            tokio::spawn(async move { record(&broker, &format!("r-{id}")).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let ids: std::collections::BTreeSet<String> = text
        .lines()
        .skip(1)
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap().pointer("/request/id").unwrap().to_string()
        })
        .collect();
    assert_eq!(ids.len(), 200);
}

/// A read by a known caller, and its answer, both about this id and port.
fn asked<R>(id: &str, port: u16, at: [Timestamp; 2], then: impl FnOnce(&Entry<'_>, &Entry<'_>) -> R) -> R {
    use crate::{Auth, Body, Data, Response, Sensitive};
    let tricky = br#"{"id":"r-1","remote_port":1234,"time":"2026-01-01T00:00:00Z","text":"\"remote_port\":1234"}"#;
    let data = Data { body: Body::Json(tricky), unhashed: (["text"].as_slice()).into(), ..Data::default() };
    let auth = Auth { display_name: "r-1", client_token: Sensitive::new("hvs.T"), ..Auth::default() };
    let request = Request {
        id,
        path: "kv/data/r-1",
        client_token: Sensitive::new("hvs.T"),
        data,
        remote_address: "::1",
        remote_port: port,
        ..Request::default()
    };
    let response = Response { mount_point: "kv/", data, ..Response::default() };
    let way_in = Entry::request(at[0], &request).auth(Some(&auth));
    let way_out = Entry::response(at[1], &request, Some(&response)).auth(Some(&auth));
    then(&way_in, &way_out)
}

#[tokio::test]
async fn what_is_written_again_is_what_would_have_been_written() {
    let scene = Scene::new();
    let (a, b) = (scene.with("a").await, scene.with("b").await);
    let prefixed = Common { prefix: "\"time\":".to_owned(), log_raw: true, ..Common::default() };
    let (c, raw) = (Arc::new(Fake::default()), Format::new(Hasher::new(b"c"), prefixed));
    scene.broker.enable("c", Arc::new(FakeDevice(c.clone())), raw).await.unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let first = [at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00.5Z")];
    let template = asked("r-1", 1234, first, |way_in, way_out| scene.broker.template(way_in, way_out)).unwrap();
    for (id, port, times) in [
        ("r-1", 1234, first),
        ("other", 1, [at("2026-02-02T00:00:00.25Z"), at("2026-02-02T00:00:01Z")]),
        ("a \"quoted\" one", 65535, first),
    ] {
        for fake in [&a, &b, &c] {
            fake.lines.lock().clear();
        }
        let again = Again { id, port, asked: times[0], answered: times[1] };
        let handed = scene.broker.hand_over_again(&template, &again).unwrap();
        scene.broker.settle([handed]).await.unwrap();
        let both: Vec<_> = [&a, &b, &c].map(|fake| fake.lines().concat()).into();
        for fake in [&a, &b, &c] {
            fake.lines.lock().clear();
        }
        let handed =
            asked(id, port, times, |way_in, way_out| [scene.broker.hand_over(way_in), scene.broker.hand_over(way_out)]);
        scene.broker.settle(handed).await.unwrap();
        for (fake, both) in [&a, &b, &c].into_iter().zip(both) {
            assert_eq!(fake.lines().concat(), both);
            assert!(both.contains(&format!("\"remote_port\":{port}")));
        }
    }
    let taken = scene.broker.health().into_iter().map(|health| health.written);
    assert_eq!(taken.collect::<Vec<_>>(), [12; 3], "both records count");
}

#[tokio::test]
async fn a_template_is_of_no_use_to_other_devices() {
    let scene = Scene::new();
    let bare = asked("r-1", 1, [Timestamp::UNIX_EPOCH; 2], |a, b| scene.broker.template(a, b)).unwrap();
    let again = Again { id: "r", port: 1, asked: Timestamp::UNIX_EPOCH, answered: Timestamp::UNIX_EPOCH };
    scene.broker.settle([scene.broker.hand_over_again(&bare, &again).unwrap()]).await.unwrap();
    let a = scene.with("a").await;
    assert!(scene.broker.hand_over_again(&bare, &again).is_none());
    let one = asked("r-1", 1, [Timestamp::UNIX_EPOCH; 2], |a, b| scene.broker.template(a, b)).unwrap();
    scene.with("b").await;
    assert!(scene.broker.hand_over_again(&one, &again).is_none());
    assert_eq!(a.lines().len(), 1, "the test entry alone");
    scene.broker.close().await;
    assert!(scene.broker.hand_over_again(&one, &again).is_none());
    assert!(asked("r-1", 1, [Timestamp::UNIX_EPOCH; 2], |a, b| scene.broker.template(a, b)).is_none());
}

#[tokio::test]
async fn records_that_are_written_again_fail_as_others_do() {
    let scene = Scene::new();
    let a = scene.with("a").await;
    let template = asked("r-1", 1, [Timestamp::UNIX_EPOCH; 2], |a, b| scene.broker.template(a, b)).unwrap();
    a.fail(true);
    let again = Again { id: "r", port: 1, asked: Timestamp::UNIX_EPOCH, answered: Timestamp::UNIX_EPOCH };
    let handed = scene.broker.hand_over_again(&template, &again).unwrap();
    assert_eq!(scene.broker.settle([handed]).await.unwrap_err().faults.len(), 1);
    assert_eq!(scene.broker.health()[0].unconfirmed, 2);
}
