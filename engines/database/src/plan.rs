//! When passwords rotate by themselves, as roles and connections say it.

use std::time::Duration;

use api::{Flag, Ttl};
use engine::{Error, Plan, RotationStatus};
use serde::{Deserialize, Serialize};

/// The ids of plans begin with these.
pub(crate) const ROOT: &str = "root";
pub(crate) const STATIC: &str = "static";

/// The fields of a request.
#[derive(Default)]
pub(crate) struct Wished {
    pub(crate) period: Option<Ttl>,
    pub(crate) schedule: Option<String>,
    pub(crate) window: Option<Ttl>,
    pub(crate) disabled: Option<Flag>,
}

/// The fields as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Timing {
    /// The time between rotations, in seconds; zero is not set.
    pub(crate) rotation_period: Ttl,
    /// Five cron fields, UTC; empty is not set.
    pub(crate) rotation_schedule: String,
    /// How late a scheduled rotation may start, in seconds; zero is any time.
    pub(crate) rotation_window: Ttl,
    /// Rotates by hand only.
    pub(crate) disable_automated_rotation: bool,
}

impl Timing {
    /// Takes over what the request says. Setting a period ends a schedule, and the other way round.
    pub(crate) fn merge(&mut self, wished: Wished) {
        let both = wished.period.is_some() && wished.schedule.as_ref().is_some_and(|text| !text.is_empty());
        if let Some(period) = wished.period {
            self.rotation_period = period;
            if !period.is_zero() && !both {
                self.rotation_schedule.clear();
                self.rotation_window = Ttl::default();
            }
        }
        if let Some(schedule) = wished.schedule {
            if !schedule.is_empty() && !both {
                self.rotation_period = Ttl::default();
            }
            self.rotation_schedule = schedule.trim().to_owned();
        }
        if let Some(window) = wished.window {
            self.rotation_window = window;
        }
        if let Some(Flag(disabled)) = wished.disabled {
            self.disable_automated_rotation = disabled;
        }
    }

    /// The plan, or `None` if nothing rotates by itself.
    pub(crate) fn plan(&self) -> Result<Option<Plan>, Error> {
        if self.rotation_period.is_zero() && self.rotation_schedule.is_empty() {
            return match self.rotation_window.is_zero() {
                true => Ok(None),
                false => Err(Error::invalid("rotation_window: it goes with rotation_schedule, set that too")),
            };
        }
        let plan = Plan {
            period: self.rotation_period.set(),
            schedule: (!self.rotation_schedule.is_empty()).then(|| self.rotation_schedule.clone()),
            window: self.rotation_window.set(),
            first_now: false,
        };
        rotation::check_plan(&plan)?;
        Ok((!self.disable_automated_rotation).then_some(plan))
    }
}

/// How a rotation stands, as replies show it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Standing {
    /// When the next rotation is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_vault_rotation: Option<clock::Timestamp>,
    /// Why the last try failed; null after a success.
    pub(crate) last_error: Option<String>,
    /// Tries that failed since the last success.
    pub(crate) failures: u32,
    /// The last tries, newest first.
    pub(crate) history: Vec<engine::RotationTry>,
}

impl From<Option<RotationStatus>> for Standing {
    fn from(status: Option<RotationStatus>) -> Self {
        status.map_or_else(Self::default, |status| Self {
            next_vault_rotation: status.next,
            last_error: status.last_error,
            failures: status.failures,
            history: status.history,
        })
    }
}

/// The time left until the next rotation; zero when it is due, so that readers come back and see the new value.
pub(crate) fn left(status: Option<&RotationStatus>, now: clock::Timestamp) -> Duration {
    status.and_then(|status| status.next).map_or(Duration::ZERO, |next| clock::between(now, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(seconds: u64) -> Wished {
        Wished { period: Some(Ttl::seconds(seconds)), ..Wished::default() }
    }

    fn schedule(text: &str, window: u64) -> Wished {
        Wished { schedule: Some(text.to_owned()), window: Some(Ttl::seconds(window)), ..Wished::default() }
    }

    #[test]
    fn a_period_and_a_schedule_replace_each_other() {
        let mut timing = Timing::default();
        assert_eq!(timing.plan().unwrap(), None);
        timing.merge(period(3600));
        assert_eq!(timing.plan().unwrap().unwrap().period, Some(Duration::from_secs(3600)));
        timing.merge(schedule("0 3 * * 6", 7200));
        let plan = timing.plan().unwrap().unwrap();
        assert_eq!((plan.period, plan.schedule.as_deref()), (None, Some("0 3 * * 6")));
        assert_eq!(plan.window, Some(Duration::from_secs(7200)));
        timing.merge(Wished { disabled: Some(Flag(true)), ..Wished::default() });
        assert_eq!(timing.plan().unwrap(), None);
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        let refused = |wished: Wished| {
            let mut timing = Timing::default();
            timing.merge(wished);
            timing.plan().unwrap_err().to_string()
        };
        assert!(refused(period(4)).contains("rotation_period"));
        assert!(refused(schedule("0 3 * * 6", 60)).contains("rotation_window"));
        assert!(refused(schedule("often", 0)).contains("rotation_schedule"));
        assert!(refused(Wished { window: Some(Ttl::seconds(7200)), ..Wished::default() }).contains("rotation_window"));
        assert!(
            refused(Wished { window: None, ..Wished { period: Some(Ttl::seconds(60)), ..schedule("0 3 * * 6", 0) } })
                .contains("exclude")
        );
    }
}
