//! Which audit devices are enabled: stored, and opened at each unseal.

use std::{collections::BTreeMap, os::unix::fs::DirBuilderExt as _, sync::Arc};

use audit::{
    Device, Format, Hasher,
    journal::{Head, OnHead},
};
use clock::Clock;
use crypto::ed25519::KeyPair;
use gate::Error;
use secret::Zeroizing;
use serde::{Deserialize, Serialize};
use storage::{Key, Scan, Store, Tx};

use crate::{Settings, running::Running};

/// An enabled device, as stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The path without slashes around.
    pub(crate) path: String,
    /// The type.
    pub(crate) kind: String,
    /// What it is for.
    pub(crate) description: String,
    /// Its options.
    pub(crate) options: BTreeMap<String, String>,
    /// Kept and shown.
    pub(crate) local: bool,
    /// The key of its hashes; wiped by the barrier's copies, encrypted on disk.
    salt: [u8; 32],
    /// For a journal: the seed of its signing key.
    seed: Option<[u8; 32]>,
}

/// The kinds of devices.
pub(crate) const KINDS: &[&str] = &[audit::file::KIND, audit::journal::KIND];

const PREFIX: &str = "sys/audit/";

fn key(path: &str) -> Key {
    Key::from(format!("{PREFIX}{path}"))
}

fn head_key(path: &str) -> Key {
    Key::from(format!("sys/audit-head/{path}"))
}

/// The enabled devices in order of their paths.
pub(crate) async fn list(store: &Arc<dyn Store>) -> Result<Vec<Entry>, Error> {
    let page = store.scan(&Scan { prefix: PREFIX.to_owned(), after: None, limit: 1000, values: true }).await?;
    let read = |entry: &storage::Entry| {
        serde_json::from_slice(&entry.value).map_err(|_| Error::internal("a stored audit device cannot be read"))
    };
    page.entries.iter().map(|(_, entry)| read(entry)).collect()
}

/// A device that was opened.
struct Opened {
    device: Arc<dyn Device>,
    format: Format,
    reader: Option<Arc<audit::journal::Reader>>,
}

/// What a journal needs beyond its options.
struct Heads {
    /// The newest head that the barrier knows of.
    anchor: Option<Head>,
    /// Keeps a newer one there.
    on_head: OnHead,
}

fn open(entry: &Entry, settings: &Settings, clock: &Clock, heads: Heads) -> Result<Opened, audit::Error> {
    let hasher = Hasher::new(&entry.salt);
    if entry.kind == audit::journal::KIND {
        let mut options = entry.options.clone();
        if let Some(directory) = settings.journal_directory.as_ref().filter(|_| !options.contains_key("path")) {
            // If it cannot be made, opening the journal below it fails and says so.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            // The journal makes its own directory; the one that holds all journals is made here.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|source| {
                audit::Error::Io {
                    act: format!("make the directory {}", directory.display()),
                    source: Arc::new(source),
                }
            })?;
            options.insert("path".to_owned(), directory.join(entry.path.replace('/', "-")).display().to_string());
        }
        let (mut parsed, common) = audit::journal::Settings::parse(&options)?;
        parsed.anchor = heads.anchor;
        parsed.on_head = Some(heads.on_head);
        let format = Format::new(hasher, common);
        let keys = entry.seed.as_ref().map_or_else(KeyPair::generate, KeyPair::from_seed);
        let journal = audit::journal::Journal::open(parsed, keys, &format, clock.clone())?;
        let reader = Some(Arc::clone(journal.reader()));
        return Ok(Opened { device: Arc::new(journal), format, reader });
    }
    let (parsed, common) = audit::file::Settings::parse(&entry.options, settings.allow_audit_log_prefixing)?;
    let device = Arc::new(audit::file::File::new(parsed)?);
    Ok(Opened { device, format: Format::new(hasher, common), reader: None })
}

impl Running {
    /// Opens the stored devices. One that fails is reported and left out as long as another works; if none does, the
    /// server stays sealed.
    pub(crate) async fn open_devices(&self) -> Result<(), Error> {
        let entries = list(&self.store()).await?;
        for entry in &entries {
            if let Err(error) = self.add_device(entry).await {
                tracing::error!(device = entry.path, %error, "an audit device could not be opened");
            }
        }
        if !entries.is_empty() && self.audit.is_empty() {
            return Err(Error::Unavailable(
                "none of the enabled audit devices could be opened; see the server's log".to_owned(),
            ));
        }
        Ok(())
    }

    /// Enables a device: it is tested first and stored after.
    pub(crate) async fn enable_device(
        &self,
        path: &str,
        kind: &str,
        description: String,
        options: BTreeMap<String, String>,
        local: bool,
    ) -> Result<(), Error> {
        if !KINDS.contains(&kind) {
            return Err(Error::invalid(format!(
                "unknown audit device type \"{kind}\"; the types are {}",
                KINDS.join(", ")
            )));
        }
        let seed = (kind == audit::journal::KIND).then(crypto::random::bytes::<32>);
        let salt = crypto::random::bytes::<32>();
        let entry = Entry { path: path.to_owned(), kind: kind.to_owned(), description, options, local, salt, seed };
        self.add_device(&entry).await.map_err(|error| Error::invalid(error.to_string()))?;
        let tx = Tx::new(self.store());
        let stored = match tx.put_json(key(path), &entry) {
            Ok(()) => tx.commit().await.map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = stored {
            self.audit.disable(path).await;
            return Err(error);
        }
        Ok(())
    }

    /// Disables a device; `false` if there is none at the path.
    pub(crate) async fn disable_device(&self, path: &str) -> Result<bool, Error> {
        let tx = Tx::new(self.store());
        if tx.get(&key(path)).await?.is_none() {
            return Ok(false);
        }
        tx.delete(key(path));
        tx.delete(head_key(path));
        tx.commit().await?;
        self.journals.lock().remove(path);
        self.audit.disable(path).await;
        Ok(true)
    }

    /// The newest head of a journal that the barrier knows of: a journal cut off before it is found out.
    pub(crate) async fn head(&self, path: &str) -> Option<Head> {
        let entry = self.barrier.get(&head_key(path)).await.ok().flatten()?;
        Head::parse(&entry.value)
    }

    fn keep_heads(&self, path: &str) -> OnHead {
        let (store, key) = (self.store(), head_key(path));
        let runtime = tokio::runtime::Handle::current();
        Arc::new(move |head| {
            let (tx, key, line) = (Tx::new(Arc::clone(&store)), key.clone(), head.line());
            runtime.spawn(async move {
                tx.put(key, line.into());
                if let Err(error) = tx.commit().await {
                    // The head before it stays: at the end of a run the barrier may already be closed.
                    tracing::debug!(%error, "a head of the audit journal was not kept");
                }
            });
        })
    }

    async fn add_device(&self, entry: &Entry) -> Result<(), audit::Error> {
        let (settings, clock, wanted) = (self.settings.clone(), self.clock.clone(), entry.clone());
        let heads = Heads { anchor: self.head(&entry.path).await, on_head: self.keep_heads(&entry.path) };
        // A journal looks at its files when it is opened.
        let opened = tokio::task::spawn_blocking(move || open(&wanted, &settings, &clock, heads)).await;
        let opened = opened.map_err(|_| audit::Error::Closed)??;
        self.audit.enable(&entry.path, opened.device, opened.format).await?;
        if let Some(reader) = opened.reader {
            let key = entry.seed.map(|seed| KeyPair::from_seed(&Zeroizing::new(seed)).public_key());
            self.journals.lock().insert(entry.path.clone(), (reader, key.unwrap_or_default()));
        }
        Ok(())
    }
}
