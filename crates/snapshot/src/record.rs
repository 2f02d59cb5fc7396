//! Entries as they lie in a snapshot.

use bytes::Bytes;
use storage::{Key, MAX_KEY, MAX_VALUE};

use crate::{Error, error::damaged};

/// The store's key of what is being restored. It is no part of snapshots.
pub const MARKER: &str = "core/restore";
/// The store's key, in the store that is copied into, of how far the copy is. It is no part of snapshots.
pub const MIGRATION: &str = "core/migration";

/// Whether an entry belongs to a restore or a copy that is under way, and not to the content of a store.
pub fn is_own(key: &str) -> bool {
    matches!(key, MARKER | MIGRATION)
}

/// An entry; without a value it is known to be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) value: Option<Bytes>,
}

impl Record {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let key = self.key.as_str().as_bytes();
        // Stores take no keys and values whose length would not fit.
        out.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
        let length = self.value.as_ref().map_or(ABSENT, |value| u32::try_from(value.len()).unwrap_or(ABSENT));
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(self.value.as_deref().unwrap_or_default());
    }

    /// The records that `bytes` hold, without remainder.
    pub(crate) fn decode_all(bytes: &Bytes) -> Result<Vec<Self>, Error> {
        let mut records = Vec::new();
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            if rest.len() < HEAD {
                return Err(damaged("an entry is cut off"));
            }
            let mut head = rest.split_to(HEAD);
            let (key, value) = (take_length(&mut head), take_length(&mut head));
            let present = value != ABSENT as usize;
            let value = if present { value } else { 0 };
            if key > MAX_KEY || value > MAX_VALUE || rest.len() < key + value {
                return Err(damaged("an entry has an impossible size"));
            }
            let key = rest.split_to(key);
            let key = std::str::from_utf8(&key).map_err(|_| damaged("the name of an entry is no text"))?;
            let record = Self { key: Key::new(key), value: present.then(|| rest.split_to(value)) };
            records.push(record);
        }
        Ok(records)
    }
}

fn take_length(head: &mut Bytes) -> usize {
    let bytes: [u8; 4] = head.split_to(4).as_ref().try_into().unwrap_or_default();
    u32::from_be_bytes(bytes) as usize
}

const HEAD: usize = 8;
/// The length that stands for a value that is not there.
const ABSENT: u32 = u32::MAX;
