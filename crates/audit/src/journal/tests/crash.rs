use super::*;

/// What a crash leaves: a copy of the files as they are while the journal is open.
fn crashed(scene: &Scene) -> Scene {
    let mut after = Scene::new();
    after.settings.head_records = scene.settings.head_records;
    fs::create_dir(after.directory()).unwrap();
    for path in scene.files() {
        fs::copy(&path, after.directory().join(path.file_name().unwrap())).unwrap();
    }
    after
}

#[tokio::test]
async fn a_journal_cut_at_any_byte_behind_its_head_is_continued() {
    let mut scene = Scene::new();
    scene.settings.head_records = 4;
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..6).await;
    journal.check().await.unwrap();
    let signed = scene.heads.lock().last().unwrap().end;
    let whole = fs::read(scene.segment()).unwrap();
    for len in usize::try_from(signed).unwrap()..=whole.len() {
        let after = crashed(&scene);
        fs::write(after.segment(), &whole[..len]).unwrap();
        let kept = whole[..len].iter().filter(|byte| **byte == b'\n').count() as u64;
        let torn = len - whole[..len].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let journal = after.open().unwrap();
        after.write(&journal, 100..101).await;
        journal.close().await.unwrap();
        let report = after.verify();
        assert!(report.is_sound(), "cut to {len}: {:?}", report.faults);
        // What was whole, the word about the crash, the new one.
        assert_eq!(report.last, kept + 2, "cut to {len}");
        let text = fs::read_to_string(after.segment()).unwrap();
        let notice = text.lines().nth(usize::try_from(kept).unwrap()).unwrap();
        assert!(notice.contains(&format!("\"last_record\":{kept},\"torn_bytes\":{torn}")), "{notice}");
        let aside = after.directory().join(format!("journal-{:020}.jsonl.torn", 1));
        if torn > 0 {
            let mut want = whole[len - torn..len].to_vec();
            want.push(b'\n');
            assert_eq!(fs::read(aside).unwrap(), want);
        } else {
            assert!(!aside.exists());
        }
    }
}

#[tokio::test]
async fn zeros_that_a_power_cut_left_are_set_aside() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..4).await;
    let after = crashed(&scene);
    let mut bytes = fs::read(after.segment()).unwrap();
    // The middle never reached the disk, what follows did.
    let lines: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    bytes[lines[1] + 1..lines[2] - 5].fill(0);
    fs::write(after.segment(), &bytes).unwrap();
    after.filled(1).await;
    let report = after.verify();
    assert!(report.is_sound(), "{:?}", report.faults);
    assert_eq!(report.last, 2 + 2);
}

#[tokio::test]
async fn a_torn_head_is_set_aside() {
    let mut scene = Scene::new();
    scene.settings.head_records = 2;
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..4).await;
    journal.check().await.unwrap();
    let whole = fs::read(scene.directory().join(HEADS)).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for len in [0, 1, first - 1, first, first + 1, whole.len() - 1] {
        let after = crashed(&scene);
        fs::write(after.directory().join(HEADS), &whole[..len]).unwrap();
        after.filled(1).await;
        let report = after.verify();
        assert!(report.is_sound(), "cut to {len}: {:?}", report.faults);
        assert_eq!(report.last, 6);
    }
}

#[tokio::test]
async fn what_was_signed_is_not_given_up_silently() {
    let scene = Scene::new();
    scene.filled(4).await;
    let refused = |tamper: &dyn Fn(&Scene)| {
        let after = crashed(&scene);
        tamper(&after);
        let before = fs::read_dir(after.directory()).unwrap().count();
        match after.open() {
            Err(Error::Journal { what, .. }) => {
                assert!(fs::read_dir(after.directory()).unwrap().count() <= before + 2);
                what
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("continued"),
        }
    };
    let cut = refused(&|after| {
        let bytes = fs::read(after.segment()).unwrap();
        fs::write(after.segment(), &bytes[..bytes.len() - 1]).unwrap();
    });
    assert!(cut.ends_with("was cut off: record 4 was signed"), "{cut}");
    let changed = refused(&|after| {
        let text = fs::read_to_string(after.segment()).unwrap();
        fs::write(after.segment(), text.replace("r-3", "r-4")).unwrap();
    });
    assert!(changed.ends_with("record 4 is not the one that was signed"), "{changed}");
    let missing = refused(&|after| fs::remove_file(after.segment()).unwrap());
    assert_eq!(missing, "its segments are missing, but 4 records were signed");
    let other_key = refused(&|after| {
        let mut other = Scene::new();
        other.keys = [6; 32];
        let head = Head::sign(None, said(4), &KeyPair::from_seed(&other.keys));
        fs::write(after.directory().join(HEADS), head.line() + "\n").unwrap();
    });
    assert!(other_key.ends_with("was signed with another key"), "{other_key}");
}

fn said(seq: u64) -> head::Said {
    head::Said { seq, hash: [0; 32], end: 1, time: Timestamp::UNIX_EPOCH, closed: true }
}

#[tokio::test]
async fn a_lost_last_segment_without_records_is_noticed() {
    let mut scene = Scene::new();
    scene.settings.segment_bytes = 100;
    scene.filled(2).await;
    // Each record filled a segment; the last one is empty.
    let last = scene.segment();
    assert_eq!(fs::metadata(&last).unwrap().len(), 0);
    scene.filled(0).await;
    assert!(scene.verify().is_sound());
    fs::remove_file(&last).unwrap();
    let before = fs::read(scene.segment()).unwrap();
    assert!(matches!(scene.open(), Err(Error::Journal { what, .. }) if what.ends_with("is missing")));
    assert_eq!(fs::read(scene.segment()).unwrap(), before);
}

#[tokio::test]
async fn a_head_that_could_not_be_written_is_written_later() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..2).await;
    // Bytes that a failed write left behind the last head are cut by the next one.
    let mut heads = fs::OpenOptions::new().append(true).open(scene.directory().join(HEADS)).unwrap();
    heads.write_all(b"{\"head\":1,\"se").unwrap();
    journal.close().await.unwrap();
    assert!(scene.verify().is_sound());
}
