//! The calls that have no safe form: fork with exec, signal masks and dispositions, signalfd.
//!
//! One of the two modules of the workspace with `unsafe` in them; the other is the allocator in `secret`. Everything here is a thin, checked wrapper; decisions live
//! in `supervise`.

use std::{
    ffi::{CString, c_char, c_int},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::process::Pid;
use secret::Zeroizing;

/// One signal as signalfd reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) signal: i32,
    /// `si_code`: who made it.
    pub(crate) code: i32,
    /// The sending process, if a process sent it.
    pub(crate) sender: i32,
}

impl Received {
    /// Whether the kernel made it (the terminal driver, say), and no process sent it.
    pub(crate) fn is_from_kernel(&self) -> bool {
        self.code > 0
    }
}

/// Blocks every signal that can be blocked, in the calling thread and in those it will start.
pub(crate) fn block_signals() -> io::Result<()> {
    let all = every_signal();
    // SAFETY: `all` is initialised and outlives the call; the old mask is not asked for.
    let failed = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, ptr::null_mut()) };
    if failed == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failed)) }
}

/// A descriptor that reads as the blocked signals that arrive; not blocking, closed on exec.
pub(crate) fn signal_fd() -> io::Result<OwnedFd> {
    let all = every_signal();
    // SAFETY: `all` is initialised and outlives the call.
    let fd = unsafe { libc::signalfd(-1, &all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal that is waiting, if any.
pub(crate) fn next_signal(fd: &OwnedFd) -> Option<Received> {
    const SIZE: usize = size_of::<libc::signalfd_siginfo>();
    let mut bytes = [0u8; SIZE];
    loop {
        match rustix::io::read(fd, &mut bytes) {
            Ok(n) if n == SIZE => break,
            Err(rustix::io::Errno::INTR) => {}
            _ => return None,
        }
    }
    // The structure starts with four 32-bit words: signal, errno, code, pid.
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
    Some(Received { signal: word(0), code: word(8), sender: word(12) })
}

/// Sends `signal` to a process (`pid > 0`), to a group (`pid < 0`), or to the caller's own group (`0`).
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain integers; the kernel checks both.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The process group of the caller; `None` if it lies outside of the caller's PID namespace.
pub(crate) fn group() -> Option<Pid> {
    // SAFETY: no argument, and it cannot fail. (The safe wrapper asserts that the group has a number.)
    Pid::from_raw(unsafe { libc::getpgrp() })
}

/// Sends `signal` to this process, or to its whole group, and lets it take its default effect.
///
/// Returns once the effect is over: after a stop, that is after the continuation; never, if it kills. Where the
/// system shields the process from its default effect (process 1, orphaned groups) it returns at once.
pub(crate) fn suffer(signal: i32, whole_group: bool) {
    let target = if whole_group { 0 } else { rustix::process::getpid().as_raw_nonzero().get() };
    // SAFETY: all structures are zeroed or filled by the calls themselves before they are read; `signal` is checked by
    // the kernel. Only default dispositions are installed, so no handler of ours can run.
    unsafe {
        let mut default: libc::sigaction = MaybeUninit::zeroed().assume_init();
        default.sa_sigaction = libc::SIG_DFL;
        let mut before: libc::sigaction = MaybeUninit::zeroed().assume_init();
        libc::sigaction(signal, &default, &mut before);
        let mut one = MaybeUninit::uninit();
        libc::sigemptyset(one.as_mut_ptr());
        libc::sigaddset(one.as_mut_ptr(), signal);
        let one = one.assume_init();
        libc::kill(target, signal);
        // A pending signal is delivered before this call returns.
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &one, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_BLOCK, &one, ptr::null_mut());
        libc::sigaction(signal, &before, ptr::null_mut());
    }
}

/// Takes over a descriptor that was inherited under a known number. `None` if it is not open.
pub(crate) fn inherited(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_GETFD only looks.
    if fd <= 2 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open (checked above) and was passed to this process for this single taker.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(fd)
}

/// Gives the calling thread, and what it will fork, a mount namespace of its own.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS detaches this thread's view of the mounts (and its working directory) from the other threads;
    // no memory and no descriptor table is affected.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// All that a child needs, made before the fork, because after it memory must not be allocated.
pub(crate) struct Prepared<'a> {
    /// Where the program may be, in order.
    pub(crate) candidates: &'a [CString],
    pub(crate) argv: &'a [CString],
    /// `NAME=value` with the closing NUL.
    pub(crate) environment: &'a [Zeroizing<Vec<u8>>],
    /// The process group to join; 0 makes one of its own.
    pub(crate) group: i32,
    /// The terminal to move to the foreground of, before exec.
    pub(crate) terminal: Option<BorrowedFd<'a>>,
    pub(crate) stdout: Option<BorrowedFd<'a>>,
    pub(crate) stderr: Option<BorrowedFd<'a>>,
    /// Descriptors that stay open over exec under their present number.
    pub(crate) passed: &'a [RawFd],
    /// The core limit to restore: soft, hard.
    pub(crate) core_limit: (u64, u64),
}

/// Why a program did not start: the system's error, and which candidate it was about.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) error: io::Error,
    pub(crate) candidate: usize,
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self { error, candidate: usize::MAX }
    }
}

/// Starts a program as a child of the calling *thread*: when that thread ends, the kernel kills the child.
/// Call it from a thread that lives as long as the process. Returns once the program is running.
pub(crate) fn fork_exec(prepared: &Prepared<'_>) -> Result<Pid, NotStarted> {
    let argv = pointers(prepared.argv.iter().map(|a| a.as_ptr()));
    let environment = pointers(prepared.environment.iter().map(|e| e.as_ptr().cast::<c_char>()));
    let candidates: Vec<*const c_char> = prepared.candidates.iter().map(|c| c.as_ptr()).collect();
    let raw = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
    let (terminal, stdout, stderr) = (raw(prepared.terminal), raw(prepared.stdout), raw(prepared.stderr));
    let (told, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let parent = rustix::process::getpid().as_raw_nonzero().get();
    let core = libc::rlimit { rlim_cur: prepared.core_limit.0, rlim_max: prepared.core_limit.1 };

    // SAFETY: other threads exist, so between fork and exec the child may only make async-signal-safe calls on memory
    // that is already there. `become_program` does nothing else: no allocation, no lock, no panic.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error().into());
    }
    if pid == 0 {
        let plan = Plan {
            candidates: &candidates,
            argv: argv.as_ptr(),
            environment: environment.as_ptr(),
            group: prepared.group,
            terminal,
            stdout,
            stderr,
            passed: prepared.passed,
            core,
            parent,
            tell: tell.as_raw_fd(),
        };
        // SAFETY: this is the child of the fork above, and every pointer in `plan` points into live, NUL-terminated memory.
        unsafe { become_program(&plan) }
    }
    drop(tell);
    let child = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process id"))?;
    match failure(&told) {
        None => Ok(child),
        Some(not_started) => {
            // It is only waiting to be reaped.
            let _ = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
            Err(not_started)
        }
    }
}

struct Plan<'a> {
    candidates: &'a [*const c_char],
    argv: *const *const c_char,
    environment: *const *const c_char,
    group: i32,
    terminal: c_int,
    stdout: c_int,
    stderr: c_int,
    passed: &'a [RawFd],
    core: libc::rlimit,
    parent: i32,
    tell: c_int,
}

/// The child's side. SAFETY: only to be called in a freshly forked child, with a `plan` whose pointers are valid.
unsafe fn become_program(plan: &Plan<'_>) -> ! {
    // SAFETY: async-signal-safe calls only, on memory made before the fork.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != plan.parent {
            // The parent died between the fork and the line above, so its signal will not come.
            libc::_exit(128 + libc::SIGKILL);
        }
        libc::setpgid(0, plan.group);
        if plan.terminal >= 0 {
            // Allowed from the background because SIGTTOU is still blocked here.
            libc::tcsetpgrp(plan.terminal, libc::getpgrp());
        }
        if plan.stdout >= 0 {
            libc::dup2(plan.stdout, 1);
        }
        if plan.stderr >= 0 {
            libc::dup2(plan.stderr, 2);
        }
        for &fd in plan.passed {
            libc::fcntl(fd, libc::F_SETFD, 0);
        }
        libc::setrlimit(libc::RLIMIT_CORE, &plan.core);
        let mut default: libc::sigaction = MaybeUninit::zeroed().assume_init();
        default.sa_sigaction = libc::SIG_DFL;
        // Signals that were ignored when we were started stay ignored (nohup, background jobs); these two are ours.
        libc::sigaction(libc::SIGPIPE, &default, ptr::null_mut());
        libc::sigaction(libc::SIGCHLD, &default, ptr::null_mut());
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());

        let mut report = [libc::ENOENT, 0];
        for (index, &path) in plan.candidates.iter().enumerate() {
            libc::execve(path, plan.argv, plan.environment);
            let error = *libc::__errno_location();
            if error == libc::ENOENT || error == libc::ENOTDIR {
                continue;
            }
            report = [error, index as c_int];
            if error != libc::EACCES {
                break;
            }
        }
        libc::write(plan.tell, report.as_ptr().cast(), size_of_val(&report));
        libc::_exit(127)
    }
}

/// What the child reported, or `None` if exec closed the pipe.
fn failure(told: &OwnedFd) -> Option<NotStarted> {
    let mut bytes = [0u8; 8];
    let read = loop {
        match rustix::io::read(told, &mut bytes) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    match read {
        Ok(8) => {
            let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
            Some(NotStarted {
                error: io::Error::from_raw_os_error(word(0)),
                candidate: word(4).unsigned_abs() as usize,
            })
        }
        _ => None,
    }
}

fn pointers(items: impl Iterator<Item = *const c_char>) -> Vec<*const c_char> {
    items.chain(std::iter::once(ptr::null())).collect()
}

fn every_signal() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the whole set.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        all.assume_init()
    }
}
