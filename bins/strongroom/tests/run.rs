//! `strongroom run` from end to end: a real server, a real PostgreSQL, a signed identity, and what is left afterwards.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{identity::Issuer, postgres::Postgres, server::Server, wire::Wire};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

/// A server with a database and a login for workloads, and a workload's identity.
struct Site {
    server: Server,
    postgres: Postgres,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let (server, postgres) = (Server::start(PROGRAM), Postgres::start());
        postgres.admin("vault_admin", "admin-password");
        let wire = Wire::new(&server, server.root_token());
        wire.post("sys/mounts/database", json!({ "type": "database" })).ok();
        let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres", postgres.port());
        let connection = json!({ "plugin_name": "postgresql-database-plugin", "connection_url": url, "allowed_roles": "*",
            "username": "vault_admin", "password": "admin-password", "tls_ca": postgres.ca_pem() });
        wire.post("database/config/main", connection).ok();
        let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        let role = json!({ "db_name": "main", "creation_statements": [create], "default_ttl": "1h", "max_ttl": "2h" });
        wire.post("database/roles/app", role).ok();
        // The second one lets a run give up a user it has replaced before its lease ends.
        let policy = "path \"database/creds/app\" { capabilities = [\"read\"] }
            path \"sys/leases/revoke\" { capabilities = [\"update\"] }";
        wire.post("sys/policies/acl/app", json!({ "policy": policy })).ok();
        let issuer = Issuer::new("https://ci.example");
        wire.post("sys/auth/jwt", json!({ "type": "jwt" })).ok();
        wire.post(
            "auth/jwt/config",
            json!({ "jwt_validation_pubkeys": [issuer.public_pem()], "bound_issuer": "https://ci.example" }),
        )
        .ok();
        let role = json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["strongroom"],
            "bound_subject": "build", "token_policies": ["app"], "token_ttl": "1h" });
        wire.post("auth/jwt/role/ci", role).ok();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jwt"), issuer.token("build", "strongroom")).unwrap();
        Self { server, postgres, folder }
    }

    /// `strongroom run` as the workload, which has an identity token and nothing else.
    fn run(&self, options: &[&str], script: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("run").args(["--method", "jwt", "--role", "ci", "--jwt-file"]).arg(self.folder.path().join("jwt"));
        command.args(options).args(["--", "sh", "-c", script]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("STRONGROOM_ADDR", self.server.address()).env("STRONGROOM_CACERT", self.server.ca_file());
        command
            .env("DB_USER", "sr://database/creds/app#username")
            .env("DB_URL", "sr://database/creds/app#connection_url");
        let ca = self.folder.path().join("postgres.pem");
        std::fs::write(&ca, self.postgres.ca_pem()).unwrap();
        command.env("PGSSLROOTCERT", ca).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn wire(&self) -> Wire {
        Wire::new(&self.server, self.server.root_token())
    }

    fn manifest(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("strongroom.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < testkit::server::PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_database_user_lives_exactly_as_long_as_the_program() {
    let site = Site::new();
    // It is there while the program runs, and the URL works.
    let script = "echo $DB_USER; psql \"$DB_URL\" -Atc 'select current_user' 2>&1; read x; exit 3";
    let mut running = Running::start(site.run(&["--no-mask"], script).stdin(Stdio::piped()));
    let user = running.line();
    assert!(site.postgres.has_role(&user), "{user}");
    let logged_in = running.line();
    if !logged_in.contains("not found") {
        assert_eq!(logged_in, user);
    }
    drop(running.child.stdin.take());
    assert_eq!(running.child.wait().unwrap().code(), Some(3));
    assert!(!site.postgres.has_role(&user), "gone before `run` returned");

    // Killed, the supervisor leaves neither the program nor the user.
    for victim in ["front", "guardian"] {
        let mut running = Running::start(&mut site.run(&["--no-mask"], "echo $DB_USER $$; exec sleep 1000"));
        let line = running.line();
        let (user, program) = line.split_once(' ').unwrap();
        assert!(site.postgres.has_role(user));
        let front = running.child.id();
        let children = std::fs::read_to_string(format!("/proc/{front}/task/{front}/children")).unwrap();
        let victim = if victim == "front" { front.to_string() } else { children.trim().to_owned() };
        assert!(Command::new("kill").args(["-9", &victim]).status().unwrap().success());
        let program = PathBuf::from(format!("/proc/{program}/exe"));
        // Both would live on for far longer by themselves.
        until("the program is gone", || program.read_link().is_err());
        until("the user is gone", || !site.postgres.has_role(user));
    }
    let left = site.wire().list("auth/token/accessors").ok();
    assert_eq!(left["data"]["keys"].as_array().unwrap().len(), 1, "the root token is the only one left: {left}");
}

#[test]
fn nothing_is_left_when_the_program_cannot_start() {
    let site = Site::new();
    let count = || site.postgres.psql("select count(*) from pg_roles where rolname like 'v-%'").trim().to_owned();
    let exit = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = exit(site.run(&[], "echo started").env("OTHER", "sr://database/creds/app#pasword"));
    assert_eq!(code, Some(125), "{text}");
    assert!(text.contains("OTHER") && text.contains("pasword") && text.contains("password"), "{text}");
    let (code, text) = exit(site.run(&[], "echo started").env("OTHER", "sr://database/creds/none#x"));
    assert_eq!(code, Some(125), "{text}");
    let (code, text) = exit(site.run(&[], "x").env("PATH", "/nowhere"));
    assert_eq!(code, Some(127), "{text}");
    std::fs::write(site.folder.path().join("jwt"), "not.a.token").unwrap();
    let (code, text) = exit(&mut site.run(&[], "echo started"));
    assert_eq!(code, Some(125), "{text}");
    assert!(text.contains("login at jwt"), "{text}");
    site.manifest("[run]\nrestrat = true");
    let (code, text) = exit(&mut site.run(&[], "echo started"));
    assert_eq!(code, Some(125));
    assert!(text.contains("strongroom.toml") && text.contains("restrat"), "{text}");
    assert_eq!(count(), "0", "no user is left behind");
}

#[test]
fn neither_the_supervisor_nor_its_output_shows_a_secret() {
    let site = Site::new();
    site.manifest("[files.url]\nref = \"sr://database/creds/app#connection_url\"\n[env]\nDB_PASSWORD = \"sr://database/creds/app#password\"");
    let secret = site.folder.path().join("secret");
    let script = format!(
        "(umask 077; printf %s \"$DB_PASSWORD\" > {0}); cat $STRONGROOM_FILES/url; echo; echo \"<$DB_PASSWORD>\"; \
         printf %s \"$DB_PASSWORD\" | base64; env | grep -c -e VAULT -e STRONGROOM_ADDR; echo end; read x; exit 0",
        secret.display()
    );
    let mut running = Running::start(site.run(&[], &script).stdin(Stdio::piped()));
    let mut shown = Vec::new();
    while shown.last().is_none_or(|line| line != "end") {
        shown.push(running.line());
    }
    let secret = std::fs::read_to_string(&secret).unwrap();
    assert!(secret.len() >= 20);
    assert_eq!(shown[1], "<***>");
    assert_eq!(shown[3], "0", "the caller's own settings are withheld");
    assert!(!shown.iter().any(|line| line.contains(&secret)), "{shown:?}");
    let front = running.child.id();
    let guardian = std::fs::read_to_string(format!("/proc/{front}/task/{front}/children")).unwrap();
    for pid in [front.to_string(), guardian.trim().to_owned()] {
        for file in ["environ", "cmdline"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains(&secret), "{file} of {pid}");
        }
    }
    drop(running.child.stdin.take());
    assert!(running.child.wait().unwrap().success());
    assert!(!site.server.log().contains(&secret));
}

#[test]
fn a_revoked_user_is_replaced_and_the_program_restarted() {
    let site = Site::new();
    let wire = site.wire();
    wire.post(
        "database/roles/app",
        json!({ "db_name": "main", "default_ttl": "20s", "max_ttl": "20s", "creation_statements":
        ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"] }),
    )
    .ok();
    site.manifest("[run]\nmin_interval = \"0s\"");
    let script = "trap 'echo stopped; exit 0' TERM; echo $DB_USER; while :; do sleep 0.02; done";
    let mut running = Running::start(&mut site.run(&["--no-mask"], script));
    let first = running.line();
    assert!(site.postgres.has_role(&first));
    // Twenty seconds are its greatest age: at two thirds a new user is made, and the program gets it.
    assert_eq!(running.line(), "stopped");
    let second = running.line();
    assert!(first != second && site.postgres.has_role(&second), "{first} {second}");
    until("the old user is gone", || !site.postgres.has_role(&first));
    assert!(Command::new("kill").arg(running.child.id().to_string()).status().unwrap().success());
    assert_eq!(running.line(), "stopped");
    assert!(running.child.wait().unwrap().success());
    assert!(!site.postgres.has_role(&second));
}
