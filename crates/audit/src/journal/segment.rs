//! The files of a journal's directory.

use std::{
    cmp::Ordering,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::error::Error;

/// The file of the heads.
pub(super) const HEADS: &str = "heads.jsonl";
/// The file of the index.
pub(super) const INDEX: &str = "index.sqlite";
/// The file whose lock says that the journal is open.
pub(super) const LOCK: &str = "lock";

/// One segment file: records from `first` on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

impl Segment {
    /// The segment that begins with the record `first`.
    pub(super) fn at(directory: &Path, first: u64) -> Self {
        Self { first, path: directory.join(format!("journal-{first:020}.jsonl")) }
    }

    /// All segments of the directory, oldest first, and none left out before the last one given.
    ///
    /// A directory that is read while files are made in it may show a file and not one that was made before it. What was there
    /// when a reading began is shown by it, so a second one shows all that come before the last of the first.
    pub(super) fn list(directory: &Path) -> Result<Vec<Self>, Error> {
        let Some(last) = Self::seen(directory)?.pop() else { return Ok(Vec::new()) };
        let mut segments = Self::seen(directory)?;
        segments.retain(|segment| segment.first <= last.first);
        Ok(segments)
    }

    /// The segments that one reading of the directory shows, oldest first.
    fn seen(directory: &Path) -> Result<Vec<Self>, Error> {
        let fault = |error| Error::io(format!("list {}", directory.display()), error);
        let mut segments = Vec::new();
        for item in fs::read_dir(directory).map_err(fault)? {
            let name = item.map_err(fault)?.file_name();
            let first = name.to_str().and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".jsonl"));
            if let Some(first) = first.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
                segments.push(Self::at(directory, first));
            }
        }
        segments.sort();
        Ok(segments)
    }
}

/// How far a journal is written for good, told to its index: what lies behind may be taken back if a write fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed(Arc<Mutex<(u64, u64)>>);

impl Committed {
    /// The segment that begins with the record `first` is written up to `length`, and so are those before it.
    pub(super) fn set(&self, first: u64, length: u64) {
        *self.0.lock() = (first, length);
    }

    /// Up to where `segment` may be read.
    pub(super) fn length_of(&self, segment: &Segment) -> u64 {
        let (first, length) = *self.0.lock();
        match segment.first.cmp(&first) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => length,
            Ordering::Greater => 0,
        }
    }
}

/// Makes the directory unless it is there.
pub(super) fn make_directory(directory: &Path) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(Error::io(format!("make the directory {}", directory.display()), error)),
        Ok(()) => Ok(()),
    }
}

/// Opens a file to read and append, and makes it if it is missing.
pub(super) fn open_append(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    opened.map_err(|error| Error::io(format!("open {}", path.display()), error))
}

/// Opens a file to read.
pub(super) fn open_read(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| Error::io(format!("open {}", path.display()), error))
}

/// Makes the names in the directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    synced.map_err(|error| Error::io(format!("sync {}", directory.display()), error))
}

/// Cuts `file` at `end`; what is behind it is kept in a file of the same name with `.torn`. Returns how much it was.
pub(super) fn set_aside(path: &Path, file: &File, end: u64, rest: &[u8]) -> Result<(), Error> {
    if rest.is_empty() {
        return Ok(());
    }
    let fault = |error| Error::io(format!("set aside the torn end of {}", path.display()), error);
    let mut name = path.as_os_str().to_owned();
    name.push(".torn");
    let mut torn = open_append(Path::new(&name))?;
    torn.write_all(rest).and_then(|()| torn.write_all(b"\n")).and_then(|()| torn.sync_all()).map_err(fault)?;
    file.set_len(end).and_then(|()| file.sync_all()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index went on behind a gap that a reading of the directory showed, and never came back for what lay in it.
    #[test]
    fn no_segment_is_left_out_while_more_are_made() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for first in 1..=3000 {
                    fs::write(Segment::at(dir.path(), first).path, "").unwrap();
                }
            });
            let mut most = 0;
            let mut over = false;
            while !over {
                over = writer.is_finished();
                let listed = Segment::list(dir.path()).unwrap();
                assert!(listed.iter().map(|segment| segment.first).eq(1..=listed.len() as u64), "a gap");
                assert!(listed.len() >= most, "fewer than before");
                most = listed.len();
            }
            assert_eq!(most, 3000);
        });
    }
}
