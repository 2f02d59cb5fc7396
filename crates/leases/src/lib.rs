//! What must be renewed or revoked when.
//!
//! A lease is a record on disk and an entry in the due index, which is ordered by time. Nothing about a lease is held in
//! memory, so neither start nor unseal takes longer with many of them. An intent is a lease in the state
//! [`State::Pending`]: durable before the credential it stands for exists, revoked if the credential's request does not
//! finish.
//!
//! ```text
//! sys/lease/id/<lease id>                    the record
//! sys/lease/token/<token id>/<lease id>      the leases of a token
//! sys/lease/pending/<instance>/<lease id>    intents of one run of the server
//! sys/lease/failing/<mount uuid>/<lease id>  leases whose revocation failed
//! sys/lease/orphan/<lease id>                forced away; what a reconciler may still have to finish
//! sys/due/<time>/<l|t>/<id>                  what ends when: leases and tokens
//! ```
//! The first two of a lease or token of another namespace than the root one lie in the part of the store that its id names.
//! The others are one for all namespaces: work in the background finds what there is to do without knowing any.

mod due;
mod expirer;
mod quota;
mod record;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clock::{Clock, Timestamp};
use futures::channel::oneshot;
use gate::{Error, IntentSpec, LeaseCall, LeaseGrant, LeaseId, MountInfo, TokenId, namespace};
use parking_lot::Mutex;
use secret::SecretBytes;
use storage::{Scan, Store, Tx};
use tokio::sync::Notify;

pub use due::{Due, PREFIX as DUE};
pub use expirer::{Ends, Outcome};
pub use quota::{LeaseQuota, Quotas};
pub use record::{FAILING, ORPHAN, Record, State};

/// How long an intent may stand before it is taken for abandoned: longer than any request runs.
pub const INTENT_LIFE: Duration = Duration::from_secs(300);

/// The leases of the server.
pub struct Leases {
    store: Arc<dyn Store>,
    clock: Clock,
    instance: String,
    wake: Notify,
    /// The earliest end that was put into the due index since the expirer last read it.
    alarm: Mutex<Option<Timestamp>>,
    quotas: Quotas,
    failing: Mutex<HashMap<Arc<str>, LeaseId>>,
    waiting: Mutex<HashMap<LeaseId, Vec<oneshot::Sender<Revoked>>>>,
    /// Whether a run of the server has ended whose work is to be taken up.
    orphaned: AtomicBool,
}

/// How a revocation went; the text says why it failed.
pub type Revoked = Result<(), String>;

/// A lease as the reply shows it.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Its id.
    pub id: LeaseId,
    /// How long it lasts.
    pub duration: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Who and what a new lease belongs to.
#[derive(Debug)]
pub struct Ownership<'a> {
    /// The mount.
    pub mount: &'a MountInfo,
    /// The full path of the request, mount included.
    pub path: &'a str,
    /// The token; `None` for a batch token, whose leases end with its time only.
    pub owner: Option<TokenId>,
    /// When the owning token ends at the latest, for batch tokens.
    pub owner_expires: Option<Timestamp>,
}

impl Leases {
    /// The leases in `store`. Nothing is read.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            quotas: Quotas::new(Arc::clone(&store)),
            store,
            clock,
            instance: crypto::random::base62(12).to_string(),
            wake: Notify::new(),
            alarm: Mutex::default(),
            failing: Mutex::default(),
            waiting: Mutex::default(),
            orphaned: AtomicBool::new(false),
        })
    }

    /// The id of this run of the server, random: what it has under way is marked with it.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Has the expirer take up what a run of the server was at that is over, on another node.
    pub fn adopt(&self) {
        self.orphaned.store(true, Ordering::Release);
        self.wake();
    }

    /// The lease-count quotas.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Makes a pending lease durable, in a commit of its own.
    pub async fn intent(&self, mount: &MountInfo, spec: IntentSpec) -> Result<LeaseId, Error> {
        let id = new_id(mount, &format!("{}{}", mount.path, spec.path));
        let role = spec.role.clone();
        self.quotas.reserve(mount, &role, &id).await?;
        let tx = Tx::new(Arc::clone(&self.store));
        let now = self.clock.now();
        let owner = spec.owner.as_ref().filter(|caller| !caller.accessor.is_empty()).map(|caller| caller.id.clone());
        let record = Record {
            owner,
            data: record::text(spec.revocation)?,
            state: State::Pending,
            instance: self.instance.clone(),
            role: spec.role,
            ..Record::new(id.clone(), mount, now, clock::after(now, INTENT_LIFE))
        };
        tx.put(record::pending_key(&self.instance, &id), bytes::Bytes::new());
        self.insert(&tx, &record)?;
        match tx.commit().await {
            Ok(_) => Ok(id),
            Err(error) => {
                self.quotas.release(&id);
                Err(error.into())
            }
        }
    }

    /// Gives an intent up: its credential is revoked at once, in the background.
    pub async fn abandon(&self, id: &LeaseId) -> Result<(), Error> {
        let given_up = self.change(id, |record, now| record.state == State::Pending && mark(record, now));
        given_up.await?;
        self.wake();
        Ok(())
    }

    /// Makes a lease part of the request's commit: an intent becomes active, or a new lease is made.
    pub async fn grant(&self, tx: &Arc<Tx>, owned: Ownership<'_>, grant: LeaseGrant) -> Result<Granted, Error> {
        let (now, tx) = (self.clock.now(), tx.whole());
        let mut warnings = Vec::new();
        let mut record = match &grant.intent {
            Some(id) => self.pending(tx, id).await?,
            None => {
                let id = new_id(owned.mount, owned.path);
                Record { data: record::text(grant.revocation)?, ..Record::new(id, owned.mount, now, now) }
            }
        };
        self.unschedule(tx, &record);
        let mount = owned.mount;
        let ceiling = grant.max_ttl.filter(|max| *max < mount.max_ttl).unwrap_or(mount.max_ttl);
        let wished = grant.ttl.unwrap_or(mount.default_ttl);
        if wished > ceiling {
            warnings.push(capped(wished, ceiling));
        }
        // What a batch token leases cannot be asked back with it, and so never outlives it, however often it is renewed.
        let ceiling = owned.owner_expires.map_or(ceiling, |end| ceiling.min(clock::between(now, end)));
        let duration = wished.min(ceiling);
        record.owner = owned.owner;
        record.state = State::Active;
        record.issued = now;
        record.ttl = duration;
        record.max_ttl = ceiling;
        record.renewable = grant.renewable;
        record.expires = Some(clock::after(now, duration));
        record.due = clock::after(now, duration);
        tx.delete(record::pending_key(&record.instance, &record.id));
        self.insert(tx, &record)?;
        Ok(Granted { id: record.id, duration, renewable: grant.renewable, warnings })
    }

    /// The lease, or `None`. Intents are not shown, nor those that are being given up: nobody was handed one.
    pub async fn lookup(&self, tx: &Arc<Tx>, id: &LeaseId) -> Result<Option<Record>, Error> {
        let record: Option<Record> = tx.whole().get_json(&record::key(id)).await?;
        Ok(record.filter(|record| record.state != State::Pending && !record.was_pending))
    }

    /// What the engine stored with a lease, intents included.
    pub async fn data(&self, id: &LeaseId) -> Result<Option<SecretBytes>, Error> {
        let tx = Tx::new(Arc::clone(&self.store));
        let record: Option<Record> = tx.get_json(&record::key(id)).await?;
        Ok(record.map(|record| record.secret()))
    }

    /// Works out until when a renewal makes a lease live. The engine is told before [`Leases::renewed`] is called.
    pub fn renewal(&self, record: &Record, increment: Option<Duration>) -> Result<(Timestamp, Vec<String>), Error> {
        if !record.renewable || record.state != State::Active {
            return Err(Error::invalid("lease is not renewable"));
        }
        let now = self.clock.now();
        if record.expires.is_some_and(|end| end <= now) {
            return Err(Error::invalid("lease expired"));
        }
        let end = clock::after(record.issued, record.max_ttl);
        if end <= now {
            return Err(Error::invalid("past the max TTL, cannot renew"));
        }
        let wished = increment.filter(|wish| !wish.is_zero()).unwrap_or(record.ttl);
        let until = clock::after(now, wished);
        match until > end {
            true => Ok((end, vec![capped(wished, record.max_ttl)])),
            false => Ok((until, Vec::new())),
        }
    }

    /// Writes a renewal down, as part of the request's commit.
    pub async fn renewed(&self, tx: &Arc<Tx>, mut record: Record, until: Timestamp) -> Result<Duration, Error> {
        let (now, tx) = (self.clock.now(), tx.whole());
        self.unschedule(tx, &record);
        record.last_renewal = Some(now);
        record.expires = Some(until);
        record.due = until;
        self.insert(tx, &record)?;
        // The engine took a moment since `until` was worked out; to the caller, 90 minutes are not 89:59.
        Ok(Duration::from_secs(clock::between(now, until).as_secs_f64().round() as u64))
    }

    /// Marks a lease for revocation, which a background task does; `None` if there is no such lease. With `wait`, the
    /// receiver tells how it went.
    pub async fn revoke(&self, id: &LeaseId) -> Result<Option<oneshot::Receiver<Revoked>>, Error> {
        let (done, wait) = oneshot::channel();
        self.waiting.lock().entry(id.clone()).or_default().push(done);
        let marked = self.change(id, mark).await;
        if !matches!(marked, Ok(Some(_))) {
            self.waiting.lock().remove(id);
        }
        self.wake();
        Ok(marked?.is_some().then_some(wait))
    }

    /// Marks all leases of a token for revocation, many in a commit. The receivers tell how it went.
    pub async fn revoke_of_token(&self, token: &TokenId) -> Result<Vec<oneshot::Receiver<Revoked>>, Error> {
        let (mut waits, mut after) = (Vec::new(), None);
        loop {
            let base = record::token_prefix(token);
            let scan = Scan { prefix: base.clone(), after, limit: MARKED_AT_ONCE, values: false };
            let page = self.store.scan(&scan).await?;
            let ids = page.entries.iter().filter_map(|(key, _)| key.as_str().get(base.len()..));
            let ids: Vec<LeaseId> = ids.map(|id| LeaseId(id.into())).collect();
            for id in &ids {
                let (done, wait) = oneshot::channel();
                self.waiting.lock().entry(id.clone()).or_default().push(done);
                waits.push(wait);
            }
            self.mark(&ids).await?;
            self.wake();
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(waits);
            }
        }
    }

    async fn mark(&self, ids: &[LeaseId]) -> Result<(), Error> {
        self.retried(|| {
            Box::pin(async {
                let tx = Tx::new(Arc::clone(&self.store));
                for id in ids {
                    match tx.get_json::<Record>(&record::key(id)).await? {
                        Some(mut record) => {
                            self.unschedule(&tx, &record);
                            mark(&mut record, self.clock.now());
                            self.insert(&tx, &record)?;
                        }
                        // It ended meanwhile.
                        None => self.tell(id, Ok(())),
                    }
                }
                tx.commit().await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets a lease without asking the engine, and leaves an orphan record for the reconciler.
    pub async fn force(&self, id: &LeaseId) -> Result<bool, Error> {
        let found = self.take_out(id, true).await?;
        self.failing.lock().retain(|_, probe| probe != id);
        self.tell(id, Ok(()));
        Ok(found)
    }

    /// Removes the record of a lease; `false` if there is none.
    async fn take_out(&self, id: &LeaseId, orphan: bool) -> Result<bool, Error> {
        let taken = self.retried(|| {
            Box::pin(async {
                let tx = Tx::new(Arc::clone(&self.store));
                let Some(record) = tx.get_json::<Record>(&record::key(id)).await? else { return Ok(false) };
                if orphan {
                    tx.put_json(record::orphan_key(id), &record)?;
                }
                self.remove(&tx, &record);
                tx.commit().await?;
                Ok(true)
            })
        });
        let taken = taken.await?;
        if taken {
            self.quotas.release(id);
        }
        Ok(taken)
    }

    /// Whether a lease is in force, as one is that nobody has asked to be revoked.
    pub async fn is_active(&self, id: &LeaseId) -> Result<bool, Error> {
        let entry = self.store.get(&record::key(id)).await?;
        let record = entry.map(|entry| serde_json::from_slice::<Record>(&entry.value)).transpose();
        let record = record.map_err(|_| Error::internal(format!("the record of lease {id} cannot be read")))?;
        Ok(record.is_some_and(|record| record.state == State::Active))
    }

    /// Where a lease of a mount stands, intents included; `None` if there is none, or it is of another mount.
    pub async fn stands(&self, id: &LeaseId, mount: &str) -> Result<Option<State>, Error> {
        let tx = Tx::new(Arc::clone(&self.store));
        let record: Option<Record> = tx.get_json(&record::key(id)).await?;
        Ok(record.filter(|record| *record.mount == *mount).map(|record| record.state))
    }

    /// The leases whose revocation failed, in order of mount and id, after `after` (a mount's uuid and an id joined by
    /// a slash), at most `limit`; and whether there are more.
    pub async fn failing(&self, after: Option<&str>, limit: usize) -> Result<(Vec<Record>, bool), Error> {
        let base = record::FAILING;
        let after = after.map(|after| format!("{base}{after}"));
        let page = self.store.scan(&Scan { prefix: base.to_owned(), after, limit, values: false }).await?;
        let mut records = Vec::with_capacity(page.entries.len());
        for (key, _) in &page.entries {
            let Some((_, id)) = key.as_str().get(base.len()..).and_then(|rest| rest.split_once('/')) else { continue };
            let entry = self.store.get(&record::key(&LeaseId(id.into()))).await?;
            let record = entry.map(|entry| serde_json::from_slice::<Record>(&entry.value)).transpose();
            records.extend(record.map_err(|_| Error::internal(format!("the record of lease {id} cannot be read")))?);
        }
        Ok((records, page.more))
    }

    async fn failing_of(
        &self,
        mount: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<LeaseId>, bool), Error> {
        let base = record::failing_prefix(mount);
        let page = self.store.scan(&Scan { prefix: base.clone(), after, limit, values: false }).await?;
        let ids = page.entries.iter().filter_map(|(key, _)| key.as_str().get(base.len()..));
        Ok((ids.map(|id| LeaseId(id.into())).collect(), page.more))
    }

    /// The ids of leases of a namespace whose id begins with `prefix`, after the id `after`, ascending; and whether there
    /// are more.
    pub async fn ids(
        &self,
        namespace: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<LeaseId>, bool), Error> {
        let base = format!("{}{}", namespace::scope(namespace), record::ID);
        let scan = Scan {
            prefix: format!("{base}{prefix}"),
            after: after.map(|after| format!("{base}{after}")),
            limit,
            values: false,
        };
        let page = self.store.scan(&scan).await?;
        let id = |key: &storage::Key| LeaseId(key.as_str().get(base.len()..).unwrap_or_default().into());
        Ok((page.entries.iter().map(|(key, _)| id(key)).collect(), page.more))
    }

    /// The ids of leases that nobody was handed: intents, and those that are being given up. As many as there are requests under
    /// way, and failed ones whose target does not answer.
    pub async fn hidden(&self) -> Result<BTreeSet<String>, Error> {
        let (mut ids, mut after) = (BTreeSet::new(), None);
        loop {
            let scan = Scan { prefix: record::PENDING.to_owned(), after, limit: 1000, values: false };
            let page = self.store.scan(&scan).await?;
            let rest = page.entries.iter().filter_map(|(key, _)| key.as_str().strip_prefix(record::PENDING));
            ids.extend(rest.filter_map(|rest| rest.split_once('/')).map(|(_, id)| id.to_owned()));
            after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
            if !page.more {
                return Ok(ids);
            }
        }
    }

    /// The ids of a token's leases, at most `limit`.
    pub async fn of_token(&self, token: &TokenId, limit: usize) -> Result<Vec<LeaseId>, Error> {
        let base = record::token_prefix(token);
        let scan = Scan { prefix: base.clone(), after: None, limit, values: false };
        let page = self.store.scan(&scan).await?;
        let id = |key: &storage::Key| LeaseId(key.as_str().get(base.len()..).unwrap_or_default().into());
        Ok(page.entries.iter().map(|(key, _)| id(key)).collect())
    }

    /// Puts the end of a token into the due index, in place of `before`, as part of `tx`.
    pub fn watch_token(&self, tx: &Tx, token: &TokenId, before: Option<Timestamp>, end: Option<Timestamp>) {
        let tx = tx.whole();
        if let Some(before) = before {
            tx.delete(due::token_key(before, token));
        }
        if let Some(end) = end {
            tx.put(due::token_key(end, token), bytes::Bytes::new());
            self.sound(end);
        }
    }

    /// Lets the expirer look at once whether something is due.
    pub fn wake(&self) {
        self.sound(self.clock.now());
    }

    /// Has the expirer look at `due` at the latest, whatever it found when it last looked.
    fn sound(&self, due: Timestamp) {
        let mut alarm = self.alarm.lock();
        if alarm.is_none_or(|at| due < at) {
            *alarm = Some(due);
            self.wake.notify_one();
        }
    }

    async fn pending(&self, tx: &Tx, id: &LeaseId) -> Result<Record, Error> {
        let record: Option<Record> = tx.get_json(&record::key(id)).await?;
        record
            .filter(|record| record.state == State::Pending)
            .ok_or_else(|| Error::Unavailable("the request took longer than its intent stood; try again".to_owned()))
    }

    fn insert(&self, tx: &Tx, record: &Record) -> Result<(), Error> {
        tx.put_json(record::key(&record.id), record)?;
        if let Some(owner) = &record.owner {
            tx.put(record::token_key(owner, &record.id), bytes::Bytes::new());
        }
        if record.failures > 0 {
            tx.put(record::failing_key(&record.mount, &record.id), bytes::Bytes::new());
        }
        tx.put(due::lease_key(record.due, &record.id), bytes::Bytes::new());
        self.sound(record.due);
        Ok(())
    }

    fn unschedule(&self, tx: &Tx, record: &Record) {
        tx.delete(due::lease_key(record.due, &record.id));
    }

    fn remove(&self, tx: &Tx, record: &Record) {
        self.unschedule(tx, record);
        tx.delete(record::key(&record.id));
        tx.delete(record::pending_key(&record.instance, &record.id));
        if let Some(owner) = &record.owner {
            tx.delete(record::token_key(owner, &record.id));
        }
        if record.failures > 0 {
            tx.delete(record::failing_key(&record.mount, &record.id));
        }
    }

    /// Changes a record in a commit of its own, if `change` says that it did. Whether it did; `None` if there is none.
    async fn change(
        &self,
        id: &LeaseId,
        change: impl Fn(&mut Record, Timestamp) -> bool + Send + Sync,
    ) -> Result<Option<bool>, Error> {
        self.retried(|| {
            Box::pin(async {
                let tx = Tx::new(Arc::clone(&self.store));
                let Some(mut record) = tx.get_json::<Record>(&record::key(id)).await? else { return Ok(None) };
                self.unschedule(&tx, &record);
                if !change(&mut record, self.clock.now()) {
                    return Ok(Some(false));
                }
                self.insert(&tx, &record)?;
                tx.commit().await?;
                Ok(Some(true))
            })
        })
        .await
    }

    async fn retried<'a, T>(&self, work: impl Fn() -> storage::BoxFuture<'a, Result<T, Error>>) -> Result<T, Error> {
        for _ in 0..COMMIT_TRIES {
            match work().await {
                Err(Error::Conflict) => tokio::task::yield_now().await,
                result => return result,
            }
        }
        Err(Error::Unavailable("the lease changes too often; try again".to_owned()))
    }
}

const COMMIT_TRIES: usize = 16;
/// How many leases of a token one commit marks.
const MARKED_AT_ONCE: usize = 64;

fn mark(record: &mut Record, now: Timestamp) -> bool {
    record.was_pending |= record.state == State::Pending;
    record.state = State::Revoking;
    record.due = now;
    true
}

/// `path` is relative to the mount's namespace, which the id names.
fn new_id(mount: &MountInfo, path: &str) -> LeaseId {
    let id = format!("{}/{}", path.trim_end_matches('/'), *crypto::random::base62(24));
    LeaseId(namespace::with_suffix(id, mount.namespace.suffix()).into())
}

fn capped(wished: Duration, max: Duration) -> String {
    format!(
        "TTL of \"{}s\" exceeded the effective max_ttl of \"{}s\"; TTL value is capped accordingly",
        wished.as_secs(),
        max.as_secs()
    )
}

/// The call that revokes `record` at its engine.
pub fn revocation(
    record: &Record,
    mount: Arc<MountInfo>,
    view: storage::View,
    services: Arc<dyn gate::Services>,
) -> LeaseCall {
    LeaseCall {
        lease: record.id.clone(),
        data: record.secret(),
        until: None,
        pending: record.was_pending,
        mount,
        view,
        services,
    }
}
