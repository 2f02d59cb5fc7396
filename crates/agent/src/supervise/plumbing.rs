//! Captured output: pipes from the program, a masker each, and out again.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::OFlags,
    io::Errno,
    pipe::PipeFlags,
};
use secret::SecretBytes;

use super::Masking;
use crate::mask::{Masker, Patterns};

/// How long a possible beginning of a secret is held back while nothing follows.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The capture of both streams.
pub(super) struct Plumbing {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    shared: Arc<Shared>,
    pumps: Vec<JoinHandle<()>>,
}

struct Shared {
    patterns: RwLock<Arc<Patterns>>,
    /// Every writer is known to be gone: take what is in the pipe and end.
    over: AtomicBool,
}

impl Plumbing {
    /// Captures what `masking` says. Two streams that go to one file share one pipe, so that their order is kept.
    pub(super) fn new(masking: Masking) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { patterns: RwLock::default(), over: AtomicBool::new(false) });
        let mut plumbing = Self { stdout: None, stderr: None, shared, pumps: Vec::new() };
        if masking.stdout {
            plumbing.stdout = Some(plumbing.capture(rustix::stdio::stdout())?);
        }
        if masking.stderr {
            plumbing.stderr = Some(match &plumbing.stdout {
                Some(stdout) if same_file(rustix::stdio::stdout(), rustix::stdio::stderr()) => stdout.try_clone()?,
                _ => plumbing.capture(rustix::stdio::stderr())?,
            });
        }
        Ok(plumbing)
    }

    pub(super) fn stdout(&self) -> Option<BorrowedFd<'_>> {
        self.stdout.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }

    /// Masks `secrets` from here on.
    pub(super) fn mask(&self, secrets: &[Arc<SecretBytes>]) {
        if self.pumps.is_empty() {
            return;
        }
        // EXPOSE: the masker must know what to look for.
        let patterns = Patterns::of(secrets.iter().map(|secret| secret.expose().as_slice()));
        let mut slot = self.shared.patterns.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *slot = Arc::new(patterns);
    }

    /// No writer is left: ends the pumps once they have written out what is in the pipes.
    pub(super) fn close(&mut self) {
        self.stdout = None;
        self.stderr = None;
        self.shared.over.store(true, Ordering::Release);
    }

    /// Whether everything is written out.
    pub(super) fn is_drained(&self) -> bool {
        self.pumps.iter().all(JoinHandle::is_finished)
    }

    fn capture(&mut self, out: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
        let out = rustix::io::fcntl_dupfd_cloexec(out, 3)?;
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // On our end only, which is a file description of its own: the program's end keeps blocking.
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        let shared = self.shared.clone();
        let pump = std::thread::Builder::new().name("mask".to_owned()).spawn(move || pump(&reader, &out, &shared))?;
        self.pumps.push(pump);
        Ok(writer)
    }
}

/// Moves bytes until the end. Returning closes the pipe: the program then gets SIGPIPE, as it would have without us.
fn pump(reader: &OwnedFd, out: &OwnedFd, shared: &Shared) {
    let mut masker = Masker::default();
    let mut input = vec![0u8; 64 * 1024];
    let mut output = Vec::new();
    loop {
        let over = shared.over.load(Ordering::Acquire);
        let patterns = || shared.patterns.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let ended = match rustix::io::read(reader, &mut input) {
            Ok(0) => true,
            Ok(n) => {
                masker.feed(&patterns(), input.get(..n).unwrap_or_default(), &mut output);
                false
            }
            Err(Errno::AGAIN) if over => true,
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(reader, PollFlags::IN)];
                if matches!(rustix::event::poll(&mut fds, Some(&PATIENCE)), Ok(0)) {
                    masker.flush(&patterns(), &mut output);
                }
                false
            }
            Err(Errno::INTR) => false,
            Err(_) => true,
        };
        if ended {
            masker.flush(&patterns(), &mut output);
        }
        if !write_all(out, &output) || ended {
            return;
        }
        output.clear();
    }
}

/// `false` if nobody reads any more.
fn write_all(out: &OwnedFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(out, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(out, PollFlags::OUT)], None);
            }
            Err(_) => return false,
        }
    }
    true
}

fn same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}
