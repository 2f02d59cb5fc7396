//! What is on disk after a crash: the process killed, the files cut, the disk full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use storage::{Batch, CommitError, Error, Key, Scan, Store};
use store_embedded::{Embedded, OpenError, Options};

/// Names the directory to a test that is run as another process, and is empty otherwise.
const DIRECTORY: &str = "STRONGROOM_CRASH_DIRECTORY";
const ROUND: &str = "STRONGROOM_CRASH_ROUND";

/// Opens a store. A test beside this one may just be starting a process: until that executes its program, it holds the lock
/// of a store that was closed meanwhile.
fn open(path: &Path) -> Result<Arc<Embedded>, OpenError> {
    for _ in 0..100 {
        match open_at_once(path) {
            Err(OpenError::Locked { .. }) => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened,
        }
    }
    open_at_once(path)
}

fn open_at_once(path: &Path) -> Result<Arc<Embedded>, OpenError> {
    Embedded::open(path, Options { readers: 1, ..Options::default() })
}

fn batch(writes: Vec<(String, Option<Vec<u8>>)>) -> Batch {
    let writes = writes.into_iter().map(|(key, value)| (Key::from(key), value.map(Bytes::from))).collect();
    Batch { expect: vec![], writes }
}

async fn all(store: &Embedded, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let scan = Scan { prefix: prefix.to_owned(), after: None, limit: 1_000_000, values: true };
    let page = store.scan(&scan).await.unwrap();
    let strip = |key: &Key| key.as_str()[prefix.len()..].to_owned();
    page.entries.iter().map(|(key, entry)| (strip(key), entry.value.to_vec())).collect()
}

/// Runs the test `name` of this file in another process, on `directory`.
fn run(name: &str, directory: &Path, round: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The process that is killed: writes pairs that belong together, and says which were acknowledged.
#[test]
fn writes_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let round: usize = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&directory)).unwrap();
        let writers = (0..8).map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0..2000 {
                    let number = format!("{round:03}-{task}-{n:05}");
                    // Of several sizes, some over many pages; each removes one that went before.
                    let value = vec![n as u8; [10, 300, 20_000][n % 3]];
                    let mut writes =
                        vec![(format!("left/{number}"), Some(value.clone())), (format!("right/{number}"), Some(value))];
                    if n >= 50 {
                        writes.push((format!("left/{round:03}-{task}-{:05}", n - 50), None));
                        writes.push((format!("right/{round:03}-{task}-{:05}", n - 50), None));
                    }
                    store.commit(batch(writes)).await.unwrap();
                    // One write, so that the parent never sees half a line of two.
                    std::io::stdout().write_all(format!("ack {number}\n").as_bytes()).unwrap();
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    let directory = tempfile::tempdir().unwrap();
    // A task's newest number that was acknowledged, by round and task.
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    let mut acknowledged = 0;
    for round in 0..32 {
        let mut child = run("writes_until_killed", directory.path(), round);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // How far it gets: from the very first commit to behind the first checkpoints.
        let patience = (round * 7919) % 97 * if round % 4 == 0 { 8 } else { 1 };
        let mut seen = 0;
        let mut note = |line: String| {
            let Some(number) = line.strip_prefix("ack ") else { return false };
            let (task, n) = number.rsplit_once('-').unwrap();
            let n: usize = n.parse().unwrap();
            let newest = newest.entry(task.to_owned()).or_default();
            *newest = n.max(*newest);
            true
        };
        while seen < patience {
            let Some(line) = lines.next() else { break };
            seen += usize::from(note(line.unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts as well.
        for line in lines {
            seen += usize::from(note(line.unwrap()));
        }
        acknowledged += seen;

        let store = open(directory.path()).unwrap();
        let (left, right) = (all(&store, "left/").await, all(&store, "right/").await);
        assert!(left == right, "round {round}: both halves of every batch, or none");
        for (task, newest) in &newest {
            for n in newest.saturating_sub(49)..=*newest {
                let number = format!("{task}-{n:05}");
                // A later batch, written but not acknowledged in time, may have removed the oldest.
                let removed = left.contains_key(&format!("{task}-{:05}", n + 50));
                let value = left.get(&number);
                assert!(removed || value.is_some(), "round {round}: {number} was acknowledged");
                assert!(value.is_none_or(|value| *value == vec![n as u8; [10, 300, 20_000][n % 3]]), "{number}");
            }
        }
        store.verify().await.unwrap();
        // Keeps the rounds quick.
        let old: BTreeSet<_> =
            left.keys().filter(|number| !number.starts_with(&format!("{round:03}"))).cloned().collect();
        let gone = old.iter().flat_map(|number| [format!("left/{number}"), format!("right/{number}")]);
        store.commit(batch(gone.map(|key| (key, None)).collect())).await.unwrap();
        newest.retain(|task, _| task.starts_with(&format!("{round:03}")));
    }
    println!("32 kills, {acknowledged} acknowledged batches, all of them there");
    assert!(acknowledged > 1000);
}

/// Like a child that is killed while it makes the store.
#[tokio::test]
async fn a_store_that_was_never_finished_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("strongroom.db.new"), b"half").unwrap();
    fs::write(directory.path().join("strongroom.db.new-journal"), b"half").unwrap();
    let store = open(directory.path()).unwrap();
    store.commit(batch(vec![("k".into(), Some(vec![1]))])).await.unwrap();
    assert!(!directory.path().join("strongroom.db.new").exists());
}

/// What batch `n` writes: over all n, keys are written again and removed.
fn numbered(n: usize) -> Vec<(String, Option<Vec<u8>>)> {
    let text = Some(n.to_string().into_bytes());
    vec![
        (format!("a/{}", n % 7), text.clone()),
        (format!("b/{}", n % 5), text.clone().filter(|_| !n.is_multiple_of(3))),
        (format!("large/{}", n % 2), Some(vec![n as u8; 9_000])),
        ("n".to_owned(), text),
    ]
}

/// Copies of a store whose process was killed with `count` batches in the log, in `live`, opened again as `name`.
struct Killed {
    home: tempfile::TempDir,
    data: Vec<u8>,
    log: Vec<u8>,
    states: Vec<BTreeMap<String, Vec<u8>>>,
}

impl Killed {
    async fn after(count: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let live = home.path().join("live");
        let store = open(&live).unwrap();
        let mut states = vec![BTreeMap::new()];
        for n in 1..=count {
            let mut state = states.last().unwrap().clone();
            for (key, value) in numbered(n) {
                match value {
                    Some(value) => state.insert(key, value),
                    None => state.remove(&key),
                };
            }
            states.push(state);
            assert_eq!(store.commit(batch(numbered(n))).await.unwrap(), n as u64);
        }
        assert_eq!(store.stats().checkpoints, 0, "all of it is in the log");
        let data = fs::read(live.join("strongroom.db")).unwrap();
        let log = fs::read(live.join("strongroom.db-wal")).unwrap();
        Self { home, data, log, states }
    }

    /// Opens a copy with these files and gives the number of batches in it; fails if it is not a prefix of them.
    async fn reopened(&self, data: &[u8], log: &[u8]) -> usize {
        let copy = self.home.path().join("copy");
        fs::create_dir(&copy).unwrap();
        fs::write(copy.join("strongroom.db"), data).unwrap();
        fs::write(copy.join("strongroom.db-wal"), log).unwrap();
        let store = open(&copy).unwrap();
        let found = all(&store, "").await;
        let n = found.get("n").map_or(0, |n| std::str::from_utf8(n).unwrap().parse().unwrap());
        assert!(found == self.states[n], "batch {n} and all before it, whole");
        let revision = store.commit(batch(vec![("next".into(), Some(vec![]))])).await.unwrap();
        assert_eq!(revision, n as u64 + 1, "it works on where it stood");
        store.verify().await.unwrap();
        drop(store);
        fs::remove_dir_all(&copy).unwrap();
        n
    }
}

/// Scattered numbers, the same in each run.
fn scattered(limit: usize, count: usize) -> impl Iterator<Item = usize> {
    (1..=count as u64).map(move |n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16) as usize % limit)
}

#[tokio::test]
async fn a_log_cut_anywhere_gives_a_prefix_of_the_commits() {
    let killed = Killed::after(25).await;
    let mut cuts: Vec<usize> = scattered(killed.log.len(), 50).collect();
    // The edges of frames, where a mistake would show.
    let frames = (32..=killed.log.len()).step_by(4096 + 24);
    cuts.extend(frames.step_by(5).flat_map(|edge| [edge - 1, edge, edge + 1]).filter(|cut| *cut <= killed.log.len()));
    cuts.extend([0, 1, 31, killed.log.len()]);
    cuts.sort_unstable();
    let mut last = 0;
    for cut in cuts {
        let n = killed.reopened(&killed.data, &killed.log[..cut]).await;
        assert!(n >= last, "a longer log does not hold less");
        last = n;
    }
    assert_eq!(last, 25, "the whole log holds everything");
}

#[tokio::test]
async fn a_log_with_garbage_in_it_gives_a_prefix_of_the_commits() {
    let killed = Killed::after(25).await;
    for at in scattered(killed.log.len(), 40) {
        let mut log = killed.log.clone();
        let end = (at + 512).min(log.len());
        log[at..end].iter_mut().for_each(|byte| *byte ^= 0xA5);
        assert!(killed.reopened(&killed.data, &log).await < 25);
    }
    let mut longer = killed.log.clone();
    longer.extend((0..9_999_u32).map(|n| n as u8));
    assert_eq!(killed.reopened(&killed.data, &longer).await, 25);
}

/// The power fails while the log is written back: of each page the old, the new, or half of both is in the file.
#[tokio::test]
async fn a_log_half_written_back_is_written_back_again() {
    let killed = Killed::after(25).await;
    let copy = killed.home.path().join("done");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("strongroom.db"), &killed.data).unwrap();
    fs::write(copy.join("strongroom.db-wal"), &killed.log).unwrap();
    drop(open(&copy).unwrap());
    let done = fs::read(copy.join("strongroom.db")).unwrap();
    assert!(done.len() > killed.data.len() && !copy.join("strongroom.db-wal").exists());
    for seed in 0..20 {
        let mut torn = done.clone();
        for (page, part) in (0..killed.data.len() / 4096).zip(scattered(3, 1000).skip(seed)) {
            let old = page * 4096..page * 4096 + [0, 2048, 4096][part];
            torn[old.clone()].copy_from_slice(&killed.data[old]);
        }
        for (page, part) in (killed.data.len() / 4096..done.len() / 4096).zip(scattered(3, 1000).skip(seed * 2)) {
            torn[page * 4096..page * 4096 + [0, 2048, 4096][part]].fill(0);
        }
        // The end may be missing, too.
        torn.truncate(done.len() - seed * 1500);
        assert_eq!(killed.reopened(&torn, &killed.log).await, 25, "seed {seed}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_its_name_and_a_remedy() {
    let home = tempfile::tempdir().unwrap();
    let live = home.path().join("live");
    let store = open(&live).unwrap();
    for n in 1..=200 {
        store.commit(batch(vec![(format!("{n}"), Some(vec![n as u8; 3_000]))])).await.unwrap();
    }
    drop(store);
    let file = live.join("strongroom.db");
    let sound = fs::read(&file).unwrap();
    let refused = |data: &[u8]| {
        fs::write(&file, data).unwrap();
        let error =
            open(&live).expect_err(&format!("{} bytes that begin with {:?}", data.len(), &data[..data.len().min(16)]));
        let text = error.to_string();
        assert!(text.contains("strongroom.db") && text.contains(": ") && !text.contains('\n'), "{text}");
        assert_eq!(fs::read(&file).unwrap(), data, "a file that is refused is left as it is");
        error
    };
    assert!(matches!(refused(b""), OpenError::Truncated { found: 0, .. }));
    assert!(matches!(refused(&sound[..50]), OpenError::Truncated { found: 50, .. }));
    for cut in [100, 4096, 4097, 40_000, sound.len() - 1, sound.len() - 4096] {
        let error = refused(&sound[..cut]);
        assert!(matches!(error, OpenError::Truncated { found, .. } if found == cut as u64), "{cut}: {error}");
    }
    assert!(matches!(refused(&[b'x'; 9_000]), OpenError::Damaged { .. }));
    assert!(matches!(refused(&[0; 9_000]), OpenError::Damaged { .. }));
    let mut header = sound.clone();
    header[100..4096].fill(0xFF);
    assert!(matches!(refused(&header), OpenError::Damaged { .. }));

    let mut foreign = sound.clone();
    foreign[68..72].fill(0);
    assert!(matches!(refused(&foreign), OpenError::Foreign { .. }));

    // Damage in the middle is found when it is read, and by the check.
    let mut middle = sound.clone();
    let end = middle.len();
    middle[8192..end].fill(0xEE);
    fs::write(&file, &middle).unwrap();
    if let Ok(store) = open(&live) {
        assert!(matches!(store.get(&Key::new("100")).await, Err(Error::Damaged(_))));
        assert!(matches!(store.verify().await, Err(Error::Damaged(_))));
    }

    fs::write(&file, &sound).unwrap();
    assert_eq!(all(&open(&live).unwrap(), "").await.len(), 200, "put back, it is as before");
    fs::remove_file(&file).unwrap();
    fs::write(live.join("strongroom.db-wal"), b"log").unwrap();
    let lost = open(&live).unwrap_err();
    assert!(matches!(&lost, OpenError::Damaged { what, .. } if what.contains("missing")), "{lost}");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = open(home.path()).unwrap().file().to_owned();
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute("UPDATE meta SET value = 2 WHERE name = 'format'", []).unwrap();
    connection.close().unwrap();
    let refused = open(home.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("newer"));
}

#[test]
fn paths_that_cannot_hold_a_store_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "text").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::NotADirectory { .. }), "{refused}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"text");
}

/// A process that tries to open the store and says what it was told.
#[test]
fn opens_once() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    match open_at_once(Path::new(&directory)) {
        Ok(_) => println!("told: opened"),
        Err(error) => println!("told: {error}"),
    }
}

fn told(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.split_once("told: ")).map(|(_, told)| told.to_owned()).unwrap()
}

#[tokio::test]
async fn another_process_is_refused_while_this_one_holds_the_store() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    let refused = told(run("opens_once", home.path(), 0));
    assert!(refused.contains("in use") && refused.contains(&format!("process {}", std::process::id())), "{refused}");
    store.commit(batch(vec![("k".into(), Some(vec![1]))])).await.unwrap();
    drop(store);
    assert_eq!(told(run("opens_once", home.path(), 0)), "opened");
}

/// Root may write everywhere, so as root this is tried as the user nobody.
#[test]
fn a_directory_without_permission_is_refused_with_a_remedy() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    drop(open(&store).unwrap());
    let root = rustix::process::geteuid().is_root();
    let own = |path: &Path, mode: u32| {
        if root {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let tried = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.args(["--exact", "opens_once", "--nocapture"]).env(DIRECTORY, &store).stdout(Stdio::piped());
        told(command.spawn().unwrap())
    };
    own(home.path(), 0o755);
    own(&store, 0o700);
    for file in fs::read_dir(&store).unwrap() {
        own(&file.unwrap().path(), 0o600);
    }
    assert_eq!(tried(), "opened");
    let file = store.join("strongroom.db");
    for (path, mode) in [(&store, 0o500), (&store, 0o000), (&file, 0o400), (&file, 0o000)] {
        own(path, mode);
        let refused = tried();
        assert!(refused.contains("no permission") && refused.contains(path.to_str().unwrap()), "{mode:o}: {refused}");
        own(path, 0o700);
    }
    own(&store, 0o500);
    fs::remove_file(&file).unwrap();
    assert!(tried().contains("no permission"), "nor can it be made there");
}

const NOBODY: u32 = 65534;

/// A small file system of its own; `None` where this user may not mount one.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(bytes: usize) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("none", home.path(), "tmpfs", flags, size.as_c_str()) {
            Ok(()) => Some(Self(home)),
            Err(error) => {
                eprintln!("not tried, for this user may not mount a file system: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_writes_go_on_when_there_is_space() {
    let Some(disk) = Mounted::new(3 * 1024 * 1024) else { return };
    let (path, ballast) = (disk.0.path().join("store"), disk.0.path().join("ballast"));
    fs::write(&ballast, vec![0; 512 * 1024]).unwrap();
    let store = open(&path).unwrap();
    let mut written = 0;
    let refused = loop {
        match store.commit(batch(vec![(format!("{written:04}"), Some(vec![written as u8; 5_000]))])).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, CommitError::Store(Error::Full(text)) if text.contains("strongroom.db")), "{refused}");
    assert!(written > 50, "{written}");
    let whole = async |store: &Embedded, written: usize| {
        let found = all(store, "").await;
        assert_eq!(found.len(), written);
        assert!((0..written).all(|n| found[&format!("{n:04}")] == vec![n as u8; 5_000]));
        store.verify().await.unwrap();
    };
    for _ in 0..5 {
        assert!(store.commit(batch(vec![("more".into(), Some(vec![0; 100_000]))])).await.is_err());
    }
    whole(&store, written).await;
    fs::remove_file(&ballast).unwrap();
    for _ in 0..10 {
        store.commit(batch(vec![(format!("{written:04}"), Some(vec![written as u8; 5_000]))])).await.unwrap();
        written += 1;
    }
    whole(&store, written).await;
    drop(store);
    whole(&open(&path).unwrap(), written).await;

    println!("{written} batches on a full disk, all of them there");
}

#[test]
fn a_store_cannot_be_made_on_a_full_disk_and_nothing_half_made_stays() {
    let Some(disk) = Mounted::new(1024 * 1024) else { return };
    let (path, ballast) = (disk.0.path().join("store"), disk.0.path().join("ballast"));
    let mut refusals = 0;
    // From a disk that takes nothing to one with just enough: there are many places where the space can end.
    for free in (0..160).step_by(4) {
        fs::write(&ballast, vec![0; (1024 - free) * 1024]).unwrap_or_default();
        match open(&path) {
            Err(refused) => assert!(matches!(refused, OpenError::Full { .. }), "{free} KiB: {refused}"),
            Ok(_) => break,
        }
        refusals += 1;
        fs::remove_file(&ballast).unwrap();
    }
    assert!((1..40).contains(&refusals), "{refusals}");
    open(&path).unwrap();
}

#[tokio::test]
async fn a_read_only_file_system_is_refused_with_a_remedy() {
    let Some(disk) = Mounted::new(4 * 1024 * 1024) else { return };
    let store = disk.0.path().join("store");
    drop(open(&store).unwrap());
    remount(disk.0.path(), rustix::mount::MountFlags::RDONLY);
    for path in [store.clone(), disk.0.path().join("other")] {
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused}");
        assert!(refused.to_string().contains("mount it writable"), "{refused}");
    }
    remount(disk.0.path(), rustix::mount::MountFlags::empty());
    open(&store).unwrap();
}

/// Mounts the file system at `path` again with these flags. Like [`open`], it has patience with processes that are just
/// being started beside this test: they hold its files open for writing until they execute their program.
fn remount(path: &Path, flags: rustix::mount::MountFlags) {
    let mut last = Ok(());
    for _ in 0..500 {
        last = rustix::mount::mount_remount(path, flags, c"");
        match last {
            Err(rustix::io::Errno::BUSY) => std::thread::sleep(Duration::from_millis(10)),
            _ => break,
        }
    }
    last.unwrap();
}
