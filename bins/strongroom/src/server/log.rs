//! The server's log: on standard error, with a level that can be changed while it runs.

use std::sync::Arc;

use clock::Clock;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use super::{
    config::{self, Config},
    tap::Tap,
};
use crate::{server_args::ServerArgs, session::env};

/// The log, once started.
pub(super) struct Log {
    tap: Arc<Tap>,
    level: String,
}

impl Log {
    /// Starts the log. Flags go before variables of the environment, and these before the configuration.
    pub(super) fn start(args: &ServerArgs, config: &Config) -> Result<Self, String> {
        let level = level(args)?.unwrap_or_else(|| config.log_level.clone());
        let form = args.log_format.clone().or_else(|| either("LOG_FORMAT"));
        let json = form.map_or(Ok(config.log_json), |form| config::form(&form))?;
        let (filter, handle) = reload::Layer::new(EnvFilter::new(&level));
        let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
        let registry = tracing_subscriber::registry();
        let (tap, listener) = Tap::new(handle, &level, Clock::system());
        // A second call, in tests, changes nothing.
        let _ = match json {
            true => registry.with(layer.json().with_filter(filter).boxed()).with(listener).try_init(),
            false => registry.with(layer.with_filter(filter).boxed()).with(listener).try_init(),
        };
        Ok(Self { tap, level })
    }

    /// What `sys/loggers` and `sys/monitor` work on.
    pub(super) fn tap(&self) -> Arc<Tap> {
        Arc::clone(&self.tap)
    }

    /// Takes the level of the configuration as it is now, unless a flag or the environment said one.
    pub(super) fn reload(&self, args: &ServerArgs) -> Result<(), String> {
        if level(args)?.is_some() || args.config.is_empty() {
            return Ok(());
        }
        let level = Config::log_level(&args.config)?.unwrap_or_else(|| self.level.clone());
        self.tap.configure(&level)
    }
}

/// The level that a flag or the environment says.
fn level(args: &ServerArgs) -> Result<Option<String>, String> {
    let said = args.log_level.clone().or_else(|| either("LOG_LEVEL"));
    said.map(|text| config::level(&text).map(str::to_owned)).transpose()
}

/// A variable under our own name, or under Vault's.
pub(super) fn either(name: &str) -> Option<String> {
    env(&format!("STRONGROOM_{name}")).or_else(|| env(&format!("VAULT_{name}")))
}
