//! A server with a database at `database/`, reached as an administrator who is no superuser.

use serde_json::{Value, json};
use testkit::{
    postgres::Postgres,
    server::Server,
    wire::{Reply, Wire},
};

use super::PROGRAM;

/// How users are made, unless a test has its own way.
pub(crate) const CREATION: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) postgres: Postgres,
    pub(crate) root: Wire,
}

/// A database user as the server handed it out.
pub(crate) struct User {
    pub(crate) lease: String,
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) duration: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let server = Server::start(PROGRAM);
        let postgres = Postgres::start();
        postgres.admin("strongroom", "handed-over");
        let root = Wire::new(&server, server.root_token());
        root.post("sys/mounts/database", json!({ "type": "database" })).done();
        root.post("database/config/shop", Self::connection(&postgres)).done();
        let world = Self { server, postgres, root };
        world.role("app", CREATION, "1h");
        world.role("short", CREATION, "10s");
        world
    }

    /// The body of a connection to `postgres`.
    pub(crate) fn connection(postgres: &Postgres) -> Value {
        json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": postgres.url("{{username}}", "{{password}}", "postgres"),
            "username": "strongroom", "password": "handed-over", "allowed_roles": "*",
        })
    }

    pub(crate) fn role(&self, name: &str, statements: &str, ttl: &str) {
        let role = json!({ "db_name": "shop", "creation_statements": statements, "default_ttl": ttl, "max_ttl": "2h" });
        let reply = self.root.post(&format!("database/roles/{name}"), role);
        assert!(matches!(reply.status, 200 | 204), "{reply}");
    }

    /// A user of a role, made for the holder of `wire`.
    pub(crate) fn user(wire: &Wire, role: &str) -> User {
        Self::user_of(&wire.get(&format!("database/creds/{role}")).ok())
    }

    pub(crate) fn user_of(reply: &Value) -> User {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        User {
            lease: text(&reply["lease_id"]),
            name: text(&reply["data"]["username"]),
            password: text(&reply["data"]["password"]),
            duration: reply["lease_duration"].as_u64().unwrap(),
        }
    }

    /// A token that may make users of any role.
    pub(crate) fn caller(&self) -> Wire {
        let policy = "path \"database/creds/*\" { capabilities = [\"read\"] }\npath \"sys/leases/*\" { capabilities = [\"update\"] }";
        self.root.post("sys/policies/acl/caller", json!({ "policy": policy })).done();
        self.root.with_token(&self.root.post("auth/token/create", json!({ "policies": ["caller"] })).client_token())
    }

    pub(crate) fn works(&self, user: &User) -> bool {
        self.postgres.try_psql(&user.name, &user.password, "postgres", "SELECT 1").is_ok()
    }

    /// How many users of ours there are.
    pub(crate) fn users(&self) -> usize {
        self.postgres.psql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'").parse().unwrap()
    }

    pub(crate) fn soon_no_users(&self) {
        Server::eventually("all users are gone", || (self.users() == 0).then_some(()));
    }

    pub(crate) fn lookup(&self, lease: &str) -> Reply {
        self.root.post("sys/leases/lookup", json!({ "lease_id": lease }))
    }

    /// The ids of the leases of a role, those being ended included.
    pub(crate) fn leases(&self, role: &str) -> Vec<String> {
        let reply = self.root.list(&format!("sys/leases/lookup/database/creds/{role}/"));
        if reply.status == 404 {
            return Vec::new();
        }
        let listed = reply.data();
        super::names(&listed["keys"]).into_iter().map(|id| format!("database/creds/{role}/{id}")).collect()
    }
}
