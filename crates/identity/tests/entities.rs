//! Entities and their aliases.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use identity::{AliasInput, Clash, EntityInput, Merge, Merged};
use kit::{World, entity, names, pairs, refuses};

fn alias(accessor: &str, name: &str, of: &str) -> AliasInput {
    AliasInput {
        accessor: Some(accessor.to_owned()),
        name: Some(name.to_owned()),
        entity: Some(of.to_owned()),
        ..AliasInput::default()
    }
}

#[tokio::test]
async fn names_are_found_in_any_case_and_taken_in_any_case() {
    let world = World::new();
    let bob = world.entity(EntityInput { policies: Some(names(&["App"])), ..entity("Bob") }).await.unwrap();
    assert_eq!((bob.name.as_str(), bob.policies.as_slice()), ("Bob", ["app".to_owned()].as_slice()));
    // The same name in another case is the same entity, not a second one.
    let again = world.entity(EntityInput { metadata: Some(pairs([("a", "b")])), ..entity("BOB") }).await.unwrap();
    assert_eq!((again.id.as_str(), again.name.as_str()), (bob.id.as_str(), "BOB"));
    assert_eq!(again.policies, ["app"], "what is left out stays");
    let ann = world.entity(entity("ann")).await.unwrap();
    let to_bob = EntityInput { id: Some(ann.id.clone()), ..entity("bOb") };
    refuses(world.entity(to_bob).await, "entity name is already in use");
    let renamed = world.entity(EntityInput { id: Some(ann.id.clone()), ..entity("Carl") }).await.unwrap();
    assert_eq!(renamed.id, ann.id);
    let tx = world.tx();
    let directory = world.directory(&tx);
    assert_eq!(directory.entity_named("cARL").await.unwrap().unwrap().id, ann.id);
    assert!(directory.entity_named("ann").await.unwrap().is_none(), "the former name is free");
    let (listed, more) = directory.entities_by_name(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["BOB", "Carl"]);
    assert!(!more);
    let (rest, _) = directory.entities_by_name(Some("Bob"), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
}

// Two entities with one name were once made by two requests at the same moment, and each by a spelling of its own: the
// index, not a look beforehand, has to refuse the second.
#[tokio::test]
async fn two_that_take_a_name_at_once_cannot_both_have_it() {
    let world = World::new();
    let (first, second) = (world.tx(), world.tx());
    world.directory(&first).write_entity(entity("shop")).await.unwrap();
    world.directory(&second).write_entity(entity("SHOP")).await.unwrap();
    first.commit().await.unwrap();
    assert!(matches!(second.commit().await, Err(storage::CommitError::Conflict(_))));

    let (first, second) = (world.tx(), world.tx());
    let metadata = pairs([]);
    let seen = |name| identity::Seen { accessor: "auth_1", name, metadata: &metadata, groups: &[] };
    world.directory(&first).login(seen("svc")).await.unwrap();
    world.directory(&second).login(seen("Svc")).await.unwrap();
    first.commit().await.unwrap();
    assert!(matches!(second.commit().await, Err(storage::CommitError::Conflict(_))));
}

#[tokio::test]
async fn what_cannot_be_a_name_or_right_is_refused() {
    let world = World::new();
    refuses(world.entity(entity(" x")).await, "must not begin or end");
    refuses(world.entity(entity("a\u{0}")).await, "printable");
    let root = EntityInput { policies: Some(names(&["a", " ROOT"])), ..entity("x") };
    refuses(world.entity(root).await, "policies cannot contain root");
    let unknown = EntityInput { id: Some("none".to_owned()), ..EntityInput::default() };
    refuses(world.entity(unknown).await, "no entity with this id");
    let long = EntityInput { metadata: Some(pairs([("k", &"v".repeat(513))])), ..entity("x") };
    refuses(world.entity(long).await, "values must not be longer");
    assert!(world.keys().await.is_empty(), "nothing half done");
}

#[tokio::test]
async fn a_login_finds_its_entity_again_whatever_the_case() {
    let world = World::new();
    let first = world.login("auth_1", "Svc", &[]).await.unwrap();
    let again = world.login("auth_1", "sVC", &[]).await.unwrap();
    assert_eq!(again.id, first.id);
    assert_eq!(again.aliases["auth_1"].id, first.aliases["auth_1"].id);
    assert_eq!(again.aliases["auth_1"].metadata, pairs([("from", "auth_1")]));
    assert_ne!(world.login("auth_2", "svc", &[]).await.unwrap().id, first.id, "another mount, another name");
    let before = world.store_revision().await;
    world.login("auth_1", "sVC", &[]).await.unwrap();
    assert_eq!(world.store_revision().await, before, "a login that changes nothing writes nothing");
    let off = EntityInput { id: Some(first.id.clone()), disabled: Some(true), ..EntityInput::default() };
    world.entity(off).await.unwrap();
    let refused = world.login("auth_1", "svc", &[]).await;
    assert!(matches!(refused, Err(gate::Error::Denied(gate::Refusal::Entity))));
}

#[tokio::test]
async fn an_entity_has_one_alias_for_a_mount_and_a_name_one_entity() {
    let world = World::new();
    let bob = world.entity(entity("bob")).await.unwrap();
    let ann = world.entity(entity("ann")).await.unwrap();
    let (owner, _) = world.alias(alias("auth_1", "bob", &bob.id)).await.unwrap();
    let id = owner.aliases["auth_1"].id.clone();
    refuses(world.alias(alias("auth_1", "robert", &bob.id)).await, "Alias already exists for requested entity");
    refuses(world.alias(alias("auth_1", "x", "nobody")).await, "invalid canonical ID");
    refuses(world.alias(AliasInput { accessor: None, ..alias("", "x", "") }).await, "must be provided");
    // The same name again is the same alias; with another entity it moves there.
    let notes = AliasInput { custom_metadata: Some(pairs([("tier", "gold")])), ..alias("auth_1", "BOB", &ann.id) };
    let (owner, _) = world.alias(notes).await.unwrap();
    assert_eq!((owner.id.as_str(), owner.aliases["auth_1"].id.as_str()), (ann.id.as_str(), id.as_str()));
    assert!(world.find(&bob.id).await.unwrap().aliases.is_empty());
    assert_eq!(world.login("auth_1", "bob", &[]).await.unwrap().id, ann.id, "a login follows the alias");
    assert_eq!(world.find(&ann.id).await.unwrap().aliases["auth_1"].custom_metadata, pairs([("tier", "gold")]));
    // By id: the name, then the mount.
    let by_id = AliasInput { id: Some(id.clone()), name: Some("ann".to_owned()), ..AliasInput::default() };
    world.alias(by_id).await.unwrap();
    assert_ne!(world.login("auth_1", "bob", &[]).await.unwrap().id, ann.id, "the former name is free");
    let by_id = AliasInput { id: Some(id.clone()), accessor: Some("auth_2".to_owned()), ..AliasInput::default() };
    world.alias(by_id).await.unwrap();
    assert_eq!(world.login("auth_2", "ann", &[]).await.unwrap().id, ann.id);
    let tx = world.tx();
    assert!(world.directory(&tx).delete_alias(&id).await.unwrap());
    tx.commit().await.unwrap();
    assert!(world.find(&ann.id).await.unwrap().aliases.is_empty());
    assert!(world.directory(&world.tx()).alias(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_is_left_of_an_entity_that_is_removed() {
    let world = World::new();
    let bob = world.login("auth_1", "bob", &[]).await.unwrap();
    let group = kit::group("team");
    let team = identity::GroupInput { member_entities: Some(vec![bob.id.clone()]), ..group };
    let team = world.group(team).await.unwrap();
    assert_eq!(world.members(&team).await, [bob.id.as_str()]);
    world.delete(&bob.id).await;
    assert!(world.members(&team).await.is_empty());
    assert!(world.refused(&bob.id).await, "its tokens are refused");
    assert!(world.keys().await.iter().all(|key| !key.contains(&bob.id)), "{:?}", world.keys().await);
    assert_ne!(world.login("auth_1", "bob", &[]).await.unwrap().id, bob.id, "the next login makes another");
}

#[tokio::test]
async fn a_merge_makes_one_of_several_and_keeps_their_tokens() {
    let world = World::new();
    let to = world.login("auth_1", "bob", &[]).await.unwrap();
    let from = world.login("auth_2", "robert", &[]).await.unwrap();
    let rights = EntityInput { id: Some(from.id.clone()), policies: Some(names(&["from"])), ..entity("robert") };
    world.entity(rights).await.unwrap();
    let team = identity::GroupInput {
        member_entities: Some(vec![from.id.clone()]),
        policies: Some(names(&["team"])),
        ..kit::group("team")
    };
    let team = world.group(team).await.unwrap();
    let merge = |from: &str, keep: &[&str]| Merge { from: names(&[from]), to: to.id.clone(), keep: names(keep) };
    let tx = world.tx();
    refuses(world.directory(&tx).merge(&merge(&to.id, &[])).await, "should not be present");
    refuses(world.directory(&tx).merge(&merge("none", &[])).await, "from is invalid");
    assert!(matches!(world.directory(&tx).merge(&merge(&from.id, &[])).await, Ok(Merged::Done)));
    tx.commit().await.unwrap();
    let one = world.find(&to.id).await.unwrap();
    assert_eq!(one.aliases.keys().map(String::as_str).collect::<Vec<_>>(), ["auth_1", "auth_2"]);
    assert!(one.aliases["auth_2"].merged_from.contains(&from.id) && one.merged.contains(&from.id));
    assert_eq!(world.members(&team).await, [to.id.as_str()]);
    assert!(world.find(&from.id).await.is_none());
    // A token of the former entity is one of the whole; rights are not poured together.
    let standing = world.identities.standing(&from.id).await.unwrap();
    assert_eq!((&*standing.id, standing.policies.as_ref()), (to.id.as_str(), ["team".to_owned()].as_slice()));
    assert_eq!(world.login("auth_2", "robert", &[]).await.unwrap().id, to.id);
    world.entity(entity("robert")).await.expect("the former name is free");
}

#[tokio::test]
async fn aliases_that_clash_stop_a_merge_until_it_is_said_which_to_keep() {
    let world = World::new();
    let to = world.login("auth_1", "bob", &[]).await.unwrap();
    let from = world.login("auth_1", "robert", &[]).await.unwrap();
    let third = world.login("auth_1", "bert", &[]).await.unwrap();
    let keys = world.keys().await;
    let run = async |from: &[&str], keep: &[&str]| {
        let tx = world.tx();
        let merge = Merge { from: names(from), to: to.id.clone(), keep: names(keep) };
        let merged = world.directory(&tx).merge(&merge).await;
        tx.commit().await.unwrap();
        merged
    };
    let (own, other) = (to.aliases["auth_1"].id.as_str(), from.aliases["auth_1"].id.as_str());
    let Ok(Merged::Clashes(clashes)) = run(&[&from.id], &[]).await else { panic!("not refused") };
    let clash = Clash {
        accessor: "auth_1".to_owned(),
        from: from.id.clone(),
        from_alias: other.to_owned(),
        to: to.id.clone(),
        to_alias: own.to_owned(),
    };
    assert_eq!(clashes, [clash]);
    let Ok(Merged::Clashes(both)) = run(&[&from.id], &[own, other]).await else { panic!("not refused") };
    assert_eq!(both.len(), 1, "to keep both is to keep none");
    refuses(run(&[&from.id, &third.id], &[own]).await, "exactly one");
    assert_eq!(world.keys().await, keys, "nothing was written");
    assert!(matches!(run(&[&from.id], &[other]).await, Ok(Merged::Done)));
    assert_eq!(world.login("auth_1", "robert", &[]).await.unwrap().id, to.id);
    assert_ne!(world.login("auth_1", "bob", &[]).await.unwrap().id, to.id, "the alias that was not kept is gone");
    assert!(matches!(run(&[&third.id], &[other]).await, Ok(Merged::Done)));
    assert_eq!(world.login("auth_1", "robert", &[]).await.unwrap().id, to.id);
}
