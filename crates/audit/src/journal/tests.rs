use std::{fs, io::Write as _, ops::Range};

use clock::{Simulated, Timestamp};
use parking_lot::Mutex;

use super::{segment::HEADS, *};
use crate::{
    entry::{Auth, Body, Data, Entry, Kind, Request, Response},
    hashing::Hasher,
};

mod crash;
mod query;
mod tamper;

/// A journal in a directory of its own.
struct Scene {
    dir: tempfile::TempDir,
    time: Simulated,
    keys: [u8; 32],
    format: Format,
    settings: Settings,
    heads: Arc<Mutex<Vec<Head>>>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let told = heads.clone();
        let settings = Settings {
            on_head: Some(Arc::new(move |head: &Head| told.lock().push(head.clone()))),
            ..Settings::new(dir.path().join("journal"))
        };
        Self {
            dir,
            time: Simulated::new("2026-01-02T03:04:05Z".parse().unwrap()),
            keys: [5; 32],
            format: Format::new(Hasher::new(b"salt"), Common::default()),
            settings,
            heads,
        }
    }

    fn open(&self) -> Result<Journal, Error> {
        let keys = KeyPair::from_seed(&self.keys);
        Journal::open(self.settings.clone(), keys, &self.format, self.time.clock())
    }

    fn directory(&self) -> &Path {
        &self.settings.directory
    }

    fn public_key(&self) -> [u8; 32] {
        KeyPair::from_seed(&self.keys).public_key()
    }

    fn verify(&self) -> Report {
        verify(self.directory(), &self.public_key(), &Check::default()).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.directory()).unwrap().map(|item| item.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        files
    }

    fn segment(&self) -> PathBuf {
        self.files().into_iter().rfind(|path| path.file_name().unwrap() != HEADS).unwrap()
    }

    fn line(&self, id: u64) -> Vec<u8> {
        let (id, time) = (format!("r-{id}"), self.time.clock().now());
        let request = Request { id: &id, operation: "read", path: "secret/data/app", ..Request::default() };
        self.format.line(&Entry::request(time, &request))
    }

    async fn write(&self, journal: &Journal, ids: Range<u64>) {
        for id in ids {
            journal.write(&self.line(id)).await.unwrap();
        }
    }

    /// A journal of so many records, closed cleanly.
    async fn filled(&self, records: u64) {
        let journal = self.open().unwrap();
        self.write(&journal, 0..records).await;
        journal.close().await.unwrap();
    }
}

#[test]
fn options_are_read_and_checked() {
    let parse = |given: &[(&str, &str)]| {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::parse(&given).map(|(settings, _)| settings).map_err(|error| error.to_string())
    };
    let settings = parse(&[("path", "/j"), ("head_records", "10"), ("head_interval", "3")]).unwrap();
    assert_eq!((settings.head_records, settings.head_interval), (10, Duration::from_secs(3)));
    assert_eq!(settings.directory, Path::new("/j"));
    let refused: &[(&[(&str, &str)], &str)] = &[
        (&[], "option path: is required: the journal's directory"),
        (&[("path", "/j"), ("head_records", "0")], "option head_records: must be a whole number from 1 to 1000000"),
        (&[("path", "/j"), ("head_interval", "1h")], "option head_interval: must be a whole number from 1 to 3600"),
        (&[("path", "/j"), ("mode", "0600")], "option mode: is not an option of this device; remove it"),
    ];
    for (given, want) in refused {
        assert_eq!(parse(given).err().unwrap(), *want);
    }
}

#[tokio::test]
async fn a_closed_journal_is_sound_and_can_be_continued() {
    let scene = Scene::new();
    scene.filled(3).await;
    let report = scene.verify();
    assert!(report.is_sound(), "{:?}", report.faults);
    assert_eq!((report.first, report.last, report.records, report.unsigned, report.closed), (1, 3, 3, 0, true));
    scene.filled(2).await;
    let report = scene.verify();
    assert!(report.is_sound(), "{:?}", report.faults);
    assert_eq!((report.last, report.heads, report.closed), (5, 2, true));
    assert_eq!(*scene.heads.lock().last().unwrap(), report.last_head.unwrap());
}

#[tokio::test]
async fn a_journal_that_is_opened_and_closed_without_a_record_is_sound() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.filled(0).await;
    }
    let report = scene.verify();
    assert!(report.is_sound() && report.closed && report.records == 0, "{report:?}");
    scene.filled(1).await;
    assert!(scene.verify().is_sound());
}

#[tokio::test]
async fn heads_are_signed_by_count_and_by_time() {
    let mut scene = Scene::new();
    scene.settings.head_records = 4;
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..9).await;
    // The check comes behind the work that followed the last write.
    journal.check().await.unwrap();
    assert_eq!(scene.heads.lock().iter().map(|head| head.seq).collect::<Vec<_>>(), [4, 8]);
    assert_eq!(scene.verify().unsigned, 1);
    scene.time.advance(Duration::from_secs(9));
    journal.check().await.unwrap();
    assert_eq!(scene.heads.lock().len(), 2);
    scene.time.advance(Duration::from_secs(1));
    journal.check().await.unwrap();
    assert_eq!(scene.heads.lock().last().unwrap().seq, 9);
    scene.time.advance(Duration::from_secs(60));
    journal.check().await.unwrap();
    assert_eq!(scene.heads.lock().len(), 3, "an idle journal signs nothing");
    let report = scene.verify();
    assert!(report.is_sound() && !report.closed);
}

#[tokio::test]
async fn what_is_not_signed_yet_is_signed_for_who_asks() {
    // A journal that was ten seconds young had no head, and a verification of it proved nothing.
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..3).await;
    assert_eq!(scene.verify().unsigned, 3);
    for _ in 0..2 {
        journal.reader().sign().await.unwrap();
        let report = scene.verify();
        assert!(report.is_sound() && !report.closed, "{:?}", report.faults);
        assert_eq!((report.records, report.heads, report.unsigned), (3, 1, 0));
    }
    // What is signed is what was written, not what the file says now.
    scene.write(&journal, 3..4).await;
    let text = fs::read_to_string(scene.segment()).unwrap();
    fs::write(scene.segment(), text.replace("r-3", "r-4")).unwrap();
    assert!(scene.verify().faults.iter().all(|fault| !fault.to_string().contains("sign")));
    journal.reader().sign().await.unwrap();
    assert!(!scene.verify().is_sound());
    let reader = Arc::clone(journal.reader());
    journal.close().await.unwrap();
    assert!(matches!(reader.sign().await, Err(Error::Closed)));
    Reader::open(scene.directory(), None).unwrap().sign().await.unwrap();
}

#[tokio::test]
async fn segments_are_begun_behind_heads() {
    let mut scene = Scene::new();
    scene.settings.segment_bytes = 1000;
    scene.filled(20).await;
    scene.filled(20).await;
    assert!(scene.files().len() > 5);
    let report = scene.verify();
    assert!(report.is_sound(), "{:?}", report.faults);
    assert_eq!(report.last, 40);
    let found = scene.open().unwrap().reader().query(&Filter::default()).unwrap();
    assert_eq!(found.records.iter().map(|record| record.seq).collect::<Vec<_>>(), (1..=40).rev().collect::<Vec<_>>());
}

/// The index of a journal that was closed went on behind what the next one wrote, and nobody came back for that.
#[tokio::test]
async fn who_read_a_journal_before_it_was_opened_again_leaves_nothing_out() {
    let mut scene = Scene::new();
    scene.settings.segment_bytes = 1000;
    let first = scene.open().unwrap();
    scene.write(&first, 0..3).await;
    first.close().await.unwrap();
    let second = scene.open().unwrap();
    scene.write(&second, 3..20).await;
    first.reader().catch_up(u64::MAX).unwrap();
    let found = second.reader().query(&Filter::default()).unwrap();
    assert_eq!(found.records.iter().map(|record| record.seq).collect::<Vec<_>>(), (1..=20).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_journal_is_open_once() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    assert!(matches!(scene.open(), Err(Error::Locked(_))));
    journal.close().await.unwrap();
    scene.open().unwrap();
}

#[tokio::test]
async fn a_deleted_segment_fails_the_write() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..2).await;
    fs::remove_file(scene.segment()).unwrap();
    assert!(matches!(journal.write(&scene.line(2)).await, Err(Error::Journal { .. })));
    assert!(matches!(journal.check().await, Err(Error::Journal { .. })));
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    scene.filled(1).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(scene.directory()), 0o700);
    for item in fs::read_dir(scene.directory()).unwrap() {
        let path = item.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_says_why() {
    let mut scene = Scene::new();
    scene.settings.directory = scene.dir.path().join("no/such");
    let error = scene.open().err().unwrap();
    assert!(error.chain().starts_with("cannot make the directory"), "{}", error.chain());
    scene.settings.directory = scene.dir.path().join("file");
    fs::write(&scene.settings.directory, "").unwrap();
    assert!(scene.open().is_err());
}
