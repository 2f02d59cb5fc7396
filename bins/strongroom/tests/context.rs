//! Contexts of the command line: several servers, and a token that stays with its own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::JoinHandle,
};

use crate::kit::{PROGRAM, start};

struct Home(tempfile::TempDir);

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Ran {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env_clear().env("HOME", self.0.path()).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&[], arguments, "")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    fn fails(&self, arguments: &[&str], text: &str) {
        let ran = self.run(arguments);
        assert!(ran.code == 1 && ran.err.contains(text), "{arguments:?}: {} {}{}", ran.code, ran.out, ran.err);
    }
}

/// A server that answers nothing; gives what it was sent.
fn listening() -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        while !all.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the head never came");
            all.extend_from_slice(&part[..read]);
        }
        stream
            .write_all(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"errors\":[\"x\"]}",
            )
            .unwrap();
        String::from_utf8(all).unwrap().to_lowercase()
    });
    (address, heard)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_command_goes_to_the_current_server_with_its_own_token() {
    let home = Home::new();
    let (one, root) = start();
    let (two, other) = start();
    for (name, server) in [("one", &one), ("two", &two)] {
        let address = format!("-address={}", server.address());
        let authority = format!("-ca-cert={}", server.ca_file().display());
        home.ok(&["context", "add", name, &address, &authority]);
    }
    let login = |name: &str, token: &str| {
        let context = format!("-context={name}");
        let ran = home.run_with(&[], &["login", "-no-print", &context, "-"], token);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    };
    login("one", root.token());
    login("two", other.token());
    assert!(!home.path(".vault-token").exists());
    for name in ["one", "two"] {
        assert_eq!(mode(&home.path(&format!(".strongroom/tokens/{name}"))), 0o600);
    }
    assert_eq!(mode(&home.path(".strongroom")), 0o700);
    assert_eq!(home.ok(&["print", "token"]).trim(), root.token(), "the first one that was kept is used");
    home.ok(&["context", "use", "two"]);
    assert_eq!(home.ok(&["print", "token"]).trim(), other.token());
    let id = |wire: &testkit::wire::Wire| wire.get("sys/health").ok()["cluster_id"].as_str().unwrap().to_owned();
    assert_eq!(home.ok(&["read", "-field=cluster_id", "sys/seal-status"]).trim(), id(&other));
    assert_eq!(home.ok(&["read", "-field=cluster_id", "-context=one", "sys/seal-status"]).trim(), id(&root));
    assert_eq!(home.ok(&["read", "-field=display_name", "-context=one", "auth/token/lookup-self"]).trim(), "root");

    let listed = home.ok(&["context", "list"]);
    let two_line = listed.lines().find(|line| line.starts_with('*')).unwrap();
    assert!(two_line.contains("two") && two_line.contains(&two.address()) && two_line.contains("kept"), "{listed}");
    assert!(!listed.contains("hvs."));
    let removed = home.ok(&["context", "remove", "two"]);
    assert!(removed.contains("still in force"), "{removed}");
    assert!(!home.path(".strongroom/tokens/two").exists());
    home.fails(&["print", "token"], "there is no token");
}

/// Whatever names the server decides which token goes there.
#[test]
fn a_token_goes_to_no_other_server() {
    let home = Home::new();
    let kept = |path: &str, token: &str| {
        std::fs::create_dir_all(home.path(path).parent().unwrap()).unwrap();
        std::fs::write(home.path(path), token).unwrap();
    };
    kept(".vault-token", "hvs.of-the-home-folder\n");
    home.ok(&["context", "add", "a", "-address=http://127.0.0.1:1", "-namespace=team"]);
    kept(".strongroom/tokens/a", "hvs.of-the-context\n");
    let heard = |variables: &[(&str, &str)], more: &[&str], address: &dyn Fn(&str) -> Vec<String>| {
        let (url, heard) = listening();
        let mut arguments: Vec<String> = ["read", "-format=json", "a/b"].map(str::to_owned).into();
        arguments.extend(address(&url));
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.replace("URL", &url))).collect();
        variables.push(("VAULT_MAX_RETRIES", "0".to_owned()));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        home.run_with(&variables, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
        heard.join().unwrap()
    };
    let by_flag = |url: &str| vec![format!("-address={url}")];
    let nothing = |_: &str| Vec::new();
    // A server named by flag or environment: the token of the home folder, and nothing of the context.
    for (variables, address) in [
        (&[][..], &by_flag as &dyn Fn(&str) -> Vec<String>),
        (&[("VAULT_ADDR", "URL")][..], &nothing),
        (&[("STRONGROOM_AGENT_ADDR", "URL")][..], &nothing),
        (&[("VAULT_ADDR", "URL"), ("STRONGROOM_CONTEXT", "a")][..], &nothing),
    ] {
        let head = heard(variables, &[], address);
        assert!(head.contains("hvs.of-the-home-folder") && !head.contains("of-the-context"), "{head}");
        assert!(!head.contains("x-vault-namespace"), "{head}");
    }
    // A server of a context: its own token, or one that is given by hand.
    let point = |url: &str| {
        home.ok(&["context", "add", "a", &format!("-address={url}"), "-namespace=team", "-replace", "-keep-token"]);
        Vec::new()
    };
    let head = heard(&[], &[], &point);
    assert!(head.contains("hvs.of-the-context") && !head.contains("home-folder"), "{head}");
    assert!(head.contains("x-vault-namespace: team"), "{head}");
    let head = heard(&[("VAULT_TOKEN", "hvs.by-hand"), ("VAULT_NAMESPACE", "mine")], &[], &point);
    assert!(head.contains("hvs.by-hand") && head.contains("x-vault-namespace: mine"), "{head}");
    let variables = [("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", "hvs.by-hand"), ("VAULT_NAMESPACE", "mine")];
    let head = heard(&variables, &["-context=a"], &point);
    assert!(head.contains("hvs.of-the-context") && head.contains("x-vault-namespace: team"), "{head}");
    // Without a token of its own it gets none, least of all another server's.
    std::fs::remove_file(home.path(".strongroom/tokens/a")).unwrap();
    let head = heard(&[], &[], &point);
    assert!(!head.contains("x-vault-token"), "{head}");
    // What is replaced is another server.
    kept(".strongroom/tokens/a", "hvs.of-the-context\n");
    home.ok(&["context", "add", "a", "-address=http://127.0.0.1:2", "-replace"]);
    assert!(!home.path(".strongroom/tokens/a").exists());
}

#[test]
fn mistakes_are_told() {
    let home = Home::new();
    home.fails(&["context", "add", "x"], "-address is missing");
    home.fails(&["context", "add", "../x", "-address=http://a"], "name of a context");
    home.ok(&["context", "add", "x", "-address=http://a"]);
    home.fails(&["context", "add", "x", "-address=http://b"], "already; give -replace");
    home.fails(&["context", "use", "y"], "there is no context \"y\"");
    home.fails(&["context", "remove", "y"], "there is no context \"y\"");
    home.fails(&["read", "-context=y", "a"], "kept are x");
    home.ok(&["context", "use", "-none"]);
    assert_eq!(home.run(&["context", "list"]).out.lines().filter(|line| line.starts_with('*')).count(), 0);
    home.ok(&["context", "remove", "x"]);
    assert_eq!(home.run(&["context", "list"]).code, 2);
    std::fs::write(home.path(".strongroom/contexts.toml"), "current = 1\n[contexts.a]\n").unwrap();
    home.fails(&["read", "a"], "contexts.toml, line 1");
    std::fs::write(home.path(".strongroom/contexts.toml"), "\n\n[contexts.a]\nadress = \"x\"\n").unwrap();
    home.fails(&["context", "list"], "line 4");
}
