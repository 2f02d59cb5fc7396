//! The supervisor ends as the program ended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use kit::{command, ending, run, shell, until};

#[test]
fn every_exit_code_is_the_programs() {
    for code in 0..=255 {
        let output = run(&["--no-mask", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(ending(output.status), (Some(code), None));
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn every_signal_has_the_effect_it_has_on_a_bare_shell() {
    for signal in 1..=31 {
        let script = format!("kill -{signal} $$; exit 3");
        let bare = outcome(Command::new("sh").args(["-c", &script]), None);
        let supervised = outcome(&mut shell(&["--no-mask"], &script), Some(()));
        assert_eq!(supervised, bare, "signal {signal}");
    }
}

/// Continues it if it stops.
fn outcome(command: &mut Command, supervised: Option<()>) -> (Option<i32>, Option<i32>) {
    let mut child = command.spawn().unwrap();
    let front = i32::try_from(child.id()).unwrap();
    let program = || match supervised {
        None => Some(front),
        Some(()) => {
            let children = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let guardian = children(front).ok()?.split_whitespace().next()?.parse().ok()?;
            children(guardian).ok()?.split_whitespace().next()?.parse().ok()
        }
    };
    let status = until("the program ends", || {
        if program().and_then(kit::state) == Some('T') {
            kit::kill(front, "CONT");
        }
        child.try_wait().unwrap()
    });
    ending(status)
}

#[test]
fn what_cannot_be_executed_is_reported_as_a_shell_does() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        kit::write_program(&path, content);
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", b"text");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
    let binary = file("binary", b"\x7fELF\0\0\0\0 broken");
    let script = file("script", b"exit 9");
    let interpreter = file("interpreter", b"#!/no/such/interpreter\n");
    let table = [
        ("strongroom-no-such-program", 127),
        ("/no/such/program", 127),
        (interpreter.as_str(), 127),
        ("", 127),
        (plain.as_str(), 126),
        ("/etc", 126),
        (binary.as_str(), 126),
        (script.as_str(), 9),
    ];
    for (program, code) in table {
        let output = run(&["--", program]);
        assert_eq!(ending(output.status), (Some(code), None), "{program:?}: {output:?}");
        assert_eq!(output.stderr.is_empty(), code == 9, "{program:?}: {output:?}");
    }
}

#[test]
fn a_program_found_first_but_not_executable_does_not_hide_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    for (dir, mode) in [(&first, 0o644), (&second, 0o755)] {
        std::fs::create_dir(dir).unwrap();
        kit::write_program(&dir.join("tool"), b"#!/bin/sh\nexit 5\n");
        std::fs::set_permissions(dir.join("tool"), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = format!("{}:{}", first.display(), second.display());
    let status = command(&["--", "tool"]).env("PATH", &path).status().unwrap();
    assert_eq!(status.code(), Some(5));
    let status = command(&["--", "tool"]).env("PATH", &first).status().unwrap();
    assert_eq!(status.code(), Some(126));
}

#[test]
fn a_secret_that_cannot_be_had_is_125_and_the_program_never_starts() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("started");
    let output = run(&["--refuse", "--", "touch", trace.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "strongroom: kv/app: no such secret\n");
    assert!(!trace.exists());
}

#[test]
fn a_guardian_started_by_hand_says_so() {
    let output = Command::new(kit::supervise()).args(["guardian", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not by hand"));
}

#[test]
fn arguments_reach_the_program_without_a_shell() {
    let output = run(&["--no-mask", "--", "printf", "%s|", "a b", "$HOME", "*", "", "--", ";"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|$HOME|*||--|;|");
}
