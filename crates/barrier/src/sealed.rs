//! The barrier before the root key is known.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use clock::Clock;
use seal::RootKey;
use storage::{Batch, CommitError, Key, Store};

use crate::{
    DEFAULT_CACHE, Error, KEYRING, Unsealed,
    keyring::{Record, Ring},
    rotation::Root,
    unsealed::Open,
};

/// A store whose content cannot be read.
#[derive(Clone)]
pub struct Sealed {
    store: Arc<dyn Store>,
    clock: Clock,
    cache: usize,
}

impl Sealed {
    /// A barrier over `store`, with a cache of [`DEFAULT_CACHE`] bytes once it is open.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, cache: DEFAULT_CACHE }
    }

    /// The same with a cache of `bytes` bytes; 0 for none.
    #[must_use]
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { cache: bytes, ..self }
    }

    /// The store below, for what must be readable before the barrier is open ([`seal::STORED_AT`]).
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Whether there is a keyring.
    pub async fn is_initialized(&self) -> Result<bool, Error> {
        Ok(self.store.get(&Key::new(KEYRING)).await?.is_some())
    }

    /// Makes a keyring under `root_key`, if there is none.
    pub async fn initialize(&self, root_key: &RootKey) -> Result<(), Error> {
        self.initialize_with(root_key, Vec::new()).await
    }

    /// The same, together with other entries of the store below, in one commit: the record of the seal, without which
    /// the keyring could not be opened again. Of several who try at the same time one succeeds.
    pub async fn initialize_with(&self, root_key: &RootKey, also: Vec<(Key, Bytes)>) -> Result<(), Error> {
        let keyring = Root::new(root_key).seal(&Record::new(self.clock.now()));
        let mut writes = vec![(Key::new(KEYRING), Some(keyring))];
        writes.extend(also.into_iter().map(|(key, value)| (key, Some(value))));
        let batch = Batch { expect: vec![(Key::new(KEYRING), None)], writes };
        match self.store.commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(Error::AlreadyInitialized),
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(error) => Err(storage::Error::Unavailable(error.to_string()).into()),
        }
    }

    /// Opens the barrier. Must be called within a Tokio runtime. A root key that is not the right one gives
    /// [`Error::WrongKey`].
    pub async fn open(&self, root_key: &RootKey) -> Result<Arc<Unsealed>, Error> {
        let entry = self.store.get(&Key::new(KEYRING)).await?.ok_or(Error::NotInitialized)?;
        let root = Root::new(root_key);
        let record = root.open(&entry.value)?;
        let open = Open { ring: Ring::new(&record, None, 0), root: Arc::new(root), revision: entry.revision };
        Ok(Unsealed::start(Arc::clone(&self.store), self.clock.clone(), self.cache, open))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}
