//! The server as tools start it: under the name `vault`, with Vault's files, flags and variables.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use testkit::{postgres::spare_port, server::Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

/// A folder that is home, working directory and all the environment there is.
struct Site {
    folder: tempfile::TempDir,
    port: u16,
}

/// A server; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(name).arg(self.0.id().to_string()).status().unwrap().success());
    }
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), port: spare_port() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The program under the name `vault`.
    fn vault(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg0("/usr/bin/vault").args(line.split(' ').filter(|word| !word.is_empty())).env_clear();
        command.env("HOME", self.path()).env("VAULT_ADDR", self.url()).env("VAULT_MAX_RETRIES", "0");
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn start(&self, line: &str, environment: &[(&str, &str)]) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(self.path().join("log")).unwrap();
        let mut command = self.vault(line);
        Running(command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Waits for a call to end with this code.
    fn until(&self, line: &str, code: i32) -> Output {
        Server::eventually(line, || {
            let output = self.vault(line).output().unwrap();
            (output.status.code() == Some(code)).then_some(output)
        })
    }

    /// What a call prints; it must end with this code.
    fn call(&self, line: &str, code: i32) -> String {
        let output = self.vault(line).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "vault {line}: {text}{error}");
        text + &error
    }
}

/// The forms in which other programs call one of that name, in one life of a server.
#[test]
fn what_tools_ask_of_a_program_named_vault_is_done() {
    let site = Site::new();
    let listener = format!(r#"{{"tcp": {{"address": "127.0.0.1:{}", "tls_disable": "true"}}}}"#, site.port);
    let config = format!(
        r#"{{"storage": {{"raft": {{"path": "data", "node_id": "a"}}}}, "listener": {listener}, "disable_mlock": true,
            "default_lease_ttl": "168h", "max_lease_ttl": "720h", "ui": true, "api_addr": "http://127.0.0.1:1"}}"#
    );
    site.write("vault.json", &config);
    let mut server = site.start("server -config=vault.json", &[]);
    for line in ["-version", "--version", "version", "-v"] {
        let text = site.call(line, 0);
        let version = text.split(' ').nth(1).unwrap().strip_prefix('v').unwrap();
        assert!(text.starts_with("Vault v") && version.split('.').count() == 3, "{text}");
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
    }
    site.until("operator init -status", 2);
    site.call("status", 2);
    let init: Value =
        serde_json::from_str(&site.call("operator init -format=json -key-shares=1 -key-threshold=1", 0)).unwrap();
    let (key, root) = (init["unseal_keys_b64"][0].as_str().unwrap(), init["root_token"].as_str().unwrap());
    assert_eq!(root.len(), 28);
    let status: Value = serde_json::from_str(&site.call("status -format=json", 2)).unwrap();
    assert_eq!((&status["sealed"], &status["initialized"]), (&Value::Bool(true), &Value::Bool(true)));
    assert!(site.call(&format!("operator unseal {key}"), 0).contains("Sealed          false"));
    assert!(site.call(&format!("login {root}"), 0).contains("Success! You are now authenticated."));
    assert_eq!(std::fs::read_to_string(site.path().join(".vault-token")).unwrap(), root);

    for (line, code, word) in [
        ("operator init -status", 0, "Vault is initialized"),
        ("secrets enable -path=secret -version=2 kv", 0, "Success! Enabled the kv secrets engine at: secret/"),
        ("kv put secret/app user=me note=@vault.json", 0, "secret/data/app"),
        ("kv get -field=user secret/app", 0, "me"),
        ("kv get -format=json secret/app", 0, "\"user\": \"me\""),
        ("kv patch secret/app more=1", 0, "version"),
        ("kv list -format=yaml secret", 0, "- app"),
        ("kv metadata get secret/app", 0, "current_version"),
        ("kv delete secret/app", 0, "Success! Data deleted"),
        ("kv undelete -versions=2 secret/app", 0, "Success! Data written to: secret/undelete/app"),
        ("read -format=pretty secret/config", 0, "max_versions"),
        ("read -format=raw sys/seal-status", 0, "{\""),
        ("read secret/data/none", 2, "No value found at secret/data/none"),
        ("write -f sys/tools/random/8", 0, "random_bytes"),
        ("write -field=random_bytes sys/tools/random format=hex bytes=8", 0, ""),
        ("list secret/metadata", 0, "app"),
        ("delete secret/data/app", 0, "Success! Data deleted (if it existed) at: secret/data/app"),
        ("policy write app vault.json", 2, "Code: 400"),
        ("policy list", 0, "default"),
        ("policy read default", 0, "lookup-self"),
        ("auth enable approle", 0, "Success! Enabled approle auth method at: approle/"),
        ("auth move approle roles", 0, "Success! Finished moving auth method auth/approle/ to auth/roles/"),
        ("auth list -detailed", 0, "roles/"),
        ("secrets list -format=json", 0, "\"cubbyhole/\""),
        ("secrets tune -description=x secret/", 0, "Success! Tuned the secrets engine at: secret/"),
        ("audit enable file file_path=audit.log", 0, "Success! Enabled the file audit device at: file/"),
        ("audit list", 0, "file/"),
        ("audit disable file", 0, "Success! Disabled audit device"),
        ("token create -id=chosen -ttl=5m -policy=default -format=json", 0, "\"client_token\": \"chosen\""),
        ("token lookup chosen", 0, "ttl"),
        ("token renew chosen", 0, "token_duration"),
        ("token capabilities chosen secret/data/app", 0, "deny"),
        ("token revoke chosen", 0, "Success! Revoked token (if it existed)"),
        ("lease revoke -prefix -force auth/roles", 0, ""),
        ("path-help secret", 0, "secret/"),
        ("print token", 0, "hvs."),
        ("operator key-status", 0, "Key Term"),
        ("operator rotate", 0, "Success! Rotated key"),
        ("operator generate-root -status", 0, "Started       false"),
        ("operator rekey -status", 0, ""),
        ("operator nothing", 1, "nothing"),
        ("operator seal", 0, "Success!"),
        ("status", 2, "Sealed             true"),
    ] {
        let text = site.call(line, code);
        assert!(text.contains(word) && !text.contains("Hint:"), "vault {line} says {word}: {text}");
    }
    // Killed and started again on the same port.
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let _again = site.start("server -config vault.json", &[]);
    site.until("status", 2);
    site.call(&format!("operator unseal {key}"), 0);
    site.call("kv metadata get secret/app", 0);
    let log = site.log();
    assert!(log.contains("vault.json:1: storage \"raft\": opens the embedded store at data"), "{log}");
}

#[test]
fn a_dev_server_is_told_by_flags_or_by_variables() {
    for by_flags in [true, false] {
        let site = Site::new();
        let address = format!("127.0.0.1:{}", site.port);
        let (line, environment) = match by_flags {
            true => (format!("server -dev -dev-root-token-id=T -dev-listen-address={address}"), vec![]),
            false => {
                let environment =
                    vec![("VAULT_DEV_ROOT_TOKEN_ID", "T"), ("VAULT_DEV_LISTEN_ADDRESS", address.as_str())];
                ("server -dev -dev-cluster-json=cluster.json".to_owned(), environment)
            }
        };
        let mut command = site.vault(&line);
        let child = command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut server = Running(child.unwrap());
        let said: Vec<String> = BufReader::new(server.0.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .take_while(|line| !line.starts_with("Development mode"))
            .collect();
        assert!(said.contains(&"Root Token: T".to_owned()), "{said:?}");
        assert!(said.iter().any(|line| line.starts_with("Unseal Key: ")), "{said:?}");
        assert_eq!(std::fs::read_to_string(site.path().join(".vault-token")).unwrap(), "T");
        site.call("kv put secret/a b=c", 0);
        if !by_flags {
            let cluster = std::fs::read_to_string(site.path().join("cluster.json")).unwrap();
            let cluster: Value = serde_json::from_str(&cluster).unwrap();
            assert_eq!(cluster["nodes"][0]["api_address"], site.url());
            assert_eq!((&cluster["root_token"], &cluster["ca_cert_path"]), (&"T".into(), &"".into()));
        }
        server.signal("-TERM");
        assert!(server.0.wait().unwrap().success());
    }
}

#[test]
fn a_dev_server_with_tls_leaves_its_authority_and_takes_a_configuration() {
    let site = Site::new();
    site.write("more.hcl", "storage \"raft\" { path = \"nowhere\" }\nmax_lease_ttl = \"2h\"");
    let line = format!(
        "server -dev -dev-tls -dev-tls-cert-dir=certs -dev-root-token-id=T -dev-no-store-token \
         -dev-listen-address=localhost:{} -config=more.hcl",
        site.port
    );
    let _server = site.start(&line, &[]);
    let ask = |line: &str| format!("{line} -address=https://127.0.0.1:{} -ca-cert=certs/vault-ca.pem", site.port);
    site.until(&ask("status"), 0);
    assert!(!site.path().join(".vault-token").exists() && !site.path().join("nowhere").exists());
    let key = std::fs::metadata(site.path().join("certs/vault-key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    let made = site.vault(&ask("token create -ttl=5h -field=token_duration")).env("VAULT_TOKEN", "T").output().unwrap();
    assert_eq!(String::from_utf8(made.stdout).unwrap(), "7200");
}

#[test]
fn a_configuration_is_obeyed_warned_of_and_reloaded() {
    let site = Site::new();
    let config = |level: &str| {
        format!(
            "storage \"inmem\" {{}}\nlog_level = \"{level}\"\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{}\"\n  tls_disable = true\n  \
             max_json_depth = 3\n  frobnicate = 1\n  custom_response_headers {{ \"default\" = {{ \"X-Site\" = [\"a\"] }} }}\n}}\n\
             listener \"unix\" {{ address = \"api.sock\" }}\n",
            site.port
        )
    };
    site.write("s.hcl", &config("info"));
    let server = site.start("server -config=s.hcl", &[]);
    site.until("status", 2);
    assert!(
        site.log().contains("s.hcl:7: unknown or unsupported field frobnicate of listener \"tcp\""),
        "{}",
        site.log()
    );
    let socket = format!("unix://{}/api.sock", site.path().display());
    assert!(site.call(&format!("status -address={socket}"), 2).contains("Initialized"));
    let curl = site.call(&format!("read -output-curl-string -address={socket} sys/health"), 0);
    assert!(curl.contains("--unix-socket"), "{curl}");

    let deep = "sys/init secret_shares=1 secret_threshold=1";
    site.write("deep.json", r#"{"a": {"b": {"c": {"d": 1}}}}"#);
    let refused = site.call(&format!("write {deep} @deep.json"), 2);
    assert!(refused.contains("deep"), "{refused}");

    assert!(!site.log().contains("DEBUG"));
    site.write("s.hcl", &config("debug"));
    server.signal("-HUP");
    Server::eventually("the new level", || site.log().contains("reloaded").then_some(()));
    site.call("status", 2);
    assert!(site.log().contains("DEBUG"), "{}", site.log());
    // What cannot be read changes nothing.
    site.write("s.hcl", "log_level = 3");
    server.signal("-HUP");
    Server::eventually("the mistake", || site.log().contains("s.hcl:1: log_level").then_some(()));
    site.call("status", 2);
    server.signal("-TERM");
    Server::eventually("the socket is gone", || (!site.path().join("api.sock").exists()).then_some(()));
}

/// An administrator who had new files put elsewhere, wrote so and sent SIGHUP was told "reloaded", and the old certificate went on
/// until it ran out.
#[test]
fn certificates_are_read_from_where_the_configuration_now_says() {
    let (server, other) = (Server::sealed(PROGRAM), Server::sealed(PROGRAM));
    let file = server.folder().join("config.hcl");
    let before = std::fs::read_to_string(&file).unwrap();
    let reload = |text: String, done: &str| {
        std::fs::write(&file, text).unwrap();
        let told = server.logged(done).len();
        let pid = server.pid().unwrap().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        Server::eventually(done, || (server.logged(done).len() > told).then_some(()));
    };
    let trusts = |server_of_ca: &Server| {
        let mut command = server.command("", &["status"]);
        // Sealed, which it only says to who trusts it.
        command.env("VAULT_CACERT", server_of_ca.ca_file()).output().unwrap().status.code() == Some(2)
    };
    assert!(trusts(&server) && !trusts(&other));
    let moved = |name: &str| other.folder().join(name).display().to_string();
    let own = |name: &str| server.folder().join(name).display().to_string();
    let after = before.replace(&own("cert.pem"), &moved("cert.pem")).replace(&own("key.pem"), &moved("key.pem"));
    reload(before.replace(&own("cert.pem"), &moved("none.pem")), "the old one stays in use");
    assert!(trusts(&server) && !trusts(&other));
    reload(format!("{after}\nlistener = 3"), "the configuration could not be read");
    assert!(trusts(&server) && !trusts(&other));
    reload(after.clone(), "reloaded");
    assert!(!trusts(&server) && trusts(&other));
    reload(after.replace("tls_disable = false", "tls_disable = true"), "when the server is started again");
    assert!(trusts(&other));
}
