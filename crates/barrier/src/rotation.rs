//! Changes of the keyring: new terms, new settings, a new root key, more encryptions.
//!
//! Every change is made to what is stored, in a commit that expects it unchanged, so that two nodes cannot make two
//! keyrings of one. The node then works with what it stored.

use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use seal::RootKey;
use storage::{Batch, CommitError, Key, Revision};

use crate::{
    Error, KEYRING, KeyStatus, ROOT_KEY, RotationConfig, Unsealed, envelope,
    keyring::{Record, Ring, Term},
    unsealed::Open,
};

/// The root key, as a cipher for the keyring.
pub(crate) struct Root(crypto::aead::Key);

impl Root {
    pub(crate) fn new(key: &RootKey) -> Self {
        // EXPOSE: expanded into a cipher, which wipes itself.
        Self(crypto::aead::Key::new(key.expose()))
    }

    pub(crate) fn seal(&self, record: &Record) -> Bytes {
        envelope::seal(&self.0, envelope::ROOT_TERM, KEYRING, &record.encode()).into()
    }

    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Record, Error> {
        let (term, rest) = envelope::split(sealed).ok_or(Error::Damaged("it is not a sealed value"))?;
        if term != envelope::ROOT_TERM {
            return Err(Error::Damaged("it is not under a root key"));
        }
        Record::decode(&envelope::open(&self.0, KEYRING, rest).ok_or(Error::WrongKey)?)
    }
}

/// Seals a text, see [`Unsealed::seals_outside`].
pub type SealsOutside = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

impl Unsealed {
    /// Makes a new term, which seals from now on; what older terms sealed stays readable. Returns its number.
    pub async fn rotate(&self) -> Result<u32, Error> {
        self.change(|record, now| (record.rotate(now), 0)).await
    }

    /// Makes a new term if the settings say that it is time. To be called now and then.
    pub async fn rotate_if_due(&self) -> Result<Option<u32>, Error> {
        let now = self.clock.now();
        if !self.load(&*self.opened()?).await?.record.is_due(now) {
            return Ok(None);
        }
        self.change(|record, now| (record.is_due(now).then(|| record.rotate(now)), 0)).await
    }

    /// The active term.
    pub fn key_status(&self) -> Result<KeyStatus, Error> {
        self.opened()?.ring.status().ok_or(Error::Damaged("it has no terms"))
    }

    /// When terms are made without being asked for.
    pub fn rotate_config(&self) -> Result<RotationConfig, Error> {
        Ok(self.opened()?.ring.rotation)
    }

    /// Changes when terms are made without being asked for.
    pub async fn set_rotate_config(&self, config: RotationConfig) -> Result<(), Error> {
        config.check()?;
        self.change(|record, _| (record.rotation = config, 0)).await
    }

    /// Puts the keyring under a new root key, together with other entries of the store below, in one commit: the
    /// record of the seal, without which the new root key would be lost.
    pub async fn change_root_key(&self, new: &RootKey, also: Vec<(Key, Bytes)>) -> Result<(), Error> {
        let _one = self.changing.lock().await;
        let root = Arc::new(Root::new(new));
        for _ in 0..TRIES {
            let open = self.opened()?;
            let mut loaded = self.load(&open).await?;
            // Under a term that running nodes know, so that they can follow.
            let term = loaded.record.count_one();
            let Some(active) = open.ring.term(term) else {
                self.take_over(&open, loaded);
                continue;
            };
            // EXPOSE: encrypted on the spot.
            let copy = envelope::seal(&active.key, active.number, ROOT_KEY, new.expose());
            let mut writes =
                vec![(Key::new(KEYRING), Some(root.seal(&loaded.record))), (Key::new(ROOT_KEY), Some(copy.into()))];
            writes.extend(also.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
            if let Some(revision) = self.store_keyring(loaded.revision, writes).await? {
                let ring = Ring::new(&loaded.record, Some(&open.ring), 0);
                self.install(Open { ring, root, revision });
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Seals one text that is kept outside of the store, for the purpose `label`, which is no key of the store.
    pub async fn seals_outside(&self, label: &'static str) -> Result<SealsOutside, Error> {
        let term = self.reserve(1).await?;
        Ok(Box::new(move |plain: &[u8]| envelope::seal(&term.key, term.number, label, plain)))
    }

    /// The text that [`Unsealed::seals_outside`] sealed; `None` if it was not sealed with the keys of this server, or sealed
    /// now.
    pub fn opens_outside(&self, label: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let open = self.opened().ok()?;
        let (term, rest) = envelope::split(sealed)?;
        let term = open.ring.term(term)?;
        envelope::open(&term.key, label, rest).map(|text| text.to_vec())
    }

    /// A term with which `n` more values may be sealed.
    pub(crate) async fn reserve(&self, n: u64) -> Result<Arc<Term>, Error> {
        for _ in 0..TRIES {
            if let Some(term) = self.opened()?.ring.take(n) {
                return Ok(Arc::clone(term));
            }
            let _one = self.changing.lock().await;
            // Perhaps somebody reserved while this one waited.
            if let Some(term) = self.opened()?.ring.take(n) {
                return Ok(Arc::clone(term));
            }
            self.change_alone(|record, now| ((), record.reserve(n, now))).await?;
        }
        Err(Error::Contended)
    }

    /// Takes over what is stored.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        let _one = self.changing.lock().await;
        let open = self.opened()?;
        let loaded = self.load(&open).await?;
        if loaded.revision > open.revision {
            self.take_over(&open, loaded);
        }
        Ok(())
    }

    fn take_over(&self, open: &Open, loaded: Loaded) {
        let ring = Ring::new(&loaded.record, Some(&open.ring), 0);
        self.install(Open { ring, root: loaded.root, revision: loaded.revision });
    }

    async fn change<T>(&self, change: impl Fn(&mut Record, Timestamp) -> (T, u64)) -> Result<T, Error> {
        let _one = self.changing.lock().await;
        self.change_alone(change).await
    }

    /// Applies `change`, which also tells how many encryptions it reserved, to what is stored. The caller holds
    /// `changing`.
    async fn change_alone<T>(&self, change: impl Fn(&mut Record, Timestamp) -> (T, u64)) -> Result<T, Error> {
        for _ in 0..TRIES {
            let open = self.opened()?;
            let Loaded { mut record, root, revision } = self.load(&open).await?;
            let (outcome, block) = change(&mut record, self.clock.now());
            let writes = vec![(Key::new(KEYRING), Some(root.seal(&record)))];
            if let Some(revision) = self.store_keyring(revision, writes).await? {
                self.install(Open { ring: Ring::new(&record, Some(&open.ring), block), root, revision });
                return Ok(outcome);
            }
        }
        Err(Error::Contended)
    }

    /// `None` if another node was first.
    async fn store_keyring(
        &self,
        expected: Revision,
        writes: Vec<(Key, Option<Bytes>)>,
    ) -> Result<Option<Revision>, Error> {
        let batch = Batch { expect: vec![(Key::new(KEYRING), Some(expected))], writes };
        match self.store.commit(batch).await {
            Ok(revision) => Ok(Some(revision)),
            Err(CommitError::Conflict(_)) => Ok(None),
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(error) => Err(storage::Error::Unavailable(error.to_string()).into()),
        }
    }

    /// What is stored. If the root key was replaced through another node, its copy under a data key is found.
    async fn load(&self, open: &Open) -> Result<Loaded, Error> {
        let missing = Error::Damaged("it is gone");
        let entry = self.store.get(&Key::new(KEYRING)).await?.ok_or(missing)?;
        let root = Arc::clone(&open.root);
        match root.open(&entry.value) {
            Ok(record) => Ok(Loaded { record, root, revision: entry.revision }),
            Err(Error::WrongKey) => {
                let root = Arc::new(self.replaced_root(open).await?);
                let record = root.open(&entry.value).map_err(|_| Error::RootKeyReplaced)?;
                Ok(Loaded { record, root, revision: entry.revision })
            }
            Err(error) => Err(error),
        }
    }

    async fn replaced_root(&self, open: &Open) -> Result<Root, Error> {
        let copy = self.store.get(&Key::new(ROOT_KEY)).await?.ok_or(Error::RootKeyReplaced)?;
        let (term, rest) = envelope::split(&copy.value).ok_or(Error::RootKeyReplaced)?;
        let term = open.ring.term(term).ok_or(Error::RootKeyReplaced)?;
        let key = envelope::open(&term.key, ROOT_KEY, rest).ok_or(Error::RootKeyReplaced)?;
        let key = key.as_slice().try_into().map_err(|_| Error::RootKeyReplaced)?;
        Ok(Root::new(&RootKey::from_bytes(key)))
    }

    /// Works with `open` from now on, unless the barrier was closed meanwhile.
    fn install(&self, open: Open) {
        let open = Arc::new(open);
        self.open.rcu(|before| before.as_ref().map(|_| Arc::clone(&open)));
    }
}

struct Loaded {
    record: Record,
    root: Arc<Root>,
    revision: Revision,
}

/// How often a change is tried again when other nodes were first.
const TRIES: usize = 16;
