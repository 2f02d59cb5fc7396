//! The pipeline, seal and unseal, the `sys/` routes and the background work.
//!
//! [`Core`] is the server without its listeners: it takes a [`gate::Request`] and gives a [`Reply`]. While it is
//! unsealed it holds a `Running`: the services over the barrier, and the tasks that end leases and rotate secrets.

mod audit;
mod audit_devices;
mod callers;
mod census;
mod cluster;
mod cubbyhole;
mod dev;
mod first_start;
mod following;
mod format;
mod guests;
mod help;
mod host;
mod in_flight;
mod inline;
mod limits;
mod live;
mod login;
mod logs;
mod metrics;
mod namespaces;
mod nodes;
mod openapi;
mod parts;
mod passwords;
mod pipeline;
mod policies;
mod recall;
mod reply;
mod restoring;
mod running;
mod sealing;
mod services;
mod sharded;
mod snapshots;
mod status;
mod sys;
mod tending;
mod watch;
mod whoever;
mod wrapping;

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwapOption;
use clock::{Clock, Timestamp};
use engine::Kind;
use gate::{Error, Request};
use storage::Store;

pub use audit::Misread;
pub use dev::DevStart;
pub use first_start::{Body as FirstBody, FirstRequest};
pub use following::Sharing;
pub use gate::Frames;
pub use live::Cors;
pub use logs::{Level, Line, Logs};
pub use reply::{Content, Reply, Success};
pub use sealing::{Bare, Redact, Seals};

use crate::{running::Running, sealing::Sealing};

/// What a server is started with.
#[derive(Clone)]
pub struct Settings {
    /// The kinds of engines and auth methods that can be mounted.
    pub kinds: &'static [Kind],
    /// The plugin names of the databases in which users can be made.
    pub databases: Vec<&'static str>,
    /// The lives of leases where a mount says nothing.
    pub limits: mounts::Limits,
    /// The version of Vault whose features clients may expect.
    pub compatibility: String,
    /// Our own version.
    pub version: &'static str,
    /// A name for the server, in `sys/health`.
    pub cluster_name: String,
    /// Where clients reach the server, such as `https://vault.example.com:8200`: the issuer of identity tokens unless another
    /// is set.
    pub address: String,
    /// The name of the store, in `sys/seal-status`.
    pub storage_type: &'static str,
    /// How the store is shared with other nodes; `None` if this server has it to itself.
    pub sharing: Option<Sharing>,
    /// Whether audit devices may have a prefix.
    pub allow_audit_log_prefixing: bool,
    /// Where an audit journal may lie if its options do not say; `None` demands the option.
    pub journal_directory: Option<PathBuf>,
    /// What the store counts, by name; for `sys/metrics`.
    pub storage_counters: Option<Counters>,
    /// What the configuration file says, without its secrets, for `sys/config/state/sanitized`.
    pub sanitized: serde_json::Value,
    /// The server's log, where it can be changed and followed.
    pub logs: Option<Arc<dyn Logs>>,
    /// When too many failed logins lock a user out, where a mount says nothing.
    pub lockout: lockout::Stanzas,
    /// How many bytes of decrypted entries are kept in memory.
    pub cache_bytes: u64,
    /// What a server that is initialised with them is told, once.
    pub first_requests: Vec<FirstRequest>,
    /// The seals that open the server by themselves.
    pub seals: Seals,
    /// Where a snapshot that is to be restored is kept meanwhile; `None` takes the directory of temporary files.
    pub spool: Option<PathBuf>,
}

/// Gives names with counts, as they are at the moment.
pub type Counters = Arc<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// The server without its listeners.
pub struct Core {
    settings: Settings,
    store: Arc<dyn Store>,
    clock: Clock,
    started: Timestamp,
    sealing: tokio::sync::Mutex<Sealing>,
    running: ArcSwapOption<Running>,
    initialized: std::sync::atomic::AtomicBool,
    /// How often the server was sealed.
    sealings: tokio::sync::watch::Sender<u64>,
}

impl Core {
    /// A server over `store`, sealed.
    pub async fn new(store: Arc<dyn Store>, clock: Clock, settings: Settings) -> Result<Arc<Self>, Error> {
        format::check(&store).await?;
        let sealing = Sealing::load(&store).await?;
        if sealing.restoring.is_none() {
            restoring::tidy(settings.spool.as_deref());
        }
        let initialized = sealing.is_initialized();
        let started = clock.now();
        Ok(Arc::new(Self {
            settings,
            store,
            clock,
            started,
            sealing: tokio::sync::Mutex::new(sealing),
            running: ArcSwapOption::empty(),
            initialized: initialized.into(),
            sealings: tokio::sync::watch::Sender::new(0),
        }))
    }

    /// Answers a request below `/v1/`.
    pub async fn handle(self: &Arc<Self>, request: Arc<Request>) -> Reply {
        // Borrowed for the time of the request: a count of its holders would be shared by all processors.
        match &*self.running.load() {
            Some(running) => running.serve(request).await,
            None if self.takes_snapshot(&request).await => Box::pin(self.take_snapshot(&request)).await,
            None if self.is_initialized() => Reply::refused(Arc::clone(&request.id), Error::Sealed),
            None => Reply::refused(Arc::clone(&request.id), Error::Uninitialized),
        }
    }

    /// Whether nothing is there that a snapshot could replace.
    async fn takes_snapshot(&self, request: &Request) -> bool {
        gate::Upload::is_wanted_at(request.path.as_str())
            && request.verb == api::Verb::Write
            && (!self.is_initialized() || self.sealing.lock().await.restoring.is_some())
    }

    async fn take_snapshot(self: &Arc<Self>, request: &Request) -> Reply {
        let told = self.restore_onto_empty(request).await;
        let json = told.and_then(|told| {
            serde_json::to_vec(&serde_json::json!({ "data": told }))
                .map_err(|_| Error::internal("a reply cannot be written as JSON"))
        });
        match json {
            Ok(json) => Reply::bare(Arc::clone(&request.id), 200, json.into()),
            Err(error) => Reply::refused(Arc::clone(&request.id), error),
        }
    }

    /// Writes down that a request was turned away before it could be read, for the reason `why`. An error means that it
    /// could not be written down; then that is the reply.
    pub async fn turn_away(&self, misread: Misread, why: &str) -> Result<(), Error> {
        match self.running.load_full() {
            Some(running) => running.record_misread(&misread, why).await,
            None => Ok(()),
        }
    }

    /// Whether the server is sealed.
    pub fn is_sealed(&self) -> bool {
        self.running.load().is_none()
    }

    /// Whether the server was ever initialised.
    pub fn is_initialized(&self) -> bool {
        self.initialized.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Which origins may call from a browser; nobody while sealed.
    pub fn cors(&self) -> Cors {
        self.running.load().as_ref().map(|running| running.live.load().cors.clone()).unwrap_or_default()
    }

    /// The headers of pages for people.
    pub fn ui_headers(&self) -> Vec<(String, String)> {
        let Some(running) = &*self.running.load() else { return Vec::new() };
        let live = running.live.load();
        let lines = live.ui_headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        lines.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the server was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Has the audit devices open their files anew; for SIGHUP.
    pub async fn reopen_audit(&self) -> Vec<String> {
        let Some(running) = self.running.load_full() else { return Vec::new() };
        let failed = running.audit.reopen_all().await;
        failed.into_iter().map(|(path, error)| format!("audit device {path}/: {error}")).collect()
    }

    /// Seals the server: keys are wiped, background work ends. For shutdown and `sys/seal`.
    pub async fn seal(&self) {
        if let Some(running) = self.running.swap(None) {
            running.stop().await;
            self.sealings.send_modify(|count| *count += 1);
        }
    }

    /// Changes each time the server was sealed: whatever holds memory that secrets passed through may give it back.
    pub fn sealings(&self) -> tokio::sync::watch::Receiver<u64> {
        self.sealings.subscribe()
    }
}
