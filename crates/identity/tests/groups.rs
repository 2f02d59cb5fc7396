//! Groups, and what membership does.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use identity::{EntityInput, Group, GroupAliasInput, GroupInput, GroupKind};
use kit::{World, entity, group, names, refuses};

fn of(name: &str, policies: &[&str], entities: &[&str], groups: &[&Group]) -> GroupInput {
    GroupInput {
        policies: Some(names(policies)),
        member_entities: Some(names(entities)),
        member_groups: Some(groups.iter().map(|group| group.id.clone()).collect()),
        ..group(name)
    }
}

async fn delete(world: &World, group: &Group) {
    let tx = world.tx();
    assert!(world.directory(&tx).delete_group(&group.id).await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn policies_come_down_through_nested_groups_and_bind_at_once() {
    let world = World::new();
    let bob = world.entity(EntityInput { policies: Some(names(&["own"])), ..entity("bob") }).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["own"]);
    let team = world.group(of("team", &["team"], &[&bob.id], &[])).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["own", "team"]);
    let unit = world.group(of("unit", &["unit"], &[], &[&team])).await.unwrap();
    let firm = world.group(of("firm", &["firm"], &[], &[&unit])).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["firm", "own", "team", "unit"]);
    let standing = world.identities.standing(&bob.id).await.unwrap();
    assert_eq!(standing.subject.groups.len(), 3, "templates may speak of inherited groups too");
    let tx = world.tx();
    let memberships = world.directory(&tx).memberships(&bob).await.unwrap();
    assert!(memberships.direct.is_empty(), "the record is of before");
    let memberships = world.directory(&tx).memberships(&world.find(&bob.id).await.unwrap()).await.unwrap();
    assert_eq!(memberships.direct.keys().collect::<Vec<_>>(), [&team.id]);
    assert_eq!(memberships.inherited.len(), 2);
    // Each change binds at the next look: policies, membership, nesting, removal.
    world.group(GroupInput { policies: Some(names(&["other"])), ..group("FIRM") }).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["other", "own", "team", "unit"]);
    world.group(GroupInput { member_groups: Some(Vec::new()), ..group("unit") }).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["own", "team"]);
    world.group(GroupInput { member_entities: Some(Vec::new()), ..group("team") }).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["own"]);
    world.group(of("team", &["team"], &[&bob.id], &[])).await.unwrap();
    world.group(of("unit", &["unit"], &[], &[&team])).await.unwrap();
    delete(&world, &team).await;
    assert_eq!(world.policies(&bob.id).await, ["own"]);
    world.entity(EntityInput { disabled: Some(true), ..entity("bob") }).await.unwrap();
    assert!(world.refused(&bob.id).await);
    delete(&world, &unit).await;
    delete(&world, &firm).await;
    world.delete(&bob.id).await;
    assert!(world.keys().await.is_empty(), "{:?}", world.keys().await);
}

#[tokio::test]
async fn no_circle_of_groups_can_be_made_not_even_by_two_at_once() {
    let world = World::new();
    let a = world.group(group("a")).await.unwrap();
    let b = world.group(of("b", &[], &[], &[&a])).await.unwrap();
    let c = world.group(of("c", &[], &[], &[&b])).await.unwrap();
    for (name, below) in [("a", &a), ("a", &b), ("a", &c), ("b", &c)] {
        refuses(world.group(of(name, &[], &[], &[below])).await, "cyclic relationship");
    }
    // A circle of which two requests close a half each.
    let (d, e) = (world.group(group("d")).await.unwrap(), world.group(group("e")).await.unwrap());
    let (first, second) = (world.tx(), world.tx());
    world.directory(&first).write_group(of("d", &[], &[], &[&e])).await.unwrap();
    world.directory(&second).write_group(of("e", &[], &[], &[&d])).await.unwrap();
    first.commit().await.unwrap();
    assert!(matches!(second.commit().await, Err(storage::CommitError::Conflict(_))));
    // Groups that have nothing to do with each other change at the same time.
    let (first, second) = (world.tx(), world.tx());
    world.directory(&first).write_group(of("a", &["x"], &[], &[])).await.unwrap();
    world.directory(&second).write_group(of("d", &["x"], &[], &[&e])).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
}

#[tokio::test]
async fn groups_refuse_what_makes_no_sense() {
    let world = World::new();
    let a = world.group(group("a")).await.unwrap();
    world.group(group("b")).await.unwrap();
    refuses(world.group(GroupInput { id: Some(a.id.clone()), ..group("B") }).await, "group name is already in use");
    refuses(world.group(GroupInput { kind: Some(GroupKind::External), ..group("a") }).await, "cannot be changed");
    refuses(world.group(of("a", &["Root"], &[], &[])).await, "policies cannot contain root");
    refuses(world.group(of("a", &[], &["nobody"], &[])).await, "member_entity_ids");
    let nobody = GroupInput { member_groups: Some(names(&["none"])), ..group("a") };
    refuses(world.group(nobody).await, "member_group_ids");
    let bob = world.entity(entity("bob")).await.unwrap();
    let external = GroupInput { kind: Some(GroupKind::External), ..group("x") };
    world.group(external.clone()).await.unwrap();
    let members = GroupInput { member_entities: Some(vec![bob.id]), ..external.clone() };
    refuses(world.group(members).await, "member entities can't be set manually for external groups");
    let members = GroupInput { member_groups: Some(vec![a.id.clone()]), ..external };
    refuses(world.group(members).await, "member groups can't be set for external groups");
    let alias = GroupAliasInput {
        name: Some("x".to_owned()),
        accessor: Some("auth_1".to_owned()),
        group: Some(a.id),
        ..GroupAliasInput::default()
    };
    refuses(world.group_alias(alias).await, "alias can't be set on an internal group");
}

#[tokio::test]
async fn logins_decide_who_is_in_an_external_group() {
    let world = World::new();
    let admins = world.external("admins", "auth_1", "Admins", &["admin"]).await.unwrap();
    let staff = world.external("staff", "auth_1", "staff", &["staff"]).await.unwrap();
    refuses(world.external("others", "auth_1", "STAFF", &[]).await, "already in use");
    let bob = world.login("auth_1", "bob", &["ADMINS", "staff", "unknown"]).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["admin", "staff"]);
    assert_eq!(world.members(&admins).await, [bob.id.as_str()]);
    // A login through another mount says nothing of the groups of this one.
    world.login("auth_2", "bob", &["admins"]).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["admin", "staff"]);
    world.login("auth_1", "bob", &["staff"]).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["staff"]);
    assert!(world.members(&admins).await.is_empty());
    // With its alias a membership ends at once; it begins again by login or renewal.
    let alias = staff.alias.clone().unwrap();
    let renamed =
        GroupAliasInput { id: Some(alias.id.clone()), name: Some("crew".to_owned()), ..GroupAliasInput::default() };
    world.group_alias(renamed).await.unwrap();
    assert!(world.policies(&bob.id).await.is_empty());
    assert!(world.members(&staff).await.is_empty());
    let back = GroupAliasInput { id: Some(alias.id.clone()), name: Some("staff".to_owned()), ..Default::default() };
    world.group_alias(back).await.unwrap();
    assert!(world.policies(&bob.id).await.is_empty(), "a name that comes back is not the membership of before");
    let tx = world.tx();
    world.directory(&tx).renew(&bob.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["staff"]);
    let tx = world.tx();
    assert!(world.directory(&tx).delete_group_alias(&alias.id).await.unwrap());
    tx.commit().await.unwrap();
    assert!(world.policies(&bob.id).await.is_empty());
    delete(&world, &staff).await;
    delete(&world, &admins).await;
    let others = world.directory(&world.tx()).group_named("others").await.unwrap().unwrap();
    delete(&world, &others).await;
    let left = world.keys().await;
    assert!(left.iter().all(|key| !key.contains("group") && !key.contains("member")), "{left:?}");
}

#[tokio::test]
async fn a_group_that_moves_to_another_mount_is_entered_through_that_one() {
    let world = World::new();
    let group = world.external("g", "auth_1", "g", &["g"]).await.unwrap();
    let bob = world.login("auth_1", "bob", &["g"]).await.unwrap();
    let alias = group.alias.clone().unwrap();
    let moved = GroupAliasInput { id: Some(alias.id), accessor: Some("auth_2".to_owned()), ..Default::default() };
    world.group_alias(moved).await.unwrap();
    assert!(world.policies(&bob.id).await.is_empty());
    let input = identity::AliasInput {
        name: Some("bob".to_owned()),
        accessor: Some("auth_2".to_owned()),
        entity: Some(bob.id.clone()),
        ..Default::default()
    };
    world.alias(input).await.unwrap();
    world.login("auth_2", "bob", &["g"]).await.unwrap();
    assert_eq!(world.members(&group).await, [bob.id.as_str()]);
    // The first mount has nothing more to say of it.
    world.login("auth_1", "bob", &[]).await.unwrap();
    assert_eq!(world.policies(&bob.id).await, ["g"]);
    assert_eq!(world.members(&group).await, [bob.id.as_str()]);
}

#[tokio::test]
async fn a_request_costs_the_same_however_many_groups_and_members_there_are() {
    let world = World::new();
    let bob = world.entity(entity("bob")).await.unwrap();
    let cost = async || {
        // Once to put it together, once as every later request has it.
        world.policies(&bob.id).await;
        world.reads(world.identities.standing(&bob.id)).await.1
    };
    let alone = cost().await;
    let mut others = vec![bob.id.clone()];
    for n in 0..50 {
        others.push(world.entity(entity(&format!("other {n}"))).await.unwrap().id);
    }
    for n in 0..50 {
        let members = GroupInput { member_entities: Some(others.clone()), ..group(&format!("group {n}")) };
        world.group(members).await.unwrap();
    }
    assert_eq!((cost().await, alone), (2, 2));
}
