//! `strongroom server`: reads the configuration, opens the store, listens, and stops in order.

mod config;
mod dev;
mod log;
mod sanitized;
mod tap;

use std::{io::Write, path::Path, process::ExitCode, sync::Arc, time::Duration};

use clock::Clock;
use secret::SecretString;
use storage::Store;
use strongroom_core::{Core, Counters, Settings, Sharing};
use strongroom_http::{Address, ListenerConfig, Serving};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    config::{Config, Postgresql, Storage},
    log::Log,
    tap::Tap,
};
use crate::server_args::ServerArgs;

/// Runs the server until it is told to stop.
pub(crate) fn run(args: ServerArgs) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error starting the server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: ServerArgs) -> Result<(), String> {
    if !args.dev && !args.dev_tls && args.config.is_empty() {
        return Err("name a configuration with -config=FILE, or start a server for a first try with -dev".to_owned());
    }
    harden();
    // Two at least: one may be held up by a disk while the other keeps the deadlines.
    let workers = std::thread::available_parallelism().map_or(2, |processors| processors.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
    runtime.block_on(async {
        match args.dev || args.dev_tls {
            true => dev::serve(args).await,
            false => serve(&args).await,
        }
    })
}

/// Keeps memory out of core dumps.
fn harden() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    if rustix::process::setrlimit(rustix::process::Resource::Core, none).is_err() {
        let _ = writeln!(std::io::stderr(), "warning: core dumps could not be turned off");
    }
}

async fn serve(args: &ServerArgs) -> Result<(), String> {
    let (config, warnings) = Config::read(&args.config)?;
    let log = Log::start(args, &config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (store, counters) = open(&config.storage).await?;
    let core = core(store, counters, &config, log.tap()).await?;
    tokio::spawn(open_at_start(Arc::clone(&core)));
    let mut serving = Vec::new();
    for listener in &config.listeners {
        serving.push(listen(&core, listener.clone()).await?);
    }
    if let Some(path) = &config.pid_file {
        write_pid(path)?;
    }
    announce(&config, &serving);
    let reload = Reload { core: &core, listeners: &config.listeners, serving: &serving, log: &log, args };
    reload.until_stopped().await?;
    stop(&core, serving).await;
    if let Some(path) = &config.pid_file {
        // The file only says who runs; a left-over one does no harm.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Goes on with a restore that was cut off, then has the seals open the server.
async fn open_at_start(core: Arc<Core>) {
    if let Err(error) = core.resume_restore().await {
        tracing::error!(%error, "a restore could not go on; start the server again, or restore a snapshot again");
        return;
    }
    core.open_by_itself().await;
}

/// The stores that a file for `operator migrate` names.
pub(crate) fn migration(file: &Path) -> Result<(Storage, Storage), String> {
    let (source, destination, warnings) = config::migration(file)?;
    for warning in warnings {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    Ok((source, destination))
}

/// A store, for a command that needs no server.
pub(crate) async fn open_store(storage: &Storage) -> Result<Arc<dyn Store>, String> {
    open(storage).await.map(|(store, _)| store)
}

/// The store, and what it counts.
async fn open(storage: &Storage) -> Result<(Arc<dyn Store>, Option<Counters>), String> {
    match storage {
        Storage::Memory => Ok((store_memory::Memory::new(), None)),
        Storage::Embedded { path } => {
            let opened = store_embedded::Embedded::open(path, store_embedded::Options::default());
            let store = opened.map_err(|error| error.to_string())?;
            let counted = Arc::clone(&store);
            let counters: Counters = Arc::new(move || {
                let stats = counted.stats();
                vec![
                    ("commits", stats.commits),
                    ("syncs", stats.syncs),
                    ("bytes", stats.bytes),
                    ("conflicts", stats.conflicts),
                ]
            });
            Ok((store, Some(counters)))
        }
        Storage::Postgresql(settings) => open_postgresql(settings).await,
    }
}

async fn open_postgresql(settings: &Postgresql) -> Result<(Arc<dyn Store>, Option<Counters>), String> {
    // EXPOSE: handed on in custody.
    let given = settings.connection_url.as_ref().map(|url| url.expose().clone());
    let url = given.or_else(|| std::env::var(CONNECTION_URL).ok()).filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| {
        format!("storage \"postgresql\": connection_url is missing: set it, or {CONNECTION_URL} in the environment")
    })?;
    let options = store_postgresql::Options {
        connection_url: SecretString::new(url),
        table: settings.table.clone(),
        max_parallel: settings.max_parallel,
        max_staleness: settings.max_staleness,
    };
    let opened = store_postgresql::Postgresql::open(options).await;
    let store = opened.map_err(|error| format!("storage \"postgresql\": {error}"))?;
    let counted = Arc::clone(&store);
    let counters: Counters = Arc::new(move || {
        let stats = counted.stats();
        vec![
            ("commits", stats.commits),
            ("syncs", stats.transactions),
            ("bytes", stats.bytes),
            ("conflicts", stats.conflicts),
        ]
    });
    Ok((store, Some(counters)))
}

/// Says where PostgreSQL is, where the configuration does not; Vault's name for it.
const CONNECTION_URL: &str = "VAULT_PG_CONNECTION_URL";

/// How the store is shared, if it can be.
fn sharing(config: &Config) -> Option<Sharing> {
    let Storage::Postgresql(settings) = &config.storage else { return None };
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let listener = config.listeners.first().map(|listener| listener.address.to_string()).unwrap_or_default();
    let named = format!("{hostname}-{}", listener.replace('/', "-"));
    Some(Sharing { max_staleness: settings.max_staleness, node: settings.node_id.clone().unwrap_or(named) })
}

async fn core(
    store: Arc<dyn Store>,
    storage_counters: Option<Counters>,
    config: &Config,
    tap: Arc<Tap>,
) -> Result<Arc<Core>, String> {
    let limits = mounts::Limits {
        default_ttl: config.default_lease_ttl.unwrap_or(mounts::DEFAULT_TTL),
        max_ttl: config.max_lease_ttl.unwrap_or(mounts::MAX_TTL),
    };
    let (storage_type, journal_directory, spool) = match &config.storage {
        Storage::Memory => ("inmem", None, None),
        Storage::Embedded { path } => ("embedded", Some(path.join("audit")), Some(path.clone())),
        Storage::Postgresql(_) => ("postgresql", None, None),
    };
    let settings = Settings {
        kinds: catalogue::KINDS,
        databases: catalogue::DATABASES.iter().map(|kind| kind.name).collect(),
        limits,
        compatibility: config.compatibility.clone(),
        version: env!("CARGO_PKG_VERSION"),
        cluster_name: config.cluster_name.clone(),
        address: config.address(),
        storage_type,
        sharing: sharing(config),
        allow_audit_log_prefixing: config.allow_audit_log_prefixing,
        journal_directory,
        storage_counters,
        sanitized: sanitized::of(config),
        logs: Some(tap),
        lockout: config.lockout.clone(),
        cache_bytes: config.cache_bytes,
        first_requests: config.first_requests.clone(),
        seals: config.seals.clone(),
        spool,
    };
    let core = Core::new(store, Clock::system(), settings).await;
    // What helps the operator is kept from clients only.
    core.map_err(|error| error.to_string().trim_start_matches("internal error: ").to_owned())
}

async fn listen(core: &Arc<Core>, listener: ListenerConfig) -> Result<Serving, String> {
    strongroom_http::serve(Arc::clone(core), listener).await.map_err(|error| error.to_string())
}

fn announce(config: &Config, serving: &[Serving]) {
    let mut plain = false;
    for (listener, serving) in config.listeners.iter().zip(serving) {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        match serving.address() {
            Address::Tcp(address) => {
                plain |= listener.tls.is_none();
                tracing::info!("listening on {scheme}://{address}");
            }
            Address::Unix(socket) => tracing::info!("listening on unix://{} ({scheme})", socket.path.display()),
        }
    }
    if plain {
        tracing::warn!("a listener has no TLS: tokens and secrets can be read on the way");
    }
}

/// What is read anew on SIGHUP.
struct Reload<'a> {
    core: &'a Core,
    /// What was configured when the server was started, and in the same order what came of it.
    listeners: &'a [ListenerConfig],
    serving: &'a [Serving],
    log: &'a Log,
    args: &'a ServerArgs,
}

impl Reload<'_> {
    /// Waits for SIGTERM or SIGINT; SIGHUP reopens the audit files and reads certificates and the log's level anew.
    async fn until_stopped(&self) -> Result<(), String> {
        let on = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        let (mut term, mut int, mut hup): (Signal, Signal, Signal) =
            (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = hup.recv() => self.reload().await,
            }
        }
    }

    /// What cannot be read stays as it was.
    async fn reload(&self) {
        for failed in self.core.reopen_audit().await {
            tracing::error!("{failed}");
        }
        let listeners = self.listeners_anew();
        for (listener, serving) in self.listeners.iter().zip(self.serving) {
            let anew = listeners.iter().find(|anew| anew.address == listener.address);
            match anew.map_or_else(|| serving.reload_tls().map(|()| true), |anew| reload_tls(serving, listener, anew)) {
                Ok(true) => {}
                Ok(false) => tracing::warn!("whether a listener has TLS takes effect when the server is started again"),
                Err(error) => tracing::error!(%error, "the certificate could not be read; the old one stays in use"),
            }
        }
        if let Err(error) = self.log.reload(self.args) {
            tracing::error!(%error, "the log's level could not be read; the old one stays in use");
        }
        tracing::info!("reloaded");
    }

    /// The listeners as the configuration has them now; none if it cannot be read, or if flags stand for it.
    fn listeners_anew(&self) -> Vec<ListenerConfig> {
        if self.args.dev || self.args.dev_tls {
            return Vec::new();
        }
        match Config::read(&self.args.config) {
            Ok((config, _)) => config.listeners,
            Err(error) => {
                tracing::error!(%error, "the configuration could not be read; certificates come from where they were");
                Vec::new()
            }
        }
    }
}

/// Reads the files of a listener's certificate, which may be other ones than at the start; `false` if it is to have TLS
/// now and had none, or the other way round.
fn reload_tls(
    serving: &Serving,
    before: &ListenerConfig,
    anew: &ListenerConfig,
) -> Result<bool, strongroom_http::Error> {
    match (&before.tls, &anew.tls) {
        (Some(_), Some(tls)) => serving.replace_tls(tls.clone()),
        (None, None) => Ok(true),
        (Some(_), None) => serving.reload_tls().map(|()| false),
        (None, Some(_)) => Ok(false),
    }
}

/// Requests under way end first, then the keys are wiped.
async fn stop(core: &Arc<Core>, serving: Vec<Serving>) {
    tracing::info!("stopping");
    for serving in serving {
        serving.stop(STOP).await;
    }
    core.seal().await;
}

/// How long requests under way may take at the end.
const STOP: Duration = Duration::from_secs(5);

fn write_pid(path: &Path) -> Result<(), String> {
    std::fs::write(path, format!("{}\n", std::process::id()))
        .map_err(|error| format!("cannot write the pid file {}: {error}", path.display()))
}

/// A text that came from the arguments, in custody.
fn secret(text: Option<String>) -> Option<SecretString> {
    text.map(SecretString::new)
}
