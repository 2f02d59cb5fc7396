//! A real server process: TLS, the embedded store in a temporary directory, initialised with key shares and unsealed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use api::Verb;
use client::{Client, Config, Response};
use secret::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::postgres::spare_port;

/// A running server. It is killed when this is dropped.
pub struct Server {
    binary: PathBuf,
    folder: TempDir,
    port: u16,
    tls: bool,
    process: Option<Child>,
    runtime: Runtime,
    keys: Vec<String>,
    root_token: String,
    environment: Vec<(String, String)>,
    /// The stanza of the store, where servers share it.
    storage: Option<String>,
}

/// What stands before the further lines of configuration.
const OWN_LINES: &str = "# What the test adds.\n";

/// How long a server may take to come up, and effects to show, before a test gives up. It is for machines that are busy with
/// other things: no test passes later by it.
pub const PATIENCE: Duration = Duration::from_secs(180);

impl Server {
    /// Starts a server of the program at `binary`: initialised with three key shares of which two are needed, unsealed.
    pub fn start(binary: impl AsRef<Path>) -> Self {
        Self::sealed(binary).initialized()
    }

    /// Like [`Server::start`], with further lines of configuration.
    pub fn start_with(binary: impl AsRef<Path>, config: &str) -> Self {
        Self::prepared(binary, true, None, config).initialized()
    }

    /// Like [`Server::start`], over the store that the stanza `storage` names.
    pub fn start_over(binary: impl AsRef<Path>, storage: &str) -> Self {
        Self::prepared(binary, true, Some(storage), "").initialized()
    }

    /// Starts another server over the same store, and unseals it with the same key shares.
    pub fn join(&self) -> Self {
        let mut joined = Self::prepared(&self.binary, true, self.storage.as_deref(), "");
        joined.keys.clone_from(&self.keys);
        joined.root_token.clone_from(&self.root_token);
        joined.unseal();
        joined
    }

    fn initialized(self) -> Self {
        let mut server = self;
        let made = server.call(Verb::Write, "sys/init", Some(&json!({ "secret_shares": 3, "secret_threshold": 2 })));
        let made: Value = made.json().expect("init answers JSON");
        let keys = made["keys_base64"].as_array().expect("keys").iter();
        server.keys = keys.map(|key| key.as_str().expect("a key").to_owned()).collect();
        server.root_token = made["root_token"].as_str().expect("a root token").to_owned();
        server.unseal();
        server
    }

    /// Like [`Server::start`], but on plain HTTP: for measurements.
    pub fn start_plain(binary: impl AsRef<Path>) -> Self {
        Self::prepared(binary, false, None, "").initialized()
    }

    /// Starts a server that is not initialised yet.
    pub fn sealed(binary: impl AsRef<Path>) -> Self {
        Self::prepared(binary, true, None, "")
    }

    /// As [`Server::sealed`], with further lines of configuration.
    pub fn sealed_with(binary: impl AsRef<Path>, config: &str) -> Self {
        Self::prepared(binary, true, None, config)
    }

    /// Replaces the further lines of configuration; they count when the process is started again.
    pub fn reconfigure(&mut self, config: &str) {
        let path = self.folder.path().join("config.hcl");
        let text = std::fs::read_to_string(&path).expect("the configuration");
        let own = text.split(OWN_LINES).next().unwrap_or_default();
        std::fs::write(path, format!("{own}{OWN_LINES}{config}\n")).expect("the configuration is written");
    }

    fn prepared(binary: impl AsRef<Path>, tls: bool, storage: Option<&str>, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let port = spare_port();
        write_certificates(folder.path());
        let at = folder.path().display();
        let own = format!("storage \"embedded\" {{ path = \"{at}/data\" }}");
        let config = format!(
            "{}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_cert_file = \"{at}/cert.pem\"\n  \
             tls_key_file = \"{at}/key.pem\"\n  tls_disable = {}\n}}\nlog_level = \"info\"\n{OWN_LINES}{more}\n",
            storage.unwrap_or(&own),
            !tls
        );
        std::fs::write(folder.path().join("config.hcl"), config).expect("the configuration is written");
        let runtime = Runtime::new().expect("a runtime");
        let mut server = Self {
            binary: binary.as_ref().to_owned(),
            folder,
            port,
            tls,
            process: None,
            runtime,
            keys: Vec::new(),
            root_token: String::new(),
            environment: Vec::new(),
            storage: storage.map(str::to_owned),
        };
        server.launch();
        server
    }

    /// Starts the process again after it was stopped or died, with further environment variables, still sealed.
    pub fn launch_with(&mut self, environment: &[(&str, &str)]) {
        self.environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.launch();
    }

    /// Starts the process again after it was stopped or died, still sealed.
    pub fn launch(&mut self) {
        self.stop();
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("the log opens");
        let mut command = Command::new(&self.binary);
        command.arg("server").arg(format!("-config={}", self.folder.path().join("config.hcl").display()));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("the server starts"));
        let started = Instant::now();
        while self.try_call(Verb::Read, "sys/seal-status", None).is_err() {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            assert!(ended.is_none(), "the server ended: {}", self.log());
            assert!(started.elapsed() < PATIENCE, "the server does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Takes over key shares and a root token, after a test has initialised or rekeyed the server by itself.
    pub fn set_keys(&mut self, keys: Vec<String>, root_token: &str) {
        self.keys = keys;
        self.root_token = root_token.to_owned();
    }

    /// Gives two key shares.
    pub fn unseal(&self) {
        for key in self.keys.iter().take(2) {
            self.call(Verb::Write, "sys/unseal", Some(&json!({ "key": key })));
        }
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops the process where it stands, as a machine does that is suspended.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("it runs"), signal).expect("the process is ours");
    }

    /// Waits until the process ended by itself.
    pub fn wait_for_end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let started = Instant::now();
            while process.try_wait().expect("the process is ours").is_none() {
                assert!(started.elapsed() < PATIENCE, "the server does not end: {}", self.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Stops the process in order.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            if let Some(pid) = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = process.wait();
        }
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// The certificate authority to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A directory for a test's own files, removed with the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root token.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// The key shares, base64.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// What the server wrote to its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// A client with this token; empty for none.
    pub fn client(&self, token: &str) -> Client {
        let config = Config {
            address: self.address(),
            token: (!token.is_empty()).then(|| SecretString::new(token.to_owned())),
            ca_cert: Some(self.ca_file()),
            max_retries: 0,
            ..Config::default()
        };
        Client::new(config).expect("a client")
    }

    /// Sends a request with a token; empty for none.
    pub fn send(&self, token: &str, verb: Verb, path: &str, body: Option<&Value>) -> Result<Response, client::Error> {
        let client = self.client(token);
        self.runtime.block_on(client.request(verb, path, &[], body))
    }

    fn try_call(&self, verb: Verb, path: &str, body: Option<&Value>) -> Result<Response, client::Error> {
        self.send(&self.root_token, verb, path, body)
    }

    fn call(&self, verb: Verb, path: &str, body: Option<&Value>) -> Response {
        self.try_call(verb, path, body).unwrap_or_else(|error| panic!("{verb:?} {path}: {error}"))
    }

    /// Reads as root; the `data` of the reply.
    pub fn must_read(&self, path: &str) -> Value {
        self.call(Verb::Read, path, None).data().expect("data")
    }

    /// Writes as root; the whole reply.
    pub fn must_write(&self, path: &str, body: Value) -> Value {
        let reply = self.call(Verb::Write, path, Some(&body));
        if reply.is_empty() { Value::Null } else { reply.json().expect("JSON") }
    }

    /// Runs the program's command line against this server with a token.
    pub fn cli(&self, token: &str, arguments: &[&str]) -> Output {
        self.command(token, arguments).output().expect("the program runs")
    }

    /// The program's command line against this server, to be started by the test.
    pub fn command(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env_clear();
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.folder.path());
        command.env("VAULT_ADDR", self.address()).env("VAULT_CACERT", self.ca_file());
        if !token.is_empty() {
            command.env("VAULT_TOKEN", token);
        }
        command
    }

    /// Waits until `done` gives something.
    pub fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = done() {
                return value;
            }
            assert!(started.elapsed() < PATIENCE, "did not happen: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The lines that the log gained and that contain `text`.
    pub fn logged(&self, text: &str) -> Vec<String> {
        let log = std::fs::File::open(self.log_path()).expect("the log");
        BufReader::new(log).lines().map_while(Result::ok).filter(|line| line.contains(text)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An authority and a certificate for 127.0.0.1 and localhost.
fn write_certificates(folder: &Path) {
    let named = |name: &str, hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut parameters = rcgen::CertificateParams::new(hosts).expect("parameters");
        // Who has the same name as its issuer is taken for self-signed by OpenSSL.
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters
    };
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = named("Test authority", &[]);
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let ca_cert = ca.self_signed(&ca_key).expect("an authority");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut leaf = named("localhost", &["localhost", "127.0.0.1"]);
    leaf.use_authority_key_identifier_extension = true;
    let cert = leaf.signed_by(&key, &issuer).expect("a certificate");
    for (name, text) in [("ca.pem", ca_cert.pem()), ("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(folder.join(name), text).expect("a certificate is written");
    }
}
