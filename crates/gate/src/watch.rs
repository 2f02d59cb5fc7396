//! What a stream needs that goes on after its request: to see, each time anew, what its caller may see.

use api::Operation;
use storage::BoxFuture;

use crate::{Error, MountInfo};

/// The eyes of a caller on a mount, for as long as both are there.
pub trait Watch: Send + Sync + 'static {
    /// What the caller may see now. An error means that the stream has to end: the token or the mount is gone, or the
    /// server is sealed.
    fn look(&self) -> BoxFuture<'_, Result<Sight, Error>>;
}

/// What a caller may see at one moment.
pub struct Sight {
    mount: MountInfo,
    allows: Box<Allows>,
}

type Allows = dyn Fn(&str, Operation) -> bool + Send + Sync;

impl Sight {
    /// A sight of a mount, where `allows` says what the caller may do at a full path.
    pub fn new(mount: MountInfo, allows: impl Fn(&str, Operation) -> bool + Send + Sync + 'static) -> Self {
        Self { mount, allows: Box::new(allows) }
    }

    /// The mount, where it is now.
    pub fn mount(&self) -> &MountInfo {
        &self.mount
    }

    /// Whether the caller may do `operation` at a path inside the mount.
    pub fn allows(&self, path: &str, operation: Operation) -> bool {
        (self.allows)(&format!("{}{path}", self.mount.path), operation)
    }
}

impl std::fmt::Debug for Sight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sight").field("mount", &self.mount).finish_non_exhaustive()
    }
}
