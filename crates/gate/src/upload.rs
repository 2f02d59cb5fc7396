//! A body that is too large for memory: it is read by the handler, after the request was admitted.

use std::{fmt, pin::Pin, sync::Arc, sync::Mutex, sync::PoisonError};

use bytes::Bytes;
use futures::Stream;

use crate::Error;

/// The pieces of a body, in order. The last one may be an error: then the body ended too soon.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// The body of a request to a route that takes it in pieces; empty for all other requests.
#[derive(Clone, Default)]
pub struct Upload(Option<Arc<Mutex<Option<Pieces>>>>);

impl Upload {
    /// A body that was not read yet.
    pub fn new(pieces: Pieces) -> Self {
        Self(Some(Arc::new(Mutex::new(Some(pieces)))))
    }

    /// Whether the route at this path below `/v1/` takes its body in pieces.
    pub fn is_wanted_at(path: &str) -> bool {
        matches!(path, "sys/storage/raft/snapshot" | "sys/storage/raft/snapshot-force")
    }

    /// The pieces, to be read once; `None` the second time, and where there is no such body.
    pub fn take(&self) -> Option<Pieces> {
        self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Upload(..)" } else { "Upload(none)" })
    }
}
