//! Three servers over one PostgreSQL: each serves reads and writes, and what one does binds on all.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use testkit::{
    postgres::Postgres,
    server::Server,
    wire::{Reply, Wire},
};

use crate::kit::{PROGRAM, policy, token, world::World};

/// Servers over one database.
struct Cluster {
    servers: Vec<Server>,
    postgres: Postgres,
}

/// How old the state may be that is answered from; more than the usual second, for machines that are busy with other things.
const BOUND: Duration = Duration::from_secs(4);

impl Cluster {
    fn new(nodes: usize) -> Self {
        let postgres = Postgres::start();
        postgres.psql("CREATE ROLE vault LOGIN PASSWORD 'pw-vault'");
        postgres.psql("CREATE SCHEMA vault AUTHORIZATION vault");
        let url = postgres.url("vault", "pw-vault", "postgres");
        let storage = format!(
            "storage \"postgresql\" {{\n connection_url = \"{url}\"\n table = \"vault.strongroom\"\n \
             max_staleness = {}\n}}",
            BOUND.as_secs()
        );
        let first = Server::start_over(PROGRAM, &storage);
        let mut servers = vec![first];
        for _ in 1..nodes {
            let joined = servers[0].join();
            servers.push(joined);
        }
        Self { servers, postgres }
    }

    fn root(&self, node: usize) -> Wire {
        Wire::new(&self.servers[node], self.servers[0].root_token())
    }

    /// Reads on a node, over the short refusals of a node that has not heard of the store for a moment.
    fn reads(&self, node: usize, path: &str) -> Reply {
        let root = self.root(node);
        Server::eventually("the node answers", || Some(root.get(path)).filter(|reply| reply.status != 503))
    }

    /// How long it takes until `bound` holds on each of the other nodes.
    fn binds(&self, what: &str, bound: impl Fn(usize) -> bool) {
        let start = Instant::now();
        for node in 1..self.servers.len() {
            Server::eventually(what, || bound(node).then_some(()));
            let took = start.elapsed();
            println!("{what}: on node {node} after {took:?}");
            assert!(took < BOUND, "{what}: {took:?}");
        }
    }
}

#[test]
fn what_one_node_does_binds_on_all() {
    let cluster = Cluster::new(3);
    let (a, b) = (cluster.root(0), cluster.root(1));

    // A mount, and secrets in it.
    a.post("sys/mounts/team", json!({ "type": "kv", "options": { "version": "2" } })).done();
    cluster.binds("a mount is there", |node| cluster.root(node).get("sys/mounts/team").status == 200);
    a.post("team/data/app", json!({ "data": { "n": 1 } })).ok();
    cluster.binds("a secret is there", |node| cluster.root(node).get("team/data/app").status == 200);
    b.post("team/data/app", json!({ "data": { "n": 2 } })).ok();
    Server::eventually("the second version on the first node", || {
        (a.get("team/data/app").json()["data"]["data"]["n"] == 2).then_some(())
    });

    // A policy that is narrowed.
    policy(&a, "reads", "path \"team/data/*\" { capabilities = [\"read\"] }");
    let reader = token(&a, &["reads"]);
    let elsewhere = |node: usize| Wire::new(&cluster.servers[node], reader.token());
    cluster.binds("a token is known", |node| elsewhere(node).get("team/data/app").status == 200);
    policy(&a, "reads", "path \"team/data/other\" { capabilities = [\"read\"] }");
    cluster.binds("a policy is narrowed", |node| elsewhere(node).get("team/data/app").status == 403);
    policy(&a, "reads", "path \"team/data/*\" { capabilities = [\"read\"] }");
    cluster.binds("a policy is widened", |node| elsewhere(node).get("team/data/app").status == 200);

    // A token that is revoked.
    a.post("auth/token/revoke", json!({ "token": reader.token() })).done();
    cluster.binds("a token is revoked", |node| elsewhere(node).get("team/data/app").status == 403);

    // The barrier's key.
    a.post("sys/rotate", json!({})).ok();
    cluster.binds("a key is rotated", |node| cluster.root(node).get("sys/key-status").json()["data"]["term"] == 2);
    b.post("team/data/app", json!({ "data": { "n": 3 } })).ok();
    let read = |node: usize| cluster.root(node).get("team/data/app").json()["data"]["data"]["n"].clone();
    cluster.binds("a secret under the new key", |node| read(node) == 3);

    // A namespace with its mounts.
    a.post("sys/namespaces/unit", json!({})).ok();
    cluster.binds("a namespace is there", |node| cluster.root(node).within("unit").get("sys/mounts").status == 200);
    a.within("unit").post("sys/mounts/own", json!({ "type": "kv" })).done();
    cluster.binds("its mount is there", |node| cluster.root(node).within("unit").get("sys/mounts/own").status == 200);

    // An audit device, of which each node has its own file.
    let log = cluster.servers[0].folder().join("audit.log");
    a.post("sys/audit/file", json!({ "type": "file", "options": { "file_path": log.display().to_string() } })).ok();
    cluster.binds("an audit device is there", |node| {
        cluster.root(node).get(&format!("team/data/seen-{node}"));
        std::fs::read_to_string(&log).unwrap_or_default().contains(&format!("team/data/seen-{node}"))
    });
    a.delete("sys/audit/file").ok();

    // A mount that is moved, and one that is removed.
    a.post("sys/remount", json!({ "from": "team", "to": "crew" })).ok();
    cluster.binds("a mount has moved", |node| cluster.root(node).get("crew/data/app").status == 200);
    a.delete("sys/mounts/crew").ok();
    cluster.binds("a mount is removed", |node| cluster.root(node).get("crew/data/app").status == 404);
    a.delete("sys/namespaces/unit").ok();
    cluster
        .binds("a namespace is removed", |node| cluster.root(node).within("unit").get("sys/mounts/own").status == 404);
}

#[test]
fn a_name_that_two_nodes_give_away_at_the_same_moment_is_given_once() {
    let cluster = Cluster::new(2);
    for round in 0..8 {
        let made: Vec<u16> = std::thread::scope(|scope| {
            let tasks = (0..2).map(|node| {
                let root = cluster.root(node);
                scope.spawn(move || root.post(&format!("sys/mounts/m{round}"), json!({ "type": "kv" })).status)
            });
            tasks.collect::<Vec<_>>().into_iter().map(|task| task.join().unwrap()).collect()
        });
        let won = made.iter().filter(|status| **status == 204).count();
        assert_eq!((won, made.iter().filter(|status| **status == 400).count()), (1, 1), "{made:?}");
    }
    let accessors = |node: usize| {
        let mounts = cluster.reads(node, "sys/mounts").data();
        let kv = mounts.as_object().unwrap().values().filter(|mount| mount["type"] == "kv");
        kv.map(|mount| mount["accessor"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    Server::eventually("both nodes have the same mounts", || (accessors(0) == accessors(1)).then_some(()));
    assert_eq!(accessors(0).len(), 8);
}

#[test]
fn who_sends_an_index_back_reads_what_it_wrote() {
    let cluster = Cluster::new(2);
    let (a, b) = (cluster.root(0), cluster.root(1));
    a.post("sys/mounts/team", json!({ "type": "kv" })).done();
    Server::eventually("the mount is there", || (b.get("sys/mounts/team").status == 200).then_some(()));
    for n in 0..50 {
        let written = a.post("team/app", json!({ "n": n }));
        assert_eq!(written.status, 204, "{written}");
        let index = written.header("x-vault-index").unwrap().to_owned();
        let read = Server::eventually("the node is not behind", || {
            let read = b.send(
                "GET",
                "team/app",
                &[("X-Vault-Index", &index), ("X-Vault-Inconsistent", "forward-active-node")],
                None,
            );
            Some(read).filter(|read| !matches!(read.status, 412 | 503))
        });
        assert_eq!(read.data()["n"], n);
    }
    let index = b.get("team/app").header("x-vault-index").unwrap().to_owned();
    let text = String::from_utf8(STANDARD.decode(&index).unwrap()).unwrap();
    let parts: Vec<&str> = text.split(':').collect();
    let with = |cluster: &str, revision: &str| STANDARD.encode(format!("v1:{cluster}:{revision}:0:"));
    let cases = [
        ("nonsense".to_owned(), 400, "as it came"),
        (with("another", parts[2]), 400, "another cluster"),
        (with(parts[1], "99999999"), 412, "index state"),
    ];
    for (sent, status, why) in cases {
        let refused = b.send("GET", "team/app", &[("X-Vault-Index", &sent)], None);
        refused.fails(status);
        assert!(refused.text().contains(why), "{refused}");
    }
}

#[test]
fn a_store_that_is_away_is_a_503_and_never_a_seal() {
    let cluster = Cluster::new(2);
    let (a, b) = (cluster.root(0), cluster.root(1));
    a.post("sys/mounts/team", json!({ "type": "kv" })).done();
    a.post("team/app", json!({ "n": 1 })).done();
    Server::eventually("the secret is there", || (b.get("team/app").status == 200).then_some(()));
    cluster.postgres.stop();
    for wire in [&a, &b] {
        // What is in memory is answered until it is too old.
        let refused = Server::eventually("the node stops answering", || {
            Some(wire.get("team/app")).filter(|reply| reply.status == 503)
        });
        assert!(refused.header("retry-after").is_some(), "{refused}");
        wire.post("team/app", json!({ "n": 2 })).fails(503);
        assert!(wire.get("sys/health").json()["sealed"] == false);
    }
    let text = a.get("team/app").text();
    assert!(text.contains("max_staleness") || text.contains("unavailable"), "{text}");
    cluster.postgres.start_again();
    for wire in [&a, &b] {
        let read =
            Server::eventually("the node goes on", || Some(wire.get("team/app")).filter(|read| read.status == 200));
        assert_eq!(read.data()["n"], 1);
    }
    assert_eq!(a.post("team/app", json!({ "n": 3 })).status, 204);
    for server in &cluster.servers {
        assert!(!server.log().contains("pw-vault"), "the password is in no log");
    }
}

#[test]
fn a_node_that_is_killed_or_stands_still_loses_nothing_and_shows_nothing_old() {
    let mut cluster = Cluster::new(3);
    let roots: Vec<Wire> = (0..3).map(|node| cluster.root(node)).collect();
    roots[0].post("sys/mounts/team", json!({ "type": "kv" })).done();
    Server::eventually("the mount is there", || {
        roots.iter().all(|root| root.get("sys/mounts/team").status == 200).then_some(())
    });
    // One stands still while a token that it knows is revoked.
    policy(&roots[0], "reads", "path \"team/*\" { capabilities = [\"read\"] }");
    let reader = token(&roots[0], &["reads"]);
    roots[0].post("team/app", json!({ "n": 0 })).done();
    let paused = Wire::new(&cluster.servers[2], reader.token());
    Server::eventually("the token is known", || (paused.get("team/app").status == 200).then_some(()));
    cluster.servers[2].pause();
    roots[0].post("auth/token/revoke", json!({ "token": reader.token() })).done();
    std::thread::sleep(BOUND + Duration::from_millis(500));
    cluster.servers[2].resume();
    for _ in 0..20 {
        let status = paused.get("team/app").status;
        assert!(matches!(status, 403 | 503), "a node that stood still answers {status} to a revoked token");
    }
    // One is killed while it writes; what it acknowledged is there on the others.
    let mut acknowledged = 0;
    let writer = Wire::new(&cluster.servers[1], cluster.servers[0].root_token());
    std::thread::scope(|scope| {
        let task = scope.spawn(|| {
            let mut acknowledged = 0;
            for n in 1.. {
                let body = json!({ "n": n }).to_string();
                match writer.try_send_to("POST", "/v1/team/count", &[], Some(body.as_bytes())) {
                    Ok(reply) if reply.status == 204 => acknowledged = n,
                    Ok(reply) if reply.status == 503 => {}
                    Ok(reply) => panic!("{reply}"),
                    Err(_) => break,
                }
            }
            acknowledged
        });
        std::thread::sleep(Duration::from_millis(1500));
        cluster.servers[1].kill();
        acknowledged = task.join().unwrap();
    });
    assert!(acknowledged > 0);
    let read = cluster.reads(0, "team/count").data()["n"].as_u64().unwrap();
    assert!(read == acknowledged || read == acknowledged + 1, "{read} after {acknowledged}");
    // It comes back, and is one of three again.
    cluster.servers[1].launch();
    cluster.servers[1].unseal();
    assert_eq!(cluster.reads(1, "team/count").data()["n"].as_u64().unwrap(), read);
    Server::eventually("all nodes are active", || {
        let nodes = cluster.reads(0, "sys/ha-status").json()["data"]["nodes"].clone();
        let active = nodes.as_array().unwrap().iter().filter(|node| node["active_node"] == true).count();
        (active == 3).then_some(())
    });
    let leader = cluster.reads(2, "sys/leader").json();
    assert_eq!((&leader["ha_enabled"], &leader["is_self"]), (&json!(true), &json!(true)));
}

#[test]
fn users_of_a_database_end_once_whichever_nodes_there_are() {
    let cluster = Cluster::new(3);
    let target = Postgres::start();
    target.admin("strongroom", "handed-over");
    let root = cluster.root(0);
    root.post("sys/mounts/database", json!({ "type": "database" })).done();
    root.post("database/config/shop", World::connection(&target)).ok();
    let creation = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role = json!({ "db_name": "shop", "creation_statements": creation, "default_ttl": "6s", "max_ttl": "1m" });
    root.post("database/roles/app", role).ok();
    let mut made = BTreeSet::new();
    for n in 0..24 {
        let reply: Value = Server::eventually("a user is made", || {
            let reply = cluster.root(n % 3).get("database/creds/app");
            (reply.status == 200).then(|| reply.json())
        });
        made.insert(reply["data"]["username"].as_str().unwrap().to_owned());
    }
    assert_eq!(made.len(), 24);
    // One stands still for longer than the leases live, and comes back.
    cluster.servers[2].pause();
    let users = || target.psql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'");
    Server::eventually("all users are gone", || (users() == "0").then_some(()));
    cluster.servers[2].resume();
    Server::eventually("no lease is left", || {
        let left = cluster.root(2).list("sys/leases/lookup/database/creds/app/");
        (left.status == 404).then_some(())
    });
    assert_eq!(users(), "0");
    let log = std::fs::read_to_string(target.directory().join("log")).unwrap();
    for user in &made {
        let dropped = log.lines().filter(|line| line.contains("DROP ROLE") && line.contains(user.as_str())).count();
        assert!(dropped <= 1, "{user} was dropped {dropped} times");
    }
}
