//! `strongroom server`: reads the configuration, opens the store, listens, and stops in order.

mod config;
mod dev;
mod sanitized;
mod tap;

use std::{io::Write, path::Path, process::ExitCode, sync::Arc, time::Duration};

use clock::Clock;
use secret::SecretString;
use storage::Store;
use strongroom_core::{Core, Counters, Settings};
use strongroom_http::{ListenerConfig, Serving};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use self::{
    config::{Config, Listener, Storage},
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
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
    let tap = log_to_stderr(&config.log_level, config.log_json);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (store, counters) = open(&config.storage)?;
    let core = core(store, counters, &config, tap).await?;
    let mut serving = Vec::new();
    for listener in &config.listeners {
        serving.push(listen(&core, listener).await?);
    }
    if let Some(path) = &config.pid_file {
        write_pid(path)?;
    }
    announce(&config, &serving);
    until_stopped(&core, &serving).await?;
    stop(&core, serving).await;
    if let Some(path) = &config.pid_file {
        // The file only says who runs; a left-over one does no harm.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn log_to_stderr(level: &str, json: bool) -> Arc<Tap> {
    let filter = tracing_subscriber::EnvFilter::try_new(level).unwrap_or_else(|_| "info".into());
    let (filter, handle) = reload::Layer::new(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    let registry = tracing_subscriber::registry();
    let (tap, listener) = Tap::new(handle, level, Clock::system());
    // A second call, in tests, changes nothing.
    let _ = match json {
        true => registry.with(layer.json().with_filter(filter).boxed()).with(listener).try_init(),
        false => registry.with(layer.with_filter(filter).boxed()).with(listener).try_init(),
    };
    tap
}

/// The store, and what it counts.
fn open(storage: &Storage) -> Result<(Arc<dyn Store>, Option<Counters>), String> {
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
    }
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
    let (storage_type, journal_directory) = match &config.storage {
        Storage::Memory => ("inmem", None),
        Storage::Embedded { path } => ("embedded", Some(path.join("audit"))),
    };
    let settings = Settings {
        kinds: catalogue::KINDS,
        databases: catalogue::DATABASES.iter().map(|kind| kind.name).collect(),
        limits,
        compatibility: config.compatibility.clone(),
        version: env!("CARGO_PKG_VERSION"),
        cluster_name: config.cluster_name.clone(),
        storage_type,
        allow_audit_log_prefixing: config.allow_audit_log_prefixing,
        journal_directory,
        storage_counters,
        sanitized: sanitized::of(config),
        logs: Some(tap),
        cache_bytes: config.cache_bytes,
    };
    Core::new(store, Clock::system(), settings).await.map_err(|error| error.to_string())
}

async fn listen(core: &Arc<Core>, listener: &Listener) -> Result<Serving, String> {
    let mut wanted = ListenerConfig::new(listener.address);
    wanted.tls = listener.tls.as_ref().map(|tls| strongroom_http::Tls::new(&tls.cert_file, &tls.key_file));
    if let Some(size) = listener.max_request_size {
        wanted.max_request_size = size;
    }
    if let Some(duration) = listener.max_request_duration {
        wanted.max_request_duration = duration;
    }
    strongroom_http::serve(Arc::clone(core), wanted).await.map_err(|error| error.to_string())
}

fn announce(config: &Config, serving: &[Serving]) {
    let scheme = |at: usize| {
        if config.listeners.get(at).is_some_and(|listener| listener.tls.is_some()) { "https" } else { "http" }
    };
    for (at, serving) in serving.iter().enumerate() {
        tracing::info!("listening on {}://{}", scheme(at), serving.address());
    }
    if config.listeners.iter().any(|listener| listener.tls.is_none()) {
        tracing::warn!("a listener has no TLS: tokens and secrets can be read on the way");
    }
}

/// Waits for SIGTERM or SIGINT; SIGHUP reopens the audit files and reads the certificates anew.
async fn until_stopped(core: &Arc<Core>, serving: &[Serving]) -> Result<(), String> {
    let on = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
    let (mut term, mut int, mut hup): (Signal, Signal, Signal) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = hup.recv() => reload(core, serving).await,
        }
    }
}

async fn reload(core: &Arc<Core>, serving: &[Serving]) {
    for failed in core.reopen_audit().await {
        tracing::error!("{failed}");
    }
    for serving in serving {
        if let Err(error) = serving.reload_tls() {
            tracing::error!(%error, "the certificate could not be read; the old one stays in use");
        }
    }
    tracing::info!("reloaded");
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
