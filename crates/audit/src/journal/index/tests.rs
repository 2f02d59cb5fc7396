use std::io::Write as _;

use super::*;
use crate::journal::chain::GENESIS;

/// Appends records with these request ids to a journal that nobody has open.
fn write(directory: &Path, from: u64, ids: &[&str]) {
    let segment = Segment::at(directory, 1);
    let mut prev = GENESIS;
    let mut bytes = Vec::new();
    for (seq, id) in (from..).zip(ids) {
        let entry =
            format!("{{\"time\":\"2026-01-02T03:04:05Z\",\"type\":\"request\",\"request\":{{\"id\":\"{id}\"}}}}");
        let link = Link::new(seq, prev, entry.as_bytes());
        link.write(&mut bytes);
        prev = link.hash;
    }
    open_append(&segment.path).unwrap().write_all(&bytes).unwrap();
}

fn ids(index: &Index) -> Vec<String> {
    index.catch_up(u64::MAX).unwrap();
    let db = index.database().unwrap();
    let mut statement = db
        .prepare("SELECT n.value FROM posts p JOIN names n ON n.id = p.name WHERE n.kind = 8 ORDER BY p.seq")
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_index_follows_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), None).unwrap();
    assert_eq!(index.catch_up(u64::MAX).unwrap(), 0);
    write(dir.path(), 1, &["a", "b"]);
    assert_eq!(index.catch_up(1).unwrap(), 1);
    assert_eq!(ids(&index), ["a", "b"]);
    write(dir.path(), 3, &["c"]);
    // A line that is still being written is left for later.
    open_append(&Segment::at(dir.path(), 1).path).unwrap().write_all(b"{\"seq\":4,").unwrap();
    assert_eq!(ids(&index), ["a", "b", "c"]);
    drop(index);
    assert_eq!(ids(&Index::open(dir.path(), None).unwrap()), ["a", "b", "c"]);
}

#[test]
fn what_may_be_taken_back_is_not_indexed() {
    // The story: the disk fills up in the middle of a batch, and the lines that fitted are cut off again.
    let dir = tempfile::tempdir().unwrap();
    let committed = Committed::default();
    write(dir.path(), 1, &["a"]);
    let length = fs::metadata(Segment::at(dir.path(), 1).path).unwrap().len();
    committed.set(1, length);
    let index = Index::open(dir.path(), Some(committed.clone())).unwrap();
    write(dir.path(), 2, &["torn"]);
    assert_eq!(ids(&index), ["a"]);
    open_append(&Segment::at(dir.path(), 1).path).unwrap().set_len(length).unwrap();
    write(dir.path(), 2, &["b"]);
    committed.set(1, u64::MAX);
    assert_eq!(ids(&index), ["a", "b"]);
}

#[test]
fn two_processes_may_index_the_same_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Index::open(dir.path(), None).unwrap(), Index::open(dir.path(), None).unwrap());
    write(dir.path(), 1, &["a", "b"]);
    assert_eq!(ids(&one), ["a", "b"]);
    assert_eq!(ids(&other), ["a", "b"]);
    write(dir.path(), 3, &["c"]);
    assert_eq!(ids(&other), ["a", "b", "c"]);
    assert_eq!(ids(&one), ["a", "b", "c"]);
}

#[test]
fn an_index_that_does_not_fit_is_built_anew() {
    type Spoil = fn(&Path);
    let spoils: &[Spoil] = &[
        |dir| fs::write(dir.join(INDEX), "this is no database, but it is long enough to be read as one").unwrap(),
        |dir| fs::write(dir.join(INDEX), "").unwrap(),
        |dir| Connection::open(dir.join(INDEX)).unwrap().pragma_update(None, "user_version", 99).unwrap(),
        // A power cut took the unsigned end of the journal, and other records came in its place.
        |dir| {
            fs::remove_file(Segment::at(dir, 1).path).unwrap();
            write(dir, 1, &["x", "y"]);
        },
        |dir| {
            fs::remove_file(Segment::at(dir, 1).path).unwrap();
            write(dir, 1, &["x"]);
        },
        |dir| fs::remove_file(Segment::at(dir, 1).path).unwrap(),
    ];
    let wants: [&[&str]; 6] = [&["a", "b"], &["a", "b"], &["a", "b"], &["x", "y"], &["x"], &[]];
    for (spoil, want) in spoils.iter().zip(wants) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1, &["a", "b"]);
        assert_eq!(ids(&Index::open(dir.path(), None).unwrap()), ["a", "b"]);
        spoil(dir.path());
        assert_eq!(ids(&Index::open(dir.path(), None).unwrap()), want);
    }
}

#[test]
fn rebuilding_yields_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), None).unwrap();
    write(dir.path(), 1, &["a", "b"]);
    index.catch_up(u64::MAX).unwrap();
    index.rebuild().unwrap();
    assert_eq!(ids(&index), ["a", "b"]);
}

#[test]
fn archived_segments_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1, &["a", "b"]);
    assert_eq!(ids(&Index::open(dir.path(), None).unwrap()), ["a", "b"]);
    // The rest of the journal lies in a second segment.
    let link = Link::new(3, [1; 32], b"{\"request\":{\"id\":\"c\"}}");
    let mut bytes = Vec::new();
    link.write(&mut bytes);
    fs::write(Segment::at(dir.path(), 3).path, bytes).unwrap();
    assert_eq!(ids(&Index::open(dir.path(), None).unwrap()), ["a", "b", "c"]);
    fs::remove_file(Segment::at(dir.path(), 1).path).unwrap();
    assert_eq!(ids(&Index::open(dir.path(), None).unwrap()), ["c"]);
}
