//! The process the user sees: terminal, signals, job control, exit. Single-threaded, no secret in it.

use std::{
    collections::HashSet,
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, Signal, WaitOptions},
};

use super::{
    Error, Exit, harden,
    link::{Incoming, Link, Message, VARIABLE},
    say,
    terminal::{self, Terminal},
    tree::{self, Process},
};
use crate::sys::{self, Received};

/// Starts `guardian` (this same program, in the role that calls [`super::guard`]) and stays in front of it until all is
/// over. Returns how the program ended; hand that to [`Exit::repeat`].
///
/// Call it from the only thread of the process: a thread that does not block signals would take them away.
pub fn front(guardian: &mut Command) -> Result<Exit, Error> {
    sys::block_signals().map_err(Error::system("blocking signals"))?;
    let signals = sys::signal_fd().map_err(Error::system("opening signalfd"))?;
    let me = rustix::process::getpid();
    // What the guardian leaves behind if it is killed falls to us. Not fatal: process 1 has that role anyway.
    let _ = rustix::process::set_child_subreaper(Some(me));
    let spared = tree::descendants(me.as_raw_nonzero().get()).into_iter().collect();

    let (link, theirs) = Link::pair().map_err(Error::system("making the guardian's link"))?;
    guardian.env(VARIABLE, theirs.as_raw_fd().to_string());
    // A group of its own, so that neither the terminal nor a `kill -9` of our group reaches it.
    guardian.process_group(0);
    let child = guardian.spawn().map_err(Error::system("starting the guardian"))?;
    drop(theirs);
    harden();

    let terminal = Terminal::open();
    let home = own_group(terminal.as_ref());
    let together = terminal.is_some() && terminal::in_pipeline();
    let number = home.as_raw_nonzero().get();
    link.send(if together { Message::Together(number) } else { Message::Apart(number) });

    let guardian = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut front =
        Front { link: Some(link), signals, terminal, home, together, program: None, guardian, exit: None, spared };
    let exit = front.attend()?;
    front.give_terminal_back();
    Ok(exit)
}

/// The number of our process group. As the first process of a PID namespace we may be in a group from outside, which
/// has no number here; then we make one, and keep the terminal if there is one.
fn own_group(terminal: Option<&Terminal>) -> Pid {
    let me = rustix::process::getpid();
    if let Some(group) = sys::group() {
        return group;
    }
    let _ = rustix::process::setpgid(None, None);
    if let Some(terminal) = terminal {
        terminal.give_to(me);
    }
    me
}

struct Front {
    /// `None` once the guardian has closed its end.
    link: Option<Link>,
    signals: std::os::fd::OwnedFd,
    terminal: Option<Terminal>,
    /// Our own process group.
    home: Pid,
    /// Whether the program shares our group.
    together: bool,
    /// The program, which leads a group of the same number unless `together`.
    program: Option<Pid>,
    /// `None` once it is reaped.
    guardian: Option<Pid>,
    exit: Option<Exit>,
    /// Children this process had before it became a supervisor.
    spared: HashSet<Process>,
}

impl Front {
    fn attend(&mut self) -> Result<Exit, Error> {
        while self.guardian.is_some() {
            self.wait_for_something().map_err(Error::system("waiting for signals"))?;
            while let Some(signal) = sys::next_signal(&self.signals) {
                self.on_signal(signal);
            }
            self.read_link();
        }
        Ok(self.exit.unwrap_or(Exit::NOT_STARTED))
    }

    fn wait_for_something(&self) -> io::Result<()> {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(self.link.as_ref().map(|link| PollFd::new(link.fd(), PollFlags::IN)));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn on_signal(&mut self, received: Received) {
        match received.signal {
            libc::SIGCHLD => self.reap(),
            // Our own writes to a closed pipe, and our own stops.
            _ if received.sender == rustix::process::getpid().as_raw_nonzero().get() => {}
            // The terminal, or the program itself, has signalled the whole group: the program has it already.
            _ if self.together && (received.is_from_kernel() || self.is_program(received.sender)) => {}
            libc::SIGCONT if !self.together => self.resume(),
            signal => self.tell(Message::Pass(signal)),
        }
    }

    fn is_program(&self, pid: i32) -> bool {
        self.program.is_some_and(|program| program.as_raw_nonzero().get() == pid)
    }

    fn tell(&self, message: Message) {
        if let Some(link) = &self.link {
            link.send(message);
        }
    }

    fn read_link(&mut self) {
        loop {
            let incoming = self.link.as_ref().map_or(Incoming::Nothing, Link::receive);
            match incoming {
                Incoming::Nothing => return,
                Incoming::Closed => self.link = None,
                Incoming::Message(Message::Started(pid)) => {
                    self.program = Pid::from_raw(pid);
                    self.hand_terminal_on();
                }
                Incoming::Message(Message::Stopped(signal)) => self.on_stop(signal),
                Incoming::Message(Message::Code(code)) => {
                    self.exit = Some(Exit::Code(u8::try_from(code).unwrap_or(u8::MAX)));
                }
                Incoming::Message(Message::Signal(signal)) => self.exit = Some(Exit::Signal(signal)),
                Incoming::Message(_) => {}
            }
        }
    }

    /// The program has stopped: so do we, as far as the shell can see. Without a terminal there is no job control, and
    /// whoever stopped the program meant the program.
    fn on_stop(&mut self, signal: i32) {
        let Some(terminal) = &self.terminal else { return };
        if self.together {
            // The terminal stopped the group, and only we hold out. The shell continues the whole group too.
            return self.stop(signal, false);
        }
        let wants_terminal = signal == libc::SIGTTIN || signal == libc::SIGTTOU;
        let in_front = terminal.foreground() == Some(self.home);
        if !(wants_terminal && in_front) {
            if self.program.is_some() && terminal.foreground() == self.program {
                terminal.give_to(self.home);
            }
            // Returns when the shell continues us; or at once where we cannot be stopped (process 1, or no shell that
            // could ever continue us), and then the program must not stay stopped either.
            self.stop(signal, true);
        }
        self.resume();
    }

    /// Stops with the program. The continuation that ends it is used up here: passed on late, it would undo the next
    /// Ctrl-Z.
    fn stop(&mut self, signal: i32, whole_group: bool) {
        sys::suffer(signal, whole_group);
        let pending: Vec<Received> = std::iter::from_fn(|| sys::next_signal(&self.signals)).collect();
        for received in pending.into_iter().filter(|received| received.signal != libc::SIGCONT) {
            self.on_signal(received);
        }
    }

    /// The shell has continued us: hand the terminal on if it is ours, and let the program run.
    fn resume(&mut self) {
        self.hand_terminal_on();
        self.tell(Message::Continue);
    }

    /// Gives the program the foreground if it is ours to give.
    fn hand_terminal_on(&self) {
        if !self.together
            && let (Some(terminal), Some(program)) = (&self.terminal, self.program)
            && terminal.foreground() == Some(self.home)
        {
            terminal.give_to(program);
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if Some(pid) != self.guardian {
                continue;
            }
            self.read_link();
            self.guardian = None;
            if self.exit.is_none() {
                let exit = Exit::from(status);
                self.exit = Some(if exit == Exit::NOT_STARTED { exit } else { Exit::Signal(libc::SIGKILL) });
                self.sweep();
                crate::deliver::sweep(pid.as_raw_nonzero().get());
                if exit != Exit::NOT_STARTED {
                    say(&"the guardian was killed; the program was ended with it");
                }
            }
        }
    }

    /// The guardian died before its time: kill all that it had below it, which is ours now.
    fn sweep(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while tree::signal_all(Signal::KILL, &self.spared) > 0 && Instant::now() < deadline {
            let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
            let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let _ = rustix::event::poll(&mut fds, Some(&pause));
            while sys::next_signal(&self.signals).is_some() {}
            while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        }
    }

    /// A shell without job control expects to be in the foreground again.
    fn give_terminal_back(&self) {
        if self.together {
            return;
        }
        if let Some(terminal) = &self.terminal
            && let Some(holder) = terminal.foreground()
            && (Some(holder) == self.program || rustix::process::test_kill_process_group(holder).is_err())
        {
            terminal.give_to(self.home);
        }
    }
}
