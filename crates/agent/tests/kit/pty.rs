//! A terminal with a program on it, driven by a test.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    pty::OpenptFlags,
};

/// The user's side of a terminal.
pub struct Pty {
    master: File,
    pub child: Child,
    /// All that was shown so far.
    pub shown: String,
    /// How much of it was waited for already.
    seen: usize,
}

impl Pty {
    /// Starts `command` in a session of its own with a new terminal, which is its standard input, output and error.
    pub fn start(command: &[&str]) -> Self {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let slave =
            rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .unwrap();
        let size = rustix::termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", "--"])
            .args(command)
            .env("TERM", "xterm")
            .env("PS1", "prompt> ")
            .env_remove("PROMPT_COMMAND")
            .stdin(end(&slave))
            .stdout(end(&slave))
            .stderr(end(&slave))
            .spawn()
            .unwrap();
        Self { master: File::from(master), child, shown: String::new(), seen: 0 }
    }

    /// An interactive shell with job control.
    pub fn bash() -> Self {
        let mut pty = Self::start(&["bash", "--noprofile", "--norc", "--noediting", "-i"]);
        pty.expect("prompt> ");
        pty
    }

    pub fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown, after what was waited for before.
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && self.read(left), "{text:?} did not come; shown so far:\n{}", self.shown);
        }
    }

    /// Types a command line and waits for its echo, so that what is expected next is not found in the echo.
    pub fn command(&mut self, line: &str) {
        self.type_in(line);
        self.expect(line.get(line.len().saturating_sub(20)..).unwrap_or(line));
        self.type_in("\n");
        self.expect("\n");
    }

    pub fn wait(&mut self) -> ExitStatus {
        // The terminal must be read, or the program may hang in its last words.
        while self.read(super::PATIENCE) {}
        super::until("the program on the terminal ends", || self.child.try_wait().unwrap())
    }

    /// `false` once the other side is closed.
    fn read(&mut self, patience: Duration) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(patience).unwrap();
        if rustix::event::poll(&mut fds, Some(&timeout)).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..n]));
                true
            }
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
