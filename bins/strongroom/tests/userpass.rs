//! Users with passwords through the running program: their logins, and what happens to those who guess.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

use crate::kit::{PROGRAM, approle, policy, start};

fn with_alice(root: &Wire) {
    root.post("sys/auth/userpass", json!({ "type": "userpass" })).done();
    policy(root, "own", "path \"cubbyhole/*\" { capabilities = [\"read\", \"update\"] }");
    root.post("auth/userpass/users/Alice", json!({ "password": "right", "token_policies": "own" })).done();
}

fn login(anybody: &Wire, name: &str, password: &str) -> testkit::wire::Reply {
    anybody.post(&format!("auth/userpass/login/{name}"), json!({ "password": password }))
}

fn accessor(root: &Wire, mount: &str) -> String {
    root.get("sys/auth").data()[mount]["accessor"].as_str().unwrap().to_owned()
}

#[test]
fn a_user_is_one_entity_in_every_spelling() {
    let (_server, root) = start();
    with_alice(&root);
    let anybody = root.with_token("");
    let first = login(&anybody, "alice", "right").ok()["auth"].clone();
    assert_eq!(first["policies"], json!(["default", "own"]));
    assert_eq!(first["metadata"], json!({ "username": "alice" }));
    let second = login(&anybody, "ALICE", "right").ok()["auth"].clone();
    assert_eq!(first["entity_id"], second["entity_id"]);
    let alice = root.with_token(first["client_token"].as_str().unwrap());
    let about = alice.get("auth/token/lookup-self").data();
    assert_eq!(
        (&about["display_name"], &about["path"]),
        (&json!("userpass-alice"), &json!("auth/userpass/login/alice"))
    );
    alice.post("auth/token/renew-self", json!({})).ok();
    root.post("auth/userpass/users/alice/policies", json!({ "token_policies": "other" })).done();
    alice.post("auth/token/renew-self", json!({})).refused(400, "policies have changed, not renewing");
    login(&anybody, "nobody", "right").refused(400, "invalid username or password");
    login(&anybody, "alice", "wrong").refused(400, "invalid username or password");
    // Who may write is asked before whether the user exists.
    anybody.post("auth/userpass/users/alice", json!({ "password": "x" })).refused(403, "permission denied");
}

#[test]
fn who_guesses_is_locked_out_until_somebody_unlocks() {
    let mut server = Server::start(PROGRAM);
    let root = Wire::new(&server, server.root_token());
    with_alice(&root);
    let anybody = root.with_token("");
    for name in ["alice", "Alice", "aLice", "alIce", "aliCe"] {
        login(&anybody, name, "wrong").refused(400, "invalid username or password");
    }
    login(&anybody, "alice", "right").refused(403, "permission denied");
    for _ in 0..5 {
        login(&anybody, "nobody", "x").refused(400, "invalid username or password");
    }
    login(&anybody, "nobody", "x").refused(403, "permission denied");
    let userpass = accessor(&root, "userpass/");
    let listed = root.get("sys/locked-users").data();
    let expected = json!({ "total": 2, "by_namespace": [{
        "counts": 2, "namespace_id": "root", "namespace_path": "",
        "mount_accessors": [{ "mount_accessor": userpass, "counts": 2, "alias_identifiers": ["alice", "nobody"] }],
    }] });
    assert_eq!(listed, expected);
    assert_eq!(root.get("sys/locked-users?mount_accessor=other").data(), json!({ "total": 0, "by_namespace": [] }));
    anybody.get("sys/locked-users").refused(403, "permission denied");

    server.stop();
    server.launch();
    server.unseal();
    let root = Wire::new(&server, server.root_token());
    let anybody = root.with_token("");
    login(&anybody, "alice", "right").refused(403, "permission denied");
    let listed = root.get("sys/locked-users").data();
    assert_eq!(listed["by_namespace"][0]["mount_accessors"][0]["alias_identifiers"], json!(["alice"]));
    root.post("sys/locked-users/nothing/unlock/alice", json!({})).refused(400, "mount_accessor");
    anybody.post(&format!("sys/locked-users/{userpass}/unlock/alice"), json!({})).refused(403, "permission denied");
    root.post(&format!("sys/locked-users/{userpass}/unlock/Alice"), json!({})).done();
    login(&anybody, "alice", "right").ok();
    assert_eq!(root.get("sys/locked-users").data()["total"], 0);
}

#[test]
fn a_mount_says_when_it_locks() {
    let (_server, root) = start();
    with_alice(&root);
    let anybody = root.with_token("");
    assert!(root.get("sys/auth/userpass/tune").data().get("user_lockout_config").is_none());
    let config = json!({ "lockout_threshold": "2", "lockout_duration": "10m", "lockout_counter_reset_duration": "5m" });
    root.post("sys/auth/userpass/tune", json!({ "user_lockout_config": config })).done();
    let shown = json!({
        "lockout_threshold": 2, "lockout_duration": 600, "lockout_counter_reset": 300, "lockout_disable": false,
    });
    assert_eq!(root.get("sys/auth/userpass/tune").data()["user_lockout_config"], shown);
    assert_eq!(root.get("sys/auth").data()["userpass/"]["config"]["user_lockout_config"], shown);
    for _ in 0..2 {
        login(&anybody, "alice", "wrong").refused(400, "invalid username or password");
    }
    login(&anybody, "alice", "right").refused(403, "permission denied");
    root.post("sys/mounts/auth/userpass/tune", json!({ "user_lockout_config": { "lockout_disable": true } })).done();
    login(&anybody, "alice", "right").ok();
    for _ in 0..10 {
        login(&anybody, "alice", "wrong").refused(400, "invalid username or password");
    }
    login(&anybody, "alice", "right").ok();
}

#[test]
fn a_role_of_approle_is_locked_too() {
    let (_server, root) = start();
    let (role_id, secret_id) = approle(&root, "web", "default");
    let anybody = root.with_token("");
    let login = |role_id: &str, secret_id: &str| {
        anybody.post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id }))
    };
    for _ in 0..5 {
        login(&role_id, "wrong").refused(400, "invalid role or secret ID");
        login("nobody", "wrong").refused(400, "invalid role or secret ID");
    }
    login(&role_id, &secret_id).refused(403, "permission denied");
    login("nobody", "wrong").refused(403, "permission denied");
    let approle = accessor(&root, "approle/");
    root.post(&format!("sys/locked-users/{approle}/unlock/{role_id}"), json!({})).done();
    login(&role_id, &secret_id).ok();
}

#[test]
fn the_configuration_and_the_environment_say_when_everybody_is_locked() {
    let stanzas =
        "user_lockout \"all\" { lockout_threshold = 1 }\nuser_lockout \"userpass\" { lockout_threshold = \"3\" }";
    let mut server = Server::start_with(PROGRAM, stanzas);
    let root = Wire::new(&server, server.root_token());
    with_alice(&root);
    let (role_id, secret_id) = approle(&root, "web", "default");
    let anybody = root.with_token("");
    for _ in 0..3 {
        login(&anybody, "alice", "wrong").refused(400, "invalid username or password");
    }
    login(&anybody, "alice", "right").refused(403, "permission denied");
    anybody.post("auth/approle/login", json!({ "role_id": role_id, "secret_id": "wrong" })).fails(400);
    anybody.post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id })).fails(403);
    server.stop();
    server.launch_with(&[("VAULT_DISABLE_USER_LOCKOUT", "true")]);
    server.unseal();
    let anybody = Wire::new(&server, "");
    for _ in 0..5 {
        login(&anybody, "alice", "wrong").refused(400, "invalid username or password");
    }
    login(&anybody, "alice", "right").ok();
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_command_line_takes_the_password_from_a_pipe() {
    let (server, root) = start();
    with_alice(&root);
    let arguments = ["login", "-method=userpass", "-format=json", "-no-store", "username=Alice", "password=-"];
    let mut child = server.command("", &arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"right\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let auth: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(auth["auth"]["metadata"]["username"], "alice");
    let wrong = server.cli("", &["login", "-method=userpass", "-no-store", "username=alice", "password=wrong"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", told(&wrong));
    assert!(told(&wrong).contains("invalid username or password"), "{}", told(&wrong));
}

/// A terminal for the program, whose other end types and reads what is shown.
const TERMINAL: &str = r#"
import os, pty, sys, termios
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], ["vault"] + sys.argv[2:])
shown = b""
while b"hidden" not in shown:
    shown += os.read(terminal, 1024)
while termios.tcgetattr(terminal)[3] & termios.ECHO:
    pass
os.write(terminal, b"right\n")
while True:
    try:
        piece = os.read(terminal, 1024)
    except OSError:
        break
    if not piece:
        break
    shown += piece
sys.stdout.write(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn the_command_line_asks_for_the_password_without_showing_it() {
    let (server, root) = start();
    with_alice(&root);
    let program = server.command("", &[]);
    let mut command = std::process::Command::new("python3");
    command.args(["-c", TERMINAL]).arg(program.get_program());
    command.args(["login", "-method=userpass", "-no-store", "-field=token_policies", "username=alice"]);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().expect("python3 is not installed: apt-get install python3");
    assert!(output.status.success(), "{}", told(&output));
    let shown = told(&output);
    assert!(shown.contains("Password (will be hidden):") && shown.contains("default"), "{shown}");
    assert!(!shown.contains("right"), "{shown}");
}
