//! Data that earlier versions left is opened by this one; data of a later one is refused with a clear text.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/upgrade");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// A server over a copy of what lies in `from`, sealed.
fn over(from: &Path) -> Server {
    let mut server = Server::sealed(PROGRAM);
    server.stop();
    let data = server.folder().join("data");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::copy(from.join("strongroom.db"), data.join("strongroom.db")).unwrap();
    let keys: Value = serde_json::from_slice(&std::fs::read(from.join("keys.json")).unwrap()).unwrap();
    let shares = keys["keys_base64"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect();
    server.set_keys(shares, keys["root_token"].as_str().unwrap());
    server.launch();
    server
}

#[test]
fn what_earlier_versions_left_is_opened_and_used() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        let mut server = over(&fixture);
        server.unseal();
        for _ in 0..2 {
            assert_eq!(server.must_read("kv/data/app")["data"]["password"], "second", "{fixture:?}");
            let root = Wire::new(&server, server.root_token());
            assert_eq!(root.get("kv/data/app?version=1").data()["data"]["password"], "first");
            assert_eq!(server.must_read("kv/data/later")["data"]["password"], "after the rotation");
            assert_eq!(server.must_read("old/app")["password"], "plain");
            assert_eq!(server.must_read("auth/approle/role/app/role-id")["role_id"], "the-role");
            let anybody = Wire::new(&server, "");
            let token = anybody.post("auth/userpass/login/ada", json!({ "password": "lovelace-1843" })).client_token();
            let ada = anybody.with_token(&token);
            assert_eq!(ada.get("kv/data/app").data()["data"]["password"], "second");
            ada.get("old/app").fails(403);
            server.must_write("kv/data/new", json!({ "data": { "written": "by this version" } }));
            server.launch();
            server.unseal();
        }
    }
}

#[test]
fn what_a_later_version_left_is_refused_and_not_touched() {
    let mut server = over(&fixtures()[0]);
    server.unseal();
    server.stop();
    let file = server.folder().join("data/strongroom.db");
    let sqlite = |sql: &str| {
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); print(c.execute(sys.argv[2]).rowcount); c.commit(); c.close()";
        let output = std::process::Command::new("python3").args(["-c", script]).arg(&file).arg(sql).output().unwrap();
        assert!(output.status.success() && output.stdout.starts_with(b"1"), "{output:?}");
    };
    let refused = |text: &str| {
        let config = format!("-config={}", server.folder().join("config.hcl").display());
        let before = std::fs::read(&file).unwrap();
        let output = std::process::Command::new(PROGRAM).args(["server", &config]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(text), "{said}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    };
    // First what is in the store, then the store itself.
    sqlite("UPDATE entries SET value = CAST('{\"format\":2,\"version\":\"9.9.9\"}' AS BLOB) WHERE key = 'core/format'");
    refused(
        "the data was written by strongroom 9.9.9 in format 2, this version knows formats up to 1: install a newer strongroom",
    );
    sqlite("UPDATE meta SET value = 2 WHERE name = 'format'");
    refused("has format 2, this version knows formats up to 1: install a newer strongroom");
}
