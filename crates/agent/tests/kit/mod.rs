//! What the tests of the supervisor share: the supervisor itself, its process trees, and terminals.
#![allow(dead_code, unreachable_pub, clippy::print_stderr)]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write as _},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

pub mod pty;

/// The `supervise` example, which `cargo test` builds beside the tests, but `cargo test --test NAME` does not.
pub fn supervise() -> PathBuf {
    const REMEDY: &str = "run `cargo build -p strongroom-agent --examples`";
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/supervise");
    let built = std::fs::metadata(&path).and_then(|meta| meta.modified());
    let built = built.unwrap_or_else(|_| panic!("{} is missing; {REMEDY}", path.display()));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src/supervise", "src/deliver", "src/mask", "src", "examples"] {
        for file in std::fs::read_dir(sources.join(folder)).into_iter().flatten().flatten() {
            let changed = file.metadata().unwrap().modified().unwrap();
            let is_source = file.path().extension().is_some_and(|extension| extension == "rs");
            assert!(!is_source || changed <= built, "{} is older than {:?}; {REMEDY}", path.display(), file.path());
        }
    }
    path
}

/// `supervise ARGS`, without a terminal.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(supervise());
    command.args(args).stdin(Stdio::null());
    command
}

pub fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// `supervise OPTIONS -- sh -c SCRIPT`.
pub fn shell(options: &[&str], script: &str) -> Command {
    let mut args = options.to_vec();
    args.extend(["--", "sh", "-c", script]);
    command(&args)
}

/// Code and signal: what a parent can tell of an end, without the core flag.
pub fn ending(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    (status.code(), status.signal())
}

/// How long a test has patience with a machine that is busy with other things. What programs are asked to do in these tests
/// lasts far longer, so nothing comes about by waiting.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Looks again and again, until the patience is at its end.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A running supervisor, whose output is read line by line. Killed when dropped.
pub struct Running {
    pub child: Child,
    pub stdout: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The next line of output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }

    pub fn signal(&self, signal: &str) {
        kill(self.pid(), signal);
    }

    pub fn wait(&mut self) -> ExitStatus {
        until("the supervisor ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file for a test to execute. Another process writes it: a file that is open for writing here would be so in a child
/// that a test beside this one is just starting, too, and who executes it then is told that it is busy.
pub fn write_program(path: &Path, content: &[u8]) {
    let mut writer = Command::new("sh").args(["-c", "cat >\"$0\""]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(content).unwrap();
    assert!(writer.wait().unwrap().success());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn kill(pid: i32, signal: &str) {
    let status = Command::new("kill").args([format!("-{signal}"), "--".to_owned(), pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

/// Living processes whose environment holds `mark`. Zombies count as gone.
pub fn marked(mark: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// The guardian of the supervisor `front`.
pub fn guardian(front: i32) -> i32 {
    until("there is a guardian", || {
        let children = std::fs::read_to_string(format!("/proc/{front}/task/{front}/children")).unwrap_or_default();
        children.split_whitespace().find_map(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (name.trim() == "sr-guardian").then(|| pid.parse().unwrap())
        })
    })
}

pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// A text that no other test uses.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program is there to test with.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(OsStr::new(program)).exists())
}

/// Says why a test does nothing here.
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
