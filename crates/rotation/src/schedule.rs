//! When a plan says to rotate.

use std::time::Duration;

use clock::Timestamp;
use croner::Cron;
use gate::{Error, Plan};

/// The shortest period.
const SHORTEST: Duration = Duration::from_secs(5);
/// The shortest window of a schedule.
const SHORTEST_WINDOW: Duration = Duration::from_secs(3600);

/// Refuses plans that make no sense.
pub fn check_plan(plan: &Plan) -> Result<(), Error> {
    match (&plan.period, &plan.schedule) {
        (Some(_), Some(_)) => Err(Error::invalid("rotation_period and rotation_schedule exclude each other; set one")),
        (None, None) => Err(Error::invalid("one of rotation_period and rotation_schedule must be set")),
        (Some(period), None) => {
            if *period < SHORTEST {
                return Err(Error::invalid("rotation_period: use at least 5 seconds"));
            }
            match plan.window {
                Some(_) => {
                    Err(Error::invalid("rotation_window: it goes with rotation_schedule, not with rotation_period"))
                }
                None => Ok(()),
            }
        }
        (None, Some(text)) => {
            parse(text)?;
            if next_after(plan, Timestamp::UNIX_EPOCH).is_none() {
                return Err(Error::invalid(format!("rotation_schedule: {text:?} never comes; name a day that exists")));
            }
            match plan.window {
                Some(window) if window < SHORTEST_WINDOW => Err(Error::invalid("rotation_window: use at least 1 hour")),
                _ => Ok(()),
            }
        }
    }
}

/// The first moment after `start` at which `plan` rotates; `None` if there is none.
pub fn next_after(plan: &Plan, start: Timestamp) -> Option<Timestamp> {
    if let Some(period) = plan.period {
        return Some(clock::after(start, period));
    }
    let cron = parse(plan.schedule.as_deref()?).ok()?;
    let start = start.to_zoned(jiff::tz::TimeZone::UTC);
    cron.find_next_occurrence(&start, false).ok().map(|next| next.timestamp())
}

/// Whether a scheduled rotation comes too late: outside its window it waits for its next time. Counted from the time of
/// the schedule, so that a rotation that fails is not tried on and on behind its window.
pub(crate) fn missed_window(plan: &Plan, now: Timestamp) -> bool {
    let Some((text, window)) = plan.schedule.as_deref().zip(plan.window) else { return false };
    let Ok(cron) = parse(text) else { return false };
    let start = now.to_zoned(jiff::tz::TimeZone::UTC);
    let last = cron.find_previous_occurrence(&start, true);
    last.is_ok_and(|last| clock::between(last.timestamp(), now) > window)
}

fn parse(text: &str) -> Result<Cron, Error> {
    let wrong = || {
        Error::invalid(format!(
            "rotation_schedule: {text:?} is not a cron schedule of five fields, such as \"0 3 * * 6\""
        ))
    };
    if text.split_whitespace().count() != 5 {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(schedule: &str) -> Plan {
        Plan { period: None, schedule: Some(schedule.to_owned()), window: None, first_now: false }
    }

    #[test]
    fn schedules_are_cron_in_utc() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let next = |schedule| next_after(&plan(schedule), start).unwrap().to_string();
        assert_eq!(next("0 3 * * *"), "2026-01-01T03:00:00Z");
        assert_eq!(next("*/15 * * * *"), "2026-01-01T00:15:00Z");
        assert_eq!(next("0 0 * * SAT"), "2026-01-03T00:00:00Z");
        assert_eq!(next("0 0 29 2 *"), "2028-02-29T00:00:00Z");
        assert!(check_plan(&plan("0 0 29 2 *")).is_ok());
        for bad in ["", "* * * *", "61 * * * *", "a b c d e", "0 0 0 * * *", "0 0 30 2 *"] {
            assert!(check_plan(&plan(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_window_belongs_to_a_schedule() {
        let hour = Duration::from_secs(3600);
        let both = Plan { period: Some(hour), window: Some(hour), ..plan("0 0 * * *") };
        assert!(check_plan(&both).is_err());
        let short = Plan { window: Some(hour / 2), ..plan("0 0 * * *") };
        assert!(check_plan(&short).is_err());
        let late = Plan { window: Some(hour), ..plan("0 0 * * *") };
        let due: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(!missed_window(&late, due));
        assert!(!missed_window(&late, clock::after(due, hour)));
        assert!(missed_window(&late, clock::after(due, hour * 2)));
        assert!(!missed_window(&late, clock::after(due, hour * 24)));
    }
}
