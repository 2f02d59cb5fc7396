//! Which audit devices are enabled: stored, and opened at each unseal.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::DirBuilderExt as _,
    sync::Arc,
};

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

/// Where they lie.
pub(crate) const PREFIX: &str = "sys/audit/";
/// How long the last heads of the journals are waited for.
const LAST_HEADS: std::time::Duration = std::time::Duration::from_secs(2);

fn key(path: &str) -> Key {
    Key::from(format!("{PREFIX}{path}"))
}

/// Each node has a journal of its own.
fn head_key(path: &str, settings: &Settings) -> Key {
    match &settings.sharing {
        None => Key::from(format!("sys/audit-head/{path}")),
        Some(sharing) => Key::from(format!("sys/audit-head-of/{}/{path}", sharing.node)),
    }
}

/// The enabled devices in order of their paths.
pub(crate) async fn list(store: &Arc<dyn Store>) -> Result<Vec<Entry>, Error> {
    let page = store.scan(&Scan { prefix: PREFIX.to_owned(), after: None, limit: 1000, values: true }).await?;
    let read = |entry: &storage::Entry| {
        serde_json::from_slice(&entry.value).map_err(|_| Error::internal("a stored audit device cannot be read"))
    };
    page.entries.iter().map(|(_, entry)| read(entry)).collect()
}

/// Keeps the head of a journal, unless it is the last word of one that is disabled.
async fn keep_head(store: &Arc<dyn Store>, path: &str, head: &Key, line: String) -> Result<(), Error> {
    let tx = Tx::new(Arc::clone(store));
    if tx.get(&key(path)).await?.is_some() {
        tx.put(head.clone(), line.into());
        tx.commit().await?;
    }
    Ok(())
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
                tracing::error!(device = entry.path, error = error.chain(), "an audit device could not be opened");
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
        let _one = self.devices.lock().await;
        self.add_device(&entry).await.map_err(|error| Error::invalid(error.chain()))?;
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
        let _one = self.devices.lock().await;
        let tx = Tx::new(self.store());
        if tx.get(&key(path)).await?.is_none() {
            return Ok(false);
        }
        tx.delete(key(path));
        tx.delete(head_key(path, &self.settings));
        tx.commit().await?;
        self.journals.lock().remove(path);
        self.audit.disable(path).await;
        Ok(true)
    }

    /// Takes over which devices another node enabled and disabled. One that cannot be opened here is reported; the others
    /// go on.
    pub(crate) async fn sync_devices(&self) -> Result<(), Error> {
        let _one = self.devices.lock().await;
        let entries = list(&self.store()).await?;
        let here: BTreeSet<String> = self.audit.health().into_iter().map(|health| health.path).collect();
        for entry in entries.iter().filter(|entry| !here.contains(&entry.path)) {
            if let Err(error) = self.add_device(entry).await {
                tracing::error!(device = entry.path, error = error.chain(), "an audit device could not be opened here");
            }
        }
        for path in here.iter().filter(|path| !entries.iter().any(|entry| entry.path == **path)) {
            self.journals.lock().remove(path);
            self.audit.disable(path).await;
        }
        Ok(())
    }

    /// The newest head of a journal that the barrier knows of: a journal cut off before it is found out. A head that
    /// another key signed is of a journal that was here before.
    pub(crate) async fn head(&self, path: &str, public_key: &[u8]) -> Option<Head> {
        let entry = self.barrier.get(&head_key(path, &self.settings)).await.ok().flatten()?;
        Head::parse(&entry.value).filter(|head| head.signed_by(public_key))
    }

    /// Keeps the newest head in the barrier, one after the other, so that an older one never replaces it.
    fn keep_heads(&self, path: &str) -> OnHead {
        let (store, path, head) = (self.store(), path.to_owned(), head_key(path, &self.settings));
        let (newest, mut heads) = tokio::sync::watch::channel(None);
        let keeping = tokio::spawn(async move {
            while heads.changed().await.is_ok() {
                let line: Option<String> = heads.borrow_and_update().clone();
                let Some(line) = line else { continue };
                if let Err(error) = keep_head(&store, &path, &head, line).await {
                    // The head before it stays: at the end of a run the barrier may already be closed.
                    tracing::debug!(%error, "a head of the audit journal was not kept");
                }
            }
        });
        let mut all = self.keeping_heads.lock();
        all.retain(|keeping| !keeping.is_finished());
        all.push(keeping);
        drop(all);
        Arc::new(move |head| drop(newest.send_replace(Some(head.line()))))
    }

    /// Waits until the last heads of the journals, which are closed by now, are kept.
    pub(crate) async fn last_heads(&self) {
        let keeping = std::mem::take(&mut *self.keeping_heads.lock());
        // A stuck journal holds on to its heads.
        let _ = tokio::time::timeout(LAST_HEADS, futures::future::join_all(keeping)).await;
    }

    async fn add_device(&self, entry: &Entry) -> Result<(), audit::Error> {
        let (settings, clock, wanted) = (self.settings.clone(), self.clock.clone(), entry.clone());
        let key = entry.seed.map(|seed| KeyPair::from_seed(&Zeroizing::new(seed)).public_key());
        let anchor = self.head(&entry.path, &key.unwrap_or_default()).await;
        let heads = Heads { anchor, on_head: self.keep_heads(&entry.path) };
        // A journal looks at its files when it is opened.
        let opened = tokio::task::spawn_blocking(move || open(&wanted, &settings, &clock, heads)).await;
        let opened = opened.map_err(|_| audit::Error::Closed)??;
        self.audit.enable(&entry.path, opened.device, opened.format).await?;
        if let Some(reader) = opened.reader {
            self.journals.lock().insert(entry.path.clone(), (reader, key.unwrap_or_default()));
        }
        Ok(())
    }
}
