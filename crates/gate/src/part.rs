//! Requests that are a part of another one: a batch, a copy, a reference. Each goes through the rooms by itself, with
//! the caller of the whole, and its answer becomes a part of the whole's.

use std::sync::Arc;

use api::Verb;
use bytes::Bytes;
use storage::View;

use crate::MountInfo;

/// A request that is to become a part of another one.
pub struct PartRequest {
    /// What it asks for.
    pub verb: Verb,
    /// The path below `/v1/`, mount included.
    pub path: String,
    /// The query parameters.
    pub query: Vec<(String, String)>,
    /// The body: empty or a JSON object.
    pub body: Bytes,
}

/// A part that was admitted, within the request that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartId(pub usize);

/// What the engine said to a part.
#[derive(Debug, Default)]
pub struct PartAnswer {
    /// A status other than 200 (with data) or 204 (without).
    pub status: Option<u16>,
    /// The data as JSON, or empty.
    pub json: Bytes,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Another mount, or another place of the same one, as an engine of its kind sees it.
#[derive(Debug)]
pub struct Neighbour {
    /// The mount.
    pub mount: Arc<MountInfo>,
    /// The path inside the mount.
    pub path: Arc<str>,
    /// The mount's part of the unit of work. Who uses it has seen to it that the caller may.
    pub view: View,
}

/// How deep requests may be nested: more is most likely a circle.
pub const MAX_DEPTH: u8 = 8;

/// How many parts a request may have in all.
pub const MAX_PARTS: usize = 1024;
