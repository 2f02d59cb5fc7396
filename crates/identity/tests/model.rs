//! Made-up sequences of changes against a plain model: who is in which group, and what that gives.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod kit;

use std::collections::{BTreeMap, BTreeSet};

use identity::{GroupAliasInput, GroupInput, GroupKind, Merge, Merged};
use kit::{World, entity, group, names};
use proptest::prelude::*;

const ENTITIES: usize = 4;
const GROUPS: usize = 5;
/// Groups from here on are external.
const EXTERNAL: usize = 3;

#[derive(Clone, Debug)]
enum Act {
    Entities(usize, BTreeSet<usize>),
    Groups(usize, BTreeSet<usize>),
    Policies(usize, usize),
    Remove(usize),
    RemoveEntity(usize),
    Login(usize, BTreeSet<usize>),
    Rename(usize),
    Merge(usize, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let entities = || prop::collection::btree_set(0..ENTITIES, 0..ENTITIES);
    let groups = || prop::collection::btree_set(0..GROUPS, 0..3);
    let act = prop_oneof![
        4 => (0..EXTERNAL, entities()).prop_map(|(group, members)| Act::Entities(group, members)),
        4 => (0..EXTERNAL, groups()).prop_map(|(group, members)| Act::Groups(group, members)),
        2 => (0..GROUPS, 0..9_usize).prop_map(|(group, policy)| Act::Policies(group, policy)),
        1 => (0..GROUPS).prop_map(Act::Remove),
        1 => (0..ENTITIES).prop_map(Act::RemoveEntity),
        4 => (0..ENTITIES, prop::collection::btree_set(EXTERNAL..GROUPS, 0..3)).prop_map(|(of, to)| Act::Login(of, to)),
        1 => (EXTERNAL..GROUPS).prop_map(Act::Rename),
        1 => (0..ENTITIES, 0..ENTITIES).prop_map(|(from, to)| Act::Merge(from, to)),
    ];
    prop::collection::vec(act, 1..40)
}

#[derive(Default)]
struct Model {
    /// Ids by number; what is not there is not there.
    entities: BTreeMap<usize, String>,
    groups: BTreeMap<usize, String>,
    policies: BTreeMap<usize, String>,
    members: BTreeMap<usize, BTreeSet<usize>>,
    below: BTreeMap<usize, BTreeSet<usize>>,
    /// How often the alias of an external group was renamed.
    renamed: BTreeMap<usize, u32>,
    /// What the mount that all share calls an entity.
    names: BTreeMap<usize, String>,
    /// How many names were made up: each is used once.
    made: usize,
}

impl Model {
    fn is_below(&self, one: usize, other: usize) -> bool {
        one == other || self.below.get(&other).is_some_and(|below| below.iter().any(|mid| self.is_below(one, *mid)))
    }

    fn expected(&self, entity: usize) -> BTreeSet<String> {
        let direct = self.members.iter().filter(|(_, members)| members.contains(&entity)).map(|(group, _)| *group);
        let direct: Vec<usize> = direct.collect();
        let all = self.groups.keys().filter(|group| direct.iter().any(|member| self.is_below(*member, **group)));
        all.filter_map(|group| self.policies.get(group).cloned()).collect()
    }
}

async fn ensure(world: &World, model: &mut Model, act: &Act) {
    let (entities, groups): (Vec<usize>, Vec<usize>) = match act {
        Act::Entities(group, members) => (members.iter().copied().collect(), vec![*group]),
        Act::Groups(group, members) => (Vec::new(), members.iter().copied().chain([*group]).collect()),
        Act::Policies(group, _) | Act::Remove(group) | Act::Rename(group) => (Vec::new(), vec![*group]),
        Act::RemoveEntity(entity) => (vec![*entity], Vec::new()),
        Act::Login(entity, groups) => (vec![*entity], groups.iter().copied().collect()),
        Act::Merge(from, to) => (vec![*from, *to], Vec::new()),
    };
    for number in entities {
        if !model.entities.contains_key(&number) {
            model.made += 1;
            let made = world.login(&format!("auth_{}", model.made), "somebody", &[]).await.unwrap();
            model.entities.insert(number, made.id);
        }
    }
    for number in groups {
        if model.groups.contains_key(&number) {
            continue;
        }
        let name = format!("Group {number}");
        let made = match number < EXTERNAL {
            true => world.group(group(&name)).await.unwrap(),
            false => world.external(&name, "auth_all", &alias(number, 0), &[]).await.unwrap(),
        };
        model.groups.insert(number, made.id);
        model.renamed.insert(number, 0);
    }
}

fn alias(group: usize, renamed: u32) -> String {
    format!("alias {group} {renamed}")
}

async fn apply(world: &World, model: &mut Model, act: Act) {
    ensure(world, model, &act).await;
    match act {
        Act::Entities(number, members) => {
            let ids = members.iter().map(|member| model.entities[member].clone()).collect();
            let input = GroupInput { member_entities: Some(ids), ..group(&format!("GROUP {number}")) };
            world.group(input).await.unwrap();
            model.members.insert(number, members);
        }
        Act::Groups(number, below) => {
            let circle = below.iter().any(|member| model.is_below(number, *member));
            let ids = below.iter().map(|member| model.groups[member].clone()).collect();
            let input = GroupInput { member_groups: Some(ids), ..group(&format!("group {number}")) };
            assert_eq!(world.group(input).await.is_err(), circle);
            if !circle {
                model.below.insert(number, below);
            }
        }
        Act::Policies(number, policy) => {
            let policy = format!("policy-{policy}");
            let input = GroupInput {
                id: Some(model.groups[&number].clone()),
                policies: Some(names(&[&policy])),
                kind: (number >= EXTERNAL).then_some(GroupKind::External),
                ..GroupInput::default()
            };
            world.group(input).await.unwrap();
            model.policies.insert(number, policy);
        }
        Act::Remove(number) => {
            let tx = world.tx();
            assert!(world.directory(&tx).delete_group(&model.groups[&number]).await.unwrap());
            tx.commit().await.unwrap();
            model.groups.remove(&number);
            model.policies.remove(&number);
            model.members.remove(&number);
            model.below.remove(&number);
            for below in model.below.values_mut() {
                below.remove(&number);
            }
        }
        Act::RemoveEntity(number) => {
            let id = model.entities.remove(&number).unwrap();
            world.delete(&id).await;
            model.names.remove(&number);
            for members in model.members.values_mut() {
                members.remove(&number);
            }
        }
        Act::Login(number, groups) => {
            // The alias at the mount that all share is made by the operator, so that the login finds this entity.
            if !model.names.contains_key(&number) {
                model.made += 1;
                let name = format!("user {}", model.made);
                let input = identity::AliasInput {
                    accessor: Some("auth_all".to_owned()),
                    name: Some(name.clone()),
                    entity: Some(model.entities[&number].clone()),
                    ..identity::AliasInput::default()
                };
                world.alias(input).await.unwrap();
                model.names.insert(number, name);
            }
            let name = model.names[&number].to_uppercase();
            let said: Vec<String> = groups.iter().map(|group| alias(*group, model.renamed[group])).collect();
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            assert_eq!(world.login("auth_all", &name, &said).await.unwrap().id, model.entities[&number]);
            for group in EXTERNAL..GROUPS {
                let members = model.members.entry(group).or_default();
                if groups.contains(&group) {
                    members.insert(number)
                } else {
                    members.remove(&number)
                };
            }
        }
        Act::Rename(number) => {
            let times = model.renamed.get_mut(&number).unwrap();
            *times += 1;
            let input = GroupAliasInput {
                name: Some(alias(number, *times)),
                accessor: Some("auth_all".to_owned()),
                group: Some(model.groups[&number].clone()),
                ..GroupAliasInput::default()
            };
            world.group_alias(input).await.unwrap();
            model.members.remove(&number);
        }
        Act::Merge(from, to) => {
            let merge =
                Merge { from: names(&[&model.entities[&from]]), to: model.entities[&to].clone(), keep: Vec::new() };
            let tx = world.tx();
            let merged = world.directory(&tx).merge(&merge).await;
            tx.commit().await.unwrap();
            match merged {
                Err(_) => assert_eq!(from, to),
                // Both have an alias at the mount that all share.
                Ok(Merged::Clashes(_)) => {}
                Ok(Merged::Done) => {
                    let former = model.entities.remove(&from).unwrap();
                    if let Some(name) = model.names.remove(&from) {
                        model.names.insert(to, name);
                    }
                    assert_eq!(world.policies(&former).await, world.policies(&model.entities[&to]).await);
                    for members in model.members.values_mut() {
                        if members.remove(&from) {
                            members.insert(to);
                        }
                    }
                }
            }
        }
    }
}

async fn compare(world: &World, model: &Model) {
    for (number, id) in &model.entities {
        let policies: BTreeSet<String> = world.policies(id).await.into_iter().collect();
        assert_eq!(policies, model.expected(*number), "entity {number}");
    }
    let tx = world.tx();
    let directory = world.directory(&tx);
    for (number, id) in &model.groups {
        let group = directory.group(id).await.unwrap().unwrap();
        let members: BTreeSet<String> = directory.members(&group).await.unwrap().into_iter().collect();
        let expected = model.members.get(number).into_iter().flatten();
        let expected: BTreeSet<String> = expected.map(|member| model.entities[member].clone()).collect();
        assert_eq!(members, expected, "group {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn indexes_and_rights_follow_every_change(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (world, mut model) = (World::new(), Model::default());
            for act in acts {
                apply(&world, &mut model, act).await;
                compare(&world, &model).await;
            }
            // At the end nothing is left of what is removed.
            for id in model.entities.values() {
                world.delete(id).await;
            }
            for id in model.groups.values() {
                let tx = world.tx();
                world.directory(&tx).delete_group(id).await.unwrap();
                tx.commit().await.unwrap();
            }
            assert!(world.keys().await.is_empty(), "{:?}", world.keys().await);
        });
    }
}

#[tokio::test]
async fn the_kit_keeps_what_it_says() {
    let world = World::new();
    assert!(world.keys().await.is_empty());
    world.entity(entity("a")).await.unwrap();
    assert_eq!(world.keys().await.len(), 2);
}
