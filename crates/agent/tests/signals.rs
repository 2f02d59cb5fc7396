//! Signals reach the program, and reach it once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{io::Write as _, process::Stdio};

use kit::{Running, ending, shell};

/// Prints the name of every signal it gets; ends at USR2.
const TELL: &str = "for s in HUP INT QUIT USR1 ALRM TERM WINCH; do trap \"echo $s\" $s; done; trap 'exit 7' USR2; \
                    echo ready; while :; do sleep 0.01; done";

#[test]
fn signals_are_forwarded_once() {
    let mut running = Running::start(&mut shell(&["--no-mask"], TELL));
    assert_eq!(running.line(), "ready");
    for signal in ["HUP", "INT", "QUIT", "USR1", "ALRM", "TERM", "WINCH"] {
        running.signal(signal);
        assert_eq!(running.line(), signal);
    }
    running.signal("USR2");
    assert_eq!(ending(running.wait()), (Some(7), None));
    assert_eq!(running.rest(), "", "nothing came twice");
}

#[test]
fn real_time_signals_are_forwarded_too() {
    let script = "trap 'echo RT; exit 4' RTMIN+3; echo ready; while :; do sleep 0.01; done";
    let mut command = kit::command(&["--no-mask", "--", "bash", "-c", script]);
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "ready");
    running.signal("RTMIN+3");
    assert_eq!(running.line(), "RT");
    assert_eq!(running.wait().code(), Some(4));
}

#[test]
fn a_signal_before_the_program_starts_is_not_lost() {
    for _ in 0..20 {
        let mut running = Running::start(&mut shell(&["--no-mask"], "sleep 100"));
        kit::until("the supervisor catches signals", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).ok()?;
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"))?;
            (u64::from_str_radix(blocked, 16).unwrap() & (1 << 14) != 0).then_some(())
        });
        running.signal("TERM");
        assert_eq!(ending(running.wait()), (None, Some(15)));
    }
}

#[test]
fn the_program_starts_with_no_signal_blocked_and_only_inherited_ones_ignored() {
    // 32 and 33 belong to the C library, which sets them in every process with threads.
    let sets = |output: std::process::Output| -> Vec<u64> {
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap() & !(3 << 31))
            .collect()
    };
    let script = "grep -E '^Sig(Blk|Ign):' /proc/self/status";
    let supervised = sets(shell(&["--no-mask"], script).output().unwrap());
    let bare = sets(std::process::Command::new("sh").args(["-c", script]).output().unwrap());
    assert_eq!(supervised, bare);
    assert_eq!(supervised[0], 0);

    let nohup = format!(
        "trap '' HUP; exec {} --no-mask -- {}",
        kit::supervise().display(),
        "grep -E ^SigIgn: /proc/self/status"
    );
    let output = std::process::Command::new("sh").args(["-c", &nohup]).output().unwrap();
    assert_eq!(sets(output)[0] & 1, 1, "SIGHUP stays ignored");
}

#[test]
fn nobody_reading_ends_the_program_and_not_the_supervisor() {
    for options in [["--mask"], ["--no-mask"]] {
        let mut running = Running::start(&mut shell(&options, "while :; do echo line; done"));
        assert_eq!(running.line(), "line");
        let (reader, _) = std::io::pipe().unwrap();
        drop(std::mem::replace(&mut running.stdout, std::io::BufReader::new(reader_into(reader))));
        assert_eq!(ending(running.wait()), (None, Some(13)), "{options:?}");
    }
}

fn reader_into(reader: std::io::PipeReader) -> std::process::ChildStdout {
    std::process::ChildStdout::from(std::os::fd::OwnedFd::from(reader))
}

#[test]
fn a_closed_standard_error_does_not_end_the_supervisor() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = kit::command(&["--", "strongroom-no-such-program"]).stderr(Stdio::from(writer)).status().unwrap();
    assert_eq!(ending(status), (Some(127), None));
}

#[test]
fn a_stopped_program_is_continued_through_the_supervisor() {
    let mut running = Running::start(shell(&["--no-mask"], "echo $$; read x; echo got $x").stdin(Stdio::piped()));
    let program: i32 = running.line().parse().unwrap();
    running.signal("TSTP");
    kit::until("the program is stopped", || (kit::state(program) == Some('T')).then_some(()));
    running.signal("CONT");
    kit::until("the program runs again", || (kit::state(program) != Some('T')).then_some(()));
    writeln!(running.child.stdin.take().unwrap(), "it").unwrap();
    assert_eq!(running.line(), "got it");
    assert_eq!(running.wait().code(), Some(0));
}
