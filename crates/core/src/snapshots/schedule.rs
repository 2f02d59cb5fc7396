//! Snapshots by a schedule. Any node may take the one that is due: it claims it in the store before it begins.

use std::{
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use clock::Timestamp;
use gate::Error;
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};

use super::local;
use crate::running::Running;

/// What is configured of one schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Seconds from the beginning of one to the beginning of the next.
    pub(crate) interval: u64,
    /// How many are kept.
    pub(crate) retain: u64,
    /// The directory.
    pub(crate) path_prefix: String,
    /// What file names begin with.
    pub(crate) file_prefix: String,
    /// How many bytes they may take together; 0 is without limit.
    pub(crate) local_max_space: u64,
}

/// How a schedule stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) next: Option<Timestamp>,
    /// Until when a node has it in hand.
    pub(crate) claimed: Option<Timestamp>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) url: String,
    pub(crate) error: String,
    pub(crate) consecutive_errors: u64,
    /// When the last good one was begun.
    pub(crate) good: Option<Timestamp>,
}

/// Below these lie the schedules and how they stand.
pub(crate) const CONFIGS: &str = "sys/snapshots/config/";
const STATES: &str = "sys/snapshots/state/";

/// Takes snapshots when they are due, for as long as the server is unsealed.
pub(crate) async fn keep(running: Weak<Running>) {
    loop {
        let Some(running) = running.upgrade() else { return };
        if let Err(error) = running.take_due().await {
            tracing::debug!(%error, "the schedules of snapshots could not be read");
        }
        let clock = running.clock.clone();
        drop(running);
        clock.sleep(LOOK).await;
    }
}

/// How a schedule stands.
pub(crate) async fn state(running: &Running, name: &str) -> Result<State, Error> {
    let tx = Tx::new(running.store());
    Ok(tx.get_json(&Key::join([STATES, name])).await?.unwrap_or_default())
}

/// Takes one now, whatever the schedule says.
pub(crate) async fn run_now(running: &Arc<Running>, name: &str, config: &Config) -> Result<State, Error> {
    if !running.claim(name, true).await? {
        return Err(Error::Unavailable("a snapshot of this schedule is being taken".to_owned()));
    }
    running.take(name, config).await?;
    state(running, name).await
}

impl Running {
    async fn take_due(self: &Arc<Self>) -> Result<(), Error> {
        let tx = Tx::new(self.store());
        for name in tx.view(CONFIGS).list("", None, 1000).await?.names {
            let Some(config) = tx.get_json::<Config>(&Key::join([CONFIGS, &name])).await? else { continue };
            let state = state(self, &name).await?;
            if let Some(good) = state.good {
                self.snapshots.good(u64::try_from(good.as_second()).unwrap_or_default());
            }
            if self.claim(&name, false).await? {
                self.take(&name, &config).await?;
            }
        }
        Ok(())
    }

    /// Whether it is due, or asked for, and nobody else has it in hand; then it is ours for a while.
    async fn claim(&self, name: &str, asked: bool) -> Result<bool, Error> {
        let (tx, now) = (Tx::new(self.store()), self.clock.now());
        let key = Key::join([STATES, name]);
        let mut state: State = tx.get_json(&key).await?.unwrap_or_default();
        let held = state.claimed.is_some_and(|until| until > now);
        let due = asked || state.next.is_none_or(|next| next <= now);
        if held || !due {
            return Ok(false);
        }
        (state.claimed, state.started) = (Some(clock::after(now, CLAIM)), Some(now));
        tx.put_json(key, &state)?;
        match tx.commit().await.map_err(Error::from) {
            Ok(_) => Ok(true),
            Err(Error::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn take(self: &Arc<Self>, name: &str, config: &Config) -> Result<(), Error> {
        let begun = self.clock.now();
        let file = format!("{}-{}{}", config.file_prefix, begun.strftime("%Y%m%dT%H%M%SZ"), local::ENDING);
        let folder = Path::new(&config.path_prefix);
        let (store, seal) = self.below().await?;
        let saved = local::save(store, self.manifest(), seal, folder, &file).await;
        let outcome = saved.map_err(|error| error.to_string()).and_then(|checked| {
            tracing::info!(
                schedule = name,
                file,
                entries = checked.content.entries,
                "a snapshot was taken and read again"
            );
            let most = if config.local_max_space == 0 { u64::MAX } else { config.local_max_space };
            let kept = usize::try_from(config.retain).unwrap_or(usize::MAX);
            let retained = local::retain(folder, &config.file_prefix, kept, most);
            retained.map_err(|error| format!("old snapshots could not be removed: {error}"))
        });
        match &outcome {
            Ok(()) => self.snapshots.good(u64::try_from(begun.as_second()).unwrap_or_default()),
            Err(error) => {
                self.snapshots.failed();
                tracing::error!(schedule = name, error, "a snapshot failed");
            }
        }
        self.note(name, config, begun, folder.join(&file).display().to_string(), outcome.err()).await
    }

    async fn note(
        &self,
        name: &str,
        config: &Config,
        begun: Timestamp,
        url: String,
        error: Option<String>,
    ) -> Result<(), Error> {
        let tx = Tx::new(self.store());
        let key = Key::join([STATES, name]);
        let mut state: State = tx.get_json(&key).await?.unwrap_or_default();
        let interval = Duration::from_secs(config.interval);
        // After a failure the next try does not wait for the whole interval.
        let wait = if error.is_some() { interval.min(AFTER_FAILURE) } else { interval };
        (state.claimed, state.ended) = (None, Some(self.clock.now()));
        (state.started, state.next) = (Some(begun), Some(clock::after(begun, wait)));
        match error {
            None => {
                (state.good, state.url) = (Some(begun), url);
                (state.consecutive_errors, state.error) = (0, String::new());
            }
            Some(error) => {
                state.consecutive_errors += 1;
                state.error = error;
            }
        }
        tx.put_json(key, &state)?;
        tx.commit().await?;
        Ok(())
    }
}

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(5);
/// How long a node may take for one, before another one tries.
const CLAIM: Duration = Duration::from_secs(60 * 60);
/// The longest pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5 * 60);
