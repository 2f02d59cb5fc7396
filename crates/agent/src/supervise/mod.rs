//! Runs a program as a bare shell would, and lets nothing of it live on.
//!
//! Three processes. The **front** is what the user started: it owns the terminal and the signals, holds no secret, and
//! ends exactly as the program ended. The **guardian** is its child, out of the way of the terminal: it holds the
//! session with the server, is the parent and the subreaper of everything the program starts, and notices at once when
//! the front is gone. The **program** runs below the guardian.
//!
//! - Front killed: the guardian's link breaks; it kills the tree, removes the files, revokes the token.
//! - Guardian killed: the kernel kills the program (`PR_SET_PDEATHSIG`), the rest falls to the front, which kills it.
//! - Program ended: what it left behind is asked to end, then killed; then files go, then the credentials.

mod front;
mod guardian;
mod handle;
mod launch;
mod link;
mod plumbing;
mod terminal;
mod tree;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use secret::SecretBytes;

#[cfg(test)]
pub(crate) use self::handle::Command;
pub use self::{
    front::front,
    guardian::guard,
    handle::{Event, Handle},
};
use crate::{
    deliver::{Environment, File},
    sys,
};

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program: a path, or a name that is looked for in the `PATH` of [`Spec::env`].
    pub program: OsString,
    /// Its arguments, without the program itself. Never a secret.
    pub args: Vec<OsString>,
    /// Its whole environment, except for the variables that point to [`Spec::files`].
    pub env: Environment,
    /// The files it shall find.
    pub files: Vec<File>,
    /// Where [`Spec::files`] without a path of their own live.
    pub area: Area,
    /// The signal that asks it to end when it must make way for a new instance.
    pub stop_signal: i32,
    /// How long it, and later what it left behind, may take to end before it is killed.
    pub stop_grace: Duration,
    /// Which of its streams are masked. Decided at the first start; later values are ignored.
    pub masking: Masking,
    /// Values to mask besides those of `env` and `files`.
    pub also_masked: Vec<Arc<SecretBytes>>,
}

impl Spec {
    /// A program with the given environment and defaults for the rest: `SIGTERM`, 10 s, no files, no masking.
    pub fn new(program: impl Into<OsString>, args: Vec<OsString>, env: Environment) -> Self {
        Self {
            program: program.into(),
            args,
            env,
            files: Vec::new(),
            area: Area::Auto,
            stop_signal: libc::SIGTERM,
            stop_grace: Duration::from_secs(10),
            masking: Masking::default(),
            also_masked: Vec::new(),
        }
    }

    /// Every value that must not be seen in masked output.
    fn secrets(&self) -> Vec<Arc<SecretBytes>> {
        let env = self.env.secrets();
        let files = self.files.iter().map(|file| file.content.clone());
        env.chain(files).chain(self.also_masked.iter().cloned()).collect()
    }
}

/// Where files live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Area {
    /// A private mount where it is permitted, else a directory.
    #[default]
    Auto,
    /// A tmpfs that only the program and its children can see. Needs the right to mount.
    Private,
    /// A directory of mode 0700 on `$XDG_RUNTIME_DIR` or `/dev/shm`, removed at the end.
    Directory,
}

/// Which streams are captured and masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masking {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Masking {
    /// Masks whatever is not a terminal, because a terminal would no longer be one to the program.
    pub fn where_no_terminal() -> Self {
        Self {
            stdout: !rustix::termios::isatty(rustix::stdio::stdout()),
            stderr: !rustix::termios::isatty(rustix::stdio::stderr()),
        }
    }

    /// Masks both.
    pub fn everywhere() -> Self {
        Self { stdout: true, stderr: true }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// A secret could not be had, or the supervisor itself failed; the program was never started.
    pub const NOT_STARTED: Self = Self::Code(125);
    /// The program exists and cannot be executed.
    pub const NOT_EXECUTABLE: Self = Self::Code(126);
    /// There is no such program.
    pub const NOT_FOUND: Self = Self::Code(127);

    /// Ends the calling process in the same way: with the code, or by the same signal. As process 1, which no signal
    /// ends, it returns 128 + the signal.
    pub fn repeat(self) -> ExitCode {
        match self {
            Self::Code(code) => ExitCode::from(code),
            Self::Signal(signal) => {
                sys::suffer(signal, false);
                ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
            }
        }
    }
}

impl From<rustix::process::WaitStatus> for Exit {
    fn from(status: rustix::process::WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (_, Some(signal)) => Self::Signal(signal),
            (code, None) => Self::Code(u8::try_from(code.unwrap_or(0) & 0xff).unwrap_or(u8::MAX)),
        }
    }
}

/// Why supervision itself failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be delivered.
    #[error("file `{name}` could not be delivered")]
    Deliver {
        /// The file's name.
        name: String,
        /// What went wrong.
        #[source]
        source: crate::deliver::Error,
    },
    /// The guardian was started by hand.
    #[error("the guardian is started by `run` and not by hand")]
    NoLink,
    /// A call to the operating system failed.
    #[error("{doing} failed")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The program did not start.
    #[error("{}: {reason}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Why, as a shell would say it.
        reason: String,
        /// What to end with: 126 or 127.
        exit: Exit,
    },
    /// A text with a NUL byte cannot be handed to a program.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// Which text.
        what: &'static str,
    },
}

impl Error {
    fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { doing, source }
    }

    /// What the front ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Program { exit, .. } => *exit,
            _ => Exit::NOT_STARTED,
        }
    }
}

/// Whether this process was started by [`front`] to be the guardian.
pub fn is_guardian() -> bool {
    std::env::var_os(link::VARIABLE).is_some()
}

/// Says something on standard error. That nobody listens is no reason to end.
pub fn say(message: &dyn std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "strongroom: {message}");
}

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// No core file and no ptrace for a process that holds secrets. Returns the core limit that was in force.
fn harden() -> (u64, u64) {
    use rustix::process::{DumpableBehavior, Resource, Rlimit};
    let before = rustix::process::getrlimit(Resource::Core);
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: before.maximum });
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    (before.current.unwrap_or(libc::RLIM_INFINITY), before.maximum.unwrap_or(libc::RLIM_INFINITY))
}
