//! Keeps what this node holds in memory in step with what other nodes write, and knows how far it is.
//!
//! Where nodes share a store, a node answers only while it knows the state of the store of at most `max_staleness` ago. If it
//! does not, it waits a moment for news and then refuses, and goes on by itself when it hears of the store again. Replies carry
//! how far the node is (`X-Vault-Index`); who sends that back is answered only by a state that is at least as new.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use gate::{Error, Request, namespace};
use mounts::Mounts;
use storage::{Batch, Change, Changes, Key, Revision};
use tokio::sync::watch;

use crate::{audit_devices, live, running::Running};

/// What a server is told of the store that it shares with others.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// How old the state of the store may be that requests are answered from.
    pub max_staleness: Duration,
    /// The name of this node among the nodes.
    pub node: String,
}

/// How far this node is.
pub(crate) struct Following {
    /// `None` where no other node writes to the store: then nothing in memory is ever outdated.
    max_staleness: Option<Duration>,
    heard: watch::Sender<Heard>,
}

/// Up to which commit everything was taken in, and when that was the newest.
#[derive(Clone, Copy, Debug)]
struct Heard {
    revision: Revision,
    at: Option<Instant>,
}

impl Following {
    pub(crate) fn new(sharing: Option<&Sharing>) -> Self {
        let heard = watch::Sender::new(Heard { revision: 0, at: None });
        Self { max_staleness: sharing.map(|sharing| sharing.max_staleness), heard }
    }

    /// Whether other nodes write to the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.max_staleness.is_some()
    }

    /// The newest commit of which everything was taken in.
    pub(crate) fn applied(&self) -> Revision {
        self.heard.borrow().revision
    }

    fn hear(&self, revision: Revision, at: Instant) {
        self.heard.send_modify(|heard| *heard = Heard { revision, at: Some(at) });
    }

    /// Returns once this node knows the store well enough to answer, or refuses.
    pub(crate) async fn fresh(&self) -> Result<(), Error> {
        let Some(bound) = self.max_staleness else { return Ok(()) };
        let is_fresh = |heard: &Heard| heard.at.is_some_and(|at| at.elapsed() <= bound);
        if is_fresh(&self.heard.borrow()) {
            return Ok(());
        }
        // A node that was stopped for a while is up to date again in a moment.
        let mut news = self.heard.subscribe();
        match tokio::time::timeout(MOMENT, news.wait_for(is_fresh)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable(format!(
                "this node has not heard from its store for longer than max_staleness ({} ms) and does not answer from \
                 memory; it goes on by itself as soon as the store answers",
                bound.as_millis()
            ))),
        }
    }

    /// Returns once everything up to `revision` was taken in, or refuses.
    pub(crate) async fn reached(&self, revision: Revision) -> Result<(), Error> {
        let Some(bound) = self.max_staleness else { return Ok(()) };
        if self.applied() >= revision {
            return Ok(());
        }
        let mut news = self.heard.subscribe();
        let reached = tokio::time::timeout(bound, news.wait_for(|heard| heard.revision >= revision)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Precondition("required index state not present".to_owned())),
        }
    }
}

impl Running {
    /// Whether a request may be answered from what this node knows.
    pub(crate) async fn check_fresh(&self, request: &Request) -> Result<(), Error> {
        self.following.fresh().await?;
        let sent = request.headers.iter().filter(|(name, _)| name == "x-vault-index");
        for (_, value) in sent {
            self.following.reached(parse_index(value, &self.cluster_id)?).await?;
        }
        Ok(())
    }

    /// How far this node is, for the head of a reply; `None` where it is alone.
    pub(crate) fn index(&self) -> Option<String> {
        self.following.is_shared().then(|| index(&self.cluster_id, self.following.applied().max(self.barrier.newest())))
    }

    /// Before a request is tried again because another one was first: if that was on another node, its news is waited for.
    pub(crate) async fn after_conflict(&self) {
        tokio::task::yield_now().await;
        if !self.following.is_shared() {
            return;
        }
        if let Ok(newest) = self.store().commit(Batch::default()).await {
            // Without it the next try meets the same conflict, and says so in the end.
            let _ = self.following.reached(newest).await;
        }
    }

    /// Takes up what a node was at that is gone.
    pub(crate) fn take_up_work(self: &Arc<Self>) {
        self.leases.adopt();
        self.rotations.wake();
        self.spawn(Arc::clone(self).resume_ties());
        self.resume_mounts();
    }

    async fn settle(self: &Arc<Self>, owed: &mut Owed) {
        if let Err(error) = self.try_settle(owed).await {
            tracing::warn!(%error, "what another node changed could not be read yet; it is tried again");
        }
    }

    /// Does what is owed. What fails stays owed.
    async fn try_settle(self: &Arc<Self>, owed: &mut Owed) -> Result<(), Error> {
        if owed.live {
            self.reload_live().await?;
            owed.live = false;
        }
        if owed.namespaces {
            self.spaces.sync().await?;
            owed.namespaces = false;
        }
        if owed.all_mounts {
            for space in self.spaces.all() {
                space.mounts.sync_all().await?;
            }
            owed.all_mounts = false;
            owed.mounts.clear();
        }
        while let Some((namespace, uuid)) = owed.mounts.first().cloned() {
            // Of a namespace that is not in memory nothing is outdated.
            if let Some(space) = self.spaces.known(&namespace) {
                space.mounts.sync(&uuid).await?;
            }
            owed.mounts.remove(&(namespace, uuid));
        }
        if owed.devices {
            self.sync_devices().await?;
            owed.devices = false;
        }
        Ok(())
    }
}

/// What was changed and is not taken in yet.
#[derive(Debug, Default)]
struct Owed {
    live: bool,
    devices: bool,
    namespaces: bool,
    all_mounts: bool,
    /// The namespaces and ids of mounts.
    mounts: BTreeSet<(String, String)>,
}

impl Owed {
    fn is_nothing(&self) -> bool {
        !(self.live || self.devices || self.namespaces || self.all_mounts) && self.mounts.is_empty()
    }

    /// Notes a change. Where the node is alone, it knows of its own changes of all but the settings.
    fn note(&mut self, keys: &[Key], shared: bool) {
        self.live |= keys.iter().any(|key| live::is_held(key.as_str()));
        if !shared {
            return;
        }
        for key in keys {
            let (namespace, inside) = split(key.as_str());
            if let Some(uuid) = Mounts::id_of(inside) {
                self.mounts.insert((namespace.to_owned(), uuid.to_owned()));
            }
            self.namespaces |= inside.starts_with(crate::namespaces::BELOW);
            self.devices |= namespace.is_empty() && inside.starts_with(audit_devices::PREFIX);
        }
    }

    fn note_all(&mut self, shared: bool) {
        self.live = true;
        (self.devices, self.namespaces, self.all_mounts) = (shared, shared, shared);
    }
}

/// The id of the namespace that a key belongs to, and the key in its part of the store.
fn split(key: &str) -> (&str, &str) {
    key.strip_prefix(namespace::SCOPES).and_then(|rest| rest.split_once('/')).unwrap_or(("", key))
}

/// Takes in what is changed, in order, for as long as the server is unsealed.
pub(crate) async fn follow(running: Weak<Running>, mut changes: Changes) {
    let mut owed = Owed::default();
    while let Some(change) = changes.next().await {
        let Some(running) = running.upgrade() else { return };
        let shared = running.following.is_shared();
        match &change {
            Change::Keys(_, keys) => owed.note(keys, shared),
            Change::Lost => owed.note_all(shared),
            Change::Current { .. } => {}
        }
        if !owed.is_nothing() {
            running.settle(&mut owed).await;
        }
        if let Change::Current { revision, at } = change
            && owed.is_nothing()
        {
            running.following.hear(revision, at);
        }
    }
}

/// The form of Vault's: clients keep it, compare it and send it back.
fn index(cluster: &str, revision: Revision) -> String {
    STANDARD.encode(format!("v1:{cluster}:{revision}:0:"))
}

fn parse_index(text: &str, cluster: &str) -> Result<Revision, Error> {
    let wrong = || Error::invalid("X-Vault-Index: send it as it came in a reply, or leave it out");
    let decoded =
        STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
    let mut parts = decoded.split(':');
    match (parts.next(), parts.next(), parts.next().map(str::parse)) {
        (Some("v1"), Some(id), Some(Ok(revision))) if id == cluster => Ok(revision),
        (Some("v1"), Some(_), Some(Ok(_))) => {
            Err(Error::invalid("X-Vault-Index: it is of another cluster; leave it out"))
        }
        _ => Err(wrong()),
    }
}

/// How long a request waits for news of the store.
const MOMENT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn following(max_staleness: u64) -> Following {
        let max_staleness = Duration::from_millis(max_staleness);
        Following::new(Some(&Sharing { max_staleness, node: "a".to_owned() }))
    }

    #[tokio::test]
    async fn who_has_not_heard_of_the_store_does_not_answer_and_goes_on_by_itself() {
        let following = following(60_000);
        let refused = following.fresh().await.unwrap_err();
        assert!(matches!(&refused, Error::Unavailable(text) if text.contains("max_staleness (60000 ms)")), "{refused}");
        following.hear(7, Instant::now());
        following.fresh().await.unwrap();
        following.hear(8, Instant::now().checked_sub(Duration::from_secs(61)).unwrap());
        assert!(following.fresh().await.is_err(), "the news is old");
        let (waited, ()) = futures::join!(following.fresh(), async { following.hear(9, Instant::now()) });
        waited.unwrap();
    }

    #[tokio::test]
    async fn who_is_alone_always_answers() {
        let alone = Following::new(None);
        alone.fresh().await.unwrap();
        alone.reached(u64::MAX).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_asked_for_with_an_index_waits_for_it() {
        let following = following(50);
        following.hear(7, Instant::now());
        following.reached(7).await.unwrap();
        assert!(matches!(following.reached(8).await, Err(Error::Precondition(_))));
        let (waited, ()) = futures::join!(following.reached(8), async { following.hear(8, Instant::now()) });
        waited.unwrap();
    }

    #[test]
    fn an_index_is_of_its_cluster() {
        let text = index("c-1", 42);
        assert_eq!(parse_index(&text, "c-1").unwrap(), 42);
        for (text, wanted) in
            [(text.as_str(), "another cluster"), ("42", "as it came"), ("", "as it came"), ("djE6", "as it came")]
        {
            let error = parse_index(text, "c-2").unwrap_err().to_string();
            assert!(error.starts_with("X-Vault-Index: ") && error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn keys_tell_what_has_to_be_read_again() {
        let mut owed = Owed::default();
        let keys = ["sys/mount/u1", "ns/abc123/sys/mount/u2", "mount/u1/x", "sys/token/id/t"].map(Key::new);
        owed.note(&keys, false);
        assert!(owed.is_nothing());
        owed.note(&keys, true);
        let wanted = [("", "u1"), ("abc123", "u2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(owed.mounts, wanted.into());
        assert!(!owed.live && !owed.devices && !owed.namespaces);
        owed.note(&["ns/abc123/sys/namespace/team", "sys/audit/file", "sys/config/cors"].map(Key::new), true);
        assert!(owed.live && owed.devices && owed.namespaces);
    }
}
