//! What can go wrong with the keyring. What can go wrong with data is told by [`storage::Error`].

/// Why the keyring could not be opened, changed or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is a keyring already.
    #[error("the barrier is already initialized")]
    AlreadyInitialized,
    /// Other nodes changed the keyring again and again; nothing was changed. Try again.
    #[error("the keyring is being changed by other nodes; try again")]
    Contended,
    /// The keyring is authentic but cannot be understood.
    #[error("the keyring cannot be understood: {0}")]
    Damaged(&'static str),
    /// The rotation interval is out of range.
    #[error("interval must be 0 or at least 24 hours, not {0} seconds")]
    Interval(u64),
    /// The number of encryptions per term is out of range.
    #[error("max_operations must be 1,000,000 to 3,865,470,566, not {0}")]
    MaxOperations(u64),
    /// There is no keyring yet.
    #[error("the barrier is not initialized")]
    NotInitialized,
    /// The root key was replaced through another node and this one missed it.
    #[error("the root key was replaced meanwhile; seal this node and unseal it again")]
    RootKeyReplaced,
    /// The store failed, or the barrier is sealed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The root key does not open the keyring.
    #[error("the root key does not open the keyring")]
    WrongKey,
}
