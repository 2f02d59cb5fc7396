//! What a new server is told by its configuration, through the running program.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{fmt::Write as _, panic::AssertUnwindSafe, time::Duration};

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

use crate::kit::PROGRAM;

const PEOPLE: &str = r#"
    initialize "people" {
      request "log" {
        operation = "update"
        path = "sys/audit/file"
        data = { type = "file" options = { file_path = "LOG" } }
      }
      request "userpass" { operation = "update" path = "sys/auth/userpass" data = { type = "userpass" } }
      request "again" {
        operation = "update"
        path = "sys/auth/userpass"
        data = { type = "userpass" }
        allow_failure = true
      }
      request "admin" {
        operation = "update"
        path = "auth/userpass/users/admin"
        data = {
          password = { eval_type = "string" eval_source = "env" env_var = "FIRST_PASSWORD" }
          token_policies = ["default"]
        }
      }
    }
    initialize "secrets" {
      request "mount" { operation = "update" path = "sys/mounts/kv" data = { type = "kv" options = { version = "2" } } }
    }"#;

fn wire(server: &Server) -> Wire {
    Wire::new(server, server.root_token())
}

#[test]
fn a_request_that_fails_is_made_again_after_the_next_unseal_and_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let config = PEOPLE.replace("LOG", log.to_str().unwrap());
    let mut server = Server::start_with(PROGRAM, &config);
    let root = wire(&server);
    // The variable is not there: what came before is done, what comes after is not, and the server serves.
    assert!(
        server.logged("people/admin: the environment has no text under FIRST_PASSWORD").len() == 1,
        "{}",
        server.log()
    );
    assert!(root.get("sys/auth").data().get("userpass/").is_some());
    assert!(root.get("sys/mounts").data().get("kv/").is_none());
    // Its token is refused at once, and cleared away soon.
    let tokens = || root.list("auth/token/accessors").data()["keys"].as_array().unwrap().len();
    Server::eventually("only root's token is left", || (tokens() == 1).then_some(()));

    server.stop();
    server.launch_with(&[("FIRST_PASSWORD", "very-secret-at-first")]);
    server.unseal();
    let root = wire(&server);
    assert!(server.logged("the requests of the first start are made").len() == 1, "{}", server.log());
    let login = json!({ "password": "very-secret-at-first" });
    root.with_token("").post("auth/userpass/login/admin", login.clone()).client_token();
    assert!(root.get("sys/mounts").data().get("kv/").is_some());

    // What was undone since stays undone: it was a first start.
    root.delete("sys/mounts/kv").done();
    server.stop();
    server.launch();
    server.unseal();
    assert!(wire(&server).get("sys/mounts").data().get("kv/").is_none());

    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("very-secret-at-first") && !server.log().contains("very-secret-at-first"));
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made = |path: &str| {
        let all = entries.iter().filter(|entry| entry["request"]["path"] == path && entry["type"] == "request");
        all.filter(|entry| entry["auth"]["display_name"] == "first-start").count()
    };
    assert_eq!((made("sys/auth/userpass"), made("auth/userpass/users/admin"), made("sys/mounts/kv")), (2, 1, 1));
}

#[test]
fn a_server_that_was_initialised_without_requests_never_makes_any() {
    let mut server = Server::start(PROGRAM);
    server.stop();
    let path = server.folder().join("config.hcl");
    let config = std::fs::read_to_string(&path).unwrap();
    let more = "initialize \"a\" { request \"b\" { operation = \"update\" path = \"sys/mounts/kv\" data = { type = \"kv\" } } }";
    std::fs::write(&path, format!("{config}\n{more}\n")).unwrap();
    server.launch();
    server.unseal();
    assert!(wire(&server).get("sys/mounts").data().get("kv/").is_none());
}

/// Killed at whatever moment, it goes on where it was: each mount is there, and each secret was written once.
#[test]
fn a_server_that_is_killed_goes_on_where_it_was() {
    let mut config = String::new();
    for n in 0..30 {
        write!(
            config,
            "initialize \"m{n}\" {{
               request \"mount\" {{ operation = \"update\" path = \"sys/mounts/m{n}\" data = {{ type = \"kv-v2\" }} }}
               request \"write\" {{
                 operation = \"create\" path = \"m{n}/data/app\" data = {{ data = {{ n = {n} }} options = {{ cas = 0 }} }}
               }}
             }}\n"
        )
        .unwrap();
    }
    let path = |server: &Server| server.folder().join("config.hcl");
    let mut server = Server::sealed(PROGRAM);
    let plain = std::fs::read_to_string(path(&server)).unwrap();
    std::fs::write(path(&server), format!("{plain}\n{config}")).unwrap();
    server.launch();
    let init = Wire::new(&server, "").post("sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 })).ok();
    let keys: Vec<String> = vec![init["keys"][0].as_str().unwrap().to_owned()];
    server.set_keys(keys, init["root_token"].as_str().unwrap());
    for wait in [10, 60, 150, 300] {
        let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid().unwrap()).unwrap()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(wait));
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            });
            // The reply never comes if it dies first.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| server.unseal()));
        });
        server.kill();
        server.launch();
    }
    server.unseal();
    let root = wire(&server);
    assert!(!server.logged("the requests of the first start are made").is_empty(), "{}", server.log());
    for n in 0..30 {
        let secret = root.get(&format!("m{n}/data/app")).data();
        assert_eq!((&secret["data"]["n"], &secret["metadata"]["version"]), (&json!(n), &json!(1)), "m{n}");
    }
}
