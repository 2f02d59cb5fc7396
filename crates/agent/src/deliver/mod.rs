//! Carries secrets to a program: environment, files, sealed memory.

mod env;
mod files;
mod memfd;

use std::{io, path::PathBuf, sync::Arc};

use secret::SecretBytes;

pub use self::env::{Environment, Policy};
pub(crate) use self::files::{Files, check_name, sweep};

/// A secret that the program finds as a file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name; unique among the files of a run.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Its permissions, 0400 unless there is a reason. Ignored for sealed memory.
    pub mode: u32,
    /// The variable that tells the program where the file is.
    pub variable: Option<String>,
    /// Its content.
    pub content: Arc<SecretBytes>,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the run's own directory, under its name. All files there change together, in one step.
    Area,
    /// At this absolute path. Removed at the end.
    Path {
        /// The path; no directory in it may be a symbolic link.
        path: PathBuf,
        /// Whether a file that is there already may be replaced, and so lost.
        replace: bool,
    },
    /// In memory that nobody can change, as `/proc/self/fd/N`. It changes only with a restart.
    Memfd,
}

/// Why something could not be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is a file that is not ours.
    #[error("{} exists; remove it, or set `replace = true` to give it up", .0.display())]
    Exists(PathBuf),
    /// The content read back is not what was written.
    #[error("{} does not read back as it was written", .0.display())]
    NotReadable(PathBuf),
    /// A path that cannot be used.
    #[error("{}: {why}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A private mount was demanded and is not permitted.
    #[error("a private mount is not permitted here; use files_area = \"directory\"")]
    Private(#[source] io::Error),
    /// A call to the operating system failed.
    #[error("{doing} failed")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A variable's value with a NUL byte in it, which no environment can hold.
    #[error("the value for `{0}` contains a NUL byte; deliver it as a file")]
    Value(String),
    /// A variable's name that no environment can hold.
    #[error("`{0}` cannot be the name of an environment variable")]
    VariableName(String),
}

fn failed(doing: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |errno| Error::System { doing, source: errno.into() }
}
