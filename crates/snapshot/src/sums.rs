//! Checksums of parts and of contents.

use bytes::Bytes;
use crypto::hash::{Sha256, sha256};
use data_encoding::HEXLOWER;
use storage::Key;

use crate::{Error, error::damaged};

/// How much a store holds, and the sum of it: equal contents have equal sums, whatever kind of store holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Content {
    /// How many entries there are.
    pub entries: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// SHA-256 over the hashes of all entries in the order of their keys, in hexadecimal digits.
    pub digest: String,
}

/// Sums up a content; the entries come in the order of their keys.
#[derive(Default)]
pub(crate) struct Summing {
    entries: u64,
    bytes: u64,
    hash: Sha256,
}

impl Summing {
    pub(crate) fn add(&mut self, entry: &Hashed) {
        self.entries += 1;
        self.bytes += entry.bytes;
        self.hash.update(&entry.hash);
    }

    pub(crate) fn finish(self) -> Content {
        Content { entries: self.entries, bytes: self.bytes, digest: HEXLOWER.encode(&self.hash.finish()) }
    }
}

/// The hash and the size of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed {
    pub(crate) hash: [u8; 32],
    pub(crate) bytes: u64,
}

impl Hashed {
    pub(crate) fn of(key: &Key, value: &Bytes) -> Self {
        let key = key.as_str().as_bytes();
        let mut hash = Sha256::new();
        // With the length of the key, no other entry has the same bytes.
        hash.update(&(key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update(value);
        Self { hash: hash.finish(), bytes: (key.len() + value.len()) as u64 }
    }
}

/// The sums of the parts of a snapshot, as `sha256sum -c` reads them.
#[derive(Default)]
pub(crate) struct Sums(String);

impl Sums {
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0 += &format!("{}  {name}\n", HEXLOWER.encode(&sha256(bytes)));
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether what was read has exactly the parts and sums that `stated` says.
    pub(crate) fn agree(&self, stated: &[u8]) -> Result<(), Error> {
        if self.0.as_bytes() == stated {
            return Ok(());
        }
        let stated = String::from_utf8_lossy(stated);
        let odd = self.0.lines().zip(stated.lines()).find(|(found, stated)| found != stated);
        let name = odd.and_then(|(found, _)| found.split_once("  ")).map_or("the list of parts", |(_, name)| name);
        Err(damaged(format!("the checksum of {name} is wrong")))
    }
}
