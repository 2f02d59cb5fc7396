//! What is stored of identities, as one unit of work sees it.

use bytes::Bytes;
use clock::Timestamp;
use gate::Error;
use storage::{Scan, Tx};

use crate::{Alias, AliasAt, Entity, Group, keys, names};

/// The identities as one unit of work sees and changes them.
pub struct Directory<'t> {
    pub(crate) tx: &'t Tx,
    pub(crate) now: Timestamp,
}

/// A page of names or ids with what each stands for, and whether there are more.
pub type Listed<T> = (Vec<(String, T)>, bool);

impl<'t> Directory<'t> {
    /// The identities in `tx`; what changes now, changes at `now`.
    pub fn new(tx: &'t Tx, now: Timestamp) -> Self {
        Self { tx, now }
    }

    /// Entities by id.
    pub async fn entities(&self, after: Option<&str>, limit: usize) -> Result<Listed<Entity>, Error> {
        self.page(keys::ENTITY, after, limit).await
    }

    /// Entities by name.
    pub async fn entities_by_name(&self, after: Option<&str>, limit: usize) -> Result<Listed<Entity>, Error> {
        let after = after.map(names::fold);
        let (ids, more) = self.page::<String>(keys::ENTITY_NAME, after.as_deref(), limit).await?;
        let mut found = Vec::with_capacity(ids.len());
        for (_, id) in ids {
            if let Some(entity) = self.entity(&id).await? {
                found.push((entity.name.clone(), entity));
            }
        }
        Ok((found, more))
    }

    /// Aliases by id, each with its entity and mount.
    pub async fn aliases(&self, after: Option<&str>, limit: usize) -> Result<Listed<(AliasAt, Alias)>, Error> {
        let (ids, more) = self.page::<AliasAt>(keys::ALIAS_ID, after, limit).await?;
        let mut found = Vec::with_capacity(ids.len());
        for (id, at) in ids {
            let entity = self.entity(&at.entity).await?;
            if let Some(alias) = entity.and_then(|mut entity| entity.aliases.remove(&at.accessor)) {
                found.push((id, (at, alias)));
            }
        }
        Ok((found, more))
    }

    /// Groups by id.
    pub async fn groups(&self, after: Option<&str>, limit: usize) -> Result<Listed<Group>, Error> {
        self.page(keys::GROUP, after, limit).await
    }

    /// Groups by name.
    pub async fn groups_by_name(&self, after: Option<&str>, limit: usize) -> Result<Listed<Group>, Error> {
        let after = after.map(names::fold);
        let (groups, more) = self.groups_in(keys::GROUP_NAME, after.as_deref(), limit).await?;
        Ok((groups.into_iter().map(|(_, group)| (group.name.clone(), group)).collect(), more))
    }

    /// Groups by the ids of their aliases.
    pub async fn group_aliases(&self, after: Option<&str>, limit: usize) -> Result<Listed<Group>, Error> {
        self.groups_in(keys::GROUP_ALIAS_ID, after, limit).await
    }

    async fn groups_in(&self, index: &str, after: Option<&str>, limit: usize) -> Result<Listed<Group>, Error> {
        let (ids, more) = self.page::<String>(index, after, limit).await?;
        let mut found = Vec::with_capacity(ids.len());
        for (key, id) in ids {
            if let Some(group) = self.group(&id).await? {
                found.push((key, group));
            }
        }
        Ok((found, more))
    }

    pub(crate) async fn page<T: serde::de::DeserializeOwned>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<T>, Error> {
        let after = after.map(|after| format!("{prefix}{after}"));
        let scan = Scan { prefix: prefix.to_owned(), after, limit, values: true };
        let (entries, more) = self.tx.scan(&scan).await?;
        let mut found = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let value = serde_json::from_slice(&value)
                .map_err(|_| Error::internal(format!("{} does not hold what it should", key.as_str())))?;
            found.push((key.as_str().get(prefix.len()..).unwrap_or_default().to_owned(), value));
        }
        Ok((found, more))
    }

    /// Hands every entry below `prefix` to `take`, without the prefix.
    pub(crate) async fn each(&self, prefix: &str, mut take: impl FnMut(&str, &Bytes)) -> Result<(), Error> {
        let mut after = None;
        loop {
            let scan = Scan { prefix: prefix.to_owned(), after, limit: 500, values: true };
            let (entries, more) = self.tx.scan(&scan).await?;
            for (key, value) in &entries {
                take(key.as_str().get(prefix.len()..).unwrap_or_default(), value);
            }
            after = entries.last().map(|(key, _)| key.as_str().to_owned());
            if !more {
                return Ok(());
            }
        }
    }
}
