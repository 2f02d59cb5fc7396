//! What the program is given, and what nobody else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use kit::{Running, guardian, is_root, shell, skip, unique, until};

#[test]
fn the_environment_is_the_callers_without_the_callers_credentials() {
    let mut command = shell(&["--no-mask", "--env", "DB_PASSWORD=marker-one"], "env");
    command.env("VAULT_TOKEN", "t").env("STRONGROOM_ADDR", "a").env("VAULT_SECRET_ID_FILE", "f").env("KEPT", "yes");
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"DB_PASSWORD=marker-one") && lines.contains(&"KEPT=yes"));
    for withheld in ["VAULT_TOKEN", "STRONGROOM_", "VAULT_SECRET_ID_FILE"] {
        assert!(!lines.iter().any(|line| line.starts_with(withheld)), "{withheld}");
    }
}

#[test]
fn the_supervisor_has_no_secret_in_its_own_environment_and_leaves_no_core() {
    let mark = unique("marker");
    let mut command = shell(&["--no-mask", "--env", &format!("SECRET={mark}")], "echo $SECRET; ulimit -S -c; read x");
    let mut running = Running::start(command.stdin(Stdio::piped()));
    assert_eq!(running.line(), mark);
    let own = Command::new("sh").args(["-c", "ulimit -S -c"]).output().unwrap();
    assert_eq!(running.line(), String::from_utf8_lossy(&own.stdout).trim(), "the program's core limit is the caller's");
    for pid in [running.pid(), guardian(running.pid())] {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!environ.windows(mark.len()).any(|window| window == mark.as_bytes()));
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        // Not dumpable: its files in /proc belong to root whoever runs it.
        assert_eq!(std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
    }
}

#[test]
fn files_are_private_read_only_and_gone_afterwards() {
    for area in ["auto", "directory"] {
        let script = "cd $STRONGROOM_FILES; stat -L -c '%a %F' . key.pem; cat $KEY_PEM; echo; ls -A; pwd; read x";
        let mut command = shell(&["--no-mask", "--area", area, "--file", "key.pem=the content"], script);
        let mut running = Running::start(command.stdin(Stdio::piped()));
        assert_eq!(running.line(), "700 directory");
        assert_eq!(running.line(), "400 regular file");
        assert_eq!(running.line(), "the content");
        assert_eq!([running.line(), running.line(), running.line()], ["..1", "..data", "key.pem"]);
        let root = PathBuf::from(running.line());
        if area == "auto" && is_root() {
            assert!(!root.join("key.pem").exists(), "the mount is seen by the program alone");
        }
        drop(running.child.stdin.take());
        running.wait();
        assert!(!root.exists(), "{}", root.display());
    }
}

#[test]
fn files_are_gone_after_either_half_of_the_supervisor_is_killed() {
    for kill_front in [true, false] {
        let script = "echo $STRONGROOM_FILES; exec sleep 1000";
        let mut running =
            Running::start(&mut shell(&["--no-mask", "--area", "directory", "--file", "a=content"], script));
        let root = PathBuf::from(running.line());
        assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "content");
        let guardian = guardian(running.pid());
        if kill_front {
            running.child.kill().unwrap();
        } else {
            kit::kill(guardian, "KILL");
        }
        until("the directory is gone", || (!root.exists()).then_some(()));
    }
}

#[test]
fn sealed_memory_is_read_by_its_path_and_not_written() {
    let script = "cat $BLOB; echo; cat $BLOB; echo; (echo no >$BLOB) 2>/dev/null || echo refused";
    let output = shell(&["--no-mask", "--memfd", "blob=the content"], script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the content\nthe content\nrefused\n");
}

#[test]
fn no_other_descriptor_is_leaked_and_inherited_ones_are_kept() {
    let open = |prefix: &str| -> Vec<String> {
        let script = format!("exec {prefix} ls /proc/self/fd 7<&0");
        let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let supervise = format!("{} --no-mask --memfd blob=x --", kit::supervise().display());
    let mut expected = open("");
    expected.push("20".to_owned());
    expected.sort();
    assert_eq!(open(&supervise), expected);
}

#[test]
fn a_file_elsewhere_is_placed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let file = dir.join("app.conf");
    let option = format!("{}=the content", file.display());
    let script = format!("stat -c '%a' {0}; cat {0}", file.display());
    let output = shell(&["--no-mask", "--path", &option], &script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "400\nthe content");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "neither the file nor a temporary one is left");
}

#[test]
fn a_file_elsewhere_is_refused_where_it_could_do_harm() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    std::fs::create_dir(dir.join("real")).unwrap();
    std::os::unix::fs::symlink(dir.join("real"), dir.join("link")).unwrap();
    std::fs::write(dir.join("theirs"), "precious").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("dangling")).unwrap();
    for (name, why) in [
        ("link/a", "symbolic link"),
        ("absent/a", "does not exist"),
        ("theirs", "exists"),
        ("dangling", "exists"),
        ("real/../a", ".."),
    ] {
        let option = format!("{}=the content", dir.join(name).display());
        let output = shell(&["--no-mask", "--path", &option], "echo started").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{name}: {error}");
        assert!(error.contains(why) && output.stdout.is_empty() && !error.contains("the content"), "{name}: {error}");
    }
    assert_eq!(std::fs::read_to_string(dir.join("theirs")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(dir.join("real")).unwrap().count(), 0);
}

/// A FIFO that steers the session.
fn control(dir: &Path) -> (String, std::fs::File) {
    let path = dir.join("control");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    (path.to_str().unwrap().to_owned(), file)
}

/// Tells a thread to end when this is dropped, also if the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_reader_never_sees_a_partial_or_open_file_while_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut control) = control(dir.path());
    let value = |n: usize| format!("{n:04}").repeat(512);
    let script =
        "echo $STRONGROOM_FILES; trap 'cut -c1-4 $STRONGROOM_FILES/v; echo' USR1; while :; do sleep 0.005; done";
    let first = format!("v={}", value(0));
    let mut command = shell(&["--no-mask", "--area", "directory", "--control", &path, "--file", &first], script);
    let mut running = Running::start(&mut command);
    let file = PathBuf::from(running.line()).join("v");
    let (reads, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let shown = || std::fs::read_to_string(&file).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let text = shown();
                assert!(text.len() == 2048 && text == text[..4].repeat(512), "{} bytes", text.len());
                assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _over = Over(&stop);
        let until = |what: &str, is: &dyn Fn() -> bool| {
            until(what, || (reader.is_finished() || is()).then_some(()));
            assert!(!reader.is_finished(), "the reader has failed, waiting until {what}");
        };
        // Changes are made by the handful: a reader that has followed the link finds the file through so many of them,
        // and a busy machine may stop it there for as long as it likes.
        for handful in 0..25 {
            for n in handful * 8 + 1..=handful * 8 + 8 {
                writeln!(control, "deliver v={}", value(n)).unwrap();
            }
            until("the last value is there", &|| shown() == value(handful * 8 + 8));
            let before = reads.load(Ordering::Relaxed);
            until("it was read", &|| reads.load(Ordering::Relaxed) >= before + 2);
        }
    });
    writeln!(control, "signal 10").unwrap();
    assert_eq!(running.line(), "0200");
}

#[test]
fn a_rotation_restarts_the_program_once_with_the_new_value() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut control) = control(dir.path());
    let script = "trap 'echo stopping $V; exit 0' TERM; echo started $V; while :; do sleep 0.01; done";
    let mut command = shell(&["--no-mask", "--control", &path, "--env", "V=old"], script);
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "started old");
    writeln!(control, "replace V=new").unwrap();
    assert_eq!(running.line(), "stopping old");
    assert_eq!(running.line(), "started new");
    running.signal("TERM");
    assert_eq!(running.line(), "stopping new");
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(running.rest(), "");
}

#[test]
fn a_program_that_does_not_stop_for_a_rotation_is_killed_with_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut control) = control(dir.path());
    let mark = unique("MARK=deaf");
    let (name, value) = mark.split_once('=').unwrap();
    let script = "trap '' TERM; (setsid sleep 1000 &); echo $$ $V; if [ $V = old ]; then sleep 1000; else exit 8; fi";
    let mut command = shell(&["--no-mask", "--grace", "100", "--control", &path, "--env", "V=old"], script);
    let mut running = Running::start(command.env(name, value));
    assert!(running.line().ends_with(" old"));
    writeln!(control, "replace V=new").unwrap();
    assert!(running.line().ends_with(" new"));
    assert_eq!(running.wait().code(), Some(8));
    assert!(kit::marked(&mark).is_empty());
}

#[test]
fn a_user_who_ends_the_program_during_a_restart_is_heard() {
    // Asked to end for the restart, the program goes on until the user's signal ends it, or ends what it waits for.
    for (trap, ending) in [("", (None, Some(2))), ("trap : INT;", (Some(9), None))] {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut control) = control(dir.path());
        let gate = dir.path().join("gate");
        assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
        let script = format!(
            "exec 3<>{}; {trap} trap 'echo asked; read y <&3; exit 9' TERM; echo $V; while :; do sleep 0.01; done",
            gate.display()
        );
        let options = ["--no-mask", "--grace", "600000", "--control", &path, "--env", "V=old"];
        let mut running = Running::start(&mut shell(&options, &script));
        assert_eq!(running.line(), "old");
        writeln!(control, "replace V=new").unwrap();
        assert_eq!(running.line(), "asked");
        running.signal("INT");
        assert_eq!(kit::ending(running.wait()), ending);
        assert_eq!(running.rest(), "");
    }
}

#[test]
fn a_hook_runs_beside_the_program_and_may_fail() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut control) = control(dir.path());
    let mut command =
        shell(&["--no-mask", "--control", &path], "trap 'echo hooked' USR1; echo $$; while :; do sleep 0.01; done");
    let mut running = Running::start(command.stderr(Stdio::piped()));
    let program = running.line();
    writeln!(control, "hook exit 3").unwrap();
    let mut stderr = std::io::BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    assert!(line.contains("hook failed"), "{line}");
    writeln!(control, "hook kill -USR1 {program}").unwrap();
    assert_eq!(running.line(), "hooked");
}

#[test]
fn it_works_for_a_user_without_rights() {
    let copied = tempfile::tempdir().unwrap();
    let copy = copied.path().join("supervise");
    kit::write_program(&copy, &std::fs::read(kit::supervise()).unwrap());
    std::fs::set_permissions(copied.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    if !is_root() || !kit::has("setpriv") {
        return skip("dropping rights needs root and setpriv");
    }
    let script = "id -u; cat $A; echo; cat $B; echo; stat -L -c %a $STRONGROOM_FILES; setsid sleep 1000 & exit 5";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(copy);
    command.args(["--no-mask", "--file", "a=content-a", "--memfd", "b=content-b", "--", "sh", "-c", script]);
    let output = command.env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "65534\ncontent-a\ncontent-b\n700\n", "{output:?}");
    assert_eq!(output.status.code(), Some(5));
}
