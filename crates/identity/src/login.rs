//! From what a login method says of its holder to the entity.

use std::collections::{BTreeMap, BTreeSet};

use gate::{Error, Refusal};

use crate::{Alias, Directory, Entity, External, keys, names};

/// What a login method says of who has logged in.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The accessor of the method's mount.
    pub accessor: &'a str,
    /// The name in the method's terms.
    pub name: &'a str,
    /// What else it knows.
    pub metadata: &'a BTreeMap<String, String>,
    /// The names of groups in the method's terms.
    pub groups: &'a [String],
}

impl Directory<'_> {
    /// The entity of a login, made if it is the first one. A disabled entity is refused.
    pub async fn login(&self, seen: Seen<'_>) -> Result<Entity, Error> {
        names::check("the name of the login's holder", seen.name)?;
        let known = self.entity_of_alias(seen.accessor, seen.name).await?;
        if known.as_ref().is_some_and(|entity| entity.disabled) {
            return Err(Error::Denied(Refusal::Entity));
        }
        let before = known.clone();
        let mut entity = match known {
            Some(entity) => entity,
            None => self.new_entity().await?,
        };
        self.note_alias(&mut entity, seen).await?;
        if seen.groups.len() > MOST_GROUPS {
            tracing::warn!(entity = entity.id, "a login names more than {MOST_GROUPS} groups; the rest is passed over");
        }
        let names = seen.groups.iter().take(MOST_GROUPS).cloned().collect();
        self.note_groups(&mut entity, seen.accessor, names).await?;
        // A login that changes nothing writes nothing.
        if before.as_ref() != Some(&entity) {
            self.save_entity(&mut entity)?;
        }
        Ok(entity)
    }

    /// Looks up anew which groups the names of the last logins lead to, at the renewal of a token.
    pub async fn renew(&self, entity: &str) -> Result<(), Error> {
        let Some(mut entity) = self.resolved(entity).await? else { return Ok(()) };
        let before = entity.clone();
        for (accessor, external) in &before.external {
            self.note_groups(&mut entity, accessor, external.names.clone()).await?;
        }
        if before != entity {
            self.save_entity(&mut entity)?;
        }
        Ok(())
    }

    async fn note_alias(&self, entity: &mut Entity, seen: Seen<'_>) -> Result<(), Error> {
        let before = entity.aliases.get(seen.accessor);
        let mut alias = before.cloned().unwrap_or_else(|| Alias::new(seen.name, self.now));
        alias.name = seen.name.to_owned();
        alias.metadata = seen.metadata.clone();
        if before == Some(&alias) {
            return Ok(());
        }
        alias.updated = self.now;
        self.index_alias(&entity.id, seen.accessor, &alias).await?;
        entity.aliases.insert(seen.accessor.to_owned(), alias);
        Ok(())
    }

    async fn note_groups(&self, entity: &mut Entity, accessor: &str, names: BTreeSet<String>) -> Result<(), Error> {
        let mut groups = BTreeMap::new();
        for name in &names {
            // What cannot be a name leads to no group.
            if names::check("group", name).is_err() {
                continue;
            }
            let Some(group) = self.group_of_alias(accessor, name).await? else { continue };
            if let Some(alias) = group.alias {
                groups.insert(group.id, alias.binding);
            }
        }
        let before = entity.external.remove(accessor).unwrap_or_default();
        for group in before.groups.keys().filter(|group| !groups.contains_key(*group)) {
            self.tx.delete(keys::member(group, &entity.id));
        }
        for (group, binding) in groups.iter().filter(|(group, binding)| before.groups.get(*group) != Some(*binding)) {
            entity.forget_external(group);
            self.tx.put_json(keys::member(group, &entity.id), binding)?;
        }
        if !names.is_empty() {
            entity.external.insert(accessor.to_owned(), External { names, groups });
        }
        Ok(())
    }
}

/// More groups than this of one login are passed over: each costs a look-up.
const MOST_GROUPS: usize = 1000;
