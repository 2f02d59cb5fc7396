//! Groups, and what may be done with one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use clock::Timestamp;
use gate::Error;
use serde::{Deserialize, Serialize};

use crate::{Directory, keys, names};

/// Entities and groups that are given the same policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// A random id.
    pub id: String,
    /// A name; `group_` and eight digits unless given.
    pub name: String,
    /// Who says who is a member.
    pub kind: GroupKind,
    /// Policies in force for all members.
    pub policies: Vec<String>,
    /// Notes of operators.
    pub metadata: BTreeMap<String, String>,
    /// The groups that are members.
    pub below: BTreeSet<String>,
    /// The groups that this one is a member of.
    pub above: BTreeSet<String>,
    /// What a login method calls it, for an external group.
    pub alias: Option<GroupAlias>,
    /// Counts the changes.
    pub changes: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// Who says who is a member of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// A login method, by the names of groups that it gives with a login.
    External,
    /// Operators.
    #[default]
    Internal,
}

/// A group as one login method knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAlias {
    /// A random id.
    pub id: String,
    /// The name in the method's terms.
    pub name: String,
    /// The mount it is for.
    pub accessor: String,
    /// A random id of this name at this mount. Memberships hold only with the binding that they came by.
    pub binding: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// What an operator says of a group; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct GroupInput {
    /// The id of the group to change.
    pub id: Option<String>,
    /// The name: to find it by if there is no id, else its new one.
    pub name: Option<String>,
    /// What it is; cannot be changed.
    pub kind: Option<GroupKind>,
    /// See [`Group::policies`].
    pub policies: Option<Vec<String>>,
    /// See [`Group::metadata`].
    pub metadata: Option<BTreeMap<String, String>>,
    /// All entities that are members.
    pub member_entities: Option<Vec<String>>,
    /// All groups that are members.
    pub member_groups: Option<Vec<String>>,
}

/// What an operator says of the alias of a group.
#[derive(Clone, Debug, Default)]
pub struct GroupAliasInput {
    /// The id of the alias to change.
    pub id: Option<String>,
    /// The name in the method's terms.
    pub name: Option<String>,
    /// The accessor of its mount, which the caller has checked to be one.
    pub accessor: Option<String>,
    /// The group it shall lead to; none makes one.
    pub group: Option<String>,
}

impl GroupKind {
    /// The kind's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Internal => "internal",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "external" => Ok(Self::External),
            "" | "internal" => Ok(Self::Internal),
            _ => Err(Error::invalid("invalid group type: use \"internal\" or \"external\"")),
        }
    }
}

impl Directory<'_> {
    /// The group with this id.
    pub async fn group(&self, id: &str) -> Result<Option<Group>, Error> {
        Ok(self.tx.get_json(&keys::group(id)).await?)
    }

    /// The group with this name, in whatever case.
    pub async fn group_named(&self, name: &str) -> Result<Option<Group>, Error> {
        self.group_at(keys::group_name(name)).await
    }

    /// The group that a mount knows by this name, in whatever case.
    pub async fn group_of_alias(&self, accessor: &str, name: &str) -> Result<Option<Group>, Error> {
        self.group_at(keys::group_alias(accessor, name)).await
    }

    /// The group that has the alias with this id.
    pub async fn group_with_alias(&self, alias: &str) -> Result<Option<Group>, Error> {
        let group = self.group_at(keys::group_alias_id(alias)).await?;
        Ok(group.filter(|group| group.alias.as_ref().is_some_and(|known| known.id == alias)))
    }

    async fn group_at(&self, key: storage::Key) -> Result<Option<Group>, Error> {
        match self.tx.get_json::<String>(&key).await? {
            Some(id) => self.group(&id).await,
            None => Ok(None),
        }
    }

    /// Makes or changes a group. Tells whether it was made.
    pub async fn write_group(&self, input: GroupInput) -> Result<(Group, bool), Error> {
        let found = self.group_to_change(&input).await?;
        let new = found.is_none();
        let mut group = found.unwrap_or_else(|| self.new_group(input.kind.unwrap_or_default()));
        if input.kind.is_some_and(|kind| kind != group.kind) {
            return Err(Error::invalid("group type cannot be changed"));
        }
        let former = (!new).then(|| group.name.clone());
        if let Some(name) = input.name {
            names::check("name", &name)?;
            group.name = name;
        }
        if let Some(metadata) = input.metadata {
            names::metadata("metadata", &metadata)?;
            group.metadata = metadata;
        }
        if let Some(policies) = input.policies {
            group.policies = names::policies(&policies)?;
        }
        self.index_group(&group, former.as_deref()).await?;
        if let Some(members) = input.member_entities {
            self.set_entities(&group, members).await?;
        }
        if let Some(members) = input.member_groups {
            self.set_groups(&mut group, members).await?;
        }
        self.save_group(&mut group)?;
        Ok((group, new))
    }

    async fn group_to_change(&self, input: &GroupInput) -> Result<Option<Group>, Error> {
        let found = match &input.id {
            Some(id) => {
                Some(self.group(id).await?.ok_or_else(|| Error::invalid("id: there is no group with this id"))?)
            }
            None => None,
        };
        let named = match &input.name {
            Some(name) => self.group_named(name).await?,
            None => None,
        };
        match (found, named) {
            (None, named) => Ok(named),
            (Some(found), Some(named)) if found.id != named.id => Err(Error::invalid("group name is already in use")),
            (found, _) => Ok(found),
        }
    }

    fn new_group(&self, kind: GroupKind) -> Group {
        Group {
            id: crypto::random::uuid(),
            name: names::make("group"),
            kind,
            policies: Vec::new(),
            metadata: BTreeMap::new(),
            below: BTreeSet::new(),
            above: BTreeSet::new(),
            alias: None,
            changes: 0,
            created: self.now,
            updated: self.now,
        }
    }

    async fn index_group(&self, group: &Group, former: Option<&str>) -> Result<(), Error> {
        let key = keys::group_name(&group.name);
        // As with entities: it was taken since it was looked for.
        if self.tx.get_json::<String>(&key).await?.is_some_and(|id| id != group.id) {
            return Err(Error::Conflict);
        }
        if let Some(former) = former.map(keys::group_name).filter(|former| *former != key) {
            self.tx.delete(former);
        }
        Ok(self.tx.put_json(key, &group.id)?)
    }

    fn save_group(&self, group: &mut Group) -> Result<(), Error> {
        group.changes += 1;
        group.updated = self.now;
        self.put_group(group)
    }

    fn put_group(&self, group: &Group) -> Result<(), Error> {
        // Not read before: groups that have nothing to do with each other can change at the same time.
        self.tx.put(keys::groups_changed(), bytes::Bytes::new());
        Ok(self.tx.put_json(keys::group(&group.id), group)?)
    }

    /// The entities that are direct members, in the order of their ids.
    pub async fn members(&self, group: &Group) -> Result<Vec<String>, Error> {
        let prefix = keys::members(&group.id);
        let binding = group.alias.as_ref().map(|alias| alias.binding.as_str()).unwrap_or_default();
        let mut members = Vec::new();
        self.each(&prefix, |id, value| {
            let how: String = serde_json::from_slice(value).unwrap_or_default();
            if how == binding {
                members.push(id.to_owned());
            }
        })
        .await?;
        Ok(members)
    }

    async fn set_entities(&self, group: &Group, wanted: Vec<String>) -> Result<(), Error> {
        let wanted: BTreeSet<String> = wanted.into_iter().collect();
        if group.kind == GroupKind::External {
            return match wanted.is_empty() {
                true => Ok(()),
                false => Err(Error::invalid("member entities can't be set manually for external groups")),
            };
        }
        let present: BTreeSet<String> = self.members(group).await?.into_iter().collect();
        for id in wanted.difference(&present) {
            let entity = self.entity(id).await?;
            let mut entity =
                entity.ok_or_else(|| Error::invalid("member_entity_ids: there is no entity with this id"))?;
            entity.groups.insert(group.id.clone());
            self.tx.put_json(keys::entity_key(id), &entity)?;
            self.tx.put_json(keys::member(&group.id, id), &"")?;
        }
        for id in present.difference(&wanted) {
            if let Some(mut entity) = self.entity(id).await? {
                entity.groups.remove(&group.id);
                self.tx.put_json(keys::entity_key(id), &entity)?;
            }
            self.tx.delete(keys::member(&group.id, id));
        }
        Ok(())
    }

    async fn set_groups(&self, group: &mut Group, wanted: Vec<String>) -> Result<(), Error> {
        let wanted: BTreeSet<String> = wanted.into_iter().collect();
        if group.kind == GroupKind::External && !wanted.is_empty() {
            return Err(Error::invalid("member groups can't be set for external groups"));
        }
        // Read by this unit of work, so a change above this group that would close a circle makes the commit fail.
        let above = self.all_above(group).await?;
        for id in wanted.difference(&group.below) {
            if *id == group.id || above.contains_key(id) {
                return Err(Error::invalid("member_group_ids: cyclic relationship detected for member group ID"));
            }
            let member = self.group(id).await?;
            let mut member =
                member.ok_or_else(|| Error::invalid("member_group_ids: there is no group with this id"))?;
            member.above.insert(group.id.clone());
            self.put_group(&member)?;
        }
        for id in group.below.difference(&wanted) {
            if let Some(mut member) = self.group(id).await? {
                member.above.remove(&group.id);
                self.put_group(&member)?;
            }
        }
        group.below = wanted;
        Ok(())
    }

    /// The groups that `group` is a member of, at whatever distance, by id.
    pub(crate) async fn all_above(&self, group: &Group) -> Result<BTreeMap<String, Group>, Error> {
        let mut found = BTreeMap::new();
        let mut next: VecDeque<String> = group.above.iter().cloned().collect();
        while let Some(id) = next.pop_front() {
            if found.contains_key(&id) {
                continue;
            }
            if let Some(above) = self.group(&id).await? {
                next.extend(above.above.iter().cloned());
                found.insert(id, above);
            }
        }
        Ok(found)
    }

    /// Removes a group. Its members lose what it gave them at once. `false` if there is none.
    pub async fn delete_group(&self, id: &str) -> Result<bool, Error> {
        let Some(mut group) = self.group(id).await? else { return Ok(false) };
        self.set_groups(&mut group, Vec::new()).await?;
        for id in std::mem::take(&mut group.above) {
            if let Some(mut above) = self.group(&id).await? {
                above.below.remove(&group.id);
                self.put_group(&above)?;
            }
        }
        let prefix = keys::members(&group.id);
        let mut members = Vec::new();
        self.each(&prefix, |id, _| members.push(id.to_owned())).await?;
        for member in members {
            if let Some(mut entity) = self.entity(&member).await? {
                entity.groups.remove(&group.id);
                entity.forget_external(&group.id);
                self.tx.put_json(keys::entity_key(&member), &entity)?;
            }
            self.tx.delete(keys::member(&group.id, &member));
        }
        if let Some(alias) = &group.alias {
            self.drop_group_alias(alias);
        }
        self.tx.put(keys::groups_changed(), bytes::Bytes::new());
        self.tx.delete(keys::group_name(&group.name));
        self.tx.delete(keys::group(&group.id));
        Ok(true)
    }

    fn drop_group_alias(&self, alias: &GroupAlias) {
        self.tx.delete(keys::group_alias(&alias.accessor, &alias.name));
        self.tx.delete(keys::group_alias_id(&alias.id));
    }

    /// Makes or changes the alias of an external group, or makes a group for it.
    pub async fn write_group_alias(&self, input: GroupAliasInput) -> Result<Group, Error> {
        let former = match &input.id {
            Some(id) => {
                let group = self.group_with_alias(id).await?;
                Some(group.ok_or_else(|| Error::invalid("invalid group alias ID provided"))?)
            }
            None => None,
        };
        let known = former.as_ref().and_then(|group| group.alias.clone());
        let known = |part: fn(GroupAlias) -> String| known.clone().map(part);
        let name = input.name.or_else(|| known(|alias| alias.name));
        let accessor = input.accessor.or_else(|| known(|alias| alias.accessor));
        let name = name.ok_or_else(|| Error::invalid("missing alias name: give it in the field \"name\""))?;
        let accessor = accessor.ok_or_else(|| Error::invalid("missing mount_accessor"))?;
        names::check("name", &name)?;
        let by_name = self.group_of_alias(&accessor, &name).await?;
        let mut group = match (&input.group, &former, &by_name) {
            (Some(id), _, _) => {
                self.group(id).await?.ok_or_else(|| Error::invalid("invalid group ID given in 'canonical_id'"))?
            }
            (None, Some(group), _) | (None, None, Some(group)) => group.clone(),
            (None, None, None) => {
                let group = self.new_group(GroupKind::External);
                self.index_group(&group, None).await?;
                group
            }
        };
        if group.kind != GroupKind::External {
            return Err(Error::invalid("alias can't be set on an internal group"));
        }
        if by_name.is_some_and(|taken| taken.id != group.id) {
            return Err(Error::invalid("combination of mount and group alias name is already in use"));
        }
        if let Some(mut former) = former.filter(|former| former.id != group.id) {
            if let Some(alias) = former.alias.take() {
                self.drop_group_alias(&alias);
            }
            self.save_group(&mut former)?;
        }
        self.set_group_alias(&mut group, name, accessor, input.id)?;
        self.save_group(&mut group)?;
        Ok(group)
    }

    fn set_group_alias(
        &self,
        group: &mut Group,
        name: String,
        accessor: String,
        id: Option<String>,
    ) -> Result<(), Error> {
        let before = group.alias.take();
        let same = |alias: &&GroupAlias| alias.accessor == accessor && names::fold(&alias.name) == names::fold(&name);
        let alias = GroupAlias {
            id: id.or_else(|| before.as_ref().map(|alias| alias.id.clone())).unwrap_or_else(crypto::random::uuid),
            binding: before.as_ref().filter(same).map_or_else(crypto::random::uuid, |alias| alias.binding.clone()),
            created: before.as_ref().map_or(self.now, |alias| alias.created),
            updated: self.now,
            name,
            accessor,
        };
        if let Some(before) = before {
            self.drop_group_alias(&before);
        }
        self.tx.put_json(keys::group_alias(&alias.accessor, &alias.name), &group.id)?;
        self.tx.put_json(keys::group_alias_id(&alias.id), &group.id)?;
        group.alias = Some(alias);
        Ok(())
    }

    /// Removes the alias of a group. Who was a member by it is none any more. `false` if there is none.
    pub async fn delete_group_alias(&self, id: &str) -> Result<bool, Error> {
        let Some(mut group) = self.group_with_alias(id).await? else { return Ok(false) };
        if let Some(alias) = group.alias.take() {
            self.drop_group_alias(&alias);
        }
        self.save_group(&mut group)?;
        Ok(true)
    }
}
