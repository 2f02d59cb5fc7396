//! The server's log, as those who run the program hand it down.

use std::collections::BTreeMap;

use gate::Frames;

/// A log whose levels can be changed while the server runs, and which can be followed.
pub trait Logs: Send + Sync {
    /// The level of each logger: `trace`, `debug`, `info`, `warn` or `error`.
    fn levels(&self) -> BTreeMap<&'static str, String>;

    /// Sets the level of one logger, or of all; `None` for the level is that of the configuration. `false` if there is
    /// no such logger.
    fn set(&self, logger: Option<&str>, level: Option<Level>) -> bool;

    /// The lines that are logged from now on, at this level or above.
    fn follow(&self, level: Level, format: Line) -> Frames;
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What needs somebody.
    Error,
    /// What somebody should know.
    Warn,
    /// What happens.
    Info,
    /// How it happens.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// A level from its name, in Vault's spellings too.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "error" | "err" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "info" | "notice" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    /// The level's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// An object.
    Json,
    /// For people.
    Text,
}
