//! Nothing of the program lives longer than its supervisor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kit::{Running, ending, guardian, marked, shell, unique, until};

/// A tree with everything in it that likes to survive: daemons with sessions of their own, double forks, deaf ones.
const TREE: &str = r#"
    setsid sh -c 'trap "" TERM HUP INT; sleep 1000' &
    (setsid sh -c '(sleep 1000 &); exec sleep 1000' &)
    ( ( trap "" TERM; sleep 1000 & ) & )
    sh -c 'while :; do sleep 0.01; done' &
    for i in 1 2 3 4 5; do (sleep 1000 &); done
    echo ready
    trap "" TERM
    sleep 1000
"#;

fn tree() -> (Running, String) {
    let mark = unique("MARK=tree");
    let (name, value) = mark.split_once('=').unwrap();
    let mut running = Running::start(shell(&["--no-mask"], TREE).env(name, value));
    assert_eq!(running.line(), "ready");
    until("the whole tree is there", || (marked(&mark).len() >= 13).then_some(()));
    (running, mark)
}

fn assert_all_gone(mark: &str) {
    // Nothing of it would end by itself in that time.
    until("the whole tree is gone", || marked(mark).is_empty().then_some(()));
}

#[test]
fn killing_the_supervisor_leaves_nothing() {
    for _ in 0..5 {
        let (mut running, mark) = tree();
        running.child.kill().unwrap();
        assert_all_gone(&mark);
    }
}

#[test]
fn killing_the_guardian_leaves_nothing_and_is_reported() {
    let (mut running, mark) = tree();
    kit::kill(guardian(running.pid()), "KILL");
    assert_all_gone(&mark);
    assert_eq!(ending(running.wait()), (None, Some(9)));
}

#[test]
fn killing_both_at_once_ends_the_program() {
    let mark = unique("MARK=both");
    let (name, value) = mark.split_once('=').unwrap();
    let mut running = Running::start(shell(&["--no-mask"], "echo ready; exec sleep 1000").env(name, value));
    assert_eq!(running.line(), "ready");
    let guardian = guardian(running.pid());
    kit::kill(running.pid(), "STOP");
    kit::kill(guardian, "KILL");
    running.child.kill().unwrap();
    assert_all_gone(&mark);
}

#[test]
fn a_stopped_guardian_clears_away_too() {
    let (mut running, mark) = tree();
    kit::kill(guardian(running.pid()), "STOP");
    running.child.kill().unwrap();
    assert_all_gone(&mark);
}

#[test]
fn killing_the_supervisors_group_leaves_nothing() {
    use std::os::unix::process::CommandExt as _;
    let mark = unique("MARK=group");
    let (name, value) = mark.split_once('=').unwrap();
    let mut running = Running::start(shell(&["--no-mask"], TREE).env(name, value).process_group(0));
    assert_eq!(running.line(), "ready");
    kit::kill(-running.pid(), "KILL");
    assert_all_gone(&mark);
    running.wait();
}

#[test]
fn what_the_program_leaves_behind_ends_with_it() {
    let mark = unique("MARK=left");
    let (name, value) = mark.split_once('=').unwrap();
    let script =
        "setsid sh -c 'trap \"echo asked; exit\" TERM; echo up; while :; do sleep 0.01; done' & read x; exit 11";
    let mut command = shell(&["--no-mask"], script);
    let mut running = Running::start(command.env(name, value).stdin(Stdio::piped()));
    assert_eq!(running.line(), "up");
    drop(running.child.stdin.take());
    assert_eq!(running.line(), "asked");
    assert_eq!(running.wait().code(), Some(11));
    assert!(marked(&mark).is_empty());
}

#[test]
fn what_does_not_end_when_asked_is_killed_after_the_grace() {
    let mark = unique("MARK=deaf");
    let (name, value) = mark.split_once('=').unwrap();
    let script = "setsid sh -c 'trap \"\" TERM; echo up; sleep 1000' & read x; exit 12";
    let mut command = shell(&["--no-mask", "--grace", "300"], script);
    let mut running = Running::start(command.env(name, value).stdin(Stdio::piped()));
    assert_eq!(running.line(), "up");
    let start = Instant::now();
    drop(running.child.stdin.take());
    assert_eq!(running.wait().code(), Some(12));
    assert!(start.elapsed() >= Duration::from_millis(300), "it was given its time");
    assert!(marked(&mark).is_empty());
}

#[test]
fn orphans_are_reaped() {
    let script = "i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; echo done; read x; exit 0";
    let mut running = Running::start(shell(&["--no-mask"], script).stdin(Stdio::piped()));
    assert_eq!(running.line(), "done");
    let guardian = guardian(running.pid());
    until("only the program is left", || {
        let children = std::fs::read_to_string(format!("/proc/{guardian}/task/{guardian}/children")).unwrap();
        (children.split_whitespace().count() == 1).then_some(())
    });
    drop(running.child.stdin.take());
    assert_eq!(running.wait().code(), Some(0));
}

/// `supervise` as process 1 of a PID namespace of its own.
fn as_init(options: &[&str], script: &str) -> Option<Command> {
    let probe = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).status();
    if !kit::is_root() || !probe.is_ok_and(|status| status.success()) {
        kit::skip("a PID namespace needs root");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(kit::supervise()).args(options);
    command.args(["--", "sh", "-c", script]).stdin(Stdio::null());
    Some(command)
}

#[test]
fn as_process_1_it_reaps_a_thousand_orphans_and_returns_the_code() {
    let script = "i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done; \
                  n=1; while [ $n -gt 0 ]; do n=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l); done; \
                  echo $(cat /proc/1/comm) $n; exit 42";
    let Some(mut command) = as_init(&["--no-mask"], script) else { return };
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "supervise 0\n", "{output:?}");
    assert_eq!(output.status.code(), Some(42));
}

#[test]
fn as_process_1_it_reports_a_deadly_signal_as_a_code() {
    let Some(mut command) = as_init(&["--no-mask"], "kill -TERM $$") else { return };
    assert_eq!(command.status().unwrap().code(), Some(143));
}

#[test]
fn as_process_1_it_forwards_signals_and_kills_stragglers() {
    let mark = unique("MARK=init");
    let (name, value) = mark.split_once('=').unwrap();
    let script = "setsid sh -c 'trap \"\" TERM; sleep 1000' & trap 'echo term; exit 33' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    let Some(mut command) = as_init(&["--no-mask", "--grace", "200"], script) else { return };
    let mut running = Running::start(command.env(name, value));
    assert_eq!(running.line(), "ready");
    let unshare = running.pid();
    let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
    kit::kill(children.trim().parse().unwrap(), "TERM");
    assert_eq!(running.line(), "term");
    assert_eq!(running.wait().code(), Some(33));
    assert!(marked(&mark).is_empty());
}
