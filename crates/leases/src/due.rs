//! The due index: what ends when, in order of time.

use clock::Timestamp;
use gate::{LeaseId, TokenId};
use storage::Key;

/// Where the index lies.
pub(crate) const PREFIX: &str = "sys/due/";

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

/// Milliseconds since 1970 in a form whose byte order is the order of time.
fn stamp(at: Timestamp) -> String {
    format!("{:015}", at.as_millisecond().max(0))
}

/// A moment as precise as the index holds it.
pub(crate) fn rounded(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond().max(0)).unwrap_or(at)
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
}
