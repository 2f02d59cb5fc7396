//! Entities, and what may be done with one.

use std::collections::{BTreeMap, BTreeSet};

use clock::Timestamp;
use gate::Error;
use serde::{Deserialize, Serialize};

use crate::{Alias, Directory, keys, names};

/// Somebody or something that logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// A random id.
    pub id: String,
    /// A name; `entity_` and eight digits unless given.
    pub name: String,
    /// Notes of operators.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Policies in force for all its tokens.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Whether its tokens are refused.
    #[serde(default)]
    pub disabled: bool,
    /// Its aliases by mount accessor.
    #[serde(default)]
    pub aliases: BTreeMap<String, Alias>,
    /// The internal groups that it is a direct member of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// What logins said of its groups, by mount accessor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external: BTreeMap<String, External>,
    /// The entities that became a part of this one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub merged: BTreeSet<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// What the last login through a mount said of an entity's groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// The names, in the method's terms.
    pub names: BTreeSet<String>,
    /// The external groups that these names led to, each with the binding of its alias at that time.
    pub groups: BTreeMap<String, String>,
}

/// What an operator says of an entity; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct EntityInput {
    /// The id of the entity to change.
    pub id: Option<String>,
    /// The name: to find it by if there is no id, else its new one.
    pub name: Option<String>,
    /// See [`Entity::metadata`].
    pub metadata: Option<BTreeMap<String, String>>,
    /// See [`Entity::policies`].
    pub policies: Option<Vec<String>>,
    /// See [`Entity::disabled`].
    pub disabled: Option<bool>,
}

impl Entity {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            id: crypto::random::uuid(),
            name: names::make("entity"),
            metadata: BTreeMap::new(),
            policies: Vec::new(),
            disabled: false,
            aliases: BTreeMap::new(),
            groups: BTreeSet::new(),
            external: BTreeMap::new(),
            merged: BTreeSet::new(),
            created: now,
            updated: now,
        }
    }

    /// Drops a membership that a login brought: through whichever mount, a group is there at most once.
    pub(crate) fn forget_external(&mut self, group: &str) {
        for external in self.external.values_mut() {
            external.groups.remove(group);
        }
    }
}

impl Directory<'_> {
    /// The entity with this id.
    pub async fn entity(&self, id: &str) -> Result<Option<Entity>, Error> {
        Ok(self.tx.get_json(&keys::entity_key(id)).await?)
    }

    /// The entity with this id, or the one that it became a part of.
    pub async fn resolved(&self, id: &str) -> Result<Option<Entity>, Error> {
        if let Some(entity) = self.entity(id).await? {
            return Ok(Some(entity));
        }
        match self.tx.get_json::<String>(&keys::merged(id)).await? {
            Some(into) => self.entity(&into).await,
            None => Ok(None),
        }
    }

    /// The entity with this name, in whatever case.
    pub async fn entity_named(&self, name: &str) -> Result<Option<Entity>, Error> {
        match self.tx.get_json::<String>(&keys::entity_name(name)).await? {
            Some(id) => self.entity(&id).await,
            None => Ok(None),
        }
    }

    /// Makes or changes an entity. Tells whether it was made.
    pub async fn write_entity(&self, input: EntityInput) -> Result<(Entity, bool), Error> {
        let found = match &input.id {
            Some(id) => {
                Some(self.entity(id).await?.ok_or_else(|| Error::invalid("id: there is no entity with this id"))?)
            }
            None => None,
        };
        let named = match &input.name {
            Some(name) => self.entity_named(name).await?,
            None => None,
        };
        let found = match (found, named) {
            (None, named) => named,
            (Some(found), Some(named)) if found.id != named.id => {
                return Err(Error::invalid("entity name is already in use"));
            }
            (found, _) => found,
        };
        let new = found.is_none();
        let mut entity = found.unwrap_or_else(|| Entity::new(self.now));
        let former = (!new).then(|| entity.name.clone());
        if let Some(name) = input.name {
            names::check("name", &name)?;
            entity.name = name;
        }
        if let Some(metadata) = input.metadata {
            names::metadata("metadata", &metadata)?;
            entity.metadata = metadata;
        }
        if let Some(policies) = input.policies {
            entity.policies = names::policies(&policies)?;
        }
        entity.disabled = input.disabled.unwrap_or(entity.disabled);
        self.index_name(&entity, former.as_deref()).await?;
        self.save_entity(&mut entity)?;
        Ok((entity, new))
    }

    /// A new entity under a free made-up name, not saved yet.
    pub(crate) async fn new_entity(&self) -> Result<Entity, Error> {
        let entity = Entity::new(self.now);
        self.index_name(&entity, None).await?;
        Ok(entity)
    }

    /// Writes the index of names after a creation or renaming. The name must be read, so that the commit is refused if
    /// somebody else took it meanwhile.
    async fn index_name(&self, entity: &Entity, former: Option<&str>) -> Result<(), Error> {
        let key = keys::entity_name(&entity.name);
        // Whoever asks has looked before: it was taken since, and is found at the next try.
        if self.tx.get_json::<String>(&key).await?.is_some_and(|id| id != entity.id) {
            return Err(Error::Conflict);
        }
        if let Some(former) = former.map(keys::entity_name).filter(|former| *former != key) {
            self.tx.delete(former);
        }
        Ok(self.tx.put_json(key, &entity.id)?)
    }

    pub(crate) fn save_entity(&self, entity: &mut Entity) -> Result<(), Error> {
        entity.updated = self.now;
        Ok(self.tx.put_json(keys::entity_key(&entity.id), entity)?)
    }

    /// Removes an entity, its aliases and memberships. Its tokens are refused from the commit on. `false` if there is
    /// none.
    pub async fn delete_entity(&self, id: &str) -> Result<bool, Error> {
        let Some(entity) = self.entity(id).await? else { return Ok(false) };
        for (accessor, alias) in &entity.aliases {
            self.drop_alias(accessor, alias);
        }
        self.drop_memberships(&entity);
        self.drop_mfa(id).await?;
        for part in &entity.merged {
            self.tx.delete(keys::merged(part));
        }
        self.tx.delete(keys::entity_name(&entity.name));
        self.tx.delete(keys::entity_key(id));
        Ok(true)
    }

    fn drop_memberships(&self, entity: &Entity) {
        let external = entity.external.values().flat_map(|external| external.groups.keys());
        for group in entity.groups.iter().chain(external) {
            self.tx.delete(keys::member(group, &entity.id));
        }
    }

    /// Deletes what is found of an entity by its former self: for a merge.
    pub(crate) fn drop_merged(&self, entity: &Entity) {
        self.drop_memberships(entity);
        self.tx.delete(keys::entity_name(&entity.name));
        self.tx.delete(keys::entity_key(&entity.id));
    }
}
