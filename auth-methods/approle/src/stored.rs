//! What is stored, and where.
//!
//! ```text
//! key                            the mount's random key for the hashes below
//! role/<name>                    a role
//! role-id/<hash>                 the name of the role with this role id
//! secret/<role>/<hash>           a secret id
//! accessor/<role>/<hash>         its accessor, with the hash of the secret id
//! due/<seconds>/<role>/<hash>    when it expires, if it does
//! ```
//! All that belongs to a secret id is written and removed in one commit.

use std::{collections::BTreeMap, time::Duration};

use auth::TokenSettings;
use bytes::Bytes;
use clock::Timestamp;
use engine::Error;
use serde::{Deserialize, Serialize};
use storage::View;

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Role {
    /// The public half of a login.
    pub(crate) role_id: String,
    /// Whether a login needs a secret id.
    pub(crate) bind_secret_id: bool,
    /// From where logins may come.
    pub(crate) bound_cidrs: Vec<String>,
    /// How often a secret id may be used; 0 is without limit.
    pub(crate) secret_id_num_uses: u64,
    /// How long a secret id lives; zero is without end.
    pub(crate) secret_id_ttl: Duration,
    /// Whether secret ids stay in this cluster.
    pub(crate) local_secret_ids: bool,
    /// What the tokens are like.
    pub(crate) token: TokenSettings,
}

impl Role {
    pub(crate) fn new() -> Self {
        Self {
            role_id: String::new(),
            bind_secret_id: true,
            bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: Duration::ZERO,
            local_secret_ids: false,
            token: TokenSettings::default(),
        }
    }

    pub(crate) async fn load(view: &View, name: &str) -> Result<Option<Self>, Error> {
        Ok(view.get_json(&role_key(name)).await?)
    }
}

/// A secret id, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretId {
    pub(crate) accessor: String,
    /// Uses left; 0 is without limit.
    pub(crate) num_uses: u64,
    /// The life it was made with; zero is without end.
    pub(crate) ttl: Duration,
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) updated: Timestamp,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) cidr_list: Vec<String>,
    pub(crate) token_bound_cidrs: Vec<String>,
}

impl SecretId {
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Where a secret id lies: the role and the hash of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) role: String,
    pub(crate) hash: String,
}

#[derive(Serialize, Deserialize)]
struct Accessor {
    accessor: String,
    secret: String,
}

/// The stored side of a mount, with its hash key at hand.
pub(crate) struct Stored {
    view: View,
    key: crypto::hmac::Key,
}

impl Stored {
    /// For reading. A mount that never had a role has no key yet; then nothing will be found under the passing one.
    pub(crate) async fn open(view: &View) -> Result<Self, Error> {
        let key = match view.get(KEY).await? {
            Some(key) => crypto::hmac::Key::new(&key),
            None => crypto::hmac::Key::new(&crypto::random::bytes::<32>()),
        };
        Ok(Self { view: view.clone(), key })
    }

    /// For writing: makes the key if there is none.
    pub(crate) async fn open_or_begin(view: &View) -> Result<Self, Error> {
        if view.get(KEY).await?.is_none() {
            let key = secret::Zeroizing::new(crypto::random::bytes::<32>());
            view.put(KEY, Bytes::from_owner(WipedKey(key)));
        }
        Self::open(view).await
    }

    /// The name of the role with this role id.
    pub(crate) async fn role_name(&self, role_id: &str) -> Result<Option<String>, Error> {
        Ok(self.view.get_json(&self.role_id_key(role_id)).await?)
    }

    /// Writes a role. `before` is its state in the store.
    pub(crate) async fn save_role(&self, name: &str, role: &Role, before: Option<&Role>) -> Result<(), Error> {
        let moved = before.is_none_or(|before| before.role_id != role.role_id);
        if moved {
            if self.role_name(&role.role_id).await?.is_some() {
                return Err(Error::invalid("role_id already in use"));
            }
            if let Some(before) = before {
                self.view.delete(&self.role_id_key(&before.role_id));
            }
            self.view.put_json(&self.role_id_key(&role.role_id), &name)?;
        }
        self.view.put_json(&role_key(name), role)?;
        Ok(())
    }

    /// Removes a role with all its secret ids.
    pub(crate) async fn delete_role(&self, name: &str, role: &Role) -> Result<(), Error> {
        let folder = format!("secret/{name}/");
        let mut after = None;
        loop {
            let (entries, more) = self.view.scan(&folder, after.as_deref(), PAGE).await?;
            for (path, value) in &entries {
                let Some(hash) = path.strip_prefix(&folder) else { continue };
                let held: SecretId = serde_json::from_slice(value)
                    .map_err(|_| Error::internal("a stored secret id cannot be understood"))?;
                self.remove(&Place { role: name.to_owned(), hash: hash.to_owned() }, &held);
            }
            after = entries.last().map(|(path, _)| path.clone());
            if !more || after.is_none() {
                break;
            }
        }
        self.view.delete(&self.role_id_key(&role.role_id));
        self.view.delete(&role_key(name));
        Ok(())
    }

    /// Where the secret id with this text would lie.
    pub(crate) fn place(&self, role: &str, secret_id: &str) -> Place {
        Place { role: role.to_owned(), hash: self.hash("secret-id", &[role, secret_id]) }
    }

    /// The secret id at `place`, unless it has expired.
    pub(crate) async fn secret_id(&self, place: &Place, now: Timestamp) -> Result<Option<SecretId>, Error> {
        let held: Option<SecretId> = self.view.get_json(&secret_key(place)).await?;
        Ok(held.filter(|held| !held.is_expired(now)))
    }

    /// Adds a secret id. What an expired one at the same place left is removed; a live one is a refusal.
    pub(crate) async fn add(&self, place: &Place, new: &SecretId, now: Timestamp) -> Result<(), Error> {
        let held: Option<SecretId> = self.view.get_json(&secret_key(place)).await?;
        match held {
            Some(held) if !held.is_expired(now) => return Err(Error::invalid("SecretID is already registered")),
            Some(held) => self.remove(place, &held),
            None => {}
        }
        let accessor = Accessor { accessor: new.accessor.clone(), secret: place.hash.clone() };
        self.view.put_json(&self.accessor_key(&place.role, &new.accessor), &accessor)?;
        if let Some(due) = due_key(place, new) {
            self.view.put(&due, Bytes::new());
        }
        self.update(place, new)
    }

    /// Writes a secret id whose place and accessor exist.
    pub(crate) fn update(&self, place: &Place, held: &SecretId) -> Result<(), Error> {
        Ok(self.view.put_json(&secret_key(place), held)?)
    }

    /// Removes a secret id with all that points to it.
    pub(crate) fn remove(&self, place: &Place, held: &SecretId) {
        self.view.delete(&secret_key(place));
        self.view.delete(&self.accessor_key(&place.role, &held.accessor));
        if let Some(due) = due_key(place, held) {
            self.view.delete(&due);
        }
    }

    /// Where the secret id with this accessor lies.
    pub(crate) async fn by_accessor(&self, role: &str, accessor: &str) -> Result<Option<Place>, Error> {
        let found: Option<Accessor> = self.view.get_json(&self.accessor_key(role, accessor)).await?;
        Ok(found.map(|found| Place { role: role.to_owned(), hash: found.secret }))
    }

    /// The accessors of a role's secret ids, sorted.
    pub(crate) async fn accessors(&self, role: &str) -> Result<Vec<String>, Error> {
        let folder = format!("accessor/{role}/");
        let mut accessors = Vec::new();
        let mut after = None;
        loop {
            let (entries, more) = self.view.scan(&folder, after.as_deref(), PAGE).await?;
            for (_, value) in &entries {
                let found: Accessor = serde_json::from_slice(value)
                    .map_err(|_| Error::internal("a stored accessor cannot be understood"))?;
                accessors.push(found.accessor);
            }
            after = entries.last().map(|(path, _)| path.clone());
            if !more || after.is_none() {
                break;
            }
        }
        accessors.sort_unstable();
        Ok(accessors)
    }

    /// Removes up to `limit` expired secret ids; gives how many.
    pub(crate) async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let (entries, _) = self.view.scan(DUE, None, limit).await?;
        let mut removed = 0;
        for (path, _) in entries {
            let Some((due, place)) = parse_due(&path) else { continue };
            if due > now.as_second() {
                break;
            }
            let held: Option<SecretId> = self.view.get_json(&secret_key(&place)).await?;
            if let Some(held) = held.filter(|held| held.is_expired(now)) {
                self.remove(&place, &held);
            }
            self.view.delete(&path);
            removed += 1;
        }
        Ok(removed)
    }

    fn role_id_key(&self, role_id: &str) -> String {
        format!("role-id/{}", self.hash("role-id", &[role_id]))
    }

    fn accessor_key(&self, role: &str, accessor: &str) -> String {
        format!("accessor/{role}/{}", self.hash("accessor", &[role, accessor]))
    }

    /// A keyed hash of texts, of which each is preceded by its length, so that no two lists run into the same bytes.
    fn hash(&self, purpose: &str, texts: &[&str]) -> String {
        let mut context = self.key.context();
        for text in std::iter::once(&purpose).chain(texts) {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        context.finish().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

const KEY: &str = "key";
const DUE: &str = "due/";
const PAGE: usize = 500;

struct WipedKey(secret::Zeroizing<[u8; 32]>);

impl AsRef<[u8]> for WipedKey {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn role_key(name: &str) -> String {
    format!("role/{name}")
}

fn secret_key(place: &Place) -> String {
    format!("secret/{}/{}", place.role, place.hash)
}

fn due_key(place: &Place, held: &SecretId) -> Option<String> {
    let expires = held.expires?;
    // Rounded up: an entry that is due is expired.
    let seconds = expires.as_second() + i64::from(expires.subsec_nanosecond() > 0);
    Some(format!("{DUE}{seconds:020}/{}/{}", place.role, place.hash))
}

fn parse_due(path: &str) -> Option<(i64, Place)> {
    let mut parts = path.strip_prefix(DUE)?.splitn(3, '/');
    let seconds = parts.next()?.parse().ok()?;
    let (role, hash) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some((seconds, Place { role, hash }))
}
