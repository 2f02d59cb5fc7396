//! On a terminal the supervisor is not noticed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use kit::{has, pty::Pty, skip, supervise};

fn line(rest: &str) -> String {
    format!("{} {rest}", supervise().display())
}

#[test]
fn ctrl_c_is_delivered_once() {
    let script = "n=0; trap 'n=$((n+1)); echo int $n.' INT; trap 'echo total $n.; exit 6' USR1; echo $$ ready; while :; do sleep 0.02; done";
    let mut pty = Pty::start(&[supervise().to_str().unwrap(), "--", "bash", "-c", script]);
    pty.expect(" ready");
    pty.type_in("\x03");
    pty.expect("int 1.");
    kit::kill(i32::try_from(pty.child.id()).unwrap(), "USR1");
    pty.expect("total 1.");
    assert_eq!(pty.wait().code(), Some(6));
}

#[test]
fn ctrl_c_ends_the_program_and_the_shell_sees_it() {
    let mut pty = Pty::bash();
    pty.command(&line("-- sleep 100"));
    let guardian = guardian_of_shell(&pty);
    kit::until("the program sleeps", || child_named(guardian, "sleep"));
    pty.type_in("\x03");
    pty.expect("prompt> ");
    pty.command("echo rc=$?");
    pty.expect("rc=130");
}

#[test]
fn ctrl_z_stops_and_fg_and_bg_continue() {
    let mut pty = Pty::bash();
    pty.command(&line("-- sh -c 'echo begin; while read x; do echo got $x; done; echo end'"));
    pty.expect("begin");
    for word in ["one", "two"] {
        pty.type_in("\x1a");
        pty.expect("Stopped");
        pty.expect("prompt> ");
        pty.command("fg");
        pty.type_in(&format!("{word}\n"));
        pty.expect(&format!("got {word}"));
    }
    pty.type_in("\x1a");
    pty.expect("Stopped");
    pty.expect("prompt> ");
    // In the background it wants to read, and is stopped for it.
    pty.command("bg");
    pty.expect("prompt> ");
    expect_stopped_job(&pty);
    pty.command("fg");
    pty.type_in("three\n");
    pty.expect("got three");
    pty.type_in("\x04");
    pty.expect("end");
    pty.expect("prompt> ");
    pty.command("echo rc=$?");
    pty.expect("rc=0");
}

#[test]
fn a_background_job_gets_the_terminal_when_it_is_brought_to_the_front() {
    let mut pty = Pty::bash();
    pty.command(&line("-- sh -c 'read x; echo got $x' &"));
    pty.expect("prompt> ");
    // Brought to the front while it is just being stopped, a job stays stopped, with or without a supervisor.
    expect_stopped_job(&pty);
    pty.command("fg");
    pty.type_in("it\n");
    pty.expect("got it");
    pty.expect("prompt> ");
    pty.command("cat");
    pty.type_in("the shell has its terminal back\n");
    pty.expect("the shell has its terminal back\r\nthe shell");
    pty.type_in("\x03");
    pty.expect("prompt> ");
}

#[test]
fn in_a_pipeline_the_neighbours_keep_the_terminal() {
    let mut pty = Pty::bash();
    // The last command is `read`, too: a shell that is just starting another program is not stopped at that moment,
    // with or without a supervisor.
    pty.command(&line(
        "-- sh -c 'echo ask; read x </dev/tty; echo got $x; read x </dev/tty; echo again $x; read x </dev/tty' | cat",
    ));
    pty.expect("ask");
    pty.type_in("it\n");
    pty.expect("got it");
    pty.type_in("\x1a");
    pty.expect("Stopped");
    pty.expect("prompt> ");
    pty.command("fg");
    pty.type_in("more\n");
    pty.expect("again more");
    pty.type_in("\x03");
    pty.expect("prompt> ");
    pty.command("echo rc=${PIPESTATUS[0]}");
    pty.expect("rc=130");
}

#[test]
fn the_shell_is_left_with_a_working_terminal_even_if_the_program_is_killed() {
    let mut pty = Pty::bash();
    pty.command(&line("-- sh -c 'kill -9 $$'"));
    pty.expect("prompt> ");
    pty.command("echo rc=$?");
    pty.expect("rc=137");
    pty.command("read y; echo read $y");
    pty.type_in("on\n");
    pty.expect("read on");
}

#[test]
fn full_screen_programs_work() {
    if !has("vim") || !has("less") {
        return skip("vim or less is not installed");
    }
    let mut pty = Pty::bash();
    pty.command(&line("-- vim -u NONE -N -i NONE -n"));
    pty.expect("~");
    pty.type_in("ihello\x1b");
    pty.type_in("\x1a");
    pty.expect("Stopped");
    pty.expect("prompt> ");
    pty.command("fg");
    pty.expect("hello");
    pty.type_in(":cquit 5\r");
    pty.expect("prompt> ");
    pty.command("echo rc=$?");
    pty.expect("rc=5");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text");
    let text: String = (1..=200).map(|n| format!("row {n}.\n")).collect();
    std::fs::write(&file, text).unwrap();
    pty.command(&line(&format!("-- less {}", file.display())));
    pty.expect("row 20.");
    pty.type_in("G");
    pty.expect("row 200.");
    pty.type_in("q");
    pty.expect("prompt> ");
    pty.command("echo rc=$?");
    pty.expect("rc=0");
}

#[test]
fn a_restart_keeps_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control");
    assert!(std::process::Command::new("mkfifo").arg(&control).status().unwrap().success());
    let mut pty = Pty::bash();
    let script = "echo value $V.; while read x; do echo got $x; done";
    pty.command(&line(&format!("--env V=first --control {} -- sh -c '{script}'", control.display())));
    pty.expect("value first.");
    std::fs::write(&control, "replace V=second\n").unwrap();
    pty.expect("value second.");
    pty.type_in("it\n");
    pty.expect("got it");
    pty.type_in("\x03");
    pty.expect("prompt> ");
    pty.command("echo rc=$?");
    pty.expect("rc=130");
}

fn expect_stopped_job(pty: &Pty) {
    let shell = pty.child.id();
    kit::until("the background job is stopped", || {
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?;
        (kit::state(children.split_whitespace().next()?.parse().ok()?) == Some('T')).then_some(())
    });
}

fn guardian_of_shell(pty: &Pty) -> i32 {
    let shell = pty.child.id();
    let front = kit::until("the supervisor runs", || {
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    kit::guardian(front)
}

fn child_named(parent: i32, name: &str) -> Option<()> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let named = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    children.split_whitespace().any(named).then_some(())
}
