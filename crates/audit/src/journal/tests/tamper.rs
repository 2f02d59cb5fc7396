use super::*;

/// Tampers with a copy of the scene's journal and verifies it.
fn tampered(scene: &Scene, tamper: impl FnOnce(&Path)) -> Report {
    tampered_against(scene, &Check::default(), tamper)
}

fn tampered_against(scene: &Scene, check: &Check, tamper: impl FnOnce(&Path)) -> Report {
    let copy = tempfile::tempdir().unwrap();
    for path in scene.files() {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    tamper(copy.path());
    verify(copy.path(), &scene.public_key(), check).unwrap()
}

fn edit(path: &Path, edit: impl FnOnce(&mut Vec<&str>)) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    edit(&mut lines);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).unwrap();
}

/// A journal of twelve records in two segments, with heads behind every fourth.
async fn small() -> Scene {
    let mut scene = Scene::new();
    scene.settings.head_records = 4;
    scene.settings.segment_bytes = 1800;
    scene.filled(12).await;
    assert_eq!(scene.files().len(), 3);
    assert!(scene.verify().is_sound());
    scene
}

fn first_segment(dir: &Path) -> PathBuf {
    dir.join(format!("journal-{:020}.jsonl", 1))
}

#[tokio::test]
async fn every_flipped_byte_is_found_and_located() {
    let scene = small().await;
    let mut tried = 0;
    for path in scene.files() {
        let name = path.file_name().unwrap();
        let whole = fs::read(&path).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for other in scene.files() {
            fs::copy(&other, copy.path().join(other.file_name().unwrap())).unwrap();
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(copy.path().join(name), &bytes).unwrap();
            let report = verify(copy.path(), &scene.public_key(), &Check::default()).unwrap();
            let line = whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            let first = report.faults.first();
            let located = report
                .faults
                .iter()
                .any(|fault| fault.file.file_name() == Some(name) && (line..=line + 1).contains(&fault.line));
            assert!(located, "{} byte {at}, line {line}: {first:?}", path.display());
            tried += 1;
        }
        fs::write(copy.path().join(name), &whole).unwrap();
    }
    assert!(tried > 4000);
}

#[tokio::test]
async fn lines_taken_out_put_in_or_moved_are_found() {
    let scene = small().await;
    let count = fs::read_to_string(first_segment(scene.directory())).unwrap().lines().count();
    for at in 0..count {
        let report = tampered(&scene, |dir| edit(&first_segment(dir), |lines| _ = lines.remove(at)));
        assert!(!report.is_sound(), "line {at} taken out");
        let report = tampered(&scene, |dir| edit(&first_segment(dir), |lines| lines.insert(at, lines[at])));
        assert!(!report.is_sound(), "line {at} doubled");
        let report = tampered(&scene, |dir| edit(&first_segment(dir), |lines| lines.insert(at, "")));
        assert!(!report.is_sound(), "a line put in before {at}");
        if at > 0 {
            let report = tampered(&scene, |dir| edit(&first_segment(dir), |lines| lines.swap(at - 1, at)));
            assert!(!report.is_sound(), "line {at} moved");
        }
    }
    let heads = fs::read_to_string(scene.directory().join(HEADS)).unwrap().lines().count();
    for at in 0..heads - 1 {
        let report = tampered(&scene, |dir| edit(&dir.join(HEADS), |lines| _ = lines.remove(at)));
        assert!(report.faults.iter().any(|fault| fault.file.ends_with(HEADS)), "head {at} taken out");
    }
}

/// Every head behind a line that was taken out was told as a fault of its own, a hundred of them.
#[tokio::test]
async fn one_line_taken_out_is_told_once() {
    let mut scene = Scene::new();
    scene.settings.head_records = 2;
    scene.filled(40).await;
    let report = tampered(&scene, |dir| edit(&first_segment(dir), |lines| _ = lines.remove(6)));
    let told: Vec<_> = report.faults.iter().map(|fault| fault.what.as_str()).collect();
    assert!(told.len() == 2 && told[0].contains("stands where") && told[1].contains("bytes from where"), "{told:?}");
}

#[tokio::test]
async fn a_journal_cut_off_anywhere_is_found() {
    let scene = small().await;
    let whole = fs::read(scene.segment()).unwrap();
    let name = scene.segment().file_name().unwrap().to_owned();
    for len in 0..whole.len() {
        let report = tampered(&scene, |dir| fs::write(dir.join(&name), &whole[..len]).unwrap());
        assert!(!report.is_sound(), "cut to {len}");
    }
    let report = tampered(&scene, |dir| fs::remove_file(dir.join(&name)).unwrap());
    assert!(report.faults[0].what.starts_with("the journal ends with record"), "{:?}", report.faults);
    let report = tampered(&scene, |dir| fs::remove_file(first_segment(dir)).unwrap());
    assert!(report.faults[0].what.starts_with("the records before"), "{:?}", report.faults);
}

#[tokio::test]
async fn a_chain_forged_without_the_key_is_found() {
    let scene = small().await;
    // Somebody rewrites an entry and links everything behind it anew.
    let report = tampered(&scene, |dir| {
        let path = first_segment(dir);
        let bytes = fs::read(&path).unwrap();
        let (mut out, mut prev) = (Vec::new(), chain::GENESIS);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let link = chain::Link::parse(line).unwrap();
            let entry = String::from_utf8(link.entry.to_vec()).unwrap().replace("r-2", "r-X");
            let forged = chain::Link::new(link.seq, prev, entry.as_bytes());
            forged.write(&mut out);
            prev = forged.hash;
        }
        fs::write(&path, out).unwrap();
    });
    assert!(report.faults[0].what.contains("is not the one that head 1 signed"), "{:?}", report.faults);
    // Signed heads of somebody else do not help.
    let keys = KeyPair::generate();
    let report = verify(scene.directory(), &keys.public_key(), &Check::default()).unwrap();
    assert!(!report.is_sound());
}

#[tokio::test]
async fn heads_cut_off_with_their_records_show_against_an_anchor() {
    let scene = small().await;
    let anchor = scene.heads.lock().last().unwrap().clone();
    let cut = |dir: &Path| {
        // Back to the first head: a shorter journal that is sound in itself.
        for path in scene.files() {
            let name = path.file_name().unwrap();
            match name.to_str().unwrap() {
                HEADS => edit(&dir.join(HEADS), |lines| lines.truncate(1)),
                _ if path == first_segment(scene.directory()) => edit(&dir.join(name), |lines| lines.truncate(4)),
                _ => fs::remove_file(dir.join(name)).unwrap(),
            }
        }
    };
    let report = tampered(&scene, cut);
    assert!(report.is_sound() && !report.closed && report.last == 4, "{report:?}");
    let known = Check { anchor: Some(anchor.clone()), ..Check::default() };
    let report = tampered_against(&scene, &known, cut);
    assert!(report.faults[0].what.contains("was kept elsewhere"), "{:?}", report.faults);
    assert!(tampered_against(&scene, &known, |_| {}).is_sound());
    // Nor is such a journal continued.
    let mut settings = scene.settings.clone();
    settings.anchor = Some(Head { number: anchor.number + 1, ..anchor });
    let opened = Journal::open(settings, KeyPair::from_seed(&scene.keys), &scene.format, scene.time.clock());
    assert!(matches!(opened, Err(Error::Journal { what, .. }) if what.contains("were signed")));
}

#[tokio::test]
async fn records_behind_the_last_head_are_reported_as_unsigned() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..3).await;
    let report = scene.verify();
    assert!(report.is_sound() && !report.closed);
    assert_eq!((report.unsigned, report.last), (3, 3));
}

#[tokio::test]
async fn a_journal_is_verified_while_it_is_written() {
    let mut scene = Scene::new();
    scene.settings.head_records = 5;
    scene.settings.segment_bytes = 20_000;
    let journal = scene.open().unwrap();
    let (directory, public_key) = (scene.directory().to_owned(), scene.public_key());
    let verifying = std::thread::spawn(move || {
        for _ in 0..40 {
            let report = verify(&directory, &public_key, &Check::default()).unwrap();
            assert!(report.is_sound() && report.open, "{:?}", report.faults);
        }
    });
    let mut id = 0;
    while !verifying.is_finished() {
        scene.write(&journal, id..id + 10).await;
        id += 10;
    }
    verifying.join().unwrap();
    // A line that is only half there is one being written, as long as somebody writes.
    let half = |path: &Path| {
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"seq\":").unwrap();
    };
    journal.close().await.unwrap();
    let lock = super::super::recover::open(&scene.settings, &scene.public_key()).unwrap();
    half(&scene.segment());
    half(&scene.directory().join(HEADS));
    assert!(scene.verify().is_sound());
    drop(lock);
    let report = scene.verify();
    assert!(!report.open && report.faults.len() == 2, "{:?}", report.faults);
}

#[tokio::test]
async fn archived_segments_may_be_missing_if_that_is_said() {
    let scene = small().await;
    let archived = Check { archived: true, ..Check::default() };
    let report = tampered_against(&scene, &archived, |dir| fs::remove_file(first_segment(dir)).unwrap());
    assert!(report.is_sound(), "{:?}", report.faults);
    assert!(report.first > 1 && report.last == 12);
    let last = scene.segment().file_name().unwrap().to_owned();
    let report = tampered_against(&scene, &archived, |dir| fs::remove_file(dir.join(last)).unwrap());
    assert!(!report.is_sound());
}
