//! Entities and aliases: who a workload is, whichever way it logs in.
//!
//! A login names its holder in the method's own terms; the alias of that name on that mount leads to the entity. The
//! names of aliases are compared in lower case, by the key they are stored under, so that no spelling makes a second
//! entity.
//!
//! ```text
//! sys/identity/entity/<id>                        the entity
//! sys/identity/alias/<mount accessor>/<name>      the id of its entity
//! ```

use std::collections::BTreeMap;

use clock::{Clock, Timestamp};
use gate::{Error, MountInfo};
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};

/// Somebody or something that logs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entity {
    /// A random id.
    pub id: String,
    /// A name; `entity_` and eight digits unless given.
    pub name: String,
    /// Notes of operators.
    pub metadata: BTreeMap<String, String>,
    /// Policies in force for all its tokens.
    pub policies: Vec<String>,
    /// Whether its tokens are refused.
    pub disabled: bool,
    /// Its aliases by mount accessor.
    pub aliases: BTreeMap<String, Alias>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// An entity as one login method knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// A random id.
    pub id: String,
    /// The name in the method's terms.
    pub name: String,
    /// What the method knows, from the last login.
    pub metadata: BTreeMap<String, String>,
    /// Notes of operators.
    pub custom_metadata: BTreeMap<String, String>,
}

/// The entity of a login, made if it is the first one; part of `tx`. A disabled entity is refused.
pub async fn login(
    tx: &Tx,
    clock: &Clock,
    mount: &MountInfo,
    name: &str,
    metadata: &BTreeMap<String, String>,
) -> Result<Entity, Error> {
    let alias_key = alias_key(&mount.accessor, name);
    let now = clock.now();
    let known = match tx.get_json::<String>(&alias_key).await? {
        Some(id) => find(tx, &id).await?,
        None => None,
    };
    let mut entity = known.unwrap_or_else(|| Entity::new(now));
    if entity.disabled {
        return Err(Error::Denied(gate::Refusal::Entity));
    }
    let before = entity.aliases.get(&*mount.accessor).cloned();
    let alias = Alias {
        id: before.as_ref().map_or_else(crypto::random::uuid, |alias| alias.id.clone()),
        name: name.to_owned(),
        metadata: metadata.clone(),
        custom_metadata: before.as_ref().map(|alias| alias.custom_metadata.clone()).unwrap_or_default(),
    };
    // A login that changes nothing writes nothing.
    if before.as_ref() != Some(&alias) {
        entity.aliases.insert(mount.accessor.to_string(), alias);
        entity.updated = now;
        tx.put_json(alias_key, &entity.id)?;
        tx.put_json(entity_key(&entity.id), &entity)?;
    }
    Ok(entity)
}

/// The entity with this id.
pub async fn find(tx: &Tx, id: &str) -> Result<Option<Entity>, Error> {
    Ok(tx.get_json(&entity_key(id)).await?)
}

/// Where an entity is stored.
pub fn entity_key(id: &str) -> Key {
    Key::from(format!("sys/identity/entity/{id}"))
}

fn alias_key(accessor: &str, name: &str) -> Key {
    Key::from(format!("sys/identity/alias/{accessor}/{}", name.to_lowercase()))
}

impl Entity {
    fn new(now: Timestamp) -> Self {
        let digits: String = crypto::random::bytes::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            id: crypto::random::uuid(),
            name: format!("entity_{digits}"),
            metadata: BTreeMap::new(),
            policies: Vec::new(),
            disabled: false,
            aliases: BTreeMap::new(),
            created: now,
            updated: now,
        }
    }
}
