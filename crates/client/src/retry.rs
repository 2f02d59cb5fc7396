//! Which failures are tried again, and when.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use api::Verb;

use crate::{Error, Fault};

/// The rule for trying again.
pub(crate) struct Retry {
    max: u32,
    wait: Duration,
}

impl Retry {
    pub(crate) fn new(max: u32, wait: Duration) -> Self {
        Self { max, wait }
    }

    /// How long to wait after a reply with `status`, or `None` to give up. A longer `Retry-After` than half a minute
    /// is for the caller to wait out.
    pub(crate) fn after_status(&self, attempt: u32, status: u16, retry_after: Option<Duration>) -> Option<Duration> {
        let may_pass = matches!(status, 412 | 429) || (status >= 500 && status != 501);
        if !may_pass || attempt >= self.max {
            return None;
        }
        match retry_after {
            Some(wait) if wait > LONGEST => None,
            Some(wait) => Some(wait.max(self.backoff(attempt))),
            None => Some(self.backoff(attempt)),
        }
    }

    /// How long to wait after a failure to get a reply, or `None` to give up.
    pub(crate) fn after_error(&self, attempt: u32, verb: Verb, error: &Error) -> Option<Duration> {
        let Error::Transport { fault, .. } = error else { return None };
        let repeatable = matches!(verb, Verb::Read | Verb::List | Verb::Scan);
        let may_pass = match fault {
            Fault::Refused => true,
            Fault::Lost => repeatable,
            Fault::Dns | Fault::NotTls | Fault::Timeout | Fault::Tls => false,
        };
        (may_pass && attempt < self.max).then(|| self.backoff(attempt))
    }

    /// Doubles from one try to the next up to six times the first wait, with a quarter of jitter, so that clients that
    /// failed together do not return together.
    fn backoff(&self, attempt: u32) -> Duration {
        let wait = self.wait.saturating_mul(1 << attempt.min(8)).min(self.wait.saturating_mul(6));
        let quarter = u64::try_from(wait.as_nanos() / 4).unwrap_or(u64::MAX).max(1);
        wait + Duration::from_nanos(RandomState::new().build_hasher().finish() % quarter)
    }
}

const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        let retry = Retry::new(2, Duration::from_millis(100));
        for (status, again) in [
            (200, false),
            (400, false),
            (403, false),
            (404, false),
            (412, true),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
        ] {
            assert_eq!(retry.after_status(0, status, None).is_some(), again, "{status}");
        }
        assert!(retry.after_status(2, 503, None).is_none());
    }

    #[test]
    fn the_server_says_how_long() {
        let retry = Retry::new(2, Duration::from_millis(100));
        assert_eq!(retry.after_status(0, 429, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(retry.after_status(0, 429, Some(Duration::from_secs(300))), None);
    }

    #[test]
    fn waits_grow_within_bounds() {
        let retry = Retry::new(20, Duration::from_millis(100));
        for attempt in 0..20 {
            let wait = retry.after_status(attempt, 503, None).unwrap();
            assert!(wait >= Duration::from_millis(100) && wait <= Duration::from_millis(750), "{wait:?}");
        }
    }

    #[test]
    fn a_write_that_may_have_arrived_is_not_repeated() {
        let retry = Retry::new(2, Duration::from_millis(100));
        let lost = Error::Transport { fault: Fault::Lost, address: String::new(), cause: String::new() };
        assert!(retry.after_error(0, Verb::Read, &lost).is_some());
        assert!(retry.after_error(0, Verb::Write, &lost).is_none());
    }
}
