//! Aliases: an entity as one login method knows it.

use std::collections::{BTreeMap, BTreeSet};

use clock::Timestamp;
use gate::Error;
use serde::{Deserialize, Serialize};

use crate::{Directory, Entity, keys, names};

/// An entity as one login method knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// A random id.
    pub id: String,
    /// The name in the method's terms.
    pub name: String,
    /// What the method knows, from the last login.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Notes of operators.
    #[serde(default)]
    pub custom_metadata: BTreeMap<String, String>,
    /// The entities it belonged to before they were merged.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub merged_from: BTreeSet<String>,
    /// When it was made.
    #[serde(default)]
    pub created: Timestamp,
    /// When it last changed.
    #[serde(default)]
    pub updated: Timestamp,
}

/// Where an alias is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasAt {
    /// The id of its entity.
    pub entity: String,
    /// The mount it is for.
    pub accessor: String,
}

/// What an operator says of an alias; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct AliasInput {
    /// The id of the alias to change.
    pub id: Option<String>,
    /// See [`Alias::name`].
    pub name: Option<String>,
    /// The accessor of its mount, which the caller has checked to be one.
    pub accessor: Option<String>,
    /// The entity it shall belong to.
    pub entity: Option<String>,
    /// See [`Alias::custom_metadata`].
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

impl Alias {
    pub(crate) fn new(name: &str, now: Timestamp) -> Self {
        Self {
            id: crypto::random::uuid(),
            name: name.to_owned(),
            metadata: BTreeMap::new(),
            custom_metadata: BTreeMap::new(),
            merged_from: BTreeSet::new(),
            created: now,
            updated: now,
        }
    }
}

impl Directory<'_> {
    /// The entity that a mount knows by this name, in whatever case.
    pub async fn entity_of_alias(&self, accessor: &str, name: &str) -> Result<Option<Entity>, Error> {
        match self.tx.get_json::<String>(&keys::alias(accessor, name)).await? {
            Some(id) => self.entity(&id).await,
            None => Ok(None),
        }
    }

    /// The entity that has the alias with this id, and the mount that the alias is for.
    pub async fn alias(&self, id: &str) -> Result<Option<(Entity, String)>, Error> {
        let Some(at) = self.tx.get_json::<AliasAt>(&keys::alias_id(id)).await? else { return Ok(None) };
        let entity = self.entity(&at.entity).await?;
        Ok(entity.filter(|entity| entity.aliases.contains_key(&at.accessor)).map(|entity| (entity, at.accessor)))
    }

    /// Makes, changes or moves an alias. Gives its entity and its mount.
    pub async fn write_alias(&self, input: AliasInput) -> Result<(Entity, String), Error> {
        let found = self.alias_to_change(&input).await?;
        match found {
            Some((entity, accessor)) => self.change_alias(input, entity, accessor).await,
            None => self.make_alias(input).await,
        }
    }

    async fn alias_to_change(&self, input: &AliasInput) -> Result<Option<(Entity, String)>, Error> {
        if let Some(id) = &input.id {
            let found = self.alias(id).await?;
            return found.map(Some).ok_or_else(|| Error::invalid("invalid alias ID provided"));
        }
        let (Some(name), Some(accessor)) = (&input.name, &input.accessor) else {
            return Err(Error::invalid("'id' or 'mount_accessor' and 'name' must be provided"));
        };
        Ok(self.entity_of_alias(accessor, name).await?.map(|entity| (entity, accessor.clone())))
    }

    async fn make_alias(&self, input: AliasInput) -> Result<(Entity, String), Error> {
        let (name, accessor) = (input.name.unwrap_or_default(), input.accessor.unwrap_or_default());
        names::check("name", &name)?;
        let mut entity = match &input.entity {
            Some(id) => self.entity(id).await?.ok_or_else(|| Error::invalid("invalid canonical ID"))?,
            None => self.new_entity().await?,
        };
        if entity.aliases.contains_key(&accessor) {
            return Err(Error::invalid(TAKEN));
        }
        let mut alias = Alias::new(&name, self.now);
        if let Some(pairs) = input.custom_metadata {
            names::metadata("custom_metadata", &pairs)?;
            alias.custom_metadata = pairs;
        }
        self.index_alias(&entity.id, &accessor, &alias).await?;
        entity.aliases.insert(accessor.clone(), alias);
        self.save_entity(&mut entity)?;
        Ok((entity, accessor))
    }

    async fn change_alias(
        &self,
        input: AliasInput,
        mut entity: Entity,
        accessor: String,
    ) -> Result<(Entity, String), Error> {
        let Some(before) = entity.aliases.remove(&accessor) else {
            return Err(Error::internal("an alias is not where its index says"));
        };
        let mut alias = before.clone();
        let to = input.accessor.unwrap_or_else(|| accessor.clone());
        if let Some(name) = input.name {
            names::check("name", &name)?;
            alias.name = name;
        }
        if let Some(pairs) = input.custom_metadata {
            names::metadata("custom_metadata", &pairs)?;
            alias.custom_metadata = pairs;
        }
        alias.updated = self.now;
        let mut other = match input.entity.filter(|id| *id != entity.id) {
            Some(id) => Some(self.entity(&id).await?.ok_or_else(|| Error::invalid("invalid canonical ID"))?),
            None => None,
        };
        let owner = other.as_mut().unwrap_or(&mut entity);
        if owner.aliases.contains_key(&to) {
            return Err(Error::invalid(TAKEN));
        }
        self.drop_alias(&accessor, &before);
        self.index_alias(&owner.id, &to, &alias).await?;
        owner.aliases.insert(to.clone(), alias);
        match (&mut other, to == accessor) {
            // What the method said of groups was said of whoever the alias stands for.
            (Some(other), true) => self.move_external(&mut entity, other, &accessor)?,
            (_, false) => self.drop_external(&mut entity, &accessor),
            (None, true) => {}
        }
        self.save_entity(&mut entity)?;
        let Some(mut other) = other else { return Ok((entity, to)) };
        self.save_entity(&mut other)?;
        Ok((other, to))
    }

    /// Removes an alias; its entity stays. `false` if there is none.
    pub async fn delete_alias(&self, id: &str) -> Result<bool, Error> {
        let Some((mut entity, accessor)) = self.alias(id).await? else { return Ok(false) };
        if let Some(alias) = entity.aliases.remove(&accessor) {
            self.drop_alias(&accessor, &alias);
        }
        self.drop_external(&mut entity, &accessor);
        self.save_entity(&mut entity)?;
        Ok(true)
    }

    pub(crate) fn drop_alias(&self, accessor: &str, alias: &Alias) {
        self.tx.delete(keys::alias(accessor, &alias.name));
        self.tx.delete(keys::alias_id(&alias.id));
    }

    /// Writes the indexes of an alias. The name must be read, so that the commit is refused if somebody else took it
    /// meanwhile.
    pub(crate) async fn index_alias(&self, entity: &str, accessor: &str, alias: &Alias) -> Result<(), Error> {
        let key = keys::alias(accessor, &alias.name);
        if self.tx.get_json::<String>(&key).await?.is_some_and(|holder| holder != entity) {
            return Err(Error::invalid("combination of mount and alias name is already in use"));
        }
        let at = AliasAt { entity: entity.to_owned(), accessor: accessor.to_owned() };
        self.tx.put_json(keys::alias_id(&alias.id), &at)?;
        Ok(self.tx.put_json(key, &entity)?)
    }

    /// Forgets what logins through a mount said of an entity's groups.
    pub(crate) fn drop_external(&self, entity: &mut Entity, accessor: &str) {
        let external = entity.external.remove(accessor).unwrap_or_default();
        for group in external.groups.keys() {
            self.tx.delete(keys::member(group, &entity.id));
        }
    }

    pub(crate) fn move_external(&self, from: &mut Entity, to: &mut Entity, accessor: &str) -> Result<(), Error> {
        let Some(external) = from.external.remove(accessor) else { return Ok(()) };
        for (group, binding) in &external.groups {
            self.tx.delete(keys::member(group, &from.id));
            to.forget_external(group);
            self.tx.put_json(keys::member(group, &to.id), binding)?;
        }
        to.external.insert(accessor.to_owned(), external);
        Ok(())
    }
}

const TAKEN: &str = "Alias already exists for requested entity and mount accessor";
