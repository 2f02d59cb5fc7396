//! Snapshots: taken from a server in use, looked at, put back onto an empty server and onto another one, by a schedule; and the
//! copy from store to store.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use testkit::{server::Server, wire::Wire};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(output: &Output, text: &str) {
    assert!(output.status.success() && said(output).contains(text), "{}", said(output));
}

fn fails(output: &Output, text: &str) {
    assert!(!output.status.success() && said(output).contains(text), "{}", said(output));
}

/// A server with a secret.
fn with_secret(value: &str) -> Server {
    let server = Server::start(PROGRAM);
    server.must_write("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" } }));
    server.must_write("kv/data/app", json!({ "data": { "password": value } }));
    server
}

fn save(server: &Server) -> PathBuf {
    let file = server.folder().join("backup.snap");
    let saved = server.cli(server.root_token(), &["operator", "snapshot", "save", path(&file)]);
    succeeds(&saved, "written to");
    file
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

fn secret(server: &Server) -> Value {
    server.must_read("kv/data/app")["data"]["password"].clone()
}

/// Unseals with the shares of another server, whose data it holds now.
fn unseal_as(server: &mut Server, other: &Server) {
    server.set_keys(other.keys().to_vec(), other.root_token());
    server.unseal();
}

#[test]
fn a_snapshot_is_put_onto_an_empty_server_by_one_command() {
    let source = with_secret("before");
    let file = save(&source);
    source.must_write("kv/data/app", json!({ "data": { "password": "after" } }));

    let inspected = source.cli("", &["operator", "raft", "snapshot", "inspect", "-format=json", path(&file)]);
    let told: Value = serde_json::from_slice(&inspected.stdout).expect(&said(&inspected));
    assert_eq!((&told["seal_type"], &told["storage_type"]), (&json!("shamir"), &json!("embedded")));
    assert!(told["keys_needed"].as_str().unwrap().starts_with("2 of the 3 key shares of set "), "{told}");
    // What it holds is encrypted.
    let bytes = std::fs::read(&file).unwrap();
    assert!(memchr::memmem::find(&bytes, b"before").is_none());

    let mut target = Server::sealed(PROGRAM);
    succeeds(&target.cli("", &["operator", "snapshot", "restore", "-check", path(&file)]), "Nothing was changed");
    assert_eq!(Wire::new(&target, "").get("sys/init").ok()["initialized"], false);
    succeeds(&target.cli("", &["operator", "snapshot", "restore", path(&file)]), "2 of the 3 key shares");
    let status = Wire::new(&target, "").get("sys/seal-status").ok();
    assert_eq!(
        (&status["initialized"], &status["sealed"], &status["restoring"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    unseal_as(&mut target, &source);
    assert_eq!(secret(&target), "before");
    // It is a server like any other: it writes, and starts again.
    target.must_write("kv/data/app", json!({ "data": { "password": "onward" } }));
    target.launch();
    target.unseal();
    assert_eq!(secret(&target), "onward");
    assert_eq!(left_over(&target), Vec::<String>::new());
}

/// Files of restores beside the data.
fn left_over(server: &Server) -> Vec<String> {
    let names = std::fs::read_dir(server.folder().join("data")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("restore-")).collect()
}

#[test]
fn a_server_in_use_goes_back_and_takes_another_ones_only_by_force() {
    let mut server = with_secret("first");
    let file = save(&server);
    server.must_write("kv/data/app", json!({ "data": { "password": "second" } }));
    let restored = server.cli(server.root_token(), &["operator", "raft", "snapshot", "restore", path(&file)]);
    succeeds(&restored, "Snapshot restored");
    server.unseal();
    assert_eq!(secret(&server), "first");

    let other = with_secret("of another");
    let foreign = save(&other);
    let root = server.root_token().to_owned();
    let refused = server.cli(&root, &["operator", "snapshot", "restore", path(&foreign)]);
    fails(&refused, "was not made with this server's keys: after it, 2 of the 3 key shares");
    assert_eq!(secret(&server), "first");
    succeeds(&server.cli(&root, &["operator", "snapshot", "restore", "-force", path(&foreign)]), "Snapshot restored");
    unseal_as(&mut server, &other);
    assert_eq!(secret(&server), "of another");
}

#[test]
fn a_damaged_file_and_a_caller_without_rights_change_nothing() {
    let server = with_secret("stays");
    let file = save(&server);
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let bad = server.folder().join("bad.snap");
    let empty = Server::sealed(PROGRAM);
    for (bytes, text) in [
        (whole[..whole.len() / 2].to_vec(), "the snapshot is damaged"),
        (whole[..whole.len() - 9].to_vec(), "the snapshot is damaged"),
        (flipped, "the snapshot is damaged"),
        (b"no snapshot at all".to_vec(), "this is no snapshot"),
        (Vec::new(), "this is no snapshot"),
    ] {
        std::fs::write(&bad, &bytes).unwrap();
        fails(&server.cli(server.root_token(), &["operator", "snapshot", "restore", path(&bad)]), text);
        fails(&server.cli("", &["operator", "snapshot", "inspect", path(&bad)]), text);
        // The server checks for itself.
        for wire in [Wire::new(&server, server.root_token()), Wire::new(&empty, "")] {
            wire.send("POST", "sys/storage/raft/snapshot-force", &[], Some(&bytes)).refused(400, text);
        }
    }
    assert_eq!(Wire::new(&empty, "").get("sys/init").ok()["initialized"], false);
    assert_eq!((left_over(&server), left_over(&empty)), (vec![], vec![]));
    let anybody = Wire::new(&server, "");
    anybody.send("POST", "sys/storage/raft/snapshot", &[], Some(&whole)).fails(403);
    anybody.get("sys/storage/raft/snapshot").fails(403);
    let root = Wire::new(&server, server.root_token());
    root.send("POST", "sys/storage/raft/snapshot?check=maybe", &[], Some(&whole))
        .refused(400, "check: use true or false");
    assert_eq!(secret(&server), "stays");
}

#[test]
fn a_restore_that_was_cut_off_goes_on_when_the_server_is_started_again() {
    let source = with_secret("whole");
    for number in 0..300 {
        source.must_write(&format!("kv/data/many/{number}"), json!({ "data": { "n": number } }));
    }
    let file = save(&source);
    let bytes = std::fs::read(&file).unwrap();
    let mut target = Server::sealed(PROGRAM);
    // Killed as soon as the snapshot is accepted, which shows in the file that is kept.
    std::thread::scope(|scope| {
        let wire = Wire::new(&target, "");
        let bytes = &bytes;
        let sent = scope.spawn(move || {
            let _ = wire.try_send_to("POST", "/v1/sys/storage/raft/snapshot", &[], Some(bytes));
        });
        // On a fast machine all may be over before the file is seen.
        Server::eventually("the snapshot is accepted", || {
            let kept = left_over(&target).iter().any(|name| name.ends_with(".snap"));
            (kept || sent.is_finished()).then_some(())
        });
        let pid = rustix::process::Pid::from_raw(target.pid().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    });
    target.launch();
    let status = Server::eventually("the restore is over", || {
        let status = Wire::new(&target, "").get("sys/seal-status").ok();
        (status["restoring"] != true).then_some(status)
    });
    if status["initialized"] == false {
        // It was killed a moment before the snapshot was settled: then nothing was changed, and it can be sent again.
        let again = Wire::new(&target, "").send("POST", "sys/storage/raft/snapshot", &[], Some(&bytes));
        assert_eq!(again.ok()["data"]["restoring"], true);
    }
    unseal_as(&mut target, &source);
    assert_eq!(secret(&target), "whole");
    for number in 0..300 {
        assert_eq!(target.must_read(&format!("kv/data/many/{number}"))["data"]["n"], number);
    }
}

#[test]
fn snapshots_are_taken_by_a_schedule_and_the_oldest_go() {
    let server = with_secret("kept");
    let folder = server.folder().join("snapshots");
    let root = Wire::new(&server, server.root_token());
    let config = "sys/storage/raft/snapshot-auto/config/daily";
    for (body, text) in [
        (json!({ "path_prefix": "/x" }), "interval is missing"),
        (json!({ "interval": "24h" }), "path_prefix is missing"),
        (json!({ "interval": "1s", "path_prefix": "/x" }), "interval: at least 60s"),
        (json!({ "interval": "24h", "path_prefix": "x" }), "path_prefix: name a directory of the server"),
        (json!({ "interval": "24h", "path_prefix": "/x", "retain": 0 }), "retain: keep at least 1"),
        (json!({ "interval": "24h", "path_prefix": "/x", "file_prefix": "../x" }), "file_prefix: use 1 to 100"),
        (json!({ "interval": "24h", "path_prefix": "/x", "storage_type": "tape" }), "storage_type: snapshots go to"),
    ] {
        root.post(config, body).refused(400, text);
    }
    let gauge = |name: &str| -> f64 {
        let metrics = root.get("sys/metrics?format=prometheus").text();
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name).to_owned();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(gauge("strongroom_snapshot_last_success_seconds"), 0.0);
    root.post(config, json!({ "interval": "24h", "path_prefix": path(&folder), "file_prefix": "sr", "retain": 2 }))
        .done();
    let status = "sys/storage/raft/snapshot-auto/status/daily";
    // The first is due at once.
    Server::eventually("a snapshot by the schedule", || {
        (root.get(status).data()["last_snapshot_url"] != "").then_some(())
    });
    assert!(gauge("strongroom_snapshot_age_seconds") < 600.0);
    let shown = root.get(config).data();
    assert_eq!(
        (&shown["interval"], &shown["retain"], &shown["storage_type"]),
        (&json!(86_400), &json!(2), &json!("local"))
    );
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let first = names();
    assert_eq!(first.len(), 1);
    let mut last = String::new();
    while names().len() < 2 || names().contains(&first[0]) {
        let ran = root.post("sys/storage/raft/snapshot-auto/run/daily", json!({})).data();
        assert_eq!(ran["last_snapshot_error"], "");
        last = ran["last_snapshot_url"].as_str().unwrap().to_owned();
    }
    assert_eq!(names().len(), 2);
    succeeds(&server.cli("", &["operator", "snapshot", "inspect", &last]), "keys_needed");

    // A place that cannot be written is told, and counted.
    root.post(config, json!({ "path_prefix": "/proc/strongroom" })).done();
    let ran = root.post("sys/storage/raft/snapshot-auto/run/daily", json!({})).data();
    assert_ne!(ran["last_snapshot_error"], "");
    assert_eq!((&ran["consecutive_errors"], &ran["last_snapshot_url"]), (&json!(1), &json!(last)));
    assert_eq!(gauge("strongroom_snapshot_failures"), 1.0);
    root.delete(config).done();
    root.get(status).fails(404);
    assert_eq!(names().len(), 2, "the files stay");
}

#[test]
fn a_store_is_copied_to_another_one_and_opens_with_the_same_keys() {
    let mut server = with_secret("moved");
    for number in 0..200 {
        server.must_write(&format!("kv/data/many/{number}"), json!({ "data": { "n": number } }));
    }
    let (from, to) = (server.folder().join("data"), server.folder().join("elsewhere"));
    let file = server.folder().join("migrate.hcl");
    let write = |from: &Path, to: &Path| {
        let text = format!(
            "storage_source \"raft\" {{ path = {:?} }}\nstorage_destination \"embedded\" {{ path = {:?} }}\ncluster_addr = \"https://x:1\"\n",
            path(from),
            path(to)
        );
        std::fs::write(&file, text).unwrap();
    };
    let migrate = |server: &Server| server.cli("", &["operator", "migrate", "-config", path(&file)]);
    write(&from, &to);
    fails(&migrate(&server), "is in use by another strongroom");
    server.stop();
    succeeds(&migrate(&server), "Both were read again and have the sum ");
    fails(&migrate(&server), "the destination is not empty");
    write(&from, &from);
    fails(&migrate(&server), "are the same store");
    write(&server.folder().join("nothing"), &server.folder().join("new"));
    fails(&migrate(&server), "the source is empty");

    std::fs::rename(&from, server.folder().join("old")).unwrap();
    std::fs::rename(&to, &from).unwrap();
    server.launch();
    server.unseal();
    assert_eq!(secret(&server), "moved");
    assert_eq!(server.must_read("kv/data/many/199")["data"]["n"], 199);
}
