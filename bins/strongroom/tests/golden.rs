//! What the command line prints and how it ends, against a scripted server, held against the files in `golden/`.
//!
//! `BLESS=1 cargo test -p strongroom --test golden` rewrites the files; the diff is the review.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    collections::HashMap,
    convert::Infallible,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;

mod stories;

/// A call of the program, and what the server says to it.
pub(crate) struct Story {
    /// The golden file's name.
    pub(crate) name: &'static str,
    /// The arguments; a quoted one may hold blanks.
    pub(crate) args: &'static str,
    /// What standard input holds.
    pub(crate) stdin: &'static str,
    /// The name that the program is started under.
    pub(crate) program: &'static str,
    /// `METHOD /path?query`, status, body. Asked for again, the later of two replies counts.
    pub(crate) replies: &'static [(&'static str, u16, &'static str)],
}

#[test]
fn the_output_is_as_in_the_golden_files() {
    let bless = std::env::var_os("BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut names = Vec::new();
    let mut wrong = Vec::new();
    for story in stories::all() {
        assert!(!names.contains(&story.name), "two stories are named {}", story.name);
        names.push(story.name);
        let told = tell(&story);
        let file = folder.join(format!("{}.txt", story.name));
        if bless {
            std::fs::write(&file, told).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != told {
            wrong.push(format!("--- {}\n{told}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "not as in the golden files; BLESS=1 rewrites them\n{}", wrong.join("\n"));
    for entry in std::fs::read_dir(folder).unwrap() {
        let stem = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(names.contains(&stem.as_str()), "golden/{stem}.txt belongs to no story");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let binary = env!("CARGO_BIN_EXE_strongroom");
    let line = format!("'{binary}' completion bash | head -n 1; echo ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").arg("-c").arg(line).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().last(), Some("0"), "{text}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(env!("CARGO_BIN_EXE_strongroom")).args(["completion", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("enable-versioning"), "{shell}");
    }
}

#[test]
fn completion_in_a_shell_offers_commands_and_flags() {
    let binary = env!("CARGO_BIN_EXE_strongroom");
    let offers = |words: &str, at: usize| {
        let script = format!(
            "source <('{binary}' completion bash); COMP_WORDS=({words}); COMP_CWORD={at}; \
             _strongroom strongroom \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(offers("strongroom kv met", 2), "metadata");
    assert_eq!(offers("strongroom operator init --key-t", 3), "--key-threshold");
    assert!(offers("strongroom ''", 1).contains("operator"));
}

#[test]
fn a_login_keeps_the_token_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start(&[(
        "PUT /v1/auth/jwt/login",
        200,
        r#"{"request_id":"r","data":null,"auth":{"client_token":"hvs.new","accessor":"a","policies":["app"],"token_policies":["app"],
            "metadata":null,"lease_duration":3600,"renewable":true}}"#,
    )]);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("jwt");
    std::fs::write(&file, "ey.J.x\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(["login", "-method=jwt", "role=app", &format!("jwt=@{}", file.display())])
        .env_clear()
        .env("HOME", home.path())
        .env("VAULT_ADDR", &server.address)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.asked().last().unwrap().1, r#"{"jwt":"ey.J.x","role":"app"}"#);
    let kept = home.path().join(".vault-token");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "hvs.new");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    // The next command uses it.
    let output = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(["print", "token"])
        .env_clear()
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "hvs.new\n");
}

/// Plays a story and writes down what was asked, printed and answered.
fn tell(story: &Story) -> String {
    let server = Server::start(story.replies);
    let home = tempfile::tempdir().unwrap();
    let words = words(story.args);
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command
        .arg0(story.program)
        .args(&words)
        .env_clear()
        .env("HOME", home.path())
        .env("STRONGROOM_ADDR", &server.address)
        .env("STRONGROOM_TOKEN", "hvs.test")
        .env("STRONGROOM_MAX_RETRIES", "0")
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(story.stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    written(story, &server, &output)
}

fn written(story: &Story, server: &Server, output: &Output) -> String {
    let clean = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace(&server.address, "http://127.0.0.1:8200")
            .replace(&server.address.replace("http://", ""), "127.0.0.1:8200")
    };
    let mut text = format!("$ {} {}\n", story.program, story.args);
    for (line, body) in server.asked() {
        text.push_str(format!("> {line} {body}").trim_end());
        text.push('\n');
    }
    text.push_str(&format!("= {}\n", output.status.code().unwrap()));
    text.push_str(&clean(&output.stdout));
    if !output.stderr.is_empty() {
        text.push_str("\n! standard error\n");
        text.push_str(&clean(&output.stderr));
    }
    text
}

/// Splits at blanks outside of single quotes.
fn words(args: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in args.chars() {
        match (c, words.last_mut()) {
            ('\'', _) => quoted = !quoted,
            (' ', _) if !quoted => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    words
}

/// What was asked: method and path, and body.
type Asked = Arc<Mutex<Vec<(String, String)>>>;
/// What to answer: status and body, by method and path.
type Script = Arc<Mutex<HashMap<&'static str, Vec<(u16, &'static str)>>>>;

/// A server that says what it was told to say.
struct Server {
    address: String,
    asked: Asked,
}

impl Server {
    fn start(replies: &'static [(&'static str, u16, &'static str)]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let log = Arc::clone(&asked);
        let mut script: HashMap<&str, Vec<(u16, &str)>> = HashMap::new();
        for (line, status, body) in replies {
            script.entry(line).or_default().push((*status, body));
        }
        let script = Arc::new(Mutex::new(script));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                    tokio::spawn(async move {
                        let service = service_fn(move |request| answer(request, Arc::clone(&log), Arc::clone(&script)));
                        let connection = hyper::server::conn::http1::Builder::new();
                        let _ = connection.serve_connection(TokioIo::new(socket), service).await;
                    });
                }
            });
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(request: Request<Incoming>, log: Asked, script: Script) -> Result<Response<Full<Bytes>>, Infallible> {
    let line = format!("{} {}", request.method(), request.uri());
    let body = String::from_utf8(request.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    log.lock().unwrap().push((line.clone(), body));
    let mut script = script.lock().unwrap();
    let (status, body) = match script.get_mut(line.as_str()) {
        Some(replies) if replies.len() > 1 => replies.remove(0),
        Some(replies) => replies.first().copied().unwrap(),
        None => (404, r#"{"errors":[]}"#),
    };
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
}
