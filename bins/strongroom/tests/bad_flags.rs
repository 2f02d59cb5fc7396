//! Every command meets wrong flags, wrong values and missing arguments: a clear error, the documented exit code, no panic.
//!
//! The commands and their flags are read off the help, so a new one is met too.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A command, and its own flags and everybody's.
struct Known {
    words: Vec<String>,
    with_value: Vec<String>,
    without: Vec<String>,
}

impl Known {
    fn name(&self) -> String {
        self.words.join(" ")
    }

    /// What a misuse ends with. A program's own exit code must not be mistaken for one of ours.
    fn misuse(&self) -> i32 {
        if self.words == ["run"] { 125 } else { 1 }
    }
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program where no server is, nobody can be asked, and nothing is set.
fn run(home: &Path, words: &[String], more: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(words)
        .args(more)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/nowhere")
        .env("STRONGROOM_ADDR", "http://127.0.0.1:1")
        .env("STRONGROOM_TOKEN", "hvs.test")
        .env("STRONGROOM_MAX_RETRIES", "0")
        .env("RUST_BACKTRACE", "1")
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ended = Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
    let call = || format!("{} {}", words.join(" "), more.join(" "));
    for sign in ["panicked", "backtrace", "src/", "Box<", "called `"] {
        assert!(!ended.err.contains(sign), "{}: {}", call(), ended.err);
    }
    assert!(matches!(ended.code, 0 | 1 | 2 | 125 | 126 | 127), "{}: {} {}", call(), ended.code, ended.err);
    ended
}

/// All commands below `words`, by their help.
fn walk(home: &Path, words: &[String], found: &mut Vec<Known>) {
    let help = run(home, words, &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""), "{words:?}");
    let (mut with_value, mut without) = (Vec::new(), Vec::new());
    for line in help.out.lines().map(str::trim) {
        let Some(flag) = line.split(", ").find_map(|part| part.strip_prefix("--").filter(|_| line.starts_with('-')))
        else {
            continue;
        };
        let mut parts = flag.split([' ', '[']);
        let name = parts.next().unwrap().to_owned();
        match parts.next() {
            Some(value) if value.starts_with('<') => with_value.push(name),
            _ if flag.contains("[=<") || name == "help" || name == "version" => {}
            _ => without.push(name),
        }
    }
    let listed = help.out.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let children: Vec<_> =
        listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    for child in &children {
        walk(home, &[words, &[(*child).to_owned()]].concat(), found);
    }
    if children.is_empty() {
        found.push(Known { words: words.to_vec(), with_value, without });
    }
}

fn commands(home: &Path) -> Vec<Known> {
    let mut found = Vec::new();
    walk(home, &[], &mut found);
    found
}

#[test]
fn every_command_says_what_is_wrong_with_its_flags() {
    let home = tempfile::tempdir().unwrap();
    let found = commands(home.path());
    assert!(found.len() > 60, "{}", found.len());
    let mut flags = 0;
    for known in &found {
        let refused = |more: &[&str], word: &str| {
            let ended = run(home.path(), &known.words, more);
            let call = format!("{} {}", known.name(), more.join(" "));
            assert_eq!(ended.code, known.misuse(), "{call}: {}", ended.err);
            assert!(
                ended.err.contains(word) && ended.out.is_empty(),
                "{call} names {word}: {}{}",
                ended.err,
                ended.out
            );
        };
        refused(&["-no-such-flag"], "no-such-flag");
        refused(&["--no-such-flag=1", "a=b"], "no-such-flag");
        for flag in &known.with_value {
            refused(&[&format!("-{flag}")], flag);
        }
        for flag in &known.without {
            refused(&[&format!("-{flag}=maybe")], flag);
        }
        flags += known.with_value.len() + known.without.len();
    }
    // Each has those that all share, and most have their own.
    assert!(flags > found.len() * 14, "{flags}");
}

#[test]
fn every_command_ends_well_with_missing_and_surplus_arguments() {
    let home = tempfile::tempdir().unwrap();
    for known in commands(home.path()) {
        for short in ["-h", "-help", "--help"] {
            let ended = run(home.path(), &known.words, &[short]);
            assert!(
                ended.code == 0 && ended.out.contains("EXAMPLES") && ended.err.is_empty(),
                "{} {short}",
                known.name()
            );
        }
        for more in [&["-non-interactive"][..], &["-non-interactive", "\u{1b}[31m", "=", "@", "", "../..", "a"]] {
            let ended = run(home.path(), &known.words, more);
            assert_ne!((ended.code, ended.out.len() + ended.err.len()), (1, 0), "{}: failed in silence", known.name());
        }
        let many = ["x"; 20];
        let ended = run(home.path(), &known.words, &many);
        assert_ne!(ended.code, 0, "{}: {}", known.name(), ended.out);
    }
}

#[test]
fn values_that_make_no_sense_are_refused_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for (line, code, word) in [
        ("read -format=xml secret/x", 1, "table, json"),
        ("read -address=here secret/x", 1, "https://"),
        ("read -address=ftp://x secret/x", 1, "http"),
        ("read -address=http://u:p@x secret/x", 1, "user name"),
        ("read -header=x secret/x", 1, "NAME=VALUE"),
        ("read -header=a\u{e9}=b secret/x", 1, "header"),
        ("read -wrap-ttl=soon secret/x", 1, "wrap-ttl"),
        ("read -ca-cert=/nowhere/ca -address=https://127.0.0.1:1 secret/x", 1, "/nowhere/ca"),
        ("read -ca-path=/nowhere -address=https://127.0.0.1:1 secret/x", 1, "/nowhere"),
        ("read -client-cert=/nowhere secret/x", 1, "key"),
        ("read -client-cert=/nowhere -client-key=/nowhere secret/x", 1, "/nowhere"),
        ("read -tls-server-name=1.2.3.4 -address=https://127.0.0.1:1 secret/x", 1, "1.2.3.4"),
        ("read -output-curl-string -output-policy secret/x", 1, "output-policy"),
        ("read secret/x", 2, "127.0.0.1:1"),
        ("status", 1, "127.0.0.1:1"),
        ("write secret/x", 1, "-force"),
        ("write secret/x =v", 1, "key=value"),
        ("write secret/x a=@/nowhere/file", 1, "/nowhere/file"),
        ("write secret/x a=- b=-", 1, "twice"),
        ("write secret/x @/nowhere/file", 1, "/nowhere/file"),
        ("kv get", 1, "PATH"),
        ("kv get -version=two secret/x", 1, "version"),
        ("kv put -cas=x secret/x a=b", 1, "cas"),
        ("kv destroy secret/x", 1, "versions"),
        ("token create -ttl=soon", 1, "ttl"),
        ("token create -metadata=x", 1, "NAME=VALUE"),
        ("operator init -key-shares=0", 1, "key-threshold"),
        ("operator init -key-shares=many", 1, "key-shares"),
        ("operator init -key-shares=3", 1, "both"),
        ("operator init -pgp-keys=/nowhere/key", 1, "/nowhere/key"),
        ("operator unseal -non-interactive", 1, "standard input"),
        ("operator generate-root -decode=x -otp=y", 1, "base64"),
        ("login -non-interactive", 1, "standard input"),
        ("login -method=userpass -non-interactive username=x", 1, "password"),
        ("policy write p /nowhere/policy.hcl", 1, "/nowhere/policy.hcl"),
        ("policy fmt /nowhere/policy.hcl", 1, "/nowhere/policy.hcl"),
        ("secrets enable -max-lease-ttl=soon kv", 1, "max-lease-ttl"),
        ("secrets enable -version=two kv", 1, "version"),
        ("lease renew -increment=soon x", 1, "increment"),
        ("audit query -since=yesterday", 1, "2h"),
        ("audit query -limit=-1", 1, "limit"),
        ("audit verify -dir=/nowhere -key=zz", 1, "key"),
        ("completion tcsh", 1, "bash"),
        ("nothing", 1, "nothing"),
        ("kv nothing", 1, "nothing"),
        ("server", 1, "config"),
        ("server -config=/nowhere/s.hcl", 1, "/nowhere/s.hcl"),
        ("server -dev -dev-listen-address=here", 1, "HOST:PORT"),
        ("server -dev -log-level=loud", 1, "debug"),
        ("server -dev -log-format=xml", 1, "json"),
        ("server -dev -dev-tls-cert-dir=x", 1, "dev-tls"),
        ("run", 125, "COMMAND"),
        ("run -env=x -- true", 125, "NAME=REFERENCE"),
        ("run -method=magic -- true", 125, "jwt"),
        ("run -on-rotation=panic -- true", 125, "restart"),
        ("run -mask -no-mask -- true", 125, "no-mask"),
        ("run -config=/nowhere/s.toml -- true", 125, "/nowhere/s.toml"),
        ("run -env=A=sr://x -- true", 125, "MOUNT/PATH"),
    ] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let ended = run(home.path(), &words, &[]);
        if ended.code != code || !ended.err.contains(word) {
            faults.push(format!("{line}: {} instead of {code}, and {word:?}: {}", ended.code, ended.err));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
