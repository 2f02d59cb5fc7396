//! The database engine over the wire, where it is treated badly: wrong requests, hostile names, a database that hangs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::server::Server;

use crate::kit::world::{CREATION, World};

/// Clients try again what the server calls its own fault. So a wrong request is a 400 that names the field.
#[test]
fn a_wrong_request_is_the_callers_fault_and_leaves_nothing() {
    let world = World::new();
    world.postgres.psql("CREATE ROLE account LOGIN PASSWORD 'known'; GRANT account TO strongroom WITH ADMIN OPTION");
    let connection = |field: &str, value: Value| {
        let mut body = World::connection(&world.postgres);
        body[field] = value;
        ("config/bad", body, field.to_owned())
    };
    let role = |field: &str, value: Value| {
        let mut body = json!({ "db_name": "shop", "creation_statements": CREATION });
        body[field] = value;
        ("roles/bad", body, field.to_owned())
    };
    let account = |field: &str, value: Value| {
        let mut body = json!({ "db_name": "shop", "username": "account", "rotation_period": "1h" });
        body[field] = value;
        ("static-roles/bad", body, field.to_owned())
    };
    let cases = [
        connection("username", json!("strong\u{0}room")),
        connection("password", json!("handed\u{0}over")),
        connection("password", json!("wrong")),
        connection("root_rotation_statements", json!("ALTER ROLE x")),
        connection("connection_url", json!("postgresql://{{username}}:{{password}}@127.0.0.1:1/x?sslmode=disable")),
        role("creation_statements", json!(format!("{CREATION}; SELECT '\u{0}'"))),
        role("creation_statements", json!(format!("{CREATION}; VACUUM"))),
        role("creation_statements", json!(format!("{CREATION}; CREATE DATABASE x"))),
        role("revocation_statements", json!("ALTER SYSTEM SET x = '{{name}}'")),
        account("username", json!("acc\u{0}ount")),
        account("username", json!("a".repeat(64))),
        account("username", json!("nobody-here")),
        account("username", json!("postgres")),
        account("db_name", json!("none")),
        account("paired_username", json!("nobody-here")),
        account("paired_username", json!("b".repeat(64))),
        account("password", json!("not-it")),
        account("password", json!("no\u{0}t")),
        account("rotation_statements", json!("ALTER ROLE \"{{name}}\" PASSWORD '{{password}}' NONSENSE")),
        (
            "static-roles/bad",
            json!({ "db_name": "shop", "username": "account", "rotation_schedule": "0 0 30 2 *" }),
            "rotation_schedule".to_owned(),
        ),
        ("rotate-root/none", json!({}), "connection with name".to_owned()),
        ("reset/none", json!({}), "connection with name".to_owned()),
        ("orphans/none", json!({ "usernames": "x" }), "connection with name".to_owned()),
    ];
    for (path, body, wanted) in cases {
        let reply = world.root.post(&format!("database/{path}"), body);
        assert_eq!(reply.status, 400, "{reply}");
        // What only the database knows is told in its words.
        let known = [
            wanted.as_str(),
            "no user nobody-here",
            "superuser",
            "SUPERUSER",
            "nonsense",
            "password authentication failed",
            "cannot be reached",
        ];
        assert!(known.iter().any(|known| reply.text().contains(known)), "{wanted}: {reply}");
    }
    for (folder, wanted) in [("config", json!(["shop"])), ("roles", json!(["app", "short"]))] {
        assert_eq!(world.root.list(&format!("database/{folder}")).data()["keys"], wanted);
    }
    assert_eq!(world.root.list("database/static-roles").status, 404);
    assert_eq!(world.root.get("sys/rotation").data()["rotations"], json!([]));
    // The password of the account was not touched by any of these.
    assert!(world.postgres.try_psql("account", "known", "postgres", "SELECT 1").is_ok());
    // One that is told is taken over if it works, and replaced at once unless that is declined.
    let told = json!({ "db_name": "shop", "username": "account", "rotation_period": "1h", "password": "known", "skip_import_rotation": true });
    world.root.post("database/static-roles/told", told.clone()).done();
    assert_eq!(world.root.get("database/static-creds/told").data()["password"], "known");
    world.root.post_nothing("database/rotate-role/told").done();
    let again = world.root.post("database/static-roles/told", told.clone()).ok();
    assert!(again["warnings"][0].as_str().unwrap().contains("not taken over"), "{again}");
    world.postgres.psql("ALTER ROLE account PASSWORD 'known'");
    world.root.post("database/static-roles/told", told.clone()).done();
    assert_eq!(world.root.get("database/static-creds/told").data()["password"], "known");
    world.root.delete("database/static-roles/told").done();
    let mut replaced = told;
    replaced["skip_import_rotation"] = json!(false);
    world.root.post("database/static-roles/told", replaced).done();
    assert!(world.postgres.try_psql("account", "known", "postgres", "SELECT 1").is_err());
    let login = world.root.get("database/static-creds/told").data();
    let password = login["password"].as_str().unwrap();
    assert!(world.postgres.try_psql("account", password, "postgres", "SELECT 1").is_ok());
}

/// Quotes of every kind, in every place a value can come from, inside quotes inside quotes.
#[test]
fn no_name_template_or_password_becomes_sql() {
    let world = World::new();
    world.postgres.psql("CREATE TABLE canary (id int)");
    let policy = r#"length = 24
        rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
        rule "charset" { charset = "'\"\\$;{}-%" min-chars = 12 }"#;
    world.root.post("sys/policies/password/odd", json!({ "policy": policy })).done();
    let nested = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                  COMMENT ON ROLE \"{{name}}\" IS 'made as ''{{name}}'''; \
                  DO $body$ BEGIN EXECUTE format('ALTER ROLE %I SET application_name = %L', '{{name}}', '{{name}}'); END $body$";
    let plain = "CREATE ROLE {{name}} LOGIN PASSWORD '{{password}}'";
    let revocation = "DO $body$ BEGIN EXECUTE format('DROP ROLE %I', '{{name}}'); END $body$";
    let display = "x\"; DROP TABLE canary; --'\\$$";
    let token =
        world.root.post("auth/token/create", json!({ "policies": ["root"], "display_name": display })).client_token();
    let caller = world.root.with_token(&token);
    let templates = [
        "",
        "{{ .DisplayName | truncate 8 }}'; DROP TABLE canary; --{{ random 20 }}",
        "\"; DROP TABLE canary; --{{ random 20 }}",
        "{{ random 20 }}\\'\\\"",
        "$${{ random 20 }}$x$",
        "/*{{ random 20 }}*/ --",
        "{{ random 20 }} {name} %I %s ünï",
        "{{ random 20 }}{{ .RoleName | replace \"o\" \"'\\\"\" }}",
    ];
    for (authentication, template) in
        ["scram-sha-256", "password"].into_iter().flat_map(|way| templates.map(|template| (way, template)))
    {
        let settings = json!({ "username_template": template, "password_policy": "odd", "password_authentication": authentication });
        world.root.post("database/config/shop", settings).done();
        for (statements, revocation) in [(nested, ""), (plain, revocation)] {
            let role = json!({ "db_name": "shop", "creation_statements": statements, "revocation_statements": revocation, "default_ttl": "1h", "max_ttl": "2h" });
            let written = world.root.post("database/roles/odd-one", role);
            assert!(matches!(written.status, 200 | 204), "{written}");
            let user = World::user(&caller, "odd-one");
            assert!(world.works(&user), "{template}: {}", user.name);
            if statements == nested {
                let name = user.name.replace('\'', "''");
                let comment =
                    format!("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '{name}'");
                assert_eq!(world.postgres.psql(&comment), format!("made as '{name}'"));
            }
            world.root.post("sys/leases/renew", json!({ "lease_id": user.lease })).ok();
            world.root.post("sys/leases/revoke", json!({ "lease_id": user.lease, "sync": true })).done();
            assert!(!world.postgres.has_role(&user.name), "{template}: {}", user.name);
        }
    }
    assert_eq!(world.postgres.psql("SELECT count(*) FROM canary"), "0");
    // A name that PostgreSQL would cut off could be another user's.
    for cut in [
        "{{ .DisplayName }}{{ .RoleName }}{{ random 60 }}{{ random 20 }}",
        "{{ printf \"%s%s\" (uuid) (random 40) | truncate 7 }}",
        "{{ random 70 | truncate 64 }}",
    ] {
        world.root.post("database/config/shop", json!({ "username_template": cut })).refused(400, "username_template");
    }
    world.root.post("database/config/shop", json!({ "username_template": "", "password_policy": "" })).done();
    let long = "x".repeat(200);
    world.role(&long, CREATION, "1h");
    let users = [World::user(&caller, &long), World::user(&caller, &long)];
    assert!(users[0].name != users[1].name && users.iter().all(|user| user.name.len() <= 63 && world.works(user)));
}

/// Between the server and a database: lets everything through, or nothing while it is frozen.
struct Proxy {
    port: u16,
    frozen: Arc<AtomicBool>,
}

impl Proxy {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let frozen = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&frozen);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, gate) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&gate));
                    std::thread::spawn(move || pass(from, to, &gate));
                }
            }
        });
        Self { port, frozen }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, frozen: &AtomicBool) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while frozen.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// How long a user takes to be made and removed, and a value to be written and read.
fn usual(world: &World) -> Duration {
    let begun = Instant::now();
    let user = World::user(&world.root, "app");
    world.root.post("sys/leases/revoke", json!({ "lease_id": user.lease, "sync": true })).done();
    world.root.post("cubbyhole/x", json!({ "a": 1 })).done();
    world.root.get("cubbyhole/x").ok();
    begun.elapsed()
}

/// How much longer that takes in one world than in another, as the median of tries in turn: what else the machine does
/// falls on both.
fn longer(here: &World, there: &World) -> Duration {
    let mut more: Vec<Duration> = (0..15)
        .map(|_| {
            let other = usual(there);
            usual(here).saturating_sub(other)
        })
        .collect();
    more.sort();
    more[more.len() / 2]
}

/// What a dead database may add to anything else.
const MOST: Duration = Duration::from_millis(50);

#[test]
fn a_database_that_hangs_holds_up_nobody_else() {
    let (world, quiet) = (World::new(), World::new());
    let proxy = Proxy::to(world.postgres.port());
    let mut far = World::connection(&world.postgres);
    far["connection_url"] = json!(format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        proxy.port
    ));
    world.root.post("database/config/far", far).done();
    let role = json!({ "db_name": "far", "creation_statements": CREATION, "default_ttl": "1h", "max_ttl": "2h" });
    world.root.post("database/roles/far", role).done();
    let users: Vec<_> = (0..20).map(|_| World::user(&world.root, "far")).collect();
    proxy.frozen.store(true, Ordering::Relaxed);
    let failed = std::thread::scope(|scope| {
        for _ in 0..40 {
            let wire = world.root.with_token(world.root.token());
            // Those that are under way when it goes on may well succeed.
            scope.spawn(move || drop(wire.get("database/creds/far")));
        }
        // The users' time is over too, and their revocations hang.
        let status = world.root.post_nothing("sys/leases/revoke-prefix/database/creds/far").status;
        // If the machine turns to something else in the middle, it is measured again. What the dead database adds would show
        // each time.
        let mut tries: Vec<Duration> = Vec::new();
        while tries.len() < 20 && tries.last().is_none_or(|more| *more > MOST) {
            tries.push(longer(&world, &quiet));
        }
        let all_there = users.iter().all(|user| world.postgres.has_role(&user.name));
        proxy.frozen.store(false, Ordering::Relaxed);
        println!("{tries:?} longer while another database hangs");
        let held_up = tries.last().is_none_or(|more| *more > MOST);
        match (status, all_there, held_up) {
            (202, true, false) => None,
            (202, true, true) => Some(format!("a database that hangs adds {tries:?}")),
            (202, false, _) => Some("the database does not hang".to_owned()),
            _ => Some(format!("revocation by prefix gives {status}")),
        }
    });
    assert_eq!(failed, None);
    // What was asked for before and made after has its time still before it.
    assert!(matches!(world.root.post_nothing("sys/leases/revoke-prefix/database/creds/far").status, 202 | 204));
    world.soon_no_users();
    Server::eventually("it is asked again", || (world.root.get("database/creds/far").status == 200).then_some(()));
}
