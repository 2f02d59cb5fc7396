//! The run's files: a directory of its own that changes in one step, and single files elsewhere.
//!
//! The directory is laid out so that a reader sees all of one generation or all of the next:
//! `NAME` → `..data/NAME`, `..data` → `..GENERATION`, and `..data` is replaced by rename.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags},
};

use super::{Environment, Error, File, Place, failed, memfd};
use crate::{supervise::Area, sys};

/// The variable that names the directory.
const VARIABLE: &str = "STRONGROOM_FILES";
const DATA: &str = "..data";
const NEW_DATA: &str = "..data.new";
const PREFIX: &str = "strongroom-";
/// How long, and how many, old generations stay after a change; the last one until the change after it.
const LINGER: Duration = Duration::from_secs(10);
const RETIRED: usize = 16;

/// All files of one run. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    dir: OwnedFd,
    private: bool,
    generation: u64,
    /// Generations that are not shown any more, and since when. A reader may be on its way into them.
    retired: Vec<(u64, Instant)>,
    /// The names that the directory shows.
    names: BTreeSet<String>,
    /// Files elsewhere: path, and the inode we put there.
    placed: BTreeMap<PathBuf, (u64, u64)>,
    variables: BTreeMap<String, OsString>,
}

impl Files {
    /// Makes the directory: on a mount that only this thread and its children see, where `area` wants and the system
    /// permits it.
    pub(crate) fn open(area: Area) -> Result<Self, Error> {
        let (root, private) = match area {
            Area::Private => (make_root()?, true),
            Area::Directory => (make_root()?, false),
            Area::Auto => (make_root()?, rustix::process::geteuid().is_root()),
        };
        let private = match (private, area) {
            (false, _) => false,
            (true, Area::Private) => {
                mount_private(&root).map(|()| true).inspect_err(|_| drop(std::fs::remove_dir(&root)))?
            }
            (true, _) => mount_private(&root).is_ok(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&root, flags, Mode::empty()).map_err(failed("opening the directory for files"))?;
        Ok(Self {
            root,
            dir,
            private,
            generation: 0,
            retired: Vec::new(),
            names: BTreeSet::new(),
            placed: BTreeMap::new(),
            variables: BTreeMap::new(),
        })
    }

    /// Puts every file in its place, for a program that is about to start. Returns the descriptors to pass to it. The
    /// error carries the name of the file it is about.
    pub(crate) fn deliver(&mut self, files: &[File]) -> Result<Vec<OwnedFd>, (String, Error)> {
        self.renew(files)?;
        let mut passed = Vec::new();
        for file in files {
            let path = match &file.place {
                Place::Area => self.root.join(&file.name).into_os_string(),
                Place::Path { path, .. } => path.clone().into_os_string(),
                Place::Memfd => {
                    // EXPOSE: this is the delivery.
                    let content = file.content.expose();
                    let fd = memfd::sealed(&file.name, content).map_err(|error| (file.name.clone(), error))?;
                    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
                    passed.push(fd);
                    path.into()
                }
            };
            if let Some(variable) = &file.variable {
                self.variables.insert(variable.clone(), path);
            }
        }
        Ok(passed)
    }

    /// Puts new content into the places that can change while the program runs, and reads it back.
    pub(crate) fn renew(&mut self, files: &[File]) -> Result<(), (String, Error)> {
        let here: Vec<&File> = files.iter().filter(|file| file.place == Place::Area).collect();
        if !here.is_empty() {
            self.swap(&here)?;
        }
        for file in files {
            if let Place::Path { path, replace } = &file.place {
                self.place(file, path, *replace).map_err(|error| (file.name.clone(), error))?;
            }
        }
        Ok(())
    }

    /// Tells the program where its files are.
    pub(crate) fn announce(&self, env: &mut Environment) {
        let own = (VARIABLE.to_owned(), self.root.clone().into_os_string());
        for (name, value) in std::iter::once(own).chain(self.variables.clone()) {
            // Names were checked when the manifest was read.
            let _ = env.set(&name, value);
        }
    }

    /// Writes a whole generation beside the present one, then shows it instead.
    fn swap(&mut self, files: &[&File]) -> Result<(), (String, Error)> {
        let previous = self.generation;
        self.generation += 1;
        let next = format!("..{}", self.generation);
        let nameless = |error| (String::new(), error);
        let made = self.write_generation(&next, files);
        if let Err(error) = made {
            self.remove_generation(&next);
            return Err(error);
        }
        let _ = rustix::fs::unlinkat(&self.dir, NEW_DATA, AtFlags::empty());
        rustix::fs::symlinkat(&next, &self.dir, NEW_DATA).map_err(failed("linking new files")).map_err(nameless)?;
        rustix::fs::renameat(&self.dir, NEW_DATA, &self.dir, DATA)
            .map_err(failed("showing new files"))
            .map_err(nameless)?;
        for file in files {
            let target = Path::new(DATA).join(&file.name);
            if self.names.insert(file.name.clone()) {
                rustix::fs::symlinkat(&target, &self.dir, &file.name)
                    .map_err(|e| (file.name.clone(), failed("linking a file")(e)))?;
            }
        }
        self.retire(previous);
        Ok(())
    }

    /// An old generation stays for a moment: who has just read the link must still find the file.
    fn retire(&mut self, generation: u64) {
        let now = Instant::now();
        let mut retired = std::mem::take(&mut self.retired);
        let surplus = retired.len().saturating_sub(RETIRED);
        let mut n = 0;
        retired.retain(|(old, since)| {
            n += 1;
            let keep = n > surplus && now.saturating_duration_since(*since) < LINGER;
            if !keep {
                self.remove_generation(&format!("..{old}"));
            }
            keep
        });
        if generation > 0 {
            retired.push((generation, now));
        }
        self.retired = retired;
    }

    fn write_generation(&self, name: &str, files: &[&File]) -> Result<(), (String, Error)> {
        let nameless = |error| (String::new(), error);
        let made = rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(0o700));
        made.map_err(failed("making a directory")).map_err(nameless)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, name, flags, Mode::empty());
        let dir = dir.map_err(failed("opening a directory")).map_err(nameless)?;
        for file in files {
            check_name(&file.name).map_err(|error| (file.name.clone(), error))?;
            write_new(&dir, OsStr::new(&file.name), file).map_err(|error| (file.name.clone(), error))?;
        }
        Ok(())
    }

    fn remove_generation(&self, name: &str) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(dir) = rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            for file in &self.names {
                let _ = rustix::fs::unlinkat(&dir, file, AtFlags::empty());
            }
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR);
        }
    }

    /// Writes a file beside its place and renames it there.
    fn place(&mut self, file: &File, path: &Path, replace: bool) -> Result<(), Error> {
        let (parent, name) = open_parent(path)?;
        let ours = self.placed.get(path).copied();
        let present = inode(&parent, name);
        if present.is_some() && present != ours && !replace {
            return Err(Error::Exists(path.to_owned()));
        }
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}", random_name()));
        let written = write_new(&parent, &temporary, file);
        let put = written.and_then(|()| {
            let new = inode(&parent, &temporary);
            let flags = if present.is_some() { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
            let renamed = match rustix::fs::renameat_with(&parent, &temporary, &parent, name, flags) {
                // Not every file system can promise it.
                Err(Errno::INVAL) if !flags.is_empty() => rustix::fs::renameat(&parent, &temporary, &parent, name),
                other => other,
            };
            renamed.map_err(|errno| match errno {
                Errno::EXIST => Error::Exists(path.to_owned()),
                errno => failed("putting a file in place")(errno),
            })?;
            Ok(new)
        });
        match put {
            Ok(new) => {
                self.placed.extend(new.map(|new| (path.to_owned(), new)));
                // Best effort: the content itself is synced, and a lost name is a lost name.
                let _ = rustix::fs::fsync(&parent);
                Ok(())
            }
            Err(error) => {
                let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
                Err(error)
            }
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for (path, ours) in &self.placed {
            if let Ok((parent, name)) = open_parent(path)
                && inode(&parent, name) == Some(*ours)
            {
                let _ = rustix::fs::unlinkat(&parent, name, AtFlags::empty());
            }
        }
        let _ = rustix::fs::unlinkat(&self.dir, DATA, AtFlags::empty());
        for generation in self.retired.iter().map(|(old, _)| *old).chain([self.generation]) {
            self.remove_generation(&format!("..{generation}"));
        }
        for name in &self.names {
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
        }
        if self.private {
            let _ = rustix::mount::unmount(&self.root, UnmountFlags::DETACH);
        }
        let _ = rustix::fs::unlinkat(CWD, &self.root, AtFlags::REMOVEDIR);
    }
}

/// Removes the directories that the process `owner`, which is dead, could not remove itself.
pub(crate) fn sweep(owner: i32) {
    let prefix = format!("{PREFIX}{owner}-");
    for base in bases() {
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Where a directory for secrets may be made, best first. All of these live in memory.
fn bases() -> Vec<PathBuf> {
    let mut bases = Vec::new();
    // An absolute path that is ours, as the specification wants it; anything else is ignored.
    bases.extend(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| is_ours(path)));
    bases.extend(["/run", "/dev/shm"].map(PathBuf::from));
    bases
}

fn is_ours(path: &Path) -> bool {
    path.is_absolute()
        && rustix::fs::lstat(path).is_ok_and(|stat| {
            stat.st_uid == rustix::process::geteuid().as_raw()
                && stat.st_mode & 0o022 == 0
                && rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir()
        })
}

/// An empty directory of mode 0700 under a name that nobody could guess.
fn make_root() -> Result<PathBuf, Error> {
    let mut last = Errno::NOENT;
    for base in bases() {
        let path = base.join(format!("{PREFIX}{}-{}", std::process::id(), random_name()));
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Ok(()) => return Ok(path),
            Err(errno) => last = errno,
        }
    }
    Err(failed("making a directory for files")(last))
}

/// Covers `root` with a tmpfs in a mount namespace that this thread does not share with the rest of the system.
fn mount_private(root: &Path) -> Result<(), Error> {
    let not_permitted = |errno: Errno| Error::Private(errno.into());
    sys::unshare_mounts().map_err(Error::Private)?;
    // New mounts of the system still appear here; ours do not appear there.
    let change = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", change).map_err(not_permitted)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Kept out of swap where the kernel can (6.4 and later).
    rustix::mount::mount("strongroom", root, "tmpfs", flags, c"mode=0700,size=64m,noswap")
        .or_else(|_| rustix::mount::mount("strongroom", root, "tmpfs", flags, c"mode=0700,size=64m"))
        .map_err(not_permitted)
}

/// Makes a file that was not there: 0600 while it is written, then its final mode, synced, and read back.
fn write_new(dir: &OwnedFd, name: &OsStr, file: &File) -> Result<(), Error> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)).map_err(failed("making a file"))?;
    // EXPOSE: this is the delivery.
    let content = file.content.expose();
    let mut rest = content.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::write(&fd, rest).map_err(failed("writing a file"))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(file.mode & 0o777)).map_err(failed("setting a file's mode"))?;
    rustix::fs::fsync(&fd).map_err(failed("syncing a file"))?;
    let mut read = secret::Zeroizing::new(vec![0u8; content.len() + 1]);
    let mut have = 0;
    while let Some(room) = read.get_mut(have..).filter(|room| !room.is_empty()) {
        match rustix::io::pread(&fd, room, have as u64).map_err(failed("reading a file back"))? {
            0 => break,
            n => have += n,
        }
    }
    match read.get(..have) {
        Some(read) if secret::equal(read, content) => Ok(()),
        _ => Err(Error::NotReadable(PathBuf::from(&file.name))),
    }
}

/// The directory of `path`, reached without following a symbolic link, and the last name in it.
fn open_parent(path: &Path) -> Result<(OwnedFd, &OsStr), Error> {
    let refuse = |why| Error::Path { path: path.to_owned(), why };
    let mut components = path.components();
    if components.next() != Some(Component::RootDir) {
        return Err(refuse("the path must be absolute"));
    }
    let mut names = Vec::new();
    for component in components {
        match component {
            Component::Normal(name) => names.push(name),
            _ => return Err(refuse("the path must not contain `..`")),
        }
    }
    let name = names.pop().ok_or_else(|| refuse("the path must name a file"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut dir = rustix::fs::open("/", flags, Mode::empty()).map_err(failed("opening /"))?;
    for name in names {
        dir = rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP => refuse("a directory in it is a symbolic link"),
            // Of O_DIRECTORY and O_NOFOLLOW the kernel reports the first for a link.
            Errno::NOTDIR => refuse("a directory in it is a symbolic link or no directory"),
            Errno::NOENT => refuse("a directory in it does not exist"),
            errno => failed("opening a directory")(errno),
        })?;
    }
    Ok((dir, name))
}

fn inode(dir: impl AsFd, name: &OsStr) -> Option<(u64, u64)> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// What a file in the directory may be called.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let why = if name.is_empty() || name.len() > 200 {
        "a file's name has 1 to 200 bytes"
    } else if name.contains(['/', '\0']) {
        "a file's name must not contain `/` or NUL; use `path` for a place elsewhere"
    } else if name == "." || name.starts_with("..") {
        "a file's name must not start with `..`"
    } else {
        return Ok(());
    };
    Err(Error::Path { path: PathBuf::from(name.escape_default().to_string()), why })
}

fn random_name() -> String {
    let mut bytes = [0u8; 8];
    // Cannot fail for so few bytes once the system is up; the names would then only be guessable, not wrong.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
