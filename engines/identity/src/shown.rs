//! How entities, aliases and groups look on the wire.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Cx, Error, Keys};
use identity::{Alias, Entity, Group, GroupAlias, Memberships};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Identity;

/// An entity.
#[derive(Serialize)]
pub(crate) struct ShownEntity {
    id: String,
    name: String,
    namespace_id: String,
    metadata: Option<BTreeMap<String, String>>,
    policies: Vec<String>,
    disabled: bool,
    aliases: Vec<ShownAlias>,
    merged_entity_ids: Option<BTreeSet<String>>,
    direct_group_ids: Vec<String>,
    inherited_group_ids: Vec<String>,
    group_ids: Vec<String>,
    creation_time: String,
    last_update_time: String,
}

/// An alias of an entity or group.
#[derive(Serialize)]
pub(crate) struct ShownAlias {
    id: String,
    canonical_id: String,
    name: String,
    namespace_id: String,
    mount_accessor: String,
    mount_path: String,
    mount_type: String,
    metadata: Option<BTreeMap<String, String>>,
    custom_metadata: Option<BTreeMap<String, String>>,
    merged_from_canonical_ids: Option<BTreeSet<String>>,
    local: bool,
    creation_time: String,
    last_update_time: String,
}

/// A group.
#[derive(Serialize)]
pub(crate) struct ShownGroup {
    id: String,
    name: String,
    namespace_id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    metadata: Option<BTreeMap<String, String>>,
    policies: Vec<String>,
    member_entity_ids: Vec<String>,
    member_group_ids: BTreeSet<String>,
    parent_group_ids: BTreeSet<String>,
    alias: Option<ShownAlias>,
    modify_index: u64,
    creation_time: String,
    last_update_time: String,
}

pub(crate) fn entity(cx: &Cx<Identity>, entity: Entity, memberships: Memberships) -> ShownEntity {
    let aliases = entity.aliases.iter().map(|(accessor, known)| alias(cx, &entity.id, accessor, known)).collect();
    let direct: Vec<String> = memberships.direct.into_keys().collect();
    let inherited: Vec<String> = memberships.inherited.into_keys().collect();
    ShownEntity {
        aliases,
        namespace_id: cx.mount().namespace.id().to_owned(),
        group_ids: direct.iter().chain(&inherited).cloned().collect(),
        direct_group_ids: direct,
        inherited_group_ids: inherited,
        metadata: some(entity.metadata),
        policies: entity.policies,
        disabled: entity.disabled,
        merged_entity_ids: (!entity.merged.is_empty()).then_some(entity.merged),
        creation_time: entity.created.to_string(),
        last_update_time: entity.updated.to_string(),
        id: entity.id,
        name: entity.name,
    }
}

pub(crate) fn alias(cx: &Cx<Identity>, entity: &str, accessor: &str, alias: &Alias) -> ShownAlias {
    let (mount_path, mount_type) = mount(cx, accessor);
    ShownAlias {
        id: alias.id.clone(),
        canonical_id: entity.to_owned(),
        name: alias.name.clone(),
        namespace_id: cx.mount().namespace.id().to_owned(),
        mount_accessor: accessor.to_owned(),
        mount_path,
        mount_type,
        metadata: some(alias.metadata.clone()),
        custom_metadata: some(alias.custom_metadata.clone()),
        merged_from_canonical_ids: (!alias.merged_from.is_empty()).then(|| alias.merged_from.clone()),
        local: false,
        creation_time: alias.created.to_string(),
        last_update_time: alias.updated.to_string(),
    }
}

pub(crate) fn group_alias(cx: &Cx<Identity>, group: &str, alias: &GroupAlias) -> ShownAlias {
    let (mount_path, mount_type) = mount(cx, &alias.accessor);
    ShownAlias {
        id: alias.id.clone(),
        canonical_id: group.to_owned(),
        name: alias.name.clone(),
        namespace_id: cx.mount().namespace.id().to_owned(),
        mount_accessor: alias.accessor.clone(),
        mount_path,
        mount_type,
        metadata: None,
        custom_metadata: None,
        merged_from_canonical_ids: None,
        local: false,
        creation_time: alias.created.to_string(),
        last_update_time: alias.updated.to_string(),
    }
}

pub(crate) fn group(cx: &Cx<Identity>, group: Group, members: Vec<String>) -> ShownGroup {
    let alias = group.alias.as_ref().map(|alias| group_alias(cx, &group.id, alias));
    ShownGroup {
        alias,
        namespace_id: cx.mount().namespace.id().to_owned(),
        kind: group.kind.as_str(),
        metadata: some(group.metadata),
        policies: group.policies,
        member_entity_ids: members,
        member_group_ids: group.below,
        parent_group_ids: group.above,
        modify_index: group.changes,
        creation_time: group.created.to_string(),
        last_update_time: group.updated.to_string(),
        id: group.id,
        name: group.name,
    }
}

/// A short form of an alias, for listings.
#[derive(Serialize)]
pub(crate) struct ListedAlias {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_id: Option<String>,
    name: String,
    mount_accessor: String,
    mount_path: String,
    mount_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_metadata: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<bool>,
}

/// An alias as the listing of its entity has it.
pub(crate) fn listed(cx: &Cx<Identity>, accessor: &str, alias: &Alias) -> ListedAlias {
    let (mount_path, mount_type) = mount(cx, accessor);
    ListedAlias {
        id: alias.id.clone(),
        canonical_id: None,
        name: alias.name.clone(),
        mount_accessor: accessor.to_owned(),
        mount_path,
        mount_type,
        custom_metadata: None,
        local: None,
    }
}

/// An alias as the listing of aliases has it.
pub(crate) fn listed_alone(cx: &Cx<Identity>, entity: &str, accessor: &str, alias: &Alias) -> ListedAlias {
    ListedAlias {
        canonical_id: Some(entity.to_owned()),
        custom_metadata: some(alias.custom_metadata.clone()),
        local: Some(false),
        ..listed(cx, accessor, alias)
    }
}

/// A group's alias as listings have it.
pub(crate) fn listed_group_alias(cx: &Cx<Identity>, group: &str, alias: &GroupAlias) -> ListedAlias {
    let (mount_path, mount_type) = mount(cx, &alias.accessor);
    ListedAlias {
        id: alias.id.clone(),
        canonical_id: Some(group.to_owned()),
        name: alias.name.clone(),
        mount_accessor: alias.accessor.clone(),
        mount_path,
        mount_type,
        custom_metadata: None,
        local: None,
    }
}

/// A listing with what is known of each.
pub(crate) fn keys<T: Serialize>(listed: impl IntoIterator<Item = (String, T)>) -> Result<Keys, Error> {
    let mut keys = Keys::default();
    for (key, info) in listed {
        let json = serde_json::to_string(&info).and_then(RawValue::from_string);
        let json = json.map_err(|_| Error::internal("a listing cannot be written as JSON"))?;
        keys.key_info.insert(key.clone(), json);
        keys.keys.push(key);
    }
    Ok(keys)
}

/// The path and type of a mount; empty if it is gone.
fn mount(cx: &Cx<Identity>, accessor: &str) -> (String, String) {
    let mount = cx.engine().program.mount(accessor);
    mount.map(|mount| (mount.path.to_string(), mount.kind.to_owned())).unwrap_or_default()
}

fn some(pairs: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!pairs.is_empty()).then_some(pairs)
}
