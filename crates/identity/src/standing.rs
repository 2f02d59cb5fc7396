//! What an entity may do at this moment, and as whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use clock::Clock;
use gate::{Error, Refusal};
use policy::{Subject, SubjectAlias, SubjectGroup};
use quick_cache::sync::Cache;
use storage::{Key, Revision, Store, Tx};

use crate::{Directory, Entity, Group, keys, mfa::Enforcements};

/// The identities of the server, as requests ask for them.
///
/// What an entity stands for is kept as long as neither its record nor any group has changed since: two look-ups a
/// request, however many groups, members and entities there are.
pub struct Identities {
    store: Arc<dyn Store>,
    clock: Clock,
    known: Cache<Arc<str>, Arc<Standing>>,
    enforcements: Enforcements,
}

/// An entity at one moment: what its records say, put together.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The id of the entity; of the whole, if it was merged.
    pub id: Arc<str>,
    /// Its policies and those of all its groups, sorted.
    pub policies: Arc<[String]>,
    /// What templates may speak of.
    pub subject: Subject,
    /// Equal for the same entity only if nothing has changed in between.
    pub version: [Option<u64>; 2],
    disabled: bool,
}

impl Standing {
    /// What it was put together from: as long as these have these revisions, it stands.
    pub fn seen(&self) -> [(Key, Option<Revision>); 2] {
        let [entity, groups] = self.version;
        [(keys::entity_key(&self.id), entity), (keys::groups_changed(), groups)]
    }

    /// Whether the entity's tokens are refused.
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }
}

/// The groups of an entity.
#[derive(Clone, Debug, Default)]
pub struct Memberships {
    /// Those that it is a direct member of.
    pub direct: BTreeMap<String, Group>,
    /// Those above them.
    pub inherited: BTreeMap<String, Group>,
}

/// How many entities are kept in memory.
const KNOWN: usize = 8192;

impl Identities {
    /// The identities in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, known: Cache::new(KNOWN), enforcements: Enforcements::default() }
    }

    /// Which logins need a second factor.
    pub fn enforcements(&self) -> &Enforcements {
        &self.enforcements
    }

    /// What the holder of a token of this entity may do now. Refused if the entity is disabled or gone.
    pub async fn standing(&self, id: &str) -> Result<Arc<Standing>, Error> {
        let standing = self.look_up(id).await?.ok_or(Error::Denied(Refusal::Entity))?;
        if standing.disabled { Err(Error::Denied(Refusal::Entity)) } else { Ok(standing) }
    }

    /// What an entity stands for, also if it is disabled; `None` if it is gone.
    pub async fn look_up(&self, id: &str) -> Result<Option<Arc<Standing>>, Error> {
        // The change of groups is read first: what is put together afterwards is at least that new.
        let groups = self.store.get(&keys::groups_changed()).await?.map(|entry| entry.revision);
        let mut entry = self.store.get(&keys::entity_key(id)).await?;
        let mut whole = None;
        if entry.is_none()
            && let Some(pointer) = self.store.get(&keys::merged(id)).await?
        {
            let into: String = serde_json::from_slice(&pointer.value)
                .map_err(|_| Error::internal(format!("the merged entity {id} cannot be understood")))?;
            entry = self.store.get(&keys::entity_key(&into)).await?;
            whole = Some(into);
        }
        let Some(entry) = entry else { return Ok(None) };
        let id = whole.as_deref().unwrap_or(id);
        let version = [Some(entry.revision), groups];
        if let Some(known) = self.known.get(id)
            && known.version == version
        {
            return Ok(Some(known));
        }
        let entity: Entity = serde_json::from_slice(&entry.value)
            .map_err(|_| Error::internal(format!("the entity {id} cannot be understood")))?;
        let tx = Tx::new(Arc::clone(&self.store));
        let mut standing = Directory::new(&tx, self.clock.now()).standing_of(&entity).await?;
        standing.version = version;
        let standing = Arc::new(standing);
        self.known.insert(Arc::clone(&standing.id), Arc::clone(&standing));
        Ok(Some(standing))
    }
}

impl Directory<'_> {
    /// What an entity stands for in this unit of work; not kept.
    pub async fn standing_of(&self, entity: &Entity) -> Result<Standing, Error> {
        let memberships = self.memberships(entity).await?;
        let groups = || memberships.direct.values().chain(memberships.inherited.values());
        let policies: BTreeSet<&String> =
            entity.policies.iter().chain(groups().flat_map(|group| &group.policies)).collect();
        // Neither is ever given to an entity; what is damaged must not become more than it was.
        let given = policies.into_iter().filter(|policy| !matches!(policy.as_str(), "root" | "response-wrapping"));
        Ok(Standing {
            id: entity.id.as_str().into(),
            policies: given.cloned().collect(),
            subject: subject(entity, groups()),
            version: [None, None],
            disabled: entity.disabled,
        })
    }

    /// The groups of an entity.
    pub async fn memberships(&self, entity: &Entity) -> Result<Memberships, Error> {
        let mut found = Memberships::default();
        for id in &entity.groups {
            if let Some(group) = self.group(id).await? {
                found.direct.insert(id.clone(), group);
            }
        }
        for (id, binding) in entity.external.values().flat_map(|external| &external.groups) {
            let group = self.group(id).await?;
            // A membership ends with the alias by which it came about.
            let bound = |group: &Group| group.alias.as_ref().is_some_and(|alias| alias.binding == *binding);
            if let Some(group) = group.filter(bound) {
                found.direct.insert(id.clone(), group);
            }
        }
        for group in found.direct.values() {
            let above = self.all_above(group).await?;
            found.inherited.extend(above.into_iter().filter(|(id, _)| !found.direct.contains_key(id)));
        }
        Ok(found)
    }
}

fn subject<'g>(entity: &Entity, groups: impl Iterator<Item = &'g Group>) -> Subject {
    let alias = |alias: &crate::Alias| SubjectAlias {
        id: alias.id.clone(),
        name: alias.name.clone(),
        metadata: alias.metadata.clone(),
        custom_metadata: alias.custom_metadata.clone(),
    };
    let group = |group: &Group| SubjectGroup {
        id: group.id.clone(),
        name: group.name.clone(),
        metadata: group.metadata.clone(),
    };
    Subject {
        id: entity.id.clone(),
        name: entity.name.clone(),
        metadata: entity.metadata.clone(),
        aliases: entity.aliases.iter().map(|(accessor, known)| (accessor.clone(), alias(known))).collect(),
        groups: groups.map(group).collect(),
    }
}
