//! The due index: what ends when, in order of time.

use clock::Timestamp;
use gate::{LeaseId, TokenId};
use storage::Key;

/// Where the index of what ends lies.
pub const PREFIX: &str = "sys/due/";

/// Something that is due.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    /// A lease must be revoked.
    Lease(LeaseId),
    /// A token has ended, or its revocation must go on.
    Token(TokenId),
}

pub(crate) fn lease_key(at: Timestamp, id: &LeaseId) -> Key {
    Key::from(format!("{PREFIX}{}/l/{id}", stamp(at)))
}

pub(crate) fn token_key(at: Timestamp, id: &TokenId) -> Key {
    Key::from(format!("{PREFIX}{}/t/{}", stamp(at), id.0))
}

/// Behind this lies what is due after `at`.
pub(crate) fn end_of(at: Timestamp) -> String {
    format!("{PREFIX}{}0", stamp(at))
}

/// Milliseconds since 1970 in a form whose byte order is the order of time.
fn stamp(at: Timestamp) -> String {
    format!("{:015}", millis(at))
}

/// Milliseconds since 1970, rounded up: what is due is never looked at before its time, when it would seem to be in
/// force still.
pub(crate) fn millis(at: Timestamp) -> i64 {
    let below = at.as_millisecond().max(0);
    let exact = Timestamp::from_millisecond(below).is_ok_and(|exact| exact >= at);
    let above = below.saturating_add(1);
    if exact || Timestamp::from_millisecond(above).is_err() { below } else { above }
}

/// A moment as precise as the index holds it.
pub(crate) fn rounded(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(millis(at)).unwrap_or(at)
}

/// The time and thing that a key of the index names.
pub(crate) fn parse(key: &Key) -> Option<(Timestamp, Due)> {
    let rest = key.as_str().strip_prefix(PREFIX)?;
    let (stamp, rest) = rest.split_once('/')?;
    let at = Timestamp::from_millisecond(stamp.parse().ok()?).ok()?;
    let (kind, id) = rest.split_once('/')?;
    let due = match kind {
        "l" => Due::Lease(LeaseId(id.into())),
        "t" => Due::Token(TokenId(id.into())),
        _ => return None,
    };
    Some((at, due))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_the_order_of_time() {
        let id = LeaseId("database/creds/app/x".into());
        let early = lease_key(Timestamp::from_second(9).unwrap(), &id);
        let late = lease_key(Timestamp::from_second(1_000_000_000).unwrap(), &id);
        assert!(early < late);
        assert_eq!(parse(&late), Some((Timestamp::from_second(1_000_000_000).unwrap(), Due::Lease(id))));
    }

    #[test]
    fn the_index_never_says_due_before_the_time() {
        // A token that ended at a fraction of a millisecond was met by the expirer within that millisecond, taken for
        // renewed, and dropped from the index: its leases lived on.
        for nanos in [0, 1, 999_999, 1_000_000, 1_000_001] {
            let at = Timestamp::from_nanosecond(5_000_000_000 + nanos).unwrap();
            assert!(rounded(at) >= at);
            assert_eq!(parse(&token_key(at, &TokenId("t".into()))).unwrap().0, rounded(at));
        }
        assert!(rounded(Timestamp::MAX) <= Timestamp::MAX);
    }
}
