//! Identities over a store in memory that counts what is read.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "each test uses its part")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use clock::{Simulated, Timestamp};
use gate::Error;
use identity::{
    AliasInput, Directory, Entity, EntityInput, Group, GroupAliasInput, GroupInput, GroupKind, Identities, Seen,
};
use storage::{Batch, BoxFuture, Changes, CommitError, Entry, Key, Page, Revision, Scan, Store, Tx};

pub struct World {
    pub store: Arc<Counting>,
    pub time: Simulated,
    pub identities: Identities,
}

/// Counts the reads of a store.
pub struct Counting {
    inner: Arc<dyn Store>,
    reads: AtomicUsize,
}

impl Store for Counting {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, storage::Error>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Page, storage::Error>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.scan(scan)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, CommitError>> {
        self.inner.commit(batch)
    }

    fn follow(&self) -> Changes {
        self.inner.follow()
    }
}

pub fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

pub fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn entity(name: &str) -> EntityInput {
    EntityInput { name: Some(name.to_owned()), ..EntityInput::default() }
}

pub fn group(name: &str) -> GroupInput {
    GroupInput { name: Some(name.to_owned()), ..GroupInput::default() }
}

impl World {
    pub fn new() -> Self {
        let time = Simulated::new(Timestamp::from_second(1_800_000_000).unwrap());
        let store = Arc::new(Counting { inner: store_memory::Memory::new(), reads: AtomicUsize::new(0) });
        let identities = Identities::new(Arc::clone(&store) as Arc<dyn Store>, time.clock());
        Self { store, time, identities }
    }

    pub fn tx(&self) -> Arc<Tx> {
        Tx::new(Arc::clone(&self.store) as Arc<dyn Store>)
    }

    pub fn directory<'t>(&self, tx: &'t Tx) -> Directory<'t> {
        Directory::new(tx, self.time.clock().now())
    }

    /// How many reads `act` costs.
    pub async fn reads<T>(&self, act: impl Future<Output = T>) -> (T, usize) {
        let before = self.store.reads.load(Ordering::Relaxed);
        let value = act.await;
        (value, self.store.reads.load(Ordering::Relaxed) - before)
    }

    pub async fn entity(&self, input: EntityInput) -> Result<Entity, Error> {
        let tx = self.tx();
        let (entity, _) = self.directory(&tx).write_entity(input).await?;
        tx.commit().await?;
        Ok(entity)
    }

    pub async fn group(&self, input: GroupInput) -> Result<Group, Error> {
        let tx = self.tx();
        let (group, _) = self.directory(&tx).write_group(input).await?;
        tx.commit().await?;
        Ok(group)
    }

    pub async fn external(&self, name: &str, accessor: &str, alias: &str, policies: &[&str]) -> Result<Group, Error> {
        let input =
            GroupInput { kind: Some(GroupKind::External), policies: Some(self::names(policies)), ..group(name) };
        let made = self.group(input).await?;
        self.group_alias(GroupAliasInput {
            name: Some(alias.to_owned()),
            accessor: Some(accessor.to_owned()),
            group: Some(made.id),
            ..GroupAliasInput::default()
        })
        .await
    }

    pub async fn group_alias(&self, input: GroupAliasInput) -> Result<Group, Error> {
        let tx = self.tx();
        let group = self.directory(&tx).write_group_alias(input).await?;
        tx.commit().await?;
        Ok(group)
    }

    pub async fn alias(&self, input: AliasInput) -> Result<(Entity, String), Error> {
        let tx = self.tx();
        let made = self.directory(&tx).write_alias(input).await?;
        tx.commit().await?;
        Ok(made)
    }

    pub async fn login(&self, accessor: &str, name: &str, groups: &[&str]) -> Result<Entity, Error> {
        let tx = self.tx();
        let groups = names(groups);
        let seen = Seen { accessor, name, metadata: &pairs([("from", accessor)]), groups: &groups };
        let entity = self.directory(&tx).login(seen).await?;
        tx.commit().await?;
        Ok(entity)
    }

    pub async fn find(&self, id: &str) -> Option<Entity> {
        self.directory(&self.tx()).entity(id).await.unwrap()
    }

    pub async fn delete(&self, id: &str) {
        let tx = self.tx();
        assert!(self.directory(&tx).delete_entity(id).await.unwrap());
        tx.commit().await.unwrap();
    }

    pub async fn members(&self, group: &Group) -> Vec<String> {
        let tx = self.tx();
        let directory = self.directory(&tx);
        let group = directory.group(&group.id).await.unwrap().unwrap();
        directory.members(&group).await.unwrap()
    }

    pub async fn policies(&self, id: &str) -> Vec<String> {
        self.identities.standing(id).await.unwrap().policies.to_vec()
    }

    pub async fn refused(&self, id: &str) -> bool {
        matches!(self.identities.standing(id).await, Err(Error::Denied(gate::Refusal::Entity)))
    }

    /// Everything that is stored, but for the mark of changed groups.
    pub async fn keys(&self) -> Vec<String> {
        let scan = Scan { prefix: String::new(), after: None, limit: 10_000, values: false };
        let page = self.store.scan(&scan).await.unwrap();
        let keys = page.entries.iter().map(|(key, _)| key.as_str().to_owned());
        keys.filter(|key| !key.ends_with("groups-changed")).collect()
    }
}

#[track_caller]
pub fn refuses<T>(result: Result<T, Error>, text: &str) {
    match result {
        Err(Error::Invalid(why)) => assert!(why.contains(text), "{why:?} does not say {text:?}"),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("not refused: {text}"),
    }
}

impl World {
    /// The number of the last commit.
    pub async fn store_revision(&self) -> Revision {
        self.store.commit(Batch::default()).await.unwrap()
    }
}
