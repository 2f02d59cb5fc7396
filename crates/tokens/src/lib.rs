//! Tokens: issue, find, renew, revoke.
//!
//! A service token is a record on disk, found by a keyed hash of the token; the token itself is nowhere. A batch token
//! is its own record, encrypted. Revoking takes effect with one commit; what hangs on the token (children, leases) is
//! ended by the expirer.
//!
//! ```text
//! sys/token/id/<token id>                the record
//! sys/token/accessor/<accessor>          the token id
//! sys/token/parent/<token id>/<child>    the children
//! sys/token/path/<path>/<token id>       the tokens made at a path, for revocation by prefix
//! sys/token/role/<name>                  token roles
//! sys/token/bound/<token id>             what is tied to a living process
//! ```
//! What belongs to a token of another namespace than the root one lies in the part of the store that its id names, all but
//! the last of these.

mod batch;
mod create;
mod format;
mod liveness;
mod record;
mod role;
mod routes;

use std::{net::IpAddr, sync::Arc, time::Duration};

use clock::{Clock, Timestamp};
use gate::{Caller, Error, Refusal, TokenId, TokenKind, namespace};
use leases::Leases;
use quick_cache::sync::Cache;
use secret::SecretString;
use storage::{Key, Scan, Store, Tx};

pub use create::{Issued, New, normalised, parse_cidrs};
pub use liveness::Liveness;
pub use record::{ACCESSOR as ACCESSORS, Bound, PATH as PATHS, Record, Renewal};
pub use role::Role;
pub use routes::{KIND_NAME, TokenEngine};

/// The longest life of a token where nothing else says so: 32 days, as for every mount.
pub const SYSTEM_MAX_TTL: Duration = Duration::from_secs(2_764_800);

/// The keyed hash of a token.
pub type Tag = [u8; crypto::hmac::TAG];

/// The tokens of the server.
pub struct Tokens {
    store: Arc<dyn Store>,
    clock: Clock,
    leases: Arc<Leases>,
    ids: crypto::hmac::Key,
    batch: crypto::aead::Key,
    /// Uses of one token are counted one after the other: all at once, all but one would meet a conflict each time.
    counting: Vec<tokio::sync::Mutex<()>>,
    decoded: Cache<TokenId, Decoded>,
    /// What the holders of tokens were found as last, by the tokens' keyed hashes.
    holders: Cache<Tag, Arc<Known>>,
}

/// A token that was used before.
struct Known {
    id: TokenId,
    key: Key,
    decoded: Decoded,
}

/// A record that was read, and its holder if its uses are not counted: then they are the same for every request.
#[derive(Clone)]
struct Decoded {
    revision: u64,
    record: Arc<Record>,
    holder: Arc<Caller>,
}

/// How many decoded records are kept in memory.
const DECODED: usize = 4096;
/// Among how many locks the tokens whose uses are counted are spread.
const COUNTING: usize = 64;

impl Tokens {
    /// The tokens in `store`; makes the keys for their ids at the first start.
    pub async fn open(store: Arc<dyn Store>, clock: Clock, leases: Arc<Leases>) -> Result<Self, Error> {
        let salt = lasting_key(&store, "sys/token/salt").await?;
        let batch = lasting_key(&store, "sys/token/batch-key").await?;
        Ok(Self {
            store,
            clock,
            leases,
            ids: crypto::hmac::Key::new(&*salt),
            batch: crypto::aead::Key::new(&batch),
            counting: std::iter::repeat_with(tokio::sync::Mutex::default).take(COUNTING).collect(),
            decoded: Cache::new(DECODED),
            holders: Cache::new(DECODED),
        })
    }

    /// The keyed hash of a service token, by which it is told apart in memory; `None` for batch tokens.
    pub fn tag(&self, token: &SecretString) -> Option<Tag> {
        // EXPOSE: told apart by its prefix, then hashed with a key, which is all that is kept of it.
        (!token.expose().starts_with(format::BATCH)).then(|| self.ids.sign_secret(token.expose().as_bytes()))
    }

    /// The id of a token.
    pub fn id(&self, token: &SecretString) -> TokenId {
        // EXPOSE: hashed with a key, which is all that is kept of it.
        self.id_of(token.expose())
    }

    fn id_of(&self, token: &str) -> TokenId {
        let tag = self.ids.sign_secret(token.as_bytes());
        TokenId(namespace::with_suffix(record::hex(&tag), format::namespace_of(token)).into())
    }

    /// The record of a token in force; `None` if it is unknown, ended or revoked.
    pub async fn find(&self, id: &TokenId) -> Result<Option<Arc<Record>>, Error> {
        Ok(self.decoded(id).await?.map(|decoded| decoded.record))
    }

    async fn decoded(&self, id: &TokenId) -> Result<Option<Decoded>, Error> {
        let Some(entry) = self.store.get(&record::key(id)).await? else { return Ok(None) };
        let decoded = match self.decoded.get(id) {
            Some(decoded) if decoded.revision == entry.revision => decoded,
            _ => {
                let record: Record = serde_json::from_slice(&entry.value)
                    .map_err(|_| Error::internal(format!("the record of token {id:?} cannot be understood")))?;
                let holder = record.caller(id, None);
                let decoded = Decoded { revision: entry.revision, record: Arc::new(record), holder };
                self.decoded.insert(id.clone(), decoded.clone());
                decoded
            }
        };
        Ok(decoded.record.in_force(self.clock.now()).then_some(decoded))
    }

    /// The id that an accessor stands for.
    pub async fn by_accessor(&self, accessor: &str) -> Result<Option<TokenId>, Error> {
        let entry = self.store.get(&record::accessor_key(accessor)).await?;
        Ok(entry.and_then(|entry| String::from_utf8(entry.value.to_vec()).ok()).map(|id| TokenId(id.into())))
    }

    /// The holder of a token, for a request from `remote`. Counts one use of tokens whose uses are limited.
    pub async fn holder(&self, token: &SecretString, remote: Option<IpAddr>) -> Result<Arc<Caller>, Error> {
        // EXPOSE: told apart by its prefix; batch tokens are decrypted, others hashed.
        if token.expose().starts_with(format::BATCH) {
            return Box::pin(self.batch_holder(token, remote)).await;
        }
        // EXPOSE: hashed with a key, which is all that is kept of it.
        let tag = self.ids.sign_secret(token.expose().as_bytes());
        let known = self.known(&tag, namespace_of(token)).await?.ok_or(Error::Denied(Refusal::InvalidToken))?;
        let Decoded { record, holder, .. } = &known.decoded;
        record.check_address(remote)?;
        match record.num_uses {
            0 => Ok(Arc::clone(holder)),
            _ => Ok(record.caller(&known.id, Some(Box::pin(self.count_use(&known.id)).await?))),
        }
    }

    /// The token with this hash, if it is in force. Its namespace is a part of what was hashed.
    async fn known(&self, tag: &Tag, namespace: &str) -> Result<Option<Arc<Known>>, Error> {
        if let Some(known) = self.holders.get(tag) {
            let entry = self.store.get(&known.key).await?;
            if entry.is_some_and(|entry| entry.revision == known.decoded.revision) {
                return Ok(known.decoded.record.in_force(self.clock.now()).then_some(known));
            }
        }
        let id = TokenId(namespace::with_suffix(record::hex(tag), namespace).into());
        let key = record::key(&id);
        let Some(decoded) = self.decoded(&id).await? else { return Ok(None) };
        let known = Arc::new(Known { id, key, decoded });
        self.holders.insert(*tag, Arc::clone(&known));
        Ok(Some(known))
    }

    /// Looks a token up as an operator does: by the token itself or by accessor.
    pub async fn lookup(&self, token: &SecretString) -> Result<Option<(TokenId, Arc<Record>)>, Error> {
        // EXPOSE: only its prefix is looked at here.
        if token.expose().starts_with(format::BATCH) {
            let record = self.open_batch(token)?;
            return Ok(record.in_force(self.clock.now()).then(|| (self.id(token), Arc::new(record))));
        }
        let id = self.id(token);
        Ok(self.find(&id).await?.map(|record| (id, record)))
    }

    /// Takes one use; gives how many are left. The last use marks the token for revocation after the request.
    async fn count_use(&self, id: &TokenId) -> Result<u64, Error> {
        let place = id.0.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % COUNTING;
        let _one = match self.counting.get(place) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        for _ in 0..TRIES {
            let tx = Tx::new(Arc::clone(&self.store));
            let Some(mut record) = tx.get_json::<Record>(&record::key(id)).await? else {
                return Err(Error::Denied(Refusal::InvalidToken));
            };
            if record.uses_left == 0 {
                return Err(Error::Denied(Refusal::Spent));
            }
            record.uses_left -= 1;
            let left = record.uses_left;
            tx.put_json(record::key(id), &record)?;
            match tx.commit().await {
                Ok(_) => return Ok(left),
                Err(storage::CommitError::Conflict(_)) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable("the token is used too often at once; try again".to_owned()))
    }

    /// Extends the life of a token, as part of `tx`. Gives the new life and warnings.
    pub async fn renew(
        &self,
        tx: &Tx,
        id: &TokenId,
        increment: Option<Duration>,
        mount_max: Duration,
    ) -> Result<(Record, Duration, Vec<String>), Error> {
        let (now, tx) = (self.clock.now(), tx.whole());
        let record: Option<Record> = tx.get_json(&record::key(id)).await?;
        let Some(mut record) = record.filter(|record| record.in_force(now)) else {
            return Err(Error::Denied(Refusal::InvalidToken));
        };
        if record.kind == TokenKind::Batch {
            return Err(Error::invalid("batch tokens cannot be renewed"));
        }
        if !record.renewable || record.expires.is_none() {
            return Err(Error::invalid("lease is not renewable"));
        }
        let mut warnings = Vec::new();
        let until = record.renewal(now, increment, mount_max, &mut warnings)?;
        self.leases.watch_token(tx, id, record.expires, Some(until));
        record.expires = Some(until);
        record.last_renewal = Some(now);
        tx.put_json(record::key(id), &record)?;
        let left = clock::between(now, until);
        Ok((record, left, warnings))
    }

    /// Lets `tx` commit only if the token's end has not begun by then: what is leased to a token that ends meanwhile
    /// would stay behind. Uses and renewals of the token do not stand in its way.
    pub async fn hold(&self, tx: &Tx, id: &TokenId) -> Result<(), Error> {
        let record = self.find(id).await?.ok_or(Error::Denied(Refusal::InvalidToken))?;
        // The end of a token begins with the removal of its accessor, and only then looks for what hangs on it.
        match tx.whole().get(&record::accessor_key(&record.accessor)).await? {
            Some(_) => Ok(()),
            None => Err(Error::Denied(Refusal::InvalidToken)),
        }
    }

    /// Revokes a token, as part of `tx`: it is refused from the commit on. Its children and leases follow in the
    /// background; wake the leases after the commit. `false` if there is no such token.
    pub async fn revoke(&self, tx: &Tx, id: &TokenId) -> Result<bool, Error> {
        let tx = tx.whole();
        let Some(mut record) = tx.get_json::<Record>(&record::key(id)).await? else { return Ok(false) };
        if record.revoked {
            return Ok(true);
        }
        let now = self.clock.now();
        self.leases.watch_token(tx, id, record.expires, Some(now));
        record.revoked = true;
        record.expires = Some(now);
        tx.put_json(record::key(id), &record)?;
        Ok(true)
    }

    /// Revokes a token but lets its children live on as orphans.
    pub async fn revoke_orphan(&self, tx: &Tx, id: &TokenId) -> Result<bool, Error> {
        let tx = tx.whole();
        loop {
            let children = self.children(id, PAGE).await?;
            for child in &children {
                if let Some(mut record) = tx.get_json::<Record>(&record::key(child)).await? {
                    record.parent = None;
                    tx.put_json(record::key(child), &record)?;
                }
                tx.delete(record::parent_key(id, child));
            }
            if children.len() < PAGE {
                return self.revoke(tx, id).await;
            }
            tx.commit().await?;
        }
    }

    /// Revokes a token in a commit of its own and wakes the expirer.
    pub async fn revoke_now(&self, id: &TokenId) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let tx = Tx::new(Arc::clone(&self.store));
            let found = self.revoke(&tx, id).await?;
            match tx.commit().await {
                Ok(_) => {
                    self.leases.wake();
                    return Ok(found);
                }
                Err(storage::CommitError::Conflict(_)) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable("the token changes too often; try again".to_owned()))
    }

    /// Goes on with the end of a token, see [`Tokens::end_waiting`].
    pub async fn end(&self, id: &TokenId, due: Timestamp) -> Result<(), Error> {
        self.end_waiting(id, due).await.map(drop)
    }

    /// Whether a token's life is over: its time, its uses, or by revocation. One that is not there is over too.
    pub async fn is_over(&self, id: &TokenId) -> Result<bool, Error> {
        let now = self.clock.now();
        Ok(self.find(id).await?.is_none_or(|record| !record.in_force(now) || record.is_spent()))
    }

    /// Goes on with the end of a token: it takes in nothing new, its children and leases are marked for their own end,
    /// and it is removed. Called by the expirer; may be called again at any time. The receivers tell how the
    /// revocations of its leases went; they go on for as long as it takes, without the token.
    pub async fn end_waiting(
        &self,
        id: &TokenId,
        due: Timestamp,
    ) -> Result<Vec<futures::channel::oneshot::Receiver<leases::Revoked>>, Error> {
        let now = self.clock.now();
        let tx = Tx::new(Arc::clone(&self.store));
        let Some(record) = tx.get_json::<Record>(&record::key(id)).await? else {
            self.leases.watch_token(&tx, id, Some(due), None);
            tx.commit().await?;
            return Ok(Vec::new());
        };
        if record.in_force(now) && !record.is_spent() {
            // It was renewed meanwhile, or the clock was set back: it is due when it ends.
            self.leases.watch_token(&tx, id, Some(due), record.expires);
            tx.commit().await?;
            return Ok(Vec::new());
        }
        tx.delete(record::accessor_key(&record.accessor));
        tx.commit().await?;
        self.end_children(id).await?;
        let waits = self.leases.revoke_of_token(id).await?;
        self.wipe_private(id).await?;
        let tx = Tx::new(Arc::clone(&self.store));
        if let Some(record) = tx.get_json::<Record>(&record::key(id)).await? {
            self.remove(&tx, id, &record);
        }
        self.leases.watch_token(&tx, id, Some(due), None);
        tx.commit().await?;
        Ok(waits)
    }

    /// Revokes the children, many in a commit.
    async fn end_children(&self, id: &TokenId) -> Result<(), Error> {
        loop {
            let children = self.children(id, PAGE).await?;
            let tx = Tx::new(Arc::clone(&self.store));
            for child in &children {
                self.revoke(&tx, child).await?;
                tx.delete(record::parent_key(id, child));
            }
            match tx.commit().await {
                Ok(_) if children.len() < PAGE => {
                    self.leases.wake();
                    return Ok(());
                }
                Ok(_) => {}
                Err(storage::CommitError::Conflict(_)) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Deletes the cubbyhole of a token.
    async fn wipe_private(&self, id: &TokenId) -> Result<(), Error> {
        loop {
            let scan = Scan { prefix: private_prefix(id), after: None, limit: PAGE, values: false };
            let page = self.store.scan(&scan).await?;
            let tx = Tx::new(Arc::clone(&self.store));
            for (key, _) in &page.entries {
                tx.delete(key.clone());
            }
            tx.commit().await?;
            if !page.more {
                return Ok(());
            }
        }
    }

    fn remove(&self, tx: &Tx, id: &TokenId, record: &Record) {
        if let Some(end) = record.expires {
            self.leases.watch_token(tx, id, Some(end), None);
        }
        if let Some(parent) = &record.parent {
            tx.delete(record::parent_key(parent, id));
        }
        tx.delete(record::accessor_key(&record.accessor));
        tx.delete(record::path_key(&record.path, id));
        tx.delete(bound_key(id));
        tx.delete(record::key(id));
        self.decoded.remove(id);
    }

    async fn children(&self, id: &TokenId, limit: usize) -> Result<Vec<TokenId>, Error> {
        let prefix = record::parent_prefix(id);
        self.ids_below(&prefix, limit).await
    }

    /// The tokens of a namespace that were made at `path` or below it, and not beside it.
    pub async fn by_path(&self, namespace: &str, path: &str) -> Result<Vec<TokenId>, Error> {
        self.ids_below(&format!("{}{}{path}/", namespace::scope(namespace), record::PATH), usize::MAX).await
    }

    /// Revokes the tokens that the login method with this unchanging id made below `path` in a namespace. Whether there
    /// were any in force.
    pub async fn revoke_logins(&self, namespace: &str, path: &str, mount: &str) -> Result<bool, Error> {
        let mut found = false;
        let mut after = None;
        loop {
            let prefix = format!("{}{}{path}", namespace::scope(namespace), record::PATH);
            let scan = Scan { prefix, after, limit: 500, values: false };
            let page = self.store.scan(&scan).await?;
            for (key, _) in &page.entries {
                let Some((_, id)) = key.as_str().rsplit_once('/') else { continue };
                let id = TokenId(id.into());
                if self.find(&id).await?.is_some_and(|record| record.login_mount == mount) {
                    found = true;
                    self.revoke_now(&id).await?;
                }
            }
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(found);
            }
        }
    }

    async fn ids_below(&self, prefix: &str, limit: usize) -> Result<Vec<TokenId>, Error> {
        let scan = Scan { prefix: prefix.to_owned(), after: None, limit, values: false };
        let page = self.store.scan(&scan).await?;
        let id = |key: &Key| key.as_str().rsplit_once('/').map(|(_, id)| TokenId(id.into()));
        Ok(page.entries.iter().filter_map(|(key, _)| id(key)).collect())
    }

    /// The accessors of all tokens of a namespace, in order, after `after`.
    pub async fn accessors(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Error> {
        let base = format!("{}{}", namespace::scope(namespace), record::ACCESSOR);
        let after = after.map(|after| format!("{base}{after}"));
        let page = self.store.scan(&Scan { prefix: base.clone(), after, limit, values: false }).await?;
        let name = |key: &Key| key.as_str().get(base.len()..).unwrap_or_default().to_owned();
        Ok((page.entries.iter().map(|(key, _)| name(key)).collect(), page.more))
    }

    /// Ties a token to a liveness stream, as part of `tx`: it is revoked when no stream is attached for `grace`.
    pub async fn bind(&self, tx: &Tx, id: &TokenId, grace: Duration) -> Result<(), Error> {
        let tx = tx.whole();
        let Some(mut record) = tx.get_json::<Record>(&record::key(id)).await? else {
            return Err(Error::Denied(Refusal::InvalidToken));
        };
        let bound = Bound { grace, held_by: self.leases.instance().to_owned() };
        if record.bound.as_ref() == Some(&bound) {
            return Ok(());
        }
        tx.put_json(bound_key(id), &bound)?;
        record.bound = Some(bound);
        tx.put_json(record::key(id), &record)?;
        Ok(())
    }

    /// The run of the server that the last stream of a tied token was attached to; `None` if it is not tied.
    pub(crate) async fn held_by(&self, id: &TokenId) -> Result<Option<String>, Error> {
        let entry = self.store.get(&bound_key(id)).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice::<Bound>(&entry.value).ok()).map(|bound| bound.held_by))
    }

    /// The tokens that are tied to a liveness stream, with how, a page at a time.
    pub async fn bound(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<(TokenId, Bound)>, Option<String>), Error> {
        let page = self.store.scan(&Scan { prefix: BOUND.to_owned(), after, limit, values: true }).await?;
        let next = page.more.then(|| page.entries.last().map(|(key, _)| key.as_str().to_owned())).flatten();
        let bound = page.entries.iter().filter_map(|(key, entry)| {
            let id = TokenId(key.as_str().get(BOUND.len()..)?.into());
            let bound: Bound = serde_json::from_slice(&entry.value).ok()?;
            Some((id, bound))
        });
        Ok((bound.collect(), next))
    }

    /// The store the tokens lie in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The leases of the tokens.
    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// The id of the namespace that a token names as its own; empty for the root namespace. Batch tokens do not name it.
pub fn namespace_of(token: &SecretString) -> &str {
    // EXPOSE: told by how it ends.
    format::namespace_of(token.expose())
}

/// Where the cubbyhole of a token lies: in the token's own namespace, wherever it is used.
pub fn private_prefix(id: &TokenId) -> String {
    format!("{}cubbyhole/{}/", namespace::scope(id.namespace()), id.0)
}

const TRIES: usize = 32;
/// How many children, or private entries, one commit takes.
const PAGE: usize = 256;
const BOUND: &str = "sys/token/bound/";

fn bound_key(id: &TokenId) -> Key {
    Key::from(format!("{BOUND}{}", id.0))
}

/// A random key that is made once and then kept.
async fn lasting_key(store: &Arc<dyn Store>, path: &str) -> Result<secret::Zeroizing<[u8; 32]>, Error> {
    let tx = Tx::new(Arc::clone(store));
    let key = Key::new(path);
    if let Some(value) = tx.get(&key).await? {
        let bytes: [u8; 32] =
            value.as_ref().try_into().map_err(|_| Error::internal(format!("{path} does not hold a key")))?;
        return Ok(secret::Zeroizing::new(bytes));
    }
    let made = secret::Zeroizing::new(crypto::random::bytes::<32>());
    tx.put(key, bytes::Bytes::from_owner(secret::Zeroizing::new(made.to_vec())));
    tx.commit().await?;
    Ok(made)
}
