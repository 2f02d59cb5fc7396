//! Entities, groups and their aliases.

use vaultrs::{
    api::identity::{entity::requests::*, group::requests::*},
    client::VaultClient,
    identity::{entity, entity_alias, group, group_alias},
    sys,
};

use crate::{any, note};

pub(crate) async fn all(root: &VaultClient) {
    let area = "secrets: identity";
    let accessor = sys::auth::list(root).await.unwrap()["approle/"].accessor.clone();
    let mut alice = CreateEntityRequestBuilder::default();
    alice.name("alice").policies(vec!["reader".to_owned()]);
    let made = note(area, "entity::create", entity::create(root, Some(&mut alice)).await, any);
    let Some(id) = made.map(|made| made.id) else { return };
    note(area, "entity::read_by_id", entity::read_by_id(root, &id).await, |found| found.name == "alice");
    let mut update = UpdateEntityByIdRequestBuilder::default();
    update.policies(vec!["default".to_owned()]);
    note(area, "entity::update_by_id", entity::update_by_id(root, &id, Some(&mut update)).await, any);
    note(area, "entity::list_by_id", entity::list_by_id(root).await, |list| list.keys.contains(&id));
    let bob = entity::create_or_update_by_name(root, "bob", None).await;
    note(area, "entity::create_or_update_by_name", bob, any);
    let bob = note(area, "entity::read_by_name", entity::read_by_name(root, "bob").await, any);
    note(area, "entity::list_by_name", entity::list_by_name(root).await, |list| list.keys.contains(&"bob".to_owned()));

    let alias = entity_alias::create(root, "alice-role", &id, &accessor, None).await;
    if let Some(alias) = note(area, "entity_alias::create", alias, any) {
        note(area, "entity_alias::read_by_id", entity_alias::read_by_id(root, &alias.id).await, any);
        note(area, "entity_alias::list_by_id", entity_alias::list_by_id(root).await, any);
        note(area, "entity_alias::delete_by_id", entity_alias::delete_by_id(root, &alias.id).await, any);
    }
    let mut team = CreateGroupRequestBuilder::default();
    team.member_entity_ids(vec![id.clone()]);
    if let Some(team) = note(area, "group::create", group::create(root, Some(&mut team)).await, any) {
        let read = group::read_by_id(root, &team.id).await;
        note(area, "group::read_by_id", read, any);
        note(area, "group::list_by_id", group::list_by_id(root).await, |list| list.keys.contains(&team.id));
        note(area, "group::delete_by_id", group::delete_by_id(root, &team.id).await, any);
    }
    let other = group::create_or_update_by_name(root, "other", None).await;
    note(area, "group::create_or_update_by_name", other, any);
    note(area, "group::read_by_name", group::read_by_name(root, "other").await, any);
    note(area, "group::list_by_name", group::list_by_name(root).await, any);
    note(area, "group::delete_by_name", group::delete_by_name(root, "other").await, any);
    let mut outside = CreateGroupRequestBuilder::default();
    outside.group_type("external");
    if let Ok(outside) = group::create(root, Some(&mut outside)).await {
        let mut ask = vaultrs::api::identity::group_alias::requests::CreateGroupAliasRequestBuilder::default();
        ask.canonical_id(outside.id.clone());
        let alias = group_alias::create(root, "admins", &accessor, Some(&mut ask)).await;
        if let Some(alias) = note(area, "group_alias::create", alias, any) {
            note(area, "group_alias::read_by_id", group_alias::read_by_id(root, &alias.id).await, any);
            note(area, "group_alias::list_by_id", group_alias::list_by_id(root).await, any);
            note(area, "group_alias::delete_by_id", group_alias::delete_by_id(root, &alias.id).await, any);
        }
    }
    if let Some(bob) = bob {
        let merged = entity::merge(root, vec![bob.id], id.clone(), None).await;
        note(area, "entity::merge", merged, any);
    }
    note(area, "entity::delete_by_name", entity::delete_by_name(root, "alice").await, any);
    let carol = entity::create(root, None).await.map(|made| made.id).unwrap_or_default();
    note(area, "entity::delete_by_id", entity::delete_by_id(root, &carol).await, any);
    let dave = entity::create(root, None).await.map(|made| made.id).unwrap_or_default();
    note(area, "entity::batch_delete", entity::batch_delete(root, vec![dave]).await, any);
}
