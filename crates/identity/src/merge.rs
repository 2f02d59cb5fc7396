//! Several entities become one.

use std::collections::BTreeSet;

use gate::Error;

use crate::{Directory, Entity, keys};

/// Which entities become one.
#[derive(Clone, Debug, Default)]
pub struct Merge {
    /// Those that go.
    pub from: Vec<String>,
    /// The one that stays.
    pub to: String,
    /// The aliases to keep where both have one for the same mount; only with a single entity that goes.
    pub keep: Vec<String>,
}

/// Two aliases for the same mount, of which only one can stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The mount.
    pub accessor: String,
    /// The entity that goes.
    pub from: String,
    /// Its alias.
    pub from_alias: String,
    /// The entity that stays.
    pub to: String,
    /// Its alias.
    pub to_alias: String,
}

/// How a merge went.
#[derive(Clone, Debug)]
pub enum Merged {
    /// Nothing was done, because of these.
    Clashes(Vec<Clash>),
    /// It is done.
    Done,
}

impl Directory<'_> {
    /// Makes one entity out of several: its aliases and groups are those of all, its name, metadata and policies stay.
    /// Tokens of those that went are tokens of the one.
    pub async fn merge(&self, merge: &Merge) -> Result<Merged, Error> {
        let from: BTreeSet<&String> = merge.from.iter().collect();
        if from.contains(&merge.to) {
            return Err(Error::invalid("to_entity_id should not be present in from_entity_ids"));
        }
        let invalid = |which: &str| Error::invalid(format!("entity id to merge {which} is invalid"));
        let mut to = self.entity(&merge.to).await?.ok_or_else(|| invalid("to"))?;
        let mut parts = Vec::with_capacity(from.len());
        for id in &from {
            parts.push(self.entity(id).await?.ok_or_else(|| invalid("from"))?);
        }
        let keep: BTreeSet<&String> = merge.keep.iter().collect();
        if !keep.is_empty() && parts.len() != 1 {
            return Err(Error::invalid(
                "conflicting_alias_ids_to_keep can only be given with exactly one id in from_entity_ids",
            ));
        }
        let clashes = clashes(&to, &parts, &keep);
        if !clashes.is_empty() {
            return Ok(Merged::Clashes(clashes));
        }
        for part in &mut parts {
            self.take_in(&mut to, part, &keep).await?;
        }
        self.save_entity(&mut to)?;
        Ok(Merged::Done)
    }

    async fn take_in(&self, to: &mut Entity, part: &mut Entity, keep: &BTreeSet<&String>) -> Result<(), Error> {
        for (accessor, mut alias) in std::mem::take(&mut part.aliases) {
            if let Some(own) = to.aliases.get(&accessor).cloned() {
                if keep.contains(&own.id) {
                    self.drop_alias(&accessor, &alias);
                    self.drop_external(part, &accessor);
                    continue;
                }
                self.drop_alias(&accessor, &own);
                self.drop_external(to, &accessor);
            }
            alias.merged_from.insert(part.id.clone());
            alias.updated = self.now;
            self.drop_alias(&accessor, &alias);
            self.index_alias(&to.id, &accessor, &alias).await?;
            to.aliases.insert(accessor.clone(), alias);
            self.move_external(part, to, &accessor)?;
        }
        for group in &part.groups {
            to.groups.insert(group.clone());
            self.tx.put_json(keys::member(group, &to.id), &"")?;
        }
        self.hand_on_mfa(&part.id, &to.id).await?;
        self.drop_merged(part);
        let former = std::mem::take(&mut part.merged);
        for id in former.into_iter().chain([part.id.clone()]) {
            self.tx.put_json(keys::merged(&id), &to.id)?;
            to.merged.insert(id);
        }
        Ok(())
    }
}

/// The mounts for which two of the entities have an alias, unless it is said which one to keep.
fn clashes(to: &Entity, parts: &[Entity], keep: &BTreeSet<&String>) -> Vec<Clash> {
    let mut owners: std::collections::BTreeMap<&String, (&Entity, &String)> =
        to.aliases.iter().map(|(accessor, alias)| (accessor, (to, &alias.id))).collect();
    let mut found = Vec::new();
    for part in parts {
        for (accessor, alias) in &part.aliases {
            match owners.get(accessor) {
                None => drop(owners.insert(accessor, (part, &alias.id))),
                Some((owner, known)) => {
                    if keep.contains(&alias.id) != keep.contains(known) {
                        continue;
                    }
                    found.push(Clash {
                        accessor: accessor.clone(),
                        from: part.id.clone(),
                        from_alias: alias.id.clone(),
                        to: owner.id.clone(),
                        to_alias: (*known).clone(),
                    });
                }
            }
        }
    }
    found
}
