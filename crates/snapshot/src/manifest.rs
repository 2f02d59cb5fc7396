//! What a snapshot says of itself, at its beginning and at its end.

use serde::{Deserialize, Serialize};

/// What stands at the beginning of a snapshot, readable for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The version of the form, see [`FORMAT`].
    pub format: u64,
    /// Names this snapshot.
    pub id: String,
    /// When it was begun, RFC 3339.
    pub created: String,
    /// The version of the program that wrote it.
    pub version: String,
    /// The id of the cluster, if it was known.
    pub cluster_id: String,
    /// The name of the cluster.
    pub cluster_name: String,
    /// The kind of store that it was taken of.
    pub storage_type: String,
    /// The newest commit that it holds, or 0 if that is known at the end only.
    pub revision: u64,
}

/// What stands at the end of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    /// The newest commit that it holds.
    pub(crate) revision: u64,
    /// How many entries were written, corrections included.
    pub(crate) records: u64,
}

/// The version of the form of snapshots that is written.
pub const FORMAT: u64 = 1;

pub(crate) const META: &str = "meta.json";
pub(crate) const STATE: &str = "state/";
pub(crate) const LATE: &str = "late/";
pub(crate) const SUMMARY: &str = "summary.json";
pub(crate) const SUMS: &str = "SHA256SUMS";
/// The name by which clients of the API know that a snapshot is complete.
pub(crate) const SEALED_SUMS: &str = "SHA256SUMS.sealed";
