//! Captured output, end to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{io::Read as _, process::Stdio};

use kit::{Running, shell, unique, until};

const SECRET: &str = "s3cret/Value+with=odd&signs";

fn masked(script: &str) -> String {
    let output = shell(&["--env", &format!("SECRET={SECRET}")], script).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn output_that_does_not_go_to_a_terminal_is_masked() {
    assert_eq!(masked("echo \"[$SECRET]\""), "[***]\n");
    assert_eq!(masked("echo \"[$SECRET]\" >&2; echo ok"), "ok\n");
    let output = shell(&["--no-mask", "--env", &format!("SECRET={SECRET}")], "echo $SECRET").output().unwrap();
    assert_eq!(output.stdout, format!("{SECRET}\n").as_bytes());
}

#[test]
fn a_secret_written_in_two_pieces_is_masked_wherever_it_is_cut() {
    for at in 1..SECRET.len() {
        let (a, b) = SECRET.split_at(at);
        assert_eq!(masked(&format!("printf '<%s' '{a}'; printf '%s>' '{b}'")), "<***>", "cut at {at}");
    }
}

#[test]
fn the_order_of_both_streams_is_kept_when_they_go_to_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("log")).unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done";
    let mut command = shell(&["--env", "SECRET=something-long"], script);
    command.stdout(file.try_clone().unwrap()).stderr(file);
    assert!(command.status().unwrap().success());
    let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let expected: String = (1..=9).map(|i| format!("out {i}\nerr {i}\n")).collect();
    assert_eq!(text, expected);
}

#[test]
fn a_megabyte_of_any_bytes_passes_exactly_and_large_output_is_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bytes");
    let mut bytes = Vec::new();
    std::fs::File::open("/dev/urandom").unwrap().take(1 << 20).read_to_end(&mut bytes).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let output = shell(&["--env", "SECRET=not-in-there-surely"], &format!("cat {}", file.display())).output().unwrap();
    assert!(output.stdout == bytes);
}

#[test]
fn a_prompt_appears_although_it_may_be_the_beginning_of_a_secret() {
    let mut command = shell(&["--env", "SECRET=Password: abc"], "printf 'Password: '; read x; echo done");
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut prompt = [0; 10];
    running.stdout.read_exact(&mut prompt).unwrap();
    assert_eq!(&prompt, b"Password: ");
    drop(running.child.stdin.take());
    assert_eq!(running.rest(), "done\n");
}

#[test]
fn an_outsider_who_holds_the_pipe_does_not_hold_up_the_end() {
    // A process outside of the tree gets hold of the program's standard output.
    let mark = unique("MARK=holder");
    let (name, value) = mark.split_once('=').unwrap();
    let mut command = shell(&["--env", "SECRET=something-long"], "echo $$; read x; echo something-long; exit 3");
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let program = running.line();
    let holder = format!("exec 9>/proc/{program}/fd/1; exec sleep 1000");
    let mut holder = std::process::Command::new("sh").args(["-c", &holder]).env(name, value).spawn().unwrap();
    until("the pipe is held", || {
        let link = std::fs::read_link(format!("/proc/{}/fd/9", holder.id())).ok()?;
        link.to_str()?.starts_with("pipe:").then_some(())
    });
    drop(running.child.stdin.take());
    assert_eq!(running.rest(), "***\n");
    assert_eq!(running.wait().code(), Some(3));
    holder.kill().unwrap();
    holder.wait().unwrap();
}
