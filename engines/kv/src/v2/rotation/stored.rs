//! How a secret is rotated, as stored.

use std::time::Duration;

use clock::Timestamp;
use engine::{Error, Plan};
use serde::{Deserialize, Serialize};
use storage::View;

use super::{
    generator::Generator,
    hook::{Hook, Step},
};

/// The rotation of one field of a secret.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rotation {
    pub(super) field: String,
    pub(super) period: Option<Duration>,
    pub(super) schedule: Option<String>,
    pub(super) window: Option<Duration>,
    /// How long the previous value can still be had by its label; zero is until the next change.
    pub(super) overlap: Duration,
    /// Whether the previous version is deleted at the end of the overlap.
    pub(super) delete_previous: bool,
    pub(super) generator: Generator,
    pub(super) hook: Option<Hook>,
    /// How far the rotation is that is under way.
    pub(super) stage: Option<Stage>,
    /// The last one that put a value in force.
    pub(super) last: Option<Last>,
}

/// A rotation under way. It survives a crash and is continued, with the same value and the same keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stage {
    /// The outside id of the version in the making.
    pub(super) id: String,
    /// The step to be done next.
    pub(super) next: Step,
}

/// A rotation that put a value in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) id: String,
    pub(super) at: Timestamp,
}

pub(super) const ROTATIONS: &str = "r/";
const MAX_FIELD: usize = 512;

pub(super) fn key(path: &str) -> String {
    format!("{ROTATIONS}{path}")
}

impl Rotation {
    pub(super) fn new(field: String) -> Self {
        Self {
            field,
            period: None,
            schedule: None,
            window: None,
            overlap: Duration::ZERO,
            delete_previous: false,
            generator: Generator::default(),
            hook: None,
            stage: None,
            last: None,
        }
    }

    pub(super) async fn load(view: &View, path: &str) -> Result<Option<Self>, Error> {
        Ok(view.get_json(&key(path)).await?)
    }

    pub(super) fn save(&self, view: &View, path: &str) -> Result<(), Error> {
        Ok(view.put_json(&key(path), self)?)
    }

    /// Changes the field, unless a value for it is on its way.
    pub(super) fn rename(&mut self, field: String) -> Result<(), Error> {
        if field.is_empty() || field.len() > MAX_FIELD {
            return Err(Error::invalid(format!("field: use from 1 to {MAX_FIELD} bytes")));
        }
        if self.stage.is_some() && field != self.field {
            return Err(Error::invalid("field: a rotation is under way; let it end first, or end it by deleting it"));
        }
        self.field = field;
        Ok(())
    }

    /// How it is rotated, in a word.
    pub(super) fn class(&self) -> &'static str {
        if self.hook.is_some() { "hook" } else { "generator" }
    }

    /// When it is due; `None` if it is only rotated by hand.
    pub(super) fn plan(&self, first_now: bool) -> Option<Plan> {
        if self.period.is_none() && self.schedule.is_none() && self.window.is_none() {
            return None;
        }
        let Self { period, schedule, window, .. } = self;
        Some(Plan { period: *period, schedule: schedule.clone(), window: *window, first_now })
    }
}
