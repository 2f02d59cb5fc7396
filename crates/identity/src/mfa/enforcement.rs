//! Enforcements: which logins need a second factor.

use std::{collections::BTreeSet, sync::Arc};

use gate::Error;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Key, Revision, Scan, Store};

use super::{Method, method};
use crate::{Directory, Entity, Memberships, names};

/// Logins of these mounts, kinds of method, entities or groups need a code of one of these methods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    /// Its name.
    pub name: String,
    /// A random id.
    pub id: String,
    /// The ids of methods, of which one is enough.
    pub methods: BTreeSet<String>,
    /// The accessors of mounts.
    pub accessors: BTreeSet<String>,
    /// The kinds of login methods, such as `userpass`.
    pub kinds: BTreeSet<String>,
    /// The ids of groups, with the groups below them.
    pub groups: BTreeSet<String>,
    /// The ids of entities.
    pub entities: BTreeSet<String>,
}

/// What an operator says of an enforcement; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct EnforcementInput {
    /// See [`Enforcement::methods`].
    pub methods: Option<Vec<String>>,
    /// See [`Enforcement::accessors`]; they are checked by the caller.
    pub accessors: Option<Vec<String>>,
    /// See [`Enforcement::kinds`].
    pub kinds: Option<Vec<String>>,
    /// See [`Enforcement::groups`].
    pub groups: Option<Vec<String>>,
    /// See [`Enforcement::entities`].
    pub entities: Option<Vec<String>>,
}

/// What a login has to show: a code of one of these methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The enforcement that wants it.
    pub enforcement: String,
    /// The methods.
    pub any: Vec<Method>,
}

/// By which mount somebody logs in.
#[derive(Clone, Copy, Debug)]
pub struct LoginBy<'a> {
    /// The accessor of the mount.
    pub accessor: &'a str,
    /// Its kind.
    pub kind: &'a str,
}

const PREFIX: &str = "sys/identity/mfa/enforcement/";
/// More than this are refused: each login looks at all of them.
const MOST: usize = 1000;

fn key(name: &str) -> Key {
    Key::from(format!("{PREFIX}{}", names::fold(name)))
}

/// Written with every change, so that its revision tells whether any enforcement has changed.
pub(super) fn changed() -> Key {
    Key::new("sys/identity/mfa/enforcements-changed")
}

impl Enforcement {
    fn wants(&self, by: LoginBy<'_>, entity: Option<&Entity>, memberships: &Memberships) -> bool {
        let groups = || memberships.direct.keys().chain(memberships.inherited.keys());
        self.accessors.contains(by.accessor)
            || self.kinds.contains(by.kind)
            || entity.is_some_and(|entity| self.entities.contains(&entity.id))
            || groups().any(|group| self.groups.contains(group))
    }
}

/// All enforcements, kept in memory for as long as none changes: a login costs one look-up where there are none.
#[derive(Default)]
pub struct Enforcements(Mutex<Known>);

type Known = Option<(Option<Revision>, Arc<[Enforcement]>)>;

impl Enforcements {
    async fn all(&self, store: &dyn Store) -> Result<Arc<[Enforcement]>, Error> {
        // The change is read first: what is read afterwards is at least that new.
        let revision = store.get(&changed()).await?.map(|entry| entry.revision);
        if let Some((known, all)) = &*self.0.lock()
            && *known == revision
        {
            return Ok(Arc::clone(all));
        }
        let all: Arc<[Enforcement]> = match revision {
            None => Arc::default(),
            Some(_) => read_all(store).await?.into(),
        };
        *self.0.lock() = Some((revision, Arc::clone(&all)));
        Ok(all)
    }

    /// What a login of `entity` by a mount has to show. `None` is a login without an entity.
    pub async fn demands(
        &self,
        directory: &Directory<'_>,
        entity: Option<&Entity>,
        by: LoginBy<'_>,
    ) -> Result<Vec<Demand>, Error> {
        let all = self.all(&**directory.tx.store()).await?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let memberships = match entity {
            Some(entity) => directory.memberships(entity).await?,
            None => Memberships::default(),
        };
        let mut demands = Vec::new();
        for enforcement in all.iter().filter(|one| one.wants(by, entity, &memberships)) {
            let mut any = Vec::new();
            for id in &enforcement.methods {
                any.extend(directory.mfa_method(id).await?);
            }
            demands.push(Demand { enforcement: enforcement.name.clone(), any });
        }
        Ok(demands)
    }
}

async fn read_all(store: &dyn Store) -> Result<Vec<Enforcement>, Error> {
    let scan = Scan { prefix: PREFIX.to_owned(), after: None, limit: MOST, values: true };
    let page = store.scan(&scan).await?;
    let read = |entry: &storage::Entry| {
        serde_json::from_slice(&entry.value).map_err(|_| Error::internal("a login enforcement cannot be understood"))
    };
    page.entries.iter().map(|(_, entry)| read(entry)).collect()
}

impl Directory<'_> {
    /// Every enforcement, by name.
    pub async fn mfa_enforcements(&self) -> Result<Vec<Enforcement>, Error> {
        Ok(self.page::<Enforcement>(PREFIX, None, MOST).await?.0.into_iter().map(|(_, one)| one).collect())
    }

    /// The enforcement with this name, in whatever case.
    pub async fn mfa_enforcement(&self, name: &str) -> Result<Option<Enforcement>, Error> {
        Ok(self.tx.get_json(&key(name)).await?)
    }

    /// Makes or changes an enforcement.
    pub async fn write_mfa_enforcement(&self, name: &str, input: EnforcementInput) -> Result<(), Error> {
        names::check("name", name)?;
        let known = self.mfa_enforcement(name).await?;
        if known.is_none() && self.mfa_enforcements().await?.len() >= MOST {
            return Err(Error::invalid(format!("there are {MOST} login enforcements already; remove one first")));
        }
        let new = || Enforcement { name: name.to_owned(), id: crypto::random::uuid(), ..Enforcement::default() };
        let mut enforcement = known.unwrap_or_else(new);
        let set = |target: &mut BTreeSet<String>, given: Option<Vec<String>>| {
            if let Some(given) = given {
                *target = given.into_iter().collect();
            }
        };
        set(&mut enforcement.methods, input.methods);
        set(&mut enforcement.accessors, input.accessors);
        set(&mut enforcement.kinds, input.kinds);
        set(&mut enforcement.groups, input.groups);
        set(&mut enforcement.entities, input.entities);
        self.check_enforcement(&enforcement).await?;
        self.tx.put_json(key(name), &enforcement)?;
        Ok(self.tx.put_json(changed(), &enforcement.id)?)
    }

    async fn check_enforcement(&self, enforcement: &Enforcement) -> Result<(), Error> {
        if enforcement.methods.is_empty() {
            return Err(Error::invalid("missing method ids: give mfa_method_ids"));
        }
        for id in &enforcement.methods {
            self.mfa_method(id).await?.ok_or_else(|| method::unknown())?;
        }
        let whom = [&enforcement.accessors, &enforcement.kinds, &enforcement.groups, &enforcement.entities];
        if whom.iter().all(|list| list.is_empty()) {
            return Err(Error::invalid(
                "One of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be specified",
            ));
        }
        for id in &enforcement.groups {
            self.group(id)
                .await?
                .ok_or_else(|| Error::invalid("identity_group_ids: there is no group with one of the ids"))?;
        }
        for id in &enforcement.entities {
            self.entity(id)
                .await?
                .ok_or_else(|| Error::invalid("identity_entity_ids: there is no entity with one of the ids"))?;
        }
        Ok(())
    }

    /// Removes an enforcement, if there is one.
    pub async fn delete_mfa_enforcement(&self, name: &str) -> Result<(), Error> {
        if let Some(enforcement) = self.mfa_enforcement(name).await? {
            self.tx.delete(key(name));
            self.tx.put_json(changed(), &enforcement.id)?;
        }
        Ok(())
    }
}
