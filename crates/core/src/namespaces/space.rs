//! A namespace in service.

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use gate::{Error, Namespace};
use identity::Identities;
use mounts::Mounts;
use storage::{Part, Scan, Store, Tx};

use super::record::{self, Stored};
use crate::policies::Policies;

/// A namespace with the services over its part of the store.
pub(crate) struct Space {
    pub(crate) namespace: Namespace,
    /// The namespace above; none above the root one.
    pub(crate) parent: Option<Arc<Space>>,
    /// Its part of the store; none for the root one.
    pub(crate) part: Option<Arc<Part>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) policies: Policies,
    pub(crate) identities: Arc<Identities>,
    pub(crate) mounts: Mounts,
    /// As it is stored; none for the root one, which always was and cannot be changed.
    pub(crate) stored: Option<ArcSwap<Stored>>,
    /// Held while names below are given or taken: a mount and a namespace must not have the same.
    pub(crate) naming: tokio::sync::Mutex<()>,
}

impl Space {
    /// This namespace and those above it, the root one last.
    pub(crate) fn upwards(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(Some(self), |space| space.parent.as_ref())
    }

    /// The namespace with this id, if it is this one or above it: where a token must be from to be used here.
    pub(crate) fn from(self: &Arc<Self>, id: &str) -> Option<&Arc<Self>> {
        self.upwards().find(|space| space.namespace.suffix() == id)
    }

    /// A path inside this namespace as policies of `home`, which is this one or above it, name it.
    pub(crate) fn path_from<'p>(&self, home: &Self, path: &'p str) -> Cow<'p, str> {
        match self.namespace.path().strip_prefix(home.namespace.path()) {
            None | Some("") => Cow::Borrowed(path),
            Some(between) => Cow::Owned(format!("{between}{path}")),
        }
    }

    /// The unit of work `whole` with the keys of this namespace.
    pub(crate) fn within(&self, whole: Arc<Tx>) -> Arc<Tx> {
        match &self.part {
            None => whole,
            Some(part) => whole.outer().within(part),
        }
    }

    /// A unit of work of its own.
    pub(crate) fn tx(&self) -> Arc<Tx> {
        match &self.part {
            None => Tx::new(Arc::clone(&self.store)),
            Some(part) => Tx::new(part.below()).within(part),
        }
    }

    /// Whether it, or one above it, is being deleted.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.load().leaving)
    }

    /// The nearest namespace that locks this one: itself, or one above it.
    pub(crate) fn locked_by(self: &Arc<Self>) -> Option<&Arc<Self>> {
        self.upwards().find(|space| space.stored.as_ref().is_some_and(|stored| stored.load().lock.is_some()))
    }

    /// The names of the namespaces right below, in order, after `after`, at most `limit`.
    pub(crate) async fn below(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Stored)>, Error> {
        let after = after.map(|after| format!("{}{}", record::BELOW, after.trim_end_matches('/')));
        let scan = Scan { prefix: record::BELOW.to_owned(), after, limit, values: true };
        let page = self.store.scan(&scan).await?;
        let read = |(key, entry): &(storage::Key, storage::Entry)| {
            let name = key.as_str().strip_prefix(record::BELOW)?;
            match serde_json::from_slice::<Stored>(&entry.value) {
                Ok(stored) => Some(Ok((name.to_owned(), stored))),
                Err(_) => Some(Err(Error::internal(format!("{} does not hold a namespace", key.as_str())))),
            }
        };
        page.entries.iter().filter_map(read).collect()
    }

    /// Whether a namespace right below has this name, also one that is being deleted.
    pub(crate) async fn has_below(&self, name: &str) -> Result<bool, Error> {
        Ok(self.store.get(&record::key(name)).await?.is_some())
    }
}
