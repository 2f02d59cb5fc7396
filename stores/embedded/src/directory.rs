//! The directory of a store: making it, locking it, and finding the file in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, CWD, FlockOperation},
    io::Errno,
};

use crate::{OpenError, beside, schema};

/// Makes the directory if need be, and locks it for as long as the returned file is open.
pub(crate) fn prepare(path: &Path) -> Result<File, OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => return Err(OpenError::NotADirectory { path: path.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    }
    // Asked now, because SQLite's own answer to a directory without write permission names neither cause nor remedy.
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(CWD, path, needed, AtFlags::EACCESS).map_err(|error| failed(error.into()))?;
    lock(path)
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => sync(Path::new(".")),
    }
}

/// Makes the names in `directory` durable.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join(LOCK_FILE);
    let failed = |error| OpenError::from_io(&name, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&name).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Who holds it is a help, not a need.
            let _ = file.read_to_string(&mut text);
            return Err(OpenError::Locked { path: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(error) => return Err(failed(error.into())),
    }
    let note = format!("{}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
    Ok(file)
}

/// The file of the store in `directory`, made if it is not there, and looked at from outside.
pub(crate) fn data_file(directory: &Path) -> Result<PathBuf, OpenError> {
    let file = directory.join(DATA_FILE);
    let fresh = directory.join(FRESH_FILE);
    for leftover in [fresh.clone(), beside(&fresh, "-journal")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(OpenError::from_io(&leftover, error)),
            _ => {}
        }
    }
    if !file.try_exists().map_err(|error| OpenError::from_io(&file, error))? {
        let log = beside(&file, "-wal");
        if log.exists() {
            let what = format!("it is missing, but its log {} is there", log.display());
            return Err(OpenError::Damaged { path: file, what });
        }
        create(directory, &fresh, &file)?;
    }
    look_at(&file)?;
    Ok(file)
}

/// Makes an empty store. It gets its name when it is complete, so a file of that name is never a half-made one.
fn create(directory: &Path, fresh: &Path, file: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::from_io(fresh, error);
    // Made here, for SQLite would let others read it; its log takes over the mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh).map_err(failed)?;
    schema::create(fresh)?;
    File::open(fresh).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(fresh, file).and_then(|()| sync(directory)).map_err(failed)
}

/// Refuses what is no database at all. In particular SQLite would take an empty file for a new database, and the
/// loss of everything would look like a fresh start.
fn look_at(path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.len();
    let mut header = [0; HEADER];
    if found < HEADER as u64 {
        return Err(OpenError::Truncated { path: path.to_owned(), found, expected: schema::PAGE_SIZE });
    }
    file.read_exact(&mut header).map_err(failed)?;
    if !header.starts_with(MAGIC) {
        let what = "it does not begin as a database does".to_owned();
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    // With a log it may rightly be short: a crash while the log was written back leaves the rest in the log.
    let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if has_log { Ok(()) } else { missing(path).map_or(Ok(()), Err) }
}

/// The error for a file that has fewer bytes than its header says.
pub(crate) fn missing(path: &Path) -> Option<OpenError> {
    let mut file = File::open(path).ok()?;
    let found = file.metadata().ok()?.len();
    let mut header = [0; HEADER];
    file.read_exact(&mut header).ok()?;
    let pages = u32::from_be_bytes(header.get(28..32)?.try_into().ok()?);
    let expected = u64::from(pages) * schema::PAGE_SIZE;
    (found < expected).then(|| OpenError::Truncated { path: path.to_owned(), found, expected })
}

const DATA_FILE: &str = "strongroom.db";
const FRESH_FILE: &str = "strongroom.db.new";
const LOCK_FILE: &str = "strongroom.lock";
/// The length of the header of a database file.
const HEADER: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
