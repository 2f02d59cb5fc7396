//! A whole server in this process, without listeners, with a database engine that knows PostgreSQL.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{sync::Arc, time::Duration};

use api::{ReqPath, Verb};
use bytes::Bytes;
use clock::{Clock, Simulated};
use engine::Kind;
use engine_database::{Targets, target::DatabaseKind};
use gate::{Namespace, Request};
use secret::SecretString;
use serde_json::{Value, json};
use storage::Store;
use strongroom_core::{Bare, Content, Core, Settings};
use testkit::postgres::Postgres;

pub struct Databases;

impl Targets for Databases {
    const KINDS: &'static [DatabaseKind] = &[database_postgresql::KIND];
}

pub const KINDS: &[Kind] = &[engine_database::kind::<Databases>()];

/// A server that is unsealed.
pub struct Server {
    pub core: Arc<Core>,
    pub store: Arc<dyn Store>,
    pub key: String,
    pub token: String,
    pub time: Option<Simulated>,
}

/// What a request led to.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub data: Value,
    pub lease_id: String,
    pub lease_duration: u64,
    pub warnings: Vec<String>,
}

impl Server {
    /// A new server over a store in memory, with the time of day.
    pub async fn start() -> Self {
        Self::initialise(store_memory::Memory::new(), Clock::system(), None).await
    }

    /// A new server whose time stands still until it is moved. It begins now, since the database has its own time.
    pub async fn start_simulated() -> Self {
        let time = Simulated::new(Clock::system().now());
        Self::initialise(store_memory::Memory::new(), time.clock(), Some(time)).await
    }

    pub async fn initialise(store: Arc<dyn Store>, clock: Clock, time: Option<Simulated>) -> Self {
        let core = core(&store, clock).await;
        let init = bare(&core, "sys/init", json!({"secret_shares": 1, "secret_threshold": 1})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (key, token) = (text(&init["keys_base64"][0]), text(&init["root_token"]));
        Self::unseal(core, store, key, token, time).await
    }

    /// The same server after a restart.
    pub async fn restart(
        store: Arc<dyn Store>,
        clock: Clock,
        key: String,
        token: String,
        time: Option<Simulated>,
    ) -> Self {
        let core = core(&store, clock).await;
        Self::unseal(core, store, key, token, time).await
    }

    async fn unseal(
        core: Arc<Core>,
        store: Arc<dyn Store>,
        key: String,
        token: String,
        time: Option<Simulated>,
    ) -> Self {
        let unsealed = bare(&core, "sys/unseal", json!({"key": key})).await;
        assert_eq!(unsealed["sealed"], false, "{unsealed}");
        Self { core, store, key, token, time }
    }

    /// Mounts the engine and configures a connection named `db` with the administrator's login.
    pub async fn connect(&self, postgres: &Postgres, user: &str, password: &str) {
        self.write("sys/mounts/database", json!({"type": "database"})).await.unwrap();
        self.write("database/config/db", connection(postgres, user, password)).await.unwrap();
    }

    pub async fn write(&self, path: &str, body: Value) -> Result<Answer, String> {
        self.send(Verb::Write, path, body).await
    }

    pub async fn read(&self, path: &str) -> Result<Answer, String> {
        self.send(Verb::Read, path, Value::Null).await
    }

    pub async fn list(&self, path: &str) -> Result<Value, String> {
        Ok(self.send(Verb::List, path, Value::Null).await?.data["keys"].clone())
    }

    pub async fn delete(&self, path: &str) -> Result<Answer, String> {
        self.send(Verb::Delete, path, Value::Null).await
    }

    pub async fn send(&self, verb: Verb, path: &str, body: Value) -> Result<Answer, String> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request {
            id: "test".into(),
            verb,
            namespace: Namespace::root(),
            path: ReqPath::new(path).unwrap(),
            query: Vec::new(),
            body,
            token: Some(SecretString::new(self.token.clone()).into()),
            wrap_ttl: None,
            remote: None,
            headers: Vec::new(),
            help: false,
            received: self.core.clock().now(),
            inline: gate::Inline::None,
            upload: gate::Upload::default(),
        };
        let (_, outcome) = self.core.handle(Arc::new(request)).await.into_parts();
        let success = outcome.map_err(|error| error.to_string())?;
        let data = match &success.content {
            Content::Data(json) | Content::Bare(json) => serde_json::from_slice(json).unwrap(),
            _ => Value::Null,
        };
        Ok(Answer {
            data,
            lease_id: success.lease_id.clone(),
            lease_duration: success.lease_duration,
            warnings: success.warnings.clone(),
        })
    }

    /// Moves the time in steps, as often as the background work needs it, until `done` says so.
    pub async fn advance_until(&self, step: Duration, done: impl AsyncFnMut() -> bool) {
        self.advance_at_most(Duration::MAX, step, done).await;
    }

    /// Like [`Server::advance_until`], but once `most` has passed the time stands still: how fast this machine is, and the
    /// database on it, must not make it too late.
    pub async fn advance_at_most(&self, most: Duration, step: Duration, mut done: impl AsyncFnMut() -> bool) {
        let (begun, mut passed) = (std::time::Instant::now(), Duration::ZERO);
        while !done().await {
            assert!(begun.elapsed() < PATIENCE, "it does not come about");
            if let Some(time) = self.time.as_ref().filter(|_| passed < most) {
                time.advance(step);
                passed = passed.saturating_add(step);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The ids of the leases, pending ones left out.
    pub async fn leases(&self, role: &str) -> usize {
        let listed = self.list(&format!("sys/leases/lookup/database/creds/{role}/")).await;
        listed.map_or(0, |keys| keys.as_array().map_or(0, Vec::len))
    }
}

/// How long a test waits for what comes soon on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// The body of a connection.
pub fn connection(postgres: &Postgres, user: &str, password: &str) -> Value {
    json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port()),
        "username": user,
        "password": password,
    })
}

pub const MEMBER: &str =
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE readers";

async fn core(store: &Arc<dyn Store>, clock: Clock) -> Arc<Core> {
    let settings = Settings {
        kinds: KINDS,
        limits: mounts::Limits { default_ttl: mounts::DEFAULT_TTL, max_ttl: mounts::MAX_TTL },
        compatibility: "1.16.3".to_owned(),
        version: "0.1.0",
        cluster_name: "test".to_owned(),
        storage_type: "inmem",
        sharing: None,
        allow_audit_log_prefixing: false,
        journal_directory: None,
        address: String::new(),
        lockout: Default::default(),
        cache_bytes: 1 << 20,
        first_requests: Vec::new(),
        seals: Default::default(),
        spool: None,
        storage_counters: None,
        databases: Vec::new(),
        sanitized: Default::default(),
        logs: None,
    };
    Core::new(Arc::clone(store), clock, settings).await.unwrap()
}

async fn bare(core: &Arc<Core>, path: &str, body: Value) -> Value {
    let request = Bare {
        id: "test".into(),
        verb: Verb::Write,
        path: path.to_owned(),
        query: Vec::new(),
        body: Bytes::from(body.to_string()),
        remote: None,
        redact: Default::default(),
    };
    let success = core.bare(request).await.into_parts().1.unwrap();
    match &success.content {
        Content::Bare(json) => serde_json::from_slice(json).unwrap(),
        _ => Value::Null,
    }
}
