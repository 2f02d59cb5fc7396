//! Database users and their leases, with a real PostgreSQL: made, shown, renewed and gone, whatever happens meanwhile.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::server::Server;

use crate::kit::world::{CREATION, User, World};

/// A life that ends within a test, and not before what a busy machine has to do meanwhile.
const BRIEF: &str = "20s";
/// How long after an end the server looks again if nothing wakes it.
const NEXT_ROUND: Duration = Duration::from_secs(60);

#[test]
fn a_lease_is_shown_renewed_and_ended() {
    let world = World::new();
    let (root, caller) = (&world.root, world.caller());
    let user = World::user(&caller, "app");
    assert!(user.lease.starts_with("database/creds/app/") && user.duration == 3600);
    assert!(user.name.starts_with("v-token-app-"), "{}", user.name);
    assert!(world.works(&user));
    let seen = world.lookup(&user.lease).data();
    assert_eq!(
        (&seen["id"], &seen["renewable"], &seen["last_renewal"]),
        (&json!(user.lease), &json!(true), &Value::Null)
    );
    assert!((3400..=3600).contains(&seen["ttl"].as_u64().unwrap()) && seen["expire_time"].is_string());
    let valid_until = |name: &str| {
        world.postgres.psql(&format!("SELECT extract(epoch FROM rolvaliduntil)::bigint - extract(epoch FROM now())::bigint FROM pg_roles WHERE rolname = '{name}'")).parse::<i64>().unwrap()
    };
    assert!((3400..=3610).contains(&valid_until(&user.name)), "{}", valid_until(&user.name));

    let renew = |body: Value| root.post("sys/leases/renew", body);
    let renewed = renew(json!({ "lease_id": user.lease, "increment": "90m" })).ok();
    assert_eq!(
        (&renewed["lease_id"], &renewed["lease_duration"], &renewed["renewable"]),
        (&json!(user.lease), &json!(5400), &json!(true))
    );
    assert!((5200..=5410).contains(&valid_until(&user.name)), "{}", valid_until(&user.name));
    assert!(world.lookup(&user.lease).data()["last_renewal"].is_string());
    let capped = renew(json!({ "lease_id": user.lease, "increment": "5h" })).ok();
    assert!(capped["lease_duration"].as_u64().unwrap() <= 7200);
    assert!(capped["warnings"][0].as_str().unwrap().contains("max_ttl"), "{capped}");
    assert_eq!(root.post_nothing(&format!("sys/leases/renew/{}", user.lease)).ok()["lease_id"], user.lease.as_str());
    renew(json!({ "lease_id": "database/creds/app/none" })).refused(400, "lease not found");
    renew(json!({})).refused(400, "lease_id must be specified");
    renew(json!({ "lease_id": user.lease, "increment": "-5s" })).refused(400, "increment");
    world.lookup("database/creds/app/none").refused(400, "invalid lease");
    assert_eq!(
        root.list("sys/leases/lookup/database/creds/app/").data()["keys"],
        json!([user.lease.rsplit('/').next().unwrap()])
    );
    assert_eq!(root.list("sys/leases/lookup").data()["keys"], json!(["auth/", "database/"]));
    caller.list("sys/leases/lookup/database/creds/app/").refused(403, "permission denied");

    // Asked to wait, the reply means that the user is gone; even with an open session.
    let mut session = std::process::Command::new("psql");
    session.arg(world.postgres.url(&user.name, &user.password, "postgres")).args(["-c", "SELECT pg_sleep(60)"]);
    let mut session = session.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let sessions =
        format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND state = 'active'", user.name);
    Server::eventually("the session is open", || (world.postgres.psql(&sessions) == "1").then_some(()));
    root.post("sys/leases/revoke", json!({ "lease_id": user.lease, "sync": true })).done();
    assert!(!world.postgres.has_role(&user.name) && !world.works(&user));
    assert!(!session.wait().unwrap().success());
    world.lookup(&user.lease).refused(400, "invalid lease");
    // What is not there is revoked already.
    root.post("sys/leases/revoke", json!({ "lease_id": user.lease, "sync": true })).done();

    // Not asked to wait, it is gone soon.
    let user = World::user(&caller, "app");
    assert_eq!(root.post_nothing(&format!("sys/leases/revoke/{}", user.lease)).status, 202);
    world.soon_no_users();
    assert_eq!(root.post_nothing("sys/leases/tidy").status, 202);

    // Below a path, and not beside it.
    world.role("apple", CREATION, "1h");
    let users: Vec<_> = ["app", "app", "apple"].map(|role| World::user(&caller, role)).into();
    caller.post_nothing("sys/leases/revoke-prefix/database/creds/app").refused(403, "permission denied");
    assert_eq!(root.post_nothing("sys/leases/revoke-prefix/database/creds/none").status, 202);
    root.post("sys/leases/revoke-prefix/database/creds/app", json!({ "sync": true })).done();
    assert_eq!(users.iter().map(|user| world.works(user)).collect::<Vec<_>>(), [false, false, true]);
    root.post("sys/leases/revoke-prefix/database", json!({ "sync": true })).done();
    assert_eq!(world.users(), 0);
}

/// Old clients and scripts still use the paths from before `sys/leases/`.
#[test]
fn the_old_paths_of_leases_do_the_same() {
    let world = World::new();
    let (root, caller) = (&world.root, world.caller());
    let users: Vec<_> = (0..4).map(|_| World::user(&caller, "app")).collect();
    let renewed = root.post("sys/renew", json!({ "lease_id": users[0].lease, "increment": 60 })).ok();
    assert_eq!((&renewed["lease_id"], &renewed["lease_duration"]), (&json!(users[0].lease), &json!(60)));
    root.post(&format!("sys/renew/{}", users[0].lease), json!({})).ok();
    root.post("sys/revoke", json!({ "lease_id": users[0].lease, "sync": true })).done();
    assert_eq!(root.post_nothing(&format!("sys/revoke/{}", users[1].lease)).status, 202);
    Server::eventually("two users are left", || (world.users() == 2).then_some(()));
    for path in ["sys/revoke-prefix/database", "sys/revoke-force/database"] {
        caller.post_nothing(path).refused(403, "permission denied");
    }
    root.post("sys/revoke-prefix/database/creds/app", json!({ "sync": true })).done();
    assert_eq!(world.users(), 0);
    let user = World::user(&caller, "app");
    root.post_nothing("sys/revoke-force/database").done();
    world.lookup(&user.lease).refused(400, "invalid lease");
}

#[test]
fn what_is_forced_away_leaves_a_record_to_finish_by() {
    let world = World::new();
    let (root, caller) = (&world.root, world.caller());
    let users: Vec<_> = (0..2).map(|_| World::user(&caller, "app")).collect();
    root.post_nothing("sys/leases/revoke-force/database/creds/app").done();
    for user in &users {
        world.lookup(&user.lease).refused(400, "invalid lease");
        assert!(world.works(user), "force does not ask the database");
    }
    let found = root.get("database/orphans/shop").data();
    let mut names: Vec<_> = users.iter().map(|user| user.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!((&found["orphans"], &found["leased"]), (&json!(names), &json!(0)));
    let kept = World::user(&caller, "app");
    let removed =
        root.post("database/orphans/shop", json!({ "usernames": [names[0], names[1], kept.name, "postgres"] })).data();
    assert_eq!(removed["removed"].as_array().unwrap().len(), 2, "{removed}");
    assert!(removed["failed"][&kept.name].is_string() && removed["failed"]["postgres"].is_string(), "{removed}");
    assert!(world.works(&kept) && world.users() == 1);
    caller.get("database/orphans/shop").refused(403, "permission denied");
}

#[test]
fn quotas_limit_how_many_leases_there_are() {
    let world = World::new();
    let (root, caller) = (&world.root, world.caller());
    root.post("sys/quotas/lease-count/all", json!({ "path": "database", "max_leases": 3 })).done();
    root.post("sys/quotas/lease-count/short", json!({ "path": "database/", "role": "short", "max_leases": 1 })).done();
    root.post("sys/quotas/lease-count/bad", json!({ "max_leases": 0 })).refused(400, "max_leases");
    root.post("sys/quotas/lease-count/bad", json!({ "path": "none", "max_leases": 1 })).refused(400, "no mount");
    root.post("sys/quotas/lease-count/bad", json!({ "role": "x", "max_leases": 1 })).refused(400, "role");
    root.post("sys/quotas/lease-count/bad", json!({})).refused(400, "max_leases");
    assert_eq!(root.list("sys/quotas/lease-count").data()["keys"], json!(["all", "short"]));
    assert_eq!(root.get("sys/quotas/lease-count/all").data()["max_leases"], 3);
    let users: Vec<_> = (0..3).map(|_| World::user(&caller, "app")).collect();
    let refused = caller.get("database/creds/app");
    refused.refused(429, "lease count quota exceeded");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.users(), 3, "a refused request made a user");
    // A role's own quota counts in place of the mount's.
    let short = World::user(&caller, "short");
    caller.get("database/creds/short").refused(429, "lease count quota exceeded");
    Server::eventually("the short lease ended", || (!world.postgres.has_role(&short.name)).then_some(()));
    Server::eventually("there is room again", || (caller.get("database/creds/short").status == 200).then_some(()));
    root.post("sys/leases/revoke-prefix/database/creds/short", json!({ "sync": true })).done();
    caller.get("database/creds/app").fails(429);
    root.post("sys/leases/revoke", json!({ "lease_id": users[0].lease, "sync": true })).done();
    World::user(&caller, "app");
    caller.get("database/creds/app").fails(429);
    // Of many at once, no more than the quota allows.
    root.post("sys/leases/revoke-prefix/database", json!({ "sync": true })).done();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || caller.with_token(caller.token()).get("database/creds/app").status;
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 7, "{statuses:?}");
    root.delete("sys/quotas/lease-count/all").done();
    World::user(&caller, "app");
}

#[test]
fn a_database_that_was_away_loses_its_users_soon_after_it_is_back() {
    let world = World::new();
    let (root, caller) = (&world.root, world.caller());
    world.role("brief", CREATION, BRIEF);
    let users: Vec<_> = (0..5).map(|_| World::user(&caller, "brief")).collect();
    let kept = World::user(&caller, "app");
    world.postgres.stop();
    let count = || root.get("sys/leases/count?type=irrevocable").data()["lease_count"].as_u64().unwrap();
    Server::eventually("the revocations fail", || (count() >= 1).then_some(()));
    let failing = root.get("sys/leases?type=irrevocable").data();
    assert!(failing["leases"][0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{failing}");
    assert!(!failing.to_string().contains(&users[0].password));
    // The dead target holds up nobody else, and its own callers are told.
    root.post("cubbyhole/x", json!({ "a": 1 })).done();
    root.get("cubbyhole/x").ok();
    caller.get("database/creds/app").fails(500);
    root.post("sys/leases/renew", json!({ "lease_id": kept.lease })).fails(500);
    root.get("sys/leases?type=odd").refused(400, "irrevocable");

    world.postgres.start_again();
    Server::eventually("the users are gone", || {
        users.iter().all(|user| !world.postgres.has_role(&user.name)).then_some(())
    });
    Server::eventually("nothing fails any more", || (count() == 0).then_some(()));
    assert!(world.works(&kept));
    root.post("sys/leases/renew", json!({ "lease_id": kept.lease })).ok();
    root.post("sys/leases/revoke-prefix/database", json!({ "sync": true })).done();
    assert_eq!(world.users(), 0);
}

#[test]
fn leases_that_ran_out_while_the_server_was_dead_end_when_it_is_back() {
    let mut world = World::new();
    let caller = world.caller();
    world.role("brief", CREATION, BRIEF);
    let short: Vec<_> = (0..3).map(|_| World::user(&caller, "brief")).collect();
    let long = World::user(&caller, "app");
    world.server.kill();
    // Past its end a user cannot log in, even if nobody is there to remove it.
    Server::eventually("the users can no longer log in", || {
        (!short.iter().any(|user| world.works(user))).then_some(())
    });
    assert!(short.iter().all(|user| world.postgres.has_role(&user.name)), "nobody was there to remove them");
    world.server.launch();
    world.server.unseal();
    Server::eventually("the users are gone", || {
        short.iter().all(|user| !world.postgres.has_role(&user.name)).then_some(())
    });
    assert!(world.works(&long));
    assert!(world.lookup(&long.lease).data()["ttl"].as_u64().unwrap() > 3000);
    // Sealing keeps leases too.
    world.root.post_nothing("sys/seal").done();
    Server::eventually("sealed", || (world.root.get("sys/seal-status").ok()["sealed"] == true).then_some(()));
    world.server.unseal();
    world.root.post("sys/leases/renew", json!({ "lease_id": long.lease })).ok();
    world.root.post("sys/leases/revoke", json!({ "lease_id": long.lease, "sync": true })).done();
    assert!(!world.postgres.has_role(&long.name));
}

/// Concurrent `GRANT`s on one object collapse with "tuple concurrently updated"; so do those that meet a `REVOKE`. The
/// server has to order them.
#[test]
fn two_hundred_at_once_through_an_admin_who_is_no_superuser() {
    let world = World::new();
    world.postgres.psql("CREATE ROLE readers NOLOGIN; CREATE TABLE orders (id int); GRANT SELECT ON orders TO readers; GRANT readers TO strongroom WITH ADMIN OPTION; ALTER TABLE orders OWNER TO strongroom");
    let grants = format!("{CREATION}; GRANT SELECT ON orders TO \"{{{{name}}}}\"");
    world.role("granted", &grants, "1h");
    world.role("member", &format!("{CREATION} IN ROLE readers"), "1h");
    let caller = world.caller();
    let begun = Instant::now();
    let users: Vec<Result<(User, bool), String>> = std::thread::scope(|scope| {
        let make = |worker: usize| {
            let wire = caller.with_token(caller.token());
            let role = if worker.is_multiple_of(2) { "granted" } else { "member" };
            let once = |turn: usize| {
                let reply = wire.get(&format!("database/creds/{role}"));
                if reply.status != 200 {
                    return Err(reply.to_string());
                }
                let user = World::user_of(&reply.ok());
                // Every other one ends while the others are made.
                let ends = turn.is_multiple_of(2);
                if ends {
                    let reply = wire.post("sys/leases/revoke", json!({ "lease_id": user.lease, "sync": true }));
                    if reply.status != 204 {
                        return Err(reply.to_string());
                    }
                }
                Ok((user, ends))
            };
            (0..10).map(once).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..20).map(|worker| scope.spawn(move || make(worker))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("200 users made and 100 of them gone in {:?}", begun.elapsed());
    let failed: Vec<_> = users.iter().filter_map(|user| user.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} failed, such as {}", failed.len(), failed[0]);
    assert_eq!(world.users(), 100);
    let users: Vec<User> =
        users.into_iter().map(Result::unwrap).filter(|(_, ended)| !ended).map(|(user, _)| user).collect();
    for user in [&users[0], &users[99]] {
        let seen = world.postgres.try_psql(&user.name, &user.password, "postgres", "SELECT count(*) FROM orders");
        assert_eq!(seen.as_deref(), Ok("0"));
    }
    let begun = Instant::now();
    world.root.post("sys/leases/revoke-prefix/database", json!({ "sync": true })).done();
    println!("the others gone in {:?}", begun.elapsed());
    assert_eq!(world.users(), 0);
    assert_eq!(world.postgres.psql("SELECT relacl FROM pg_class WHERE relname = 'orders'").matches("v-").count(), 0);
    assert_eq!(world.root.list("sys/leases/lookup/database/").status, 404);
}

#[test]
fn users_end_with_the_token_they_were_made_for() {
    let world = World::new();
    let (root, caller) = (&world.root, world.caller());
    // Its own end: gone before the reply.
    let users: Vec<_> = (0..3).map(|_| World::user(&caller, "app")).collect();
    caller.post_nothing("auth/token/revoke-self").done();
    assert!(!users.iter().any(|user| world.postgres.has_role(&user.name)), "users outlive their token");
    // Its parent's end.
    root.post("sys/policies/acl/maker", json!({ "policy": "path \"auth/token/create\" { capabilities = [\"update\"] }\npath \"database/creds/*\" { capabilities = [\"read\"] }" })).done();
    let parent = root.post("auth/token/create", json!({ "policies": ["maker"] })).client_token();
    let child = root.with_token(&root.with_token(&parent).post("auth/token/create", json!({})).client_token());
    World::user(&child, "app");
    World::user(&child, "app");
    root.post("auth/token/revoke", json!({ "token": parent })).done();
    world.soon_no_users();
    // Its time: with nothing else to wake it, the server looks when the token ends and not at its next round.
    let begun = Instant::now();
    let brief =
        root.with_token(&root.post("auth/token/create", json!({ "policies": ["maker"], "ttl": "10s" })).client_token());
    World::user(&brief, "app");
    world.soon_no_users();
    assert!(begun.elapsed() < NEXT_ROUND, "{:?}", begun.elapsed());
    // Its last use.
    let once = root
        .with_token(&root.post("auth/token/create", json!({ "policies": ["maker"], "num_uses": 1 })).client_token());
    once.get("database/creds/app");
    world.soon_no_users();
    // A batch token cannot be asked back, so what it leases ends with it.
    let batch = root.with_token(
        &root.post("auth/token/create", json!({ "policies": ["maker"], "type": "batch", "ttl": "10s" })).client_token(),
    );
    let user = World::user(&batch, "app");
    assert!(user.duration <= 10, "{}", user.duration);
    world.soon_no_users();
}

#[test]
fn no_user_stays_behind_when_its_token_ends_at_the_same_moment() {
    let world = World::new();
    for _ in 0..5 {
        let caller = world.caller();
        let token = caller.token().to_owned();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let wire = caller.with_token(&token);
                    while wire.get("database/creds/app").status == 200 {}
                });
            }
            Server::eventually("some users are made", || (world.users() >= 3).then_some(()));
            world.root.post("auth/token/revoke", json!({ "token": token })).done();
        });
        world.soon_no_users();
    }
}

#[test]
fn killed_at_any_moment_the_server_knows_of_every_user_it_made() {
    let mut world = World::new();
    world
        .root
        .post("sys/policies/acl/caller", json!({ "policy": "path \"database/creds/*\" { capabilities = [\"read\"] }" }))
        .done();
    for round in 0..6 {
        let caller = world.caller();
        let (stop, made) = (std::sync::atomic::AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let wire = caller.with_token(caller.token());
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        // Cut off, or refused by nobody: the server is dead.
                        let Ok(reply) = wire.try_send_to("GET", "/v1/database/creds/app", &[], None) else { break };
                        made.lock().unwrap().push(World::user_of(&reply.ok()));
                    }
                });
            }
            Server::eventually("some users are made", || (made.lock().unwrap().len() > 3).then_some(()));
            std::thread::sleep(Duration::from_millis(7 * round));
            world.server.kill();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        world.server.launch();
        world.server.unseal();
        // What was handed out is there and leased; what was not is gone, and nothing is there that is not known.
        let found = Server::eventually("users that nobody got are gone", || {
            let found = world.root.get("database/orphans/shop").data();
            (found["orphans"] == json!([]) && found["leased"] == json!(world.users())).then_some(found)
        });
        let made = made.into_inner().unwrap();
        assert!(found["leased"].as_u64().unwrap() >= made.len() as u64, "{found}");
        for user in made.iter().rev().take(5) {
            assert!(world.works(user) && world.lookup(&user.lease).status == 200, "{}", user.name);
        }
        // Their sessions died with the server, but the database may not know it yet: that is tried again.
        assert_eq!(world.root.post_nothing("sys/leases/revoke-prefix/database").status, 202);
        world.soon_no_users();
    }
    let failed = world.server.logged("could not be revoked yet");
    println!("{} revocations had to be tried again: {:?}", failed.len(), failed.first());
}

#[test]
fn what_a_batch_token_leases_cannot_be_renewed_past_its_end() {
    let world = World::new();
    let policy = "path \"database/creds/*\" { capabilities = [\"read\"] }";
    world.root.post("sys/policies/acl/plain", json!({ "policy": policy })).done();
    let ask = json!({ "policies": ["plain"], "type": "batch", "ttl": "10m" });
    let batch = world.root.with_token(&world.root.post("auth/token/create", ask).client_token());
    let user = World::user(&batch, "app");
    assert!(user.duration <= 600, "{}", user.duration);
    let renewed = world.root.post("sys/leases/renew", json!({ "lease_id": user.lease, "increment": "1h" })).ok();
    assert!(renewed["lease_duration"].as_u64().unwrap() <= 600, "{renewed}");
}

#[test]
fn users_end_with_their_mount_wherever_it_was_moved() {
    let world = World::new();
    let caller = world.caller();
    let before = World::user(&caller, "app");
    world.root.post("sys/remount", json!({ "from": "database", "to": "moved/db" })).ok();
    // Leases keep their names and work on.
    assert_eq!(
        world.root.post("sys/leases/renew", json!({ "lease_id": before.lease })).ok()["lease_id"],
        before.lease.as_str()
    );
    let after = World::user_of(&world.root.get("moved/db/creds/app").ok());
    assert!(after.lease.starts_with("moved/db/creds/app/"));
    world.root.delete("sys/mounts/moved/db").done();
    world.soon_no_users();
    for lease in [&before.lease, &after.lease] {
        Server::eventually("the lease is gone", || (world.lookup(lease).status == 400).then_some(()));
    }
}

#[test]
fn a_wrapped_user_is_leased_like_any_other() {
    let world = World::new();
    let caller = world.caller();
    let wrapped = caller.send("GET", "database/creds/app", &[("X-Vault-Wrap-TTL", "60s")], None).ok();
    assert!(wrapped["lease_id"] == "" && wrapped["data"].is_null());
    let back = caller.post("sys/wrapping/unwrap", json!({ "token": wrapped["wrap_info"]["token"] })).ok();
    let user = World::user_of(&back);
    assert!(world.works(&user) && back["renewable"] == true);
    world.root.post("sys/leases/revoke", json!({ "lease_id": user.lease, "sync": true })).done();
    assert_eq!(world.users(), 0);
}

#[test]
fn a_user_that_could_not_be_made_leaves_nothing() {
    let world = World::new();
    let caller = world.caller();
    world.role(
        "broken",
        "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'; GRANT no_such_role TO \"{{name}}\"",
        "1h",
    );
    for _ in 0..3 {
        let refused = caller.get("database/creds/broken");
        refused.refused(500, "no_such_role");
    }
    caller.get("database/creds/none").refused(400, "unknown role: none");
    world.root.post("database/config/shop", json!({ "allowed_roles": "app" })).done();
    caller.get("database/creds/short").refused(500, "\"short\" is not an allowed role");
    world.soon_no_users();
    Server::eventually("no lease is left", || {
        (world.root.list("sys/leases/lookup/database/").status == 404).then_some(())
    });
}
