//! The data keys: numbered terms, of which the last seals and all open.
//!
//! [`Record`] is what is stored; [`Ring`] is what a node works with. The stored count of encryptions is a reservation:
//! a node takes a block of [`BLOCK`] before it uses it, in a commit that expects the keyring unchanged. So the stored
//! count is never below the true one, however many nodes seal and whenever they crash.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clock::Timestamp;
use secret::{Secret, Zeroizing};
use serde::{Deserialize, Serialize};

use crate::Error;

/// When a new term is made without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationConfig {
    /// Whether `max_operations` and `interval` count. The limit of the cipher, [`RotationConfig::LIMIT`], always does.
    pub enabled: bool,
    /// After how many encryptions: 1,000,000 to [`RotationConfig::LIMIT`].
    pub max_operations: u64,
    /// After how many seconds: 0 for never, or at least a day.
    pub interval: u64,
}

impl RotationConfig {
    /// Nine tenths of 2^32, after which random nonces come too near to repeating.
    pub const LIMIT: u64 = 3_865_470_566;

    /// Whether the numbers are in range.
    pub fn check(&self) -> Result<(), Error> {
        if !(1_000_000..=Self::LIMIT).contains(&self.max_operations) {
            return Err(Error::MaxOperations(self.max_operations));
        }
        if (1..86_400).contains(&self.interval) {
            return Err(Error::Interval(self.interval));
        }
        Ok(())
    }

    fn limit(&self) -> u64 {
        if self.enabled { self.max_operations } else { Self::LIMIT }
    }
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self { enabled: true, max_operations: Self::LIMIT, interval: 0 }
    }
}

/// The active term, for `sys/key-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its number, from 1 on.
    pub term: u32,
    /// When it was made.
    pub install_time: Timestamp,
    /// How many values were sealed with it: exact on a node that is alone and has not crashed, else an upper bound.
    pub encryptions: u64,
}

/// The keyring as it is stored.
pub(crate) struct Record {
    pub(crate) rotation: RotationConfig,
    /// Ascending and never empty.
    terms: Vec<TermRecord>,
}

struct TermRecord {
    term: u32,
    install_time: Timestamp,
    /// How many encryptions were handed out to nodes.
    reserved: u64,
    key: Secret<[u8; 32]>,
}

impl Record {
    /// A keyring with one new term.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { rotation: RotationConfig::default(), terms: vec![TermRecord::new(1, now)] }
    }

    /// Adds a term, which becomes the active one. Returns its number.
    pub(crate) fn rotate(&mut self, now: Timestamp) -> u32 {
        let term = self.terms.last().map_or(1, |last| last.term.saturating_add(1));
        self.terms.push(TermRecord::new(term, now));
        term
    }

    /// Whether the active term has served its time.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let Some(active) = self.terms.last() else { return false };
        let interval = Duration::from_secs(self.rotation.interval);
        let aged = !interval.is_zero() && clock::between(active.install_time, now) >= interval;
        active.reserved >= self.rotation.limit() || (self.rotation.enabled && aged)
    }

    /// Hands out `wanted` encryptions or a whole block, of a new term if the active one is due. Returns how many.
    pub(crate) fn reserve(&mut self, wanted: u64, now: Timestamp) -> u64 {
        let limit = self.rotation.limit();
        let left = self.terms.last().map_or(0, |active| limit.saturating_sub(active.reserved));
        if left < wanted || self.is_due(now) {
            self.rotate(now);
        }
        let Some(active) = self.terms.last_mut() else { return 0 };
        let block = BLOCK.min(limit.saturating_sub(active.reserved)).max(wanted);
        active.reserved += block;
        block
    }

    /// Counts one more encryption with the active term, which it returns.
    pub(crate) fn count_one(&mut self) -> u32 {
        self.terms.last_mut().map_or(0, |active| {
            active.reserved += 1;
            active.term
        })
    }

    /// The stored form, see `docs/src/design/barrier.md`.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Reserved in full: a buffer that grows leaves copies of the keys behind.
        let mut out = Zeroizing::new(Vec::with_capacity(HEAD + TERM * self.terms.len()));
        out.push(VERSION);
        out.push(self.rotation.enabled.into());
        out.extend_from_slice(&self.rotation.max_operations.to_be_bytes());
        out.extend_from_slice(&self.rotation.interval.to_be_bytes());
        for record in &self.terms {
            out.extend_from_slice(&record.term.to_be_bytes());
            out.extend_from_slice(&record.install_time.as_microsecond().to_be_bytes());
            out.extend_from_slice(&record.reserved.to_be_bytes());
            // EXPOSE: into a buffer that wipes itself and is encrypted as a whole.
            out.extend_from_slice(record.key.expose());
        }
        out
    }

    pub(crate) fn decode(stored: &[u8]) -> Result<Self, Error> {
        let mut rest = stored;
        if take::<1>(&mut rest)? != [VERSION] {
            return Err(Error::Damaged("it was written by a newer version"));
        }
        let [enabled] = take(&mut rest)?;
        let rotation = RotationConfig {
            enabled: enabled != 0,
            max_operations: u64::from_be_bytes(take(&mut rest)?),
            interval: u64::from_be_bytes(take(&mut rest)?),
        };
        let mut terms: Vec<TermRecord> = Vec::with_capacity(rest.len() / TERM);
        while !rest.is_empty() {
            let record = TermRecord::decode(&mut rest)?;
            if terms.last().map_or(0, |last| last.term) >= record.term {
                return Err(Error::Damaged("its terms are out of order"));
            }
            terms.push(record);
        }
        match terms.is_empty() {
            true => Err(Error::Damaged("it has no terms")),
            false => Ok(Self { rotation, terms }),
        }
    }
}

impl TermRecord {
    fn new(term: u32, now: Timestamp) -> Self {
        let key = Secret::init_with(|key: &mut [u8; 32]| crypto::random::fill(key));
        Self { term, install_time: now, reserved: 0, key }
    }

    fn decode(rest: &mut &[u8]) -> Result<Self, Error> {
        let term = u32::from_be_bytes(take(rest)?);
        let micros = i64::from_be_bytes(take(rest)?);
        let install_time =
            Timestamp::from_microsecond(micros).map_err(|_| Error::Damaged("a term has an impossible time"))?;
        let reserved = u64::from_be_bytes(take(rest)?);
        let (bytes, left) = rest.split_first_chunk::<32>().ok_or(CUT)?;
        *rest = left;
        Ok(Self {
            term,
            install_time,
            reserved,
            key: Secret::init_with(|key: &mut [u8; 32]| key.copy_from_slice(bytes)),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (taken, left) = rest.split_first_chunk().ok_or(CUT)?;
    *rest = left;
    Ok(*taken)
}

/// The keyring as a node works with it.
pub(crate) struct Ring {
    pub(crate) rotation: RotationConfig,
    /// Ascending and never empty; the last is the active one.
    terms: Vec<Arc<Term>>,
}

/// A data key and the encryptions this node may still do with it.
pub(crate) struct Term {
    pub(crate) number: u32,
    pub(crate) key: crypto::aead::Key,
    install_time: Timestamp,
    reserved: AtomicU64,
    left: AtomicU64,
}

impl Ring {
    /// The keys of `record`. Terms that are known from before keep what this node has left of them; `block` more
    /// encryptions are granted for the active one.
    pub(crate) fn new(record: &Record, before: Option<&Ring>, block: u64) -> Self {
        let terms: Vec<Arc<Term>> = record
            .terms
            .iter()
            .map(|record| match before.and_then(|ring| ring.term(record.term)) {
                Some(known) => {
                    known.reserved.store(record.reserved, Ordering::Relaxed);
                    Arc::clone(known)
                }
                None => Arc::new(Term::new(record)),
            })
            .collect();
        if let Some(active) = terms.last() {
            active.left.fetch_add(block, Ordering::AcqRel);
        }
        Self { rotation: record.rotation, terms }
    }

    /// The key of term `number`.
    pub(crate) fn term(&self, number: u32) -> Option<&Arc<Term>> {
        let at = self.terms.binary_search_by_key(&number, |term| term.number).ok()?;
        self.terms.get(at)
    }

    /// The key that seals, if `n` more encryptions with it were reserved; they are used up by this.
    pub(crate) fn take(&self, n: u64) -> Option<&Arc<Term>> {
        let active = self.terms.last()?;
        let taken = active.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(n));
        taken.is_ok().then_some(active)
    }

    pub(crate) fn status(&self) -> Option<KeyStatus> {
        let active = self.terms.last()?;
        let reserved = active.reserved.load(Ordering::Relaxed);
        let encryptions = reserved.saturating_sub(active.left.load(Ordering::Acquire));
        Some(KeyStatus { term: active.number, install_time: active.install_time, encryptions })
    }
}

impl Term {
    fn new(record: &TermRecord) -> Self {
        Self {
            number: record.term,
            // EXPOSE: expanded into a cipher, which wipes itself.
            key: crypto::aead::Key::new(record.key.expose()),
            install_time: record.install_time,
            reserved: AtomicU64::new(record.reserved),
            left: AtomicU64::new(0),
        }
    }
}

/// How many encryptions a node reserves at a time, and so the most that a crash can waste.
pub(crate) const BLOCK: u64 = 131_072;

const VERSION: u8 = 1;
const HEAD: usize = 1 + 1 + 8 + 8;
const TERM: usize = 4 + 8 + 8 + 32;
const CUT: Error = Error::Damaged("it is cut off");

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_stored_form_comes_back() {
        let mut record = Record::new(later(1));
        record.reserve(5, NOW);
        record.rotate(later(2));
        record.rotation = RotationConfig { enabled: false, max_operations: 1_000_000, interval: 86_400 };
        let stored = record.encode();
        assert_eq!(stored.len(), HEAD + 2 * TERM);
        let again = Record::decode(&stored).unwrap();
        assert_eq!(again.encode(), stored);
        assert_eq!(again.rotation, record.rotation);
        assert_eq!((again.terms[0].reserved, again.terms[1].install_time), (BLOCK, later(2)));
    }

    #[test]
    fn what_cannot_be_a_keyring_is_refused() {
        let stored = Record::new(NOW).encode();
        for cut in 0..stored.len() {
            assert!(Record::decode(&stored[..cut]).is_err(), "{cut}");
        }
        let mut newer = stored.to_vec();
        newer[0] = 2;
        assert!(matches!(Record::decode(&newer), Err(Error::Damaged(_))));
        let twice = [&stored[..], &stored[HEAD..]].concat();
        assert!(matches!(Record::decode(&twice), Err(Error::Damaged("its terms are out of order"))));
    }

    #[test]
    fn a_term_is_due_by_count_and_by_age() {
        let mut record = Record::new(NOW);
        record.rotation = RotationConfig { enabled: true, max_operations: 1_000_000, interval: 86_400 };
        assert!(!record.is_due(later(86_399)));
        assert!(record.is_due(later(86_400)));
        record.rotation.enabled = false;
        assert!(!record.is_due(later(i64::from(u32::MAX))));
        record.terms[0].reserved = RotationConfig::LIMIT;
        assert!(record.is_due(NOW), "the limit of the cipher counts always");
    }

    #[test]
    fn blocks_end_at_the_limit_and_go_on_in_a_new_term() {
        let mut record = Record::new(NOW);
        record.rotation.max_operations = 1_000_000;
        let mut handed_out = 0;
        while record.terms.len() == 1 {
            let block = record.reserve(1, NOW);
            if record.terms.len() == 1 {
                handed_out += block;
                assert!(record.terms[0].reserved <= 1_000_000);
            }
        }
        assert_eq!(handed_out, 1_000_000);
        assert_eq!(record.terms[1].reserved, BLOCK);
        // A batch that is larger than a block gets what it needs, in one term.
        assert_eq!(record.reserve(BLOCK + 7, NOW), BLOCK + 7);
        let before = record.terms.len();
        record.terms[1].reserved = 1_000_000 - 3;
        record.reserve(4, NOW);
        assert_eq!(record.terms.len(), before + 1);
    }

    #[test]
    fn encryptions_are_counted_and_kept_across_changes_of_the_ring() {
        let mut record = Record::new(NOW);
        let block = record.reserve(1, NOW);
        let ring = Ring::new(&record, None, block);
        assert_eq!(ring.status().unwrap().encryptions, 0);
        assert!(ring.take(10).is_some());
        assert_eq!(ring.status().unwrap().encryptions, 10);
        assert!(ring.take(block).is_none(), "no more than was reserved");
        record.rotate(later(1));
        let rotated = Ring::new(&record, Some(&ring), 0);
        assert!(rotated.take(1).is_none() && rotated.term(1).is_some() && rotated.term(3).is_none());
        assert_eq!(rotated.status().unwrap(), KeyStatus { term: 2, install_time: later(1), encryptions: 0 });
    }

    #[test]
    fn rotation_settings_are_checked() {
        let check = |max_operations, interval| RotationConfig { enabled: true, max_operations, interval }.check();
        for max in [0, 999_999, RotationConfig::LIMIT + 1, u64::MAX] {
            assert!(matches!(check(max, 0), Err(Error::MaxOperations(given)) if given == max));
        }
        for interval in [1, 86_399] {
            assert!(matches!(check(1_000_000, interval), Err(Error::Interval(given)) if given == interval));
        }
        assert!(check(1_000_000, 86_400).is_ok() && check(RotationConfig::LIMIT, 0).is_ok());
    }
}
