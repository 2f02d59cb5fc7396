//! All processes below one.

use std::collections::{HashMap, HashSet};

use rustix::process::{Pid, PidfdFlags, Signal};

/// What `/proc/PID/stat` says about one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    /// In clock ticks since boot: tells a process from a later one with the same id.
    started: u64,
    zombie: bool,
}

/// One process, told from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    started: u64,
}

/// Every living process that descends from `root`, itself not included. Empty where `/proc` cannot be read.
pub(crate) fn descendants(root: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<(i32, Stat)>> = HashMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for &(pid, stat) in children.get(&parent).into_iter().flatten() {
            if seen.insert(pid) {
                open.push(pid);
                if !stat.zombie {
                    found.push(Process { pid, started: stat.started });
                }
            }
        }
    }
    found
}

/// Sends `signal` to every living descendant of this process, except those in `spared` and what is below them.
/// Returns how many there were.
pub(crate) fn signal_all(signal: Signal, spared: &HashSet<Process>) -> usize {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let mut count = 0;
    for process in descendants(me) {
        if !spared.contains(&process) {
            count += 1;
            send(process, signal);
        }
    }
    count
}

/// Sends through a pidfd, so that a process id that was taken over by a stranger in the meantime is not hit.
fn send(process: Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => {
            if stat(process.pid).is_some_and(|now| now.started == process.started) {
                let _ = rustix::process::pidfd_send_signal(&fd, signal);
            }
        }
        Err(rustix::io::Errno::SRCH) => {}
        Err(_) => {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command name may hold anything, spaces and brackets included, so the fields are counted from its last bracket.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { parent, started, zombie: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_does_not_confuse_the_parser() {
        let line = "42 (a) S 1 (b) R 7 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1 18446744073709551615";
        assert_eq!(parse(line), Some(Stat { parent: 7, started: 12345, zombie: false }));
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn this_process_is_below_its_parent() {
        let me = std::process::id() as i32;
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        assert!(descendants(parent).iter().any(|process| process.pid == me));
    }
}
