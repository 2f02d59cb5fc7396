//! From a [`Spec`] to a running program.

use std::{
    ffi::{CString, OsStr, OsString},
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::PathBuf,
};

use rustix::process::Pid;

use super::{Error, Exit};
use crate::{
    deliver::Environment,
    sys::{self, NotStarted, Prepared},
};

/// Searched when the program's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const SHELL: &str = "/bin/sh";

/// What surrounds the program and is the same for each of its instances.
pub(super) struct Surroundings<'a> {
    /// The process group to join; 0 makes one of its own.
    pub(super) group: i32,
    pub(super) terminal: Option<BorrowedFd<'a>>,
    pub(super) stdout: Option<BorrowedFd<'a>>,
    pub(super) stderr: Option<BorrowedFd<'a>>,
    pub(super) core_limit: (u64, u64),
}

/// Starts `program`. Must be called on the guardian's main thread: the program dies with the calling thread.
pub(super) fn launch(
    program: &OsStr,
    args: &[OsString],
    env: &Environment,
    passed: &[OwnedFd],
    around: &Surroundings<'_>,
) -> Result<Pid, Error> {
    let candidates = candidates(program, env.path())?;
    let mut argv = vec![c_string(program.to_owned(), "the program's name")?];
    for arg in args {
        argv.push(c_string(arg.clone(), "an argument")?);
    }
    let block = env.block();
    let passed: Vec<RawFd> = passed.iter().map(|fd| fd.as_raw_fd()).collect();
    let start = |candidates: &[CString], argv: &[CString]| {
        sys::fork_exec(&Prepared {
            candidates,
            argv,
            environment: &block,
            group: around.group,
            terminal: around.terminal,
            stdout: around.stdout,
            stderr: around.stderr,
            passed: &passed,
            core_limit: around.core_limit,
        })
    };
    match start(&candidates, &argv) {
        Ok(pid) => Ok(pid),
        Err(failed) => match script(&failed, &candidates) {
            // A script without a `#!` line is the shell's, as POSIX has it for execvp.
            Some(path) => {
                let shell = CString::from(c"/bin/sh");
                let mut with_shell = vec![shell.clone(), path.clone()];
                with_shell.extend(argv.into_iter().skip(1));
                start(&[shell], &with_shell).map_err(|failed| explain(OsStr::new(SHELL), &failed))
            }
            None => Err(explain(program, &failed)),
        },
    }
}

/// Where the program may be. A name with a slash is a path; anything else is looked for in `PATH`.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Result<Vec<CString>, Error> {
    const WHAT: &str = "the program's name";
    if program.is_empty() {
        return Ok(Vec::new());
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program.to_owned(), WHAT)?]);
    }
    std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)))
        .map(|dir| {
            // An empty entry means the current directory.
            let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
            c_string(dir.join(program).into_os_string(), WHAT)
        })
        .collect()
}

/// The file that the system refused to execute although it is a text.
fn script<'a>(failed: &NotStarted, candidates: &'a [CString]) -> Option<&'a CString> {
    if failed.error.raw_os_error() != Some(libc::ENOEXEC) {
        return None;
    }
    let path = candidates.get(failed.candidate)?;
    let mut start = [0u8; 256];
    let read = {
        use std::io::Read as _;
        std::fs::File::open(OsStr::from_bytes(path.as_bytes())).ok()?.read(&mut start).ok()?
    };
    let line = start.get(..read)?.split(|&b| b == b'\n').next()?;
    (!line.contains(&0)).then_some(path)
}

fn explain(program: &OsStr, failed: &NotStarted) -> Error {
    let code = failed.error.raw_os_error();
    // The fork itself, or a pipe for it, failed: no word about the program.
    if failed.candidate == usize::MAX {
        return Error::System {
            doing: "starting the program",
            source: std::io::Error::from_raw_os_error(code.unwrap_or(0)),
        };
    }
    let (reason, exit) = match code {
        Some(libc::ENOENT | libc::ENOTDIR) if program.as_bytes().contains(&b'/') => {
            ("no such file or directory".to_owned(), Exit::NOT_FOUND)
        }
        Some(libc::ENOENT | libc::ENOTDIR) => ("command not found".to_owned(), Exit::NOT_FOUND),
        Some(libc::EACCES) => ("permission denied, or not a program".to_owned(), Exit::NOT_EXECUTABLE),
        Some(libc::ENOEXEC) => ("cannot execute: unknown format".to_owned(), Exit::NOT_EXECUTABLE),
        Some(libc::E2BIG) => ("arguments and environment are too long".to_owned(), Exit::NOT_EXECUTABLE),
        _ => (failed.error.to_string(), Exit::NOT_EXECUTABLE),
    };
    Error::Program { program: PathBuf::from(program), reason, exit }
}

fn c_string(text: OsString, what: &'static str) -> Result<CString, Error> {
    CString::new(text.into_vec()).map_err(|_| Error::Nul { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(program: &str, path: Option<&str>) -> Vec<String> {
        let found = candidates(OsStr::new(program), path.map(OsStr::new)).unwrap();
        found.into_iter().map(|c| c.into_string().unwrap()).collect()
    }

    #[test]
    fn programs_are_looked_for_as_a_shell_does() {
        assert_eq!(shown("ls", Some("/a:/b")), ["/a/ls", "/b/ls"]);
        assert_eq!(shown("ls", Some("/a:")), ["/a/ls", "./ls"]);
        assert_eq!(shown("./ls", Some("/a")), ["./ls"]);
        assert_eq!(shown("ls", None), ["/usr/local/bin/ls", "/usr/bin/ls", "/bin/ls"]);
        assert!(shown("", Some("/a")).is_empty());
        assert!(candidates(OsStr::new("a\0b"), None).is_err());
    }
}
