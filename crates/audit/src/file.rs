//! The `file` device: lines appended to a file, a pipe, or the standard output.
//!
//! A file that was deleted or moved away is made anew and a warning is logged; the line that met the deletion is
//! written again. A full disk fails the write; the torn line it may leave behind is ended before the next one.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    device::{Device, Written},
    error::Error,
    options::{Common, Options},
    writer::{Act, Sink, Writer},
};

/// The kind's name.
pub const KIND: &str = "file";

/// What is written to, and with which mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go.
    pub target: Target,
    /// The permission bits that the file gets when it is opened; `None` leaves an existing file's as they are.
    pub mode: Option<u32>,
}

impl Settings {
    /// Reads the options of the device: `file_path` (or `path`), `mode`, and those that all devices share.
    pub fn parse(given: &BTreeMap<String, String>, allow_prefix: bool) -> Result<(Self, Common), Error> {
        let mut options = Options::new(given);
        let common = Common::take(&mut options, allow_prefix)?;
        let (long, short) = (options.text("file_path"), options.text("path"));
        let path = long.or(short).ok_or_else(|| Error::option("file_path", "is required"))?;
        let mode = parse_mode(options.text("mode").as_deref())?;
        options.finish()?;
        Ok((Self { target: Target::parse(&path)?, mode }, common))
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere; every write succeeds.
    Discard,
    /// The file, pipe or terminal at this path.
    Path(PathBuf),
    /// The standard output of the server.
    Stdout,
}

impl Target {
    fn parse(path: &str) -> Result<Self, Error> {
        match path {
            "discard" => Ok(Self::Discard),
            "stdout" => Ok(Self::Stdout),
            _ if path.ends_with('/') => Err(Error::option("file_path", "must name a file, not a directory")),
            _ if path.contains('\0') => Err(Error::option("file_path", "must not contain a zero byte")),
            _ => Ok(Self::Path(path.into())),
        }
    }
}

fn parse_mode(mode: Option<&str>) -> Result<Option<u32>, Error> {
    let Some(mode) = mode else { return Ok(Some(0o600)) };
    let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o7777);
    let bits = bits.ok_or_else(|| Error::option("mode", "must be octal permission bits, such as 0600"))?;
    if bits == 0 {
        return Ok(None);
    }
    // A log is never a program: executable, set-id and sticky bits are dropped.
    match bits & 0o666 {
        0 => Err(Error::option("mode", "leaves nobody a right to read or write, such as 0600 does")),
        bits => Ok(Some(bits)),
    }
}

/// The device.
pub struct File(Option<Writer>);

impl File {
    /// A device that opens its target at the first write; faults of the target show then.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        if settings.target == Target::Discard {
            return Ok(Self(None));
        }
        let make = |stop| Open { settings, file: None, torn: false, stop };
        Writer::start("audit-file", make).map(|writer| Self(Some(writer)))
    }

    fn act(&self, act: Act) -> Written {
        match &self.0 {
            Some(writer) => writer.act(act),
            None => Written::known(Ok(())),
        }
    }
}

impl Device for File {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn write(&self, line: &[u8]) -> Written {
        match &self.0 {
            Some(writer) => writer.write(line),
            None => Written::known(Ok(())),
        }
    }

    fn write_through(&self, lines: &[u8]) -> Written {
        match &self.0 {
            Some(writer) => writer.write_through(lines),
            None => Written::known(Ok(())),
        }
    }

    fn reopen(&self) -> Written {
        self.act(Act::Reopen)
    }

    fn check(&self) -> Written {
        self.act(Act::Check)
    }

    fn close(&self) -> Written {
        self.act(Act::Close)
    }

    fn trouble(&self) -> Option<Error> {
        self.0.as_ref().and_then(Writer::trouble)
    }
}

/// The thread's side: the open file.
struct Open {
    settings: Settings,
    file: Option<Opened>,
    /// Whether the file ends in the middle of a line.
    torn: bool,
    stop: Arc<AtomicBool>,
}

struct Opened {
    fd: OwnedFd,
    stat: Stat,
    /// Whether it is a plain file of this machine, where a write ends in memory.
    local: bool,
}

impl Opened {
    fn regular(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::RegularFile
    }

    fn same(&self, other: &Stat) -> bool {
        (self.stat.st_dev, self.stat.st_ino) == (other.st_dev, other.st_ino)
    }

    /// Whether the file has no name left: what is written to it is lost.
    fn deleted(&self) -> bool {
        self.regular() && rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl Sink for Open {
    fn write(&mut self, lines: &[u8]) -> Result<(), Error> {
        if self.file.is_none() {
            self.reopen()?;
        }
        self.push(lines)?;
        let Some(path) = self.path().filter(|_| self.file.as_ref().is_some_and(Opened::deleted)) else { return Ok(()) };
        tracing::warn!(path = %path.display(), "an audit file was deleted; a new one is begun");
        self.reopen().map_err(|_| Error::Deleted(path))?;
        self.push(lines)
    }

    fn direct(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.local)
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let opened = self.open()?;
        self.torn = self.torn && self.file.as_ref().is_some_and(|old| old.same(&opened.stat));
        self.file = Some(opened);
        Ok(())
    }

    fn check(&mut self) -> Result<(), Error> {
        let Target::Path(path) = self.settings.target.clone() else { return Ok(()) };
        let Some(file) = &self.file else { return self.reopen() };
        let there = rustix::fs::stat(&path).is_ok_and(|stat| file.same(&stat));
        if !there {
            tracing::warn!(path = %path.display(), "an audit file was moved or deleted; a new one is begun");
            self.reopen()?;
        }
        match &self.file {
            Some(file) if file.regular() => not_full(&path, file),
            _ => Ok(()),
        }
    }
}

impl Open {
    /// Writes to the open file as it is.
    fn push(&mut self, lines: &[u8]) -> Result<(), Error> {
        let Some(file) = &self.file else { return Err(Error::Closed) };
        if self.torn {
            write_all(file, b"\n", &self.stop).map_err(|(_, errno)| self.fault(errno))?;
            self.torn = false;
        }
        let Err((written, errno)) = write_all(file, lines, &self.stop) else { return Ok(()) };
        self.torn = written > 0 && lines.get(written - 1) != Some(&b'\n');
        let fault = self.fault(errno);
        if !file.regular() {
            // A pipe whose reader has gone is opened again by the next write.
            self.file = None;
        }
        Err(fault)
    }

    fn open(&self) -> Result<Opened, Error> {
        let fault = |errno: Errno| self.fault_of("open", errno);
        let fd = match &self.settings.target {
            Target::Path(path) => {
                // Never blocks on a pipe without a reader; plain files do not know the flag.
                let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
                let mode = Mode::from_raw_mode(self.settings.mode.unwrap_or(0o600));
                rustix::fs::open(path, flags | OFlags::NONBLOCK, mode).map_err(fault)?
            }
            _ => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map_err(fault)?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(fault)?;
        let local = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && is_local(&fd);
        let opened = Opened { fd, stat, local };
        if let (Target::Path(_), Some(mode), true) = (&self.settings.target, self.settings.mode, opened.regular())
            && opened.stat.st_mode & 0o7777 != mode
        {
            let fault = |errno| self.fault_of("set the mode of", errno);
            rustix::fs::fchmod(&opened.fd, Mode::from_raw_mode(mode)).map_err(fault)?;
        }
        Ok(opened)
    }

    fn path(&self) -> Option<PathBuf> {
        match &self.settings.target {
            Target::Path(path) => Some(path.clone()),
            _ => None,
        }
    }

    fn fault(&self, errno: Errno) -> Error {
        self.fault_of("write to", errno)
    }

    fn fault_of(&self, act: &str, errno: Errno) -> Error {
        let path = self.path().unwrap_or_else(|| "the standard output".into());
        match errno {
            Errno::NOSPC | Errno::DQUOT => Error::Full(path),
            _ => Error::io(format!("{act} {}", path.display()), errno.into()),
        }
    }
}

/// Whether the file system is one that lies on this machine. What a file system over the network, or one that another
/// process serves, does with a write, nobody knows.
fn is_local(fd: &OwnedFd) -> bool {
    let kind = rustix::fs::fstatfs(fd).map_or(0, |system| u64::try_from(system.f_type).unwrap_or_default());
    LOCAL.contains(&kind)
}

/// The magic numbers of statfs(2): bcachefs, Btrfs, ext2 to ext4, F2FS, overlayfs, tmpfs, XFS, ZFS.
const LOCAL: [u64; 8] =
    [0xCA45_1A4E, 0x9123_683E, 0xEF53, 0xF2F5_2010, 0x794C_7630, 0x0102_1994, 0x5846_5342, 0x2FC1_2FC1];

/// Writes all of `bytes`, waiting for a full pipe until `stop` is set. Says how far it came if it fails.
fn write_all(file: &Opened, bytes: &[u8], stop: &AtomicBool) -> Result<(), (usize, Errno)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(&file.fd, rest) {
            Ok(0) => return Err((written, Errno::IO)),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(&file.fd, stop).map_err(|errno| (written, errno))?,
            Err(errno) => return Err((written, errno)),
        }
    }
    Ok(())
}

fn wait_writable(fd: &OwnedFd, stop: &AtomicBool) -> Result<(), Errno> {
    const PIECE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    loop {
        let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::OUT)];
        match poll(&mut fds, Some(&PIECE)) {
            Ok(0) if stop.load(Ordering::Relaxed) => return Err(Errno::CANCELED),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

/// A full disk is reported before the next entry meets it.
fn not_full(path: &Path, file: &Opened) -> Result<(), Error> {
    match rustix::fs::fstatvfs(&file.fd) {
        Ok(disk) if disk.f_blocks > 0 && disk.f_bavail == 0 => Err(Error::Full(path.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
