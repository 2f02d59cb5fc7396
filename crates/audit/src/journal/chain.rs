//! The layout of one record in a segment, and its hash.
//!
//! `{"seq":N,"prev":"…","hash":"…","entry":{…}}`, with both hashes in lower-case hexadecimal. There is exactly one way
//! to write a record, so a change of any byte of the line shows.

use crypto::hash::Sha256;
use data_encoding::HEXLOWER;

use crate::hashing::write_hex;

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// What the first record's `prev` holds.
pub(super) const GENESIS: Hash = [0; 32];

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link<'l> {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    pub(super) hash: Hash,
    pub(super) entry: &'l [u8],
}

impl<'l> Link<'l> {
    /// The record of `entry` behind the record with the hash `prev`.
    pub(super) fn new(seq: u64, prev: Hash, entry: &'l [u8]) -> Self {
        Self { seq, prev, hash: hash(seq, &prev, entry), entry }
    }

    /// Whether the record's hash is that of its content.
    pub(super) fn holds(&self) -> bool {
        self.hash == hash(self.seq, &self.prev, self.entry)
    }

    /// Appends the line with its line feed.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"seq\":");
        out.extend_from_slice(self.seq.to_string().as_bytes());
        out.extend_from_slice(b",\"prev\":\"");
        push_hex(out, &self.prev);
        out.extend_from_slice(b"\",\"hash\":\"");
        push_hex(out, &self.hash);
        out.extend_from_slice(b"\",\"entry\":");
        out.extend_from_slice(self.entry);
        out.extend_from_slice(b"}\n");
    }

    /// Reads a line without its line feed; `None` unless it is laid out exactly so.
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        let mut rest = line;
        literal(&mut rest, b"{\"seq\":")?;
        let seq = number(&mut rest)?;
        literal(&mut rest, b",\"prev\":\"")?;
        let prev = hex(&mut rest)?;
        literal(&mut rest, b"\",\"hash\":\"")?;
        let hash = hex(&mut rest)?;
        literal(&mut rest, b"\",\"entry\":")?;
        Some(Self { seq, prev, hash, entry: rest.strip_suffix(b"}")? })
    }
}

fn hash(seq: u64, prev: &Hash, entry: &[u8]) -> Hash {
    let mut state = Sha256::new();
    state.update(b"strongroom journal record v1\0");
    state.update(&seq.to_be_bytes());
    state.update(prev);
    state.update(entry);
    state.finish()
}

fn push_hex(out: &mut Vec<u8>, hash: &Hash) {
    let mut digits = [0; 64];
    write_hex(hash, &mut digits);
    out.extend_from_slice(&digits);
}

/// Takes `text` off the front.
pub(super) fn literal(rest: &mut &[u8], text: &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(text)?;
    Some(())
}

/// Takes a decimal number off the front, written in the one way.
pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at_checked(digits)?;
    if digits.len() > 1 && digits.first() == Some(&b'0') {
        return None;
    }
    *rest = after;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Takes `N` bytes in lower-case hexadecimal off the front.
pub(super) fn hex<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (digits, after) = rest.split_at_checked(N * 2)?;
    let bytes = HEXLOWER.decode(digits).ok()?;
    *rest = after;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_being_written() {
        let link = Link::new(7, [9; 32], b"{\"type\":\"request\"}");
        let mut line = Vec::new();
        link.write(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert_eq!(Link::parse(&line), Some(link));
        assert!(link.holds());
    }

    #[test]
    fn every_flipped_bit_of_a_record_shows() {
        let link = Link::new(10, [9; 32], b"{\"type\":\"request\"}");
        let mut line = Vec::new();
        link.write(&mut line);
        line.pop();
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut flipped = line.clone();
                flipped[at] ^= 1 << bit;
                assert!(!Link::parse(&flipped).is_some_and(|link| link.holds()), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn there_is_one_way_to_write_a_record() {
        let hash = "0".repeat(64);
        let good = format!("{{\"seq\":0,\"prev\":\"{hash}\",\"hash\":\"{hash}\",\"entry\":{{}}}}");
        assert!(Link::parse(good.as_bytes()).is_some());
        for bad in [
            good.replace("\"seq\":0", "\"seq\":00"),
            good.replace("\"seq\":0", "\"seq\": 0"),
            good.replace("\"seq\":0", "\"seq\":99999999999999999999"),
            good.replace("\"seq\":0", "\"seq\":"),
            good.replacen("00\"", "0A\"", 1),
            format!("{good} "),
            String::new(),
        ] {
            assert!(Link::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
