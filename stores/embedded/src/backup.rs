//! Copies and checks of a store in use.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rusqlite::{Connection, OpenFlags, backup::Backup};
use storage::Error;

use crate::{beside, directory, error::fault, schema};

/// Copies the store in `from` to the new file `to`.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error| refused(to, &error);
    if to.try_exists().map_err(failed)? {
        return Err(refused(to, &io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    // It gets its name when it is complete.
    let partial = beside(to, ".partial");
    let done = write(from, &partial).and_then(|()| {
        fs::rename(&partial, to).map_err(failed)?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        directory::sync(parent).map_err(failed)
    });
    if done.is_err() {
        // What matters is the first error.
        let _ = fs::remove_file(&partial);
    }
    done
}

fn write(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error| refused(to, &error);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(to).map_err(failed)?;
    let copied = || {
        let source = schema::open_reader(from, 256)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut target = Connection::open_with_flags(to, flags)?;
        {
            let backup = Backup::new(&source, &mut target)?;
            // All in one step, which reads one state of the store; in several, each write in between would make it
            // begin again. The writer goes on meanwhile: only its log cannot begin anew before the end.
            while backup.step(-1)? != rusqlite::backup::StepResult::Done {
                std::thread::yield_now();
            }
        }
        target.close().map_err(|(_, error)| error)
    };
    copied().map_err(|error| fault(to, &error))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(failed)
}

/// Checks the structure of the whole file.
pub(crate) fn verify(file: &Path) -> Result<(), Error> {
    let checked = || {
        let connection = schema::open_reader(file, 2048)?;
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))
    };
    match checked().map_err(|error| fault(file, &error))?.as_str() {
        "ok" => Ok(()),
        what => Err(Error::Damaged(format!("{}: {what}", file.display()))),
    }
}

fn refused(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Full(format!("free space on the disk that holds {}", path.display()))
        }
        _ => Error::Unavailable(format!("cannot write the backup {}: {error}", path.display())),
    }
}
