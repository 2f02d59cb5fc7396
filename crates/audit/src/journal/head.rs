//! A signed statement of how far the journal goes.

use std::fmt;

use clock::Timestamp;
use crypto::{
    ed25519::{self, KeyPair},
    hash,
};
use data_encoding::HEXLOWER;

use super::chain::{GENESIS, Hash, hex, literal, number};

/// The journal's state at one moment, signed. Heads form a chain of their own.
///
/// As a line: `{"head":N,"seq":…,"hash":"…","end":…,"time":"…","closed":…,"prev":"…","signature":"…"}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// Counts the heads from 1.
    pub number: u64,
    /// The last record's number; 0 if there is none.
    pub seq: u64,
    /// The last record's hash.
    pub hash: [u8; 32],
    /// The length of the last record's segment file, in bytes.
    pub end: u64,
    /// When it was signed.
    pub time: Timestamp,
    /// Whether the journal was closed cleanly with it.
    pub closed: bool,
    /// The hash of the head before it, as a line; zeros for the first.
    pub previous: [u8; 32],
    /// The signature of all of the above.
    pub signature: [u8; 64],
}

/// What a new head says.
pub(super) struct Said {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) end: u64,
    pub(super) time: Timestamp,
    pub(super) closed: bool,
}

impl Head {
    /// Signs what is said, behind `previous`.
    pub(super) fn sign(previous: Option<&Self>, said: Said, keys: &KeyPair) -> Self {
        let Said { seq, hash, end, time, closed } = said;
        let mut head = Self {
            number: previous.map_or(0, |head| head.number) + 1,
            seq,
            hash,
            end,
            time,
            closed,
            previous: previous.map_or(GENESIS, Self::fingerprint),
            signature: [0; 64],
        };
        head.signature = keys.sign(&message(&head.body()));
        head
    }

    /// Whether the holder of the key signed this head.
    pub fn signed_by(&self, public_key: &[u8]) -> bool {
        ed25519::verify(public_key, &message(&self.body()), &self.signature)
    }

    /// The head as one line without line feed.
    pub fn line(&self) -> String {
        format!("{},\"signature\":\"{}\"}}", self.body(), HEXLOWER.encode(&self.signature))
    }

    /// Reads a line that [`Head::line`] wrote; `None` unless it is laid out exactly so. The signature is not checked.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut rest = line;
        literal(&mut rest, b"{\"head\":")?;
        let number_ = number(&mut rest)?;
        literal(&mut rest, b",\"seq\":")?;
        let seq = number(&mut rest)?;
        literal(&mut rest, b",\"hash\":\"")?;
        let hash = hex(&mut rest)?;
        literal(&mut rest, b"\",\"end\":")?;
        let end = number(&mut rest)?;
        literal(&mut rest, b",\"time\":\"")?;
        let (time, after) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'"')?)?;
        let time = std::str::from_utf8(time).ok()?.parse().ok()?;
        rest = after;
        literal(&mut rest, b"\",\"closed\":")?;
        let closed = rest.starts_with(b"true");
        literal(&mut rest, if closed { b"true" } else { b"false" })?;
        literal(&mut rest, b",\"prev\":\"")?;
        let previous = hex(&mut rest)?;
        literal(&mut rest, b"\",\"signature\":\"")?;
        let signature = hex(&mut rest)?;
        let head = Self { number: number_, seq, hash, end, time, closed, previous, signature };
        // A moment can be written in more than one way; a head cannot.
        (head.line().as_bytes() == line).then_some(head)
    }

    /// What the next head holds of this one.
    pub(super) fn fingerprint(&self) -> Hash {
        hash::sha256(self.line().as_bytes())
    }

    fn body(&self) -> String {
        format!(
            "{{\"head\":{},\"seq\":{},\"hash\":\"{}\",\"end\":{},\"time\":\"{}\",\"closed\":{},\"prev\":\"{}\"",
            self.number,
            self.seq,
            HEXLOWER.encode(&self.hash),
            self.end,
            self.time,
            self.closed,
            HEXLOWER.encode(&self.previous),
        )
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({}: record {})", self.number, self.seq)
    }
}

fn message(body: &str) -> Vec<u8> {
    [b"strongroom journal head v1\0", body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_head_shows() {
        let keys = KeyPair::generate();
        let said = |seq| Said { seq, hash: [3; 32], end: 99, time: Timestamp::UNIX_EPOCH, closed: false };
        let first = Head::sign(None, said(1), &keys);
        let second = Head::sign(Some(&first), said(2), &keys);
        assert_eq!((first.number, second.number, second.previous), (1, 2, first.fingerprint()));
        let line = second.line().into_bytes();
        assert!(Head::parse(&line).is_some_and(|head| head == second && head.signed_by(&keys.public_key())));
        assert!(!second.signed_by(&KeyPair::generate().public_key()));
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut flipped = line.clone();
                flipped[at] ^= 1 << bit;
                let sound = Head::parse(&flipped).is_some_and(|head| head.signed_by(&keys.public_key()));
                assert!(!sound, "byte {at} bit {bit}");
            }
        }
    }
}
