//! Snapshots of a store: written while it serves, checked without keys, put back into any other store.
//!
//! A snapshot is a tar archive in gzip form, so that other tools can look at it. It holds the entries of a store as they lie
//! there, which is encrypted by the barrier, at one revision; a manifest; and checksums of every part. [`write`] makes
//! one out of any store, [`check`] reads a whole file and believes nothing in it, [`apply`] puts it into a store in
//! a way that can be begun again after a crash. [`migrate`] copies from store to store under the same sums.
//!
//! What lies where is told in `docs/src/design/snapshot.md`.

mod apply;
mod check;
mod error;
mod manifest;
mod migrate;
mod record;
mod sums;
mod tar;
mod walk;
mod write;

pub use crate::{
    apply::{Progress, apply},
    check::{Checked, check},
    error::Error,
    manifest::{FORMAT, Manifest},
    migrate::{Moved, Step, migrate},
    record::{MARKER, MIGRATION, is_own},
    sums::Content,
    write::{SealSums, write},
};

#[cfg(test)]
mod tests;
