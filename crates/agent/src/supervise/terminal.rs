//! The controlling terminal: whose turn it is to read from it and to be interrupted by it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
};

/// The controlling terminal of the session.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    /// `None` if there is none, as under cron, systemd or CI.
    pub(crate) fn open() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::open("/dev/tty", flags, Mode::empty()).ok().map(Self)
    }

    /// The group in the foreground.
    pub(crate) fn foreground(&self) -> Option<Pid> {
        rustix::termios::tcgetpgrp(&self.0).ok()
    }

    /// Moves `group` to the foreground. SIGTTOU must be blocked, as it is here always.
    pub(crate) fn give_to(&self, group: Pid) {
        // Fails if the group or the terminal is gone; then there is nobody to give it to.
        let _ = rustix::termios::tcsetpgrp(&self.0, group);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the program must share our process group instead of having one of its own.
///
/// In a pipeline the shell has put us into a group with our neighbours, and they need the terminal too (`run -- psql |
/// less`): taking it away for the program alone would stop them. There the program joins the group, the terminal
/// signals it itself, and we keep out of it.
pub(crate) fn in_pipeline() -> bool {
    let tty = |fd: BorrowedFd<'_>| rustix::termios::isatty(fd);
    !(tty(rustix::stdio::stdin()) && tty(rustix::stdio::stdout()))
}
