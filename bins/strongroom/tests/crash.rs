//! The running program is killed, and PostgreSQL too, in the middle of everything that has an effect outside: making,
//! renewing and revoking users, rotating the administrator's and other accounts.
//!
//! `engines/database/tests/crash.rs` kills at each named step; here the moments are as they come, and so are the
//! requests, which all go on at once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use testkit::{
    server::Server,
    wire::{Reply, Wire},
};

use crate::kit::world::{User, World};

/// What is killed in a round, once so many acts are done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kill {
    Server,
    Database,
    Both,
}

const ROUNDS: &[(Kill, usize)] = &[
    (Kill::Server, 1),
    (Kill::Server, 9),
    (Kill::Database, 15),
    (Kill::Server, 20),
    (Kill::Both, 26),
    (Kill::Server, 33),
    (Kill::Server, 47),
    (Kill::Database, 55),
    (Kill::Server, 64),
    (Kill::Both, 75),
];

#[test]
fn killed_at_any_moment_no_user_is_unknown_and_every_login_works() {
    let mut world = World::new();
    world.postgres.psql("CREATE ROLE account LOGIN; CREATE ROLE pair_a LOGIN; CREATE ROLE pair_b LOGIN");
    world.postgres.psql("GRANT account, pair_a, pair_b TO strongroom WITH ADMIN OPTION");
    let single = json!({ "db_name": "shop", "username": "account", "rotation_period": "24h" });
    world.root.post("database/static-roles/single", single).done();
    let pair =
        json!({ "db_name": "shop", "username": "pair_a", "paired_username": "pair_b", "rotation_period": "24h" });
    world.root.post("database/static-roles/pair", pair).done();
    for (round, (kill, acts)) in ROUNDS.iter().enumerate() {
        let storm = Storm::default();
        std::thread::scope(|scope| {
            let root = world.root.with_token(world.root.token());
            for act in [lives, lives, lives, short_lives, rotates_root, rotates_accounts] {
                let wire = root.with_token(root.token());
                let storm = &storm;
                scope.spawn(move || while act(&wire, storm).is_ok() {});
            }
            while storm.acts.load(Ordering::Relaxed) < *acts {
                std::thread::yield_now();
            }
            if *kill != Kill::Server {
                world.postgres.stop();
            }
            if *kill != Kill::Database {
                world.server.kill();
            }
            storm.over.store(1, Ordering::Relaxed);
        });
        if *kill != Kill::Server {
            world.postgres.start_again();
        }
        if *kill != Kill::Database {
            world.server.launch();
            world.server.unseal();
        }
        println!("round {round}: {} acts", storm.acts.load(Ordering::Relaxed));
        all_is_well(&world, storm.kept.into_inner().unwrap());
    }
    let all = [world.leases("app"), world.leases("short")].concat();
    for lease in all {
        world.root.post("sys/leases/revoke", json!({ "lease_id": lease, "sync": true })).done();
    }
    world.soon_no_users();
}

/// What goes on until the server or its database is killed.
#[derive(Default)]
struct Storm {
    acts: AtomicUsize,
    over: AtomicUsize,
    /// Users that were handed out and not given back.
    kept: Mutex<Vec<User>>,
}

/// The server does not answer any more, or the round is over.
struct Over;

impl Storm {
    fn act(&self, wire: &Wire, method: &str, path: &str, body: Value) -> Result<Option<Reply>, Over> {
        let body = (!body.is_null()).then(|| body.to_string());
        let target = format!("/v1/{path}");
        let reply = wire.try_send_to(method, &target, &[], body.as_deref().map(str::as_bytes)).map_err(|_| Over)?;
        if self.over.load(Ordering::Relaxed) == 1 {
            return Err(Over);
        }
        self.acts.fetch_add(1, Ordering::Relaxed);
        // With the database killed some are refused; what counts is what is left behind.
        Ok((reply.status < 300).then_some(reply))
    }
}

/// A user is made and renewed; every other one is revoked.
fn lives(wire: &Wire, storm: &Storm) -> Result<(), Over> {
    let made = storm.act(wire, "GET", "database/creds/app", Value::Null)?;
    let Some(user) = made.map(|reply| World::user_of(&reply.json())) else { return Ok(()) };
    storm.act(wire, "POST", "sys/leases/renew", json!({ "lease_id": user.lease, "increment": "90m" }))?;
    if storm.acts.load(Ordering::Relaxed).is_multiple_of(2) {
        storm.act(wire, "POST", "sys/leases/revoke", json!({ "lease_id": user.lease, "sync": true }))?;
    } else {
        storm.kept.lock().unwrap().push(user);
    }
    Ok(())
}

fn short_lives(wire: &Wire, storm: &Storm) -> Result<(), Over> {
    storm.act(wire, "GET", "database/creds/short", Value::Null)?;
    Ok(())
}

fn rotates_root(wire: &Wire, storm: &Storm) -> Result<(), Over> {
    storm.act(wire, "POST", "database/rotate-root/shop", Value::Null)?;
    Ok(())
}

fn rotates_accounts(wire: &Wire, storm: &Storm) -> Result<(), Over> {
    storm.act(wire, "POST", "database/rotate-role/single", Value::Null)?;
    storm.act(wire, "POST", "database/rotate-role/pair", Value::Null)?;
    Ok(())
}

/// The administrator and the accounts can log in, who was handed out a user has it, and no other user is left.
fn all_is_well(world: &World, kept: Vec<User>) {
    let made = Server::eventually("the administrator logs in", || {
        let reply = world.root.get("database/creds/app");
        (reply.status == 200).then(|| World::user_of(&reply.ok()))
    });
    assert!(world.works(&made));
    for role in ["single", "pair"] {
        logs_in(world, role);
        world.root.post_nothing(&format!("database/rotate-role/{role}")).done();
    }
    world.root.post_nothing("database/rotate-root/shop").done();
    for user in &kept {
        assert!(world.works(user), "{} was handed out and is gone", user.name);
    }
    Server::eventually("the users are those of the leases", || {
        let leases = world.leases("app").len() + world.leases("short").len();
        let found = world.root.get("database/orphans/shop").data();
        (found["orphans"] == json!([]) && world.users() == leases).then_some(())
    });
    let leases: BTreeSet<String> = world.leases("app").into_iter().collect();
    assert!(kept.iter().all(|user| leases.contains(&user.lease)), "a lease that was handed out is gone");
}

/// What is read works. A rotation that failed is tried again by itself, so it may come in between; then the next works.
fn logs_in(world: &World, role: &str) {
    let read = || world.root.get(&format!("database/static-creds/{role}")).data();
    let mut login = read();
    loop {
        let text = |field: &str| login[field].as_str().unwrap().to_owned();
        let seen = world.postgres.try_psql(&text("username"), &text("password"), "postgres", "SELECT 1");
        let Err(error) = seen else { return };
        let now = read();
        assert_ne!(now["password"], login["password"], "{role}: {error}");
        login = now;
    }
}
