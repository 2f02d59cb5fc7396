//! The process that holds the secrets and everything the program starts.
//!
//! One loop on the main thread, because the kernel ties the program's life to the thread that forked it. The session
//! with the server runs on a thread of its own and talks to the loop through a [`Handle`].

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    process::ExitCode,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec},
    process::{Pid, Signal, WaitOptions, WaitStatus},
};
use secret::SecretBytes;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Error, Exit, Spec, chain,
    handle::{Command, Commands, Event, Finished, Handle},
    harden,
    launch::{self, Surroundings},
    link::{Incoming, Link, Message},
    plumbing::Plumbing,
    say,
    terminal::Terminal,
    tree,
};
use crate::{
    deliver::{Environment, File, Files},
    sys,
};

/// How often a tree that does not end is looked at again.
const PERSISTENCE: Duration = Duration::from_millis(10);
/// How long the session may take to end after the program; it has its own, shorter bound for each step.
const LAST_WORDS: Duration = Duration::from_secs(8);
/// After this, processes that even SIGKILL does not end (they hang in the kernel) are left alone.
const UNKILLABLE: Duration = Duration::from_secs(5);
/// The session gets at least this long to revoke, however often the user presses Ctrl-C.
const REVOCATION: Duration = Duration::from_secs(2);
/// So many values of earlier instances stay masked: old output may still be on its way.
const MASKED_EARLIER: usize = 64;

/// The guardian's whole life, to be called on the main thread of the process that [`super::front`] started. `session`
/// runs on a thread of its own; it gets hold of the guardian through the [`Handle`] and returns when it has revoked
/// what it obtained.
pub fn guard(session: impl FnOnce(Handle) + Send + 'static) -> ExitCode {
    match Guardian::new(session) {
        Ok(mut guardian) => {
            let exit = guardian.attend();
            guardian.report(exit);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&chain(&error));
            ExitCode::from(125)
        }
    }
}

struct Guardian {
    link: Link,
    /// The front, while it lives.
    front: Option<Pid>,
    /// The front's process group, which the program joins if `together`.
    home: Pid,
    together: bool,
    signals: OwnedFd,
    wake: Arc<OwnedFd>,
    commands: mpsc::Receiver<Command>,
    events: UnboundedSender<Event>,
    terminal: Option<Terminal>,
    core_limit: (u64, u64),
    state: State,
    /// The process that is the program at present.
    program: Option<Pid>,
    hook: Option<Pid>,
    /// The one that has led the terminal's foreground on our behalf.
    last_group: Option<Pid>,
    /// Whether the front asked the program to continue, so that it need not be told.
    continued: bool,
    session_over: bool,
    plumbing: Option<Plumbing>,
    files: Option<Files>,
    /// The values to mask: of the present instance, and some of earlier ones.
    masked: Vec<Arc<SecretBytes>>,
    masked_earlier: VecDeque<Arc<SecretBytes>>,
    /// The environment of the present instance, for hooks.
    env: Environment,
    grace: Duration,
}

enum State {
    /// Nothing was started yet.
    Waiting,
    Running,
    /// The program was asked to end, to make way for a new instance.
    Stopping {
        kill_at: Instant,
        next: Option<Box<Spec>>,
    },
    /// The program has ended; what it left behind is asked to, and killed when the time is up.
    Clearing {
        kill_at: Instant,
        then: Then,
    },
    /// Nothing is left but the session and the last output.
    Ending {
        exit: Exit,
        since: Instant,
        until: Instant,
    },
    Over(Exit),
}

enum Then {
    End(Exit),
    Start(Box<Spec>),
}

impl Guardian {
    fn new(session: impl FnOnce(Handle) + Send + 'static) -> Result<Self, Error> {
        let link = Link::inherited().ok_or(Error::NoLink)?;
        sys::block_signals().map_err(Error::system("blocking signals"))?;
        let signals = sys::signal_fd().map_err(Error::system("opening signalfd"))?;
        let core_limit = harden();
        let _ = rustix::thread::set_name(c"sr-guardian");
        let me = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(me)).map_err(|e| Error::system("becoming subreaper")(e.into()))?;
        // If we are stopped when the front dies, we must wake up to clear away.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::CONT));
        let front = rustix::process::getppid();
        let (home, together) = match link.wait() {
            Incoming::Message(Message::Apart(group)) => (group, false),
            Incoming::Message(Message::Together(group)) => (group, true),
            _ => return Err(Error::NoLink),
        };
        let home = Pid::from_raw(home).ok_or(Error::NoLink)?;

        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(|e| Error::system("making an eventfd")(e.into()))?);
        let (sender, commands) = Commands::new(wake.clone());
        let (handle, events) = Handle::new(sender.clone());
        let run = move || {
            // Also when the session panics: the guardian must not wait for it for ever.
            let _finished = Finished(sender);
            session(handle);
        };
        std::thread::Builder::new()
            .name("session".to_owned())
            .spawn(run)
            .map_err(Error::system("starting the session"))?;
        Ok(Self {
            link,
            front,
            home,
            together,
            signals,
            wake,
            commands,
            events,
            terminal: Terminal::open(),
            core_limit,
            state: State::Waiting,
            program: None,
            hook: None,
            last_group: None,
            continued: false,
            session_over: false,
            plumbing: None,
            files: None,
            masked: Vec::new(),
            masked_earlier: VecDeque::new(),
            env: Environment::default(),
            grace: Duration::from_secs(10),
        })
    }

    fn attend(&mut self) -> Exit {
        loop {
            self.check_time();
            if let State::Over(exit) = self.state {
                return exit;
            }
            if let Err(error) = self.wait_for_something() {
                say(&format_args!("waiting for events failed: {error}"));
                return Exit::NOT_STARTED;
            }
            self.read_link();
            while let Some(signal) = sys::next_signal(&self.signals) {
                if signal.signal == libc::SIGCHLD {
                    self.reap();
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
        }
    }

    fn report(&self, exit: Exit) {
        self.link.send(match exit {
            Exit::Code(code) => Message::Code(i32::from(code)),
            Exit::Signal(signal) => Message::Signal(signal),
        });
    }

    fn wait_for_something(&self) -> io::Result<()> {
        let timeout = self.timeout();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&*self.wake, PollFlags::IN)];
        if self.front.is_some() {
            fds.push(PollFd::new(self.link.fd(), PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
        Ok(())
    }

    fn timeout(&self) -> Option<Timespec> {
        let wait = match &self.state {
            State::Waiting | State::Running => return None,
            State::Over(_) => Duration::ZERO,
            State::Ending { until, .. } if self.drained() => until.saturating_duration_since(Instant::now()),
            State::Ending { .. } => PERSISTENCE,
            State::Stopping { kill_at, .. } | State::Clearing { kill_at, .. } => {
                let left = kill_at.saturating_duration_since(Instant::now());
                if left.is_zero() { PERSISTENCE } else { left }
            }
        };
        Timespec::try_from(wait).ok()
    }

    /// Whatever is due.
    fn check_time(&mut self) {
        let now = Instant::now();
        match &self.state {
            State::Stopping { kill_at, .. } | State::Clearing { kill_at, .. } if now >= *kill_at => {
                if now.saturating_duration_since(*kill_at) > UNKILLABLE {
                    say(&"a process of the program cannot be killed and is left behind");
                    self.on_cleared();
                } else {
                    tree::signal_all(Signal::KILL, &Default::default());
                    self.reap();
                }
            }
            State::Ending { exit, until, .. } if (self.session_over && self.drained()) || now >= *until => {
                if !self.session_over {
                    say(&"the credentials could not be revoked in time; they end with their lease");
                }
                self.state = State::Over(*exit);
            }
            _ => {}
        }
    }

    fn drained(&self) -> bool {
        self.plumbing.as_ref().is_none_or(Plumbing::is_drained)
    }

    fn read_link(&mut self) {
        while self.front.is_some() {
            match self.link.receive() {
                Incoming::Nothing => return,
                Incoming::Closed => self.on_front_lost(),
                Incoming::Message(Message::Pass(signal)) => self.pass(signal),
                Incoming::Message(Message::Continue) => self.continue_program(),
                Incoming::Message(_) => {}
            }
        }
    }

    /// The front was killed. Nothing may live on.
    fn on_front_lost(&mut self) {
        self.front = None;
        let exit = Exit::Signal(libc::SIGKILL);
        match &mut self.state {
            State::Waiting => self.interrupt(exit),
            State::Running | State::Stopping { .. } => {
                self.state = State::Stopping { kill_at: Instant::now(), next: None };
            }
            State::Clearing { kill_at, then } => {
                *kill_at = Instant::now();
                *then = Then::End(exit);
            }
            State::Ending { .. } | State::Over(_) => {}
        }
        self.check_time();
    }

    /// A signal that the front received.
    fn pass(&mut self, signal: i32) {
        if let Some(program) = self.program {
            // It is our child and not yet reaped, so the number is still its own.
            let _ = sys::kill(program.as_raw_nonzero().get(), signal);
        }
        if !terminates(signal) {
            return;
        }
        match &mut self.state {
            State::Waiting => self.interrupt(Exit::Signal(signal)),
            State::Stopping { next, .. } => *next = None,
            State::Clearing { kill_at, then } => {
                *kill_at = Instant::now();
                if matches!(then, Then::Start(_)) {
                    *then = Then::End(Exit::Signal(signal));
                }
            }
            State::Ending { since, until, .. } => *until = (*until).min(Instant::now().max(*since + REVOCATION)),
            State::Running | State::Over(_) => {}
        }
    }

    fn interrupt(&mut self, exit: Exit) {
        self.tell(Event::Interrupted);
        self.state = ending(exit);
    }

    fn continue_program(&mut self) {
        if let Some(program) = self.program {
            self.continued = true;
            let _ = sys::kill(-program.as_raw_nonzero().get(), libc::SIGCONT);
        }
    }

    fn tell(&self, event: Event) {
        // A session that has ended has nobody to tell.
        let _ = self.events.send(event);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(spec) if matches!(self.state, State::Waiting) => self.launch(&spec),
            Command::Start(_) => {}
            Command::Replace(spec) => self.replace(spec),
            Command::Deliver(files) => {
                let done = self.deliver(&files).map_err(|error| chain(&error));
                self.tell(Event::Delivered(done));
            }
            Command::Signal(signal) => {
                if let Some(program) = self.program {
                    let _ = sys::kill(program.as_raw_nonzero().get(), signal);
                }
            }
            Command::Hook(command) => self.run_hook(&command),
            Command::Refuse(exit, message) => {
                if matches!(self.state, State::Waiting) {
                    say(&message);
                    self.end(exit);
                }
            }
            Command::Finished => self.on_session_over(),
        }
    }

    fn on_session_over(&mut self) {
        self.session_over = true;
        if matches!(self.state, State::Waiting) {
            // It gave up without a word, which only a fault of ours explains.
            say(&"the session ended before the program could be started");
            self.end(Exit::NOT_STARTED);
        }
    }

    fn replace(&mut self, spec: Box<Spec>) {
        match &mut self.state {
            State::Running => {
                if let Some(program) = self.program {
                    let _ = sys::kill(program.as_raw_nonzero().get(), spec.stop_signal);
                    // A stopped program could not follow.
                    let _ = sys::kill(program.as_raw_nonzero().get(), libc::SIGCONT);
                }
                self.state = State::Stopping { kill_at: Instant::now() + spec.stop_grace, next: Some(spec) };
            }
            State::Stopping { next: next @ Some(_), .. } => *next = Some(spec),
            State::Clearing { then: Then::Start(next), .. } => *next = spec,
            _ => {}
        }
    }

    fn launch(&mut self, spec: &Spec) {
        match self.try_launch(spec) {
            Ok(pid) => {
                self.program = Some(pid);
                self.last_group = Some(pid);
                self.continued = false;
                self.state = State::Running;
                self.link.send(Message::Started(pid.as_raw_nonzero().get()));
                self.tell(Event::Started);
            }
            Err(error) => {
                say(&chain(&error));
                self.end(error.exit());
            }
        }
    }

    fn try_launch(&mut self, spec: &Spec) -> Result<Pid, Error> {
        self.grace = spec.stop_grace;
        if self.plumbing.is_none() {
            self.plumbing = Some(Plumbing::new(spec.masking).map_err(Error::system("capturing output"))?);
        }
        self.mask(spec.secrets());
        if self.files.is_none() && !spec.files.is_empty() {
            let files = Files::open(spec.area);
            self.files = Some(files.map_err(|source| Error::Deliver { name: String::new(), source })?);
        }
        let mut env = spec.env.clone();
        let mut passed = Vec::new();
        if let Some(files) = &mut self.files {
            passed = files.deliver(&spec.files).map_err(|(name, source)| Error::Deliver { name, source })?;
            files.announce(&mut env);
        }
        let started = launch::launch(&spec.program, &spec.args, &env, &passed, &self.surroundings());
        self.env = env;
        started
    }

    fn surroundings(&self) -> Surroundings<'_> {
        let plumbing = self.plumbing.as_ref();
        Surroundings {
            group: if self.together { self.home.as_raw_nonzero().get() } else { 0 },
            terminal: self.terminal.as_ref().filter(|terminal| self.takes(terminal)).map(Terminal::fd),
            stdout: plumbing.and_then(Plumbing::stdout),
            stderr: plumbing.and_then(Plumbing::stderr),
            core_limit: self.core_limit,
        }
    }

    /// Whether the next program takes the foreground: from the front, or from the instance it replaces.
    fn takes(&self, terminal: &Terminal) -> bool {
        let holder = terminal.foreground();
        !self.together && holder.is_some() && (holder == Some(self.home) || holder == self.last_group)
    }

    /// `secrets` are the present ones from here on; those before them are not forgotten at once.
    fn mask(&mut self, secrets: Vec<Arc<SecretBytes>>) {
        self.masked_earlier.extend(std::mem::replace(&mut self.masked, secrets));
        let surplus = self.masked_earlier.len().saturating_sub(MASKED_EARLIER);
        self.masked_earlier.drain(..surplus);
        if let Some(plumbing) = &self.plumbing {
            let all: Vec<_> = self.masked.iter().chain(&self.masked_earlier).cloned().collect();
            plumbing.mask(&all);
        }
    }

    fn deliver(&mut self, files: &[File]) -> Result<(), Error> {
        let present = self.env.secrets().chain(files.iter().map(|file| file.content.clone())).collect();
        self.mask(present);
        let Some(place) = &mut self.files else { return Ok(()) };
        place.renew(files).map_err(|(name, source)| Error::Deliver { name, source })
    }

    fn run_hook(&mut self, command: &[OsString]) {
        let Some((program, args)) = command.split_first() else { return };
        if self.program.is_none() || self.hook.is_some() {
            return;
        }
        let around = Surroundings { group: 0, terminal: None, ..self.surroundings() };
        match launch::launch(program, args, &self.env, &[], &around) {
            Ok(pid) => self.hook = Some(pid),
            Err(error) => say(&format_args!("the rotation hook did not start: {}", chain(&error))),
        }
    }

    fn reap(&mut self) {
        loop {
            let options = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
            match rustix::process::wait(options) {
                Ok(Some((pid, status))) => self.on_change(pid, status),
                Ok(None) | Err(rustix::io::Errno::INTR) => return,
                // No child, and as we are the subreaper that means: no descendant.
                Err(_) => return self.on_childless(),
            }
        }
    }

    fn on_change(&mut self, pid: Pid, status: WaitStatus) {
        if self.hook == Some(pid) && (status.exited() || status.signaled()) {
            self.hook = None;
            if Exit::from(status) != Exit::Code(0) {
                say(&format_args!("the rotation hook failed: {:?}", Exit::from(status)));
            }
        }
        if self.program != Some(pid) {
            return;
        }
        if let Some(signal) = status.stopping_signal() {
            self.link.send(Message::Stopped(signal));
        } else if status.continued() {
            // Somebody else continued the program while the front is still stopped.
            if !std::mem::take(&mut self.continued)
                && !self.together
                && self.terminal.is_some()
                && let Some(front) = self.front
            {
                let _ = sys::kill(front.as_raw_nonzero().get(), libc::SIGCONT);
            }
        } else {
            self.program = None;
            self.on_program_ended(Exit::from(status));
        }
    }

    fn on_program_ended(&mut self, exit: Exit) {
        let then = match std::mem::replace(&mut self.state, State::Running) {
            State::Stopping { next: Some(spec), .. } => Then::Start(spec),
            _ => Then::End(exit),
        };
        let grace = if self.front.is_some() { self.grace } else { Duration::ZERO };
        self.state = State::Clearing { kill_at: Instant::now() + grace, then };
        // To those it left behind: with the program, their right to its secrets ends.
        if tree::signal_all(Signal::TERM, &Default::default()) > 0 {
            tree::signal_all(Signal::CONT, &Default::default());
        }
    }

    fn on_childless(&mut self) {
        if matches!(self.state, State::Clearing { .. }) {
            self.on_cleared();
        }
    }

    fn on_cleared(&mut self) {
        self.program = None;
        match std::mem::replace(&mut self.state, State::Running) {
            State::Clearing { then: Then::Start(spec), .. } if self.front.is_some() => self.launch(&spec),
            State::Clearing { then: Then::End(exit), .. } => self.end(exit),
            _ => self.end(Exit::Signal(libc::SIGKILL)),
        }
    }

    /// Nothing of the program lives: take back what it was given.
    fn end(&mut self, exit: Exit) {
        self.files = None;
        if let Some(plumbing) = &mut self.plumbing {
            plumbing.close();
        }
        self.tell(Event::Ended(exit));
        self.state = ending(exit);
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.files = None;
    }
}

fn ending(exit: Exit) -> State {
    let since = Instant::now();
    State::Ending { exit, since, until: since + LAST_WORDS }
}

/// Whether a signal ends a program that does not handle it.
fn terminates(signal: i32) -> bool {
    !matches!(
        signal,
        libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGURG
            | libc::SIGWINCH
            | libc::SIGSTOP
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
    )
}
