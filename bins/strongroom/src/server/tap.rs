//! The log's levels while the server runs, and the log as a stream: `sys/loggers` and `sys/monitor`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use clock::Clock;
use strongroom_core::{Frames, Level, Line, Logs};
use tokio::sync::broadcast;
use tracing::{Event, Metadata, Subscriber, field::Field, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{Filtered, Targets},
    layer::Context,
    registry::LookupSpan,
    reload,
};

/// The parts of the server that log, by the names of their crates. What others log is neither set nor followed here: it
/// may say more than a log should.
const LOGGERS: &[&str] = &[
    "agent",
    "audit",
    "auth_approle",
    "auth_jwt",
    "barrier",
    "database_postgresql",
    "engine",
    "engine_database",
    "leases",
    "mounts",
    "rotation",
    "store_embedded",
    "strongroom",
    "strongroom_core",
    "strongroom_http",
    "tokens",
];

/// Lines that a follower may be behind before it loses some.
const BEHIND: usize = 1024;

/// What is set, and who follows.
pub(super) struct Tap {
    /// What standard error gets.
    filter: reload::Handle<EnvFilter, Registry>,
    /// The level of the configuration.
    configured: Mutex<String>,
    chosen: Mutex<BTreeMap<&'static str, Level>>,
    lines: broadcast::Sender<Arc<Said>>,
    look: Look,
    /// Held by whoever begins or ends to follow.
    turn: Arc<Mutex<()>>,
}

/// Sets what the layer looks at: our own loggers, or, while nobody follows, nothing.
type Look = Arc<dyn Fn(bool) + Send + Sync>;

/// The layer that sees what is logged.
pub(super) type TapLayer<S> = Filtered<Listener, reload::Layer<Targets, S>, S>;

impl Tap {
    /// The tap of a log at this level, whose lines go through `filter`, and the layer that must be put into it.
    pub(super) fn new<S>(
        filter: reload::Handle<EnvFilter, Registry>,
        level: &str,
        clock: Clock,
    ) -> (Arc<Self>, TapLayer<S>)
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        let (lines, _) = broadcast::channel(BEHIND);
        let (quiet, handle) = reload::Layer::new(Targets::new());
        let layer = Listener { clock, lines: lines.clone() }.with_filter(quiet);
        let look: Look = Arc::new(move |followed| {
            let all = LOGGERS.iter().filter(|_| followed).map(|name| (*name, LevelFilter::TRACE));
            // An error means that the log is gone, and with it whatever could be followed.
            let _ = handle.reload(Targets::new().with_targets(all));
        });
        let configured = Mutex::new(level.to_owned());
        (Arc::new(Self { filter, configured, chosen: Mutex::default(), lines, look, turn: Arc::default() }), layer)
    }

    /// Takes another level of the configuration; what was set for a logger stays.
    pub(super) fn configure(&self, level: &str) -> Result<(), String> {
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = level.to_owned();
        self.apply()
    }

    fn configured(&self) -> String {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn apply(&self) -> Result<(), String> {
        let mut text = self.configured();
        for (name, level) in &*self.chosen.lock().unwrap_or_else(PoisonError::into_inner) {
            // Writing to a text does not fail.
            let _ = write!(text, ",{name}={}", level.as_str());
        }
        let filter = EnvFilter::try_new(text).unwrap_or_else(|_| "info".into());
        self.filter.reload(filter).map_err(|error| error.to_string())
    }
}

impl Logs for Tap {
    fn levels(&self) -> BTreeMap<&'static str, String> {
        let chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |name| chosen.get(name).map_or_else(|| self.configured(), |level| level.as_str().to_owned());
        LOGGERS.iter().map(|name| (*name, level(name))).collect()
    }

    fn set(&self, logger: Option<&str>, level: Option<Level>) -> bool {
        let meant = |name: &&&'static str| logger.is_none_or(|logger| logger == **name);
        let names: Vec<_> = LOGGERS.iter().filter(meant).collect();
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &names {
            match level {
                Some(level) => drop(chosen.insert(name, level)),
                None => drop(chosen.remove(**name)),
            }
        }
        drop(chosen);
        if let Err(error) = self.apply() {
            tracing::warn!(error, "the log's level could not be changed");
        }
        !names.is_empty()
    }

    fn follow(&self, level: Level, format: Line) -> Frames {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let follower = Follower {
            lines: Some(self.lines.subscribe()),
            all: self.lines.clone(),
            look: Arc::clone(&self.look),
            turn: Arc::clone(&self.turn),
        };
        // One level for all followers: each leaves out what it did not ask for.
        (self.look)(true);
        let stream = futures::stream::unfold(follower, move |mut follower| async move {
            loop {
                match follower.lines.as_mut()?.recv().await {
                    Ok(said) if said.level <= level => return Some((said.line(format), follower)),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        Box::pin(stream)
    }
}

/// Somebody who follows the log. When the last one goes, nothing is looked at any more.
struct Follower {
    lines: Option<broadcast::Receiver<Arc<Said>>>,
    all: broadcast::Sender<Arc<Said>>,
    look: Look,
    turn: Arc<Mutex<()>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.lines = None;
        if self.all.receiver_count() == 0 {
            (self.look)(false);
        }
    }
}

/// A line of the log.
struct Said {
    time: String,
    level: Level,
    logger: &'static str,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    fn line(&self, format: Line) -> bytes::Bytes {
        let mut line = match format {
            Line::Json => self.json(),
            Line::Text => self.text(),
        };
        line.push('\n');
        line.into()
    }

    fn json(&self) -> String {
        let own = [
            ("@level", self.level.as_str()),
            ("@message", &self.message),
            ("@module", self.logger),
            ("@timestamp", &self.time),
        ];
        let fields = self.fields.iter().map(|(name, value)| (*name, value.as_str()));
        let all: serde_json::Map<_, _> =
            own.into_iter().chain(fields).map(|(name, value)| (name.to_owned(), value.into())).collect();
        serde_json::Value::Object(all).to_string()
    }

    fn text(&self) -> String {
        let level = format!("[{}]", self.level.as_str().to_ascii_uppercase());
        let mut text = format!("{} {level:<7} {}: {}", self.time, self.logger, self.message);
        for (name, value) in &self.fields {
            // Writing to a text does not fail.
            let _ = write!(text, " {name}={value}");
        }
        text
    }
}

/// Hands what is logged to those who follow.
pub(super) struct Listener {
    clock: Clock,
    lines: broadcast::Sender<Arc<Said>>,
}

/// The logger of an event, if it is one of ours.
fn logger(metadata: &Metadata<'_>) -> Option<&'static str> {
    let target = metadata.target().split("::").next().unwrap_or_default();
    LOGGERS.iter().copied().find(|name| *name == target)
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.lines.receiver_count() == 0 {
            return;
        }
        let Some(logger) = logger(event.metadata()) else { return };
        let level = Level::parse(event.metadata().level().as_str()).unwrap_or(Level::Info);
        let mut said =
            Said { time: self.clock.now().to_string(), level, logger, message: String::new(), fields: Vec::new() };
        event.record(&mut said);
        // An error means that nobody follows any more.
        let _ = self.lines.send(Arc::new(said));
    }
}

impl tracing::field::Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.note(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned());
    }
}

impl Said {
    fn note(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}
