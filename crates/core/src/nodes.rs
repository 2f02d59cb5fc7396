//! The nodes that share a store: each leaves a sign of life there, and looks for those of the others.
//!
//! ```text
//! sys/node/<name>    what the node is, and the run of the server that it is now
//! ```
//! No clocks are compared: a node is taken for gone when its sign was the same for some of one's own beats. So neither a
//! clock that is wrong nor a pause of the one who looks makes a living node look gone. To be taken for gone has no effect but
//! that others may go on with what the node had under way, which is claimed by conditional commits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use clock::Timestamp;
use gate::Error;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Key, Revision, Scan, Store, Tx};

use crate::{host, running::Running};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its name, which is its own among the nodes.
    pub(crate) name: String,
    /// The run of the server.
    pub(crate) instance: String,
    /// The machine.
    pub(crate) hostname: String,
    /// Where clients reach it.
    pub(crate) api_address: String,
    /// Our version.
    pub(crate) version: String,
    /// Since when it serves.
    pub(crate) active_since: Timestamp,
    /// Its own clock at the last beat.
    pub(crate) last_echo: Timestamp,
}

/// What is known of the nodes.
#[derive(Default)]
pub(crate) struct Nodes(Mutex<BTreeMap<String, Seen>>);

struct Seen {
    node: Node,
    revision: Revision,
    /// For how many of our beats its sign has been the same.
    silent: u32,
}

impl Nodes {
    /// The nodes, and whether each is alive.
    pub(crate) fn list(&self) -> Vec<(Node, bool)> {
        self.0.lock().values().map(|seen| (seen.node.clone(), seen.silent < SILENT)).collect()
    }

    /// Whether no node says that it is this run of the server, or the one that does has fallen silent.
    pub(crate) fn is_gone(&self, instance: &str) -> bool {
        !self.0.lock().values().any(|seen| seen.node.instance == instance && seen.silent < SILENT)
    }

    /// The node, of those that are alive, that does the work on `thing`; `None` if none is known. All nodes choose the same
    /// one as soon as they see the same nodes, and a node that comes or goes moves few things.
    fn chosen(&self, thing: &str) -> Option<String> {
        let known = self.0.lock();
        let alive = known.iter().filter(|(_, seen)| seen.silent < SILENT);
        alive.max_by_key(|(name, _)| mixed(name, thing)).map(|(name, _)| name.clone())
    }

    /// Takes in what is stored now. Whether a run of the server is gone that was not before.
    fn look(&self, found: Vec<(Node, Revision)>) -> bool {
        let mut known = self.0.lock();
        let before: Vec<String> = alive(&known).collect();
        let mut seen = BTreeMap::new();
        for (node, revision) in found {
            let silent = match known.get(&node.name) {
                Some(before) if before.revision == revision => before.silent.saturating_add(1),
                _ => 0,
            };
            seen.insert(node.name.clone(), Seen { node, revision, silent });
        }
        *known = seen;
        before.iter().any(|instance| !alive(&known).any(|now| now == *instance))
    }
}

fn alive(known: &BTreeMap<String, Seen>) -> impl Iterator<Item = String> {
    known.values().filter(|seen| seen.silent < SILENT).map(|seen| seen.node.instance.clone())
}

/// A number that is the same in every version of the program (FNV-1a).
fn mixed(name: &str, thing: &str) -> u64 {
    let bytes = name.bytes().chain([0]).chain(thing.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Running {
    /// Whether work on `thing` that no request asks for is this node's.
    pub(crate) fn tends(&self, thing: &str) -> bool {
        match &self.settings.sharing {
            None => true,
            Some(sharing) => self.nodes.chosen(thing).is_none_or(|chosen| chosen == sharing.node),
        }
    }

    /// What this node says of itself.
    fn own_node(&self, name: &str, since: Timestamp) -> Node {
        Node {
            name: name.to_owned(),
            instance: self.leases.instance().to_owned(),
            hostname: host::name(),
            api_address: self.settings.address.clone(),
            version: self.settings.version.to_owned(),
            active_since: since,
            last_echo: self.clock.now(),
        }
    }

    /// Leaves a sign of life, and looks for those of the others. Whether a node is gone whose work may be taken up.
    pub(crate) async fn beat(&self, name: &str, since: Timestamp) -> Result<bool, Error> {
        let own = self.own_node(name, since);
        let tx = Tx::new(self.store());
        let before: Option<Node> = tx.get_json(&key(name)).await?;
        // Taken over at the start; later, somebody else has the same name.
        let other = before.is_some_and(|before| before.instance != own.instance && before.active_since > since);
        if other {
            tracing::error!(name, "another node has the same name: set node_id in the storage stanza of one of them");
        }
        tx.put_json(key(name), &own)?;
        match tx.commit().await.map_err(Error::from) {
            // Seen again at the next beat.
            Ok(_) | Err(Error::Conflict) => {}
            Err(error) => return Err(error),
        }
        let found = read(&self.store()).await?;
        // What was silent for very long is no news to anybody.
        Ok(self.nodes.look(found))
    }

    /// Takes the sign of life away: what this node has under way can be taken up at once.
    pub(crate) async fn leave_nodes(&self, name: &str) -> Result<(), Error> {
        let tx = Tx::new(self.store());
        let own: Option<Node> = tx.get_json(&key(name)).await?;
        if own.is_some_and(|own| own.instance == self.leases.instance()) {
            tx.delete(key(name));
            tx.commit().await?;
        }
        Ok(())
    }
}

/// Beats until the server is sealed.
pub(crate) async fn keep_beating(running: Weak<Running>, name: String, since: Timestamp) {
    loop {
        let Some(node) = running.upgrade() else { return };
        let clock = node.clock.clone();
        match node.beat(&name, since).await {
            Ok(true) => node.take_up_work(),
            Ok(false) => {}
            Err(Error::Sealed) => return,
            Err(error) => tracing::debug!(%error, "no sign of life could be left"),
        }
        drop(node);
        clock.sleep(BEAT).await;
    }
}

async fn read(store: &Arc<dyn Store>) -> Result<Vec<(Node, Revision)>, Error> {
    let scan = Scan { prefix: PREFIX.to_owned(), after: None, limit: MOST, values: true };
    let page = store.scan(&scan).await?;
    let parsed = page.entries.iter().filter_map(|(_, entry)| {
        let node = serde_json::from_slice(&entry.value).ok()?;
        Some((node, entry.revision))
    });
    Ok(parsed.collect())
}

fn key(name: &str) -> Key {
    Key::join([PREFIX, name])
}

const PREFIX: &str = "sys/node/";
/// How often a node leaves a sign of life.
const BEAT: Duration = Duration::from_secs(2);
/// For how many beats a node may be silent before it is taken for gone.
const SILENT: u32 = 6;
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, instance: &str) -> Node {
        Node {
            name: name.to_owned(),
            instance: instance.to_owned(),
            hostname: String::new(),
            api_address: String::new(),
            version: String::new(),
            active_since: Timestamp::UNIX_EPOCH,
            last_echo: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn work_is_spread_over_those_who_are_alive() {
        let nodes = Nodes::default();
        assert_eq!(nodes.chosen("m"), None);
        nodes.look(vec![(node("a", "a1"), 1), (node("b", "b1"), 1), (node("c", "c1"), 1)]);
        let things: Vec<String> = (0..300).map(|n| format!("mount-{n}")).collect();
        let chosen = || things.iter().map(|thing| nodes.chosen(thing).unwrap()).collect::<Vec<_>>();
        let three = chosen();
        for name in ["a", "b", "c"] {
            let share = three.iter().filter(|chosen| *chosen == name).count();
            assert!((50..150).contains(&share), "{name} does {share} of 300");
        }
        for beat in 2..10 {
            nodes.look(vec![(node("a", "a1"), beat), (node("b", "b1"), 1), (node("c", "c1"), beat)]);
        }
        let two = chosen();
        assert!(two.iter().all(|name| name != "b"));
        let moved = three.iter().zip(&two).filter(|(before, after)| before != after).count();
        assert_eq!(moved, three.iter().filter(|name| *name == "b").count(), "only what was b's moves");
    }

    #[test]
    fn a_node_is_gone_when_its_sign_stays_the_same_for_long_or_another_run_has_its_name() {
        let nodes = Nodes::default();
        assert!(nodes.is_gone("a1"));
        assert!(!nodes.look(vec![(node("a", "a1"), 1), (node("b", "b1"), 2)]));
        for beat in 1..SILENT {
            assert!(!nodes.look(vec![(node("a", "a1"), 10 + u64::from(beat)), (node("b", "b1"), 2)]), "{beat}");
            assert!(!nodes.is_gone("b1"));
        }
        assert!(nodes.look(vec![(node("a", "a1"), 20), (node("b", "b1"), 2)]), "its work may be taken up");
        assert!(nodes.is_gone("b1") && !nodes.is_gone("a1"));
        assert!(!nodes.look(vec![(node("a", "a1"), 21), (node("b", "b1"), 2)]), "that is told once");
        assert_eq!(nodes.list().iter().map(|(_, alive)| *alive).collect::<Vec<_>>(), [true, false]);
        assert!(!nodes.look(vec![(node("a", "a1"), 22), (node("b", "b1"), 23)]), "it was only slow");
        assert!(!nodes.is_gone("b1"));
        assert!(nodes.look(vec![(node("a", "a2"), 24), (node("b", "b1"), 25)]), "started again under its name");
        assert!(nodes.is_gone("a1") && !nodes.is_gone("a2"));
    }
}
