//! Failures by name, within a limit in bytes: what failed longest ago goes first.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use clock::Timestamp;

use crate::Rules;

/// A name on a mount.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) mount: String,
    pub(crate) alias: String,
}

impl Id {
    pub(crate) fn new(mount: &str, alias: &str) -> Arc<Self> {
        Arc::new(Self { mount: mount.to_owned(), alias: alias.to_owned() })
    }

    /// About what an entry with this name takes.
    fn bytes(&self) -> usize {
        self.mount.len() + self.alias.len() + 250
    }
}

struct Failures {
    count: u64,
    last: Timestamp,
    locked_until: Option<Timestamp>,
}

pub(crate) struct Table {
    entries: HashMap<Arc<Id>, Failures>,
    by_time: BTreeSet<(Timestamp, Arc<Id>)>,
    bytes: usize,
    most_bytes: usize,
}

impl Table {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { entries: HashMap::new(), by_time: BTreeSet::new(), bytes: 0, most_bytes }
    }

    pub(crate) fn is_locked(&self, id: &Id, now: Timestamp) -> bool {
        self.entries.get(id).and_then(|failures| failures.locked_until).is_some_and(|until| until > now)
    }

    /// Counts a failure. If it is the last one too many, gives until when the name is locked.
    pub(crate) fn fail(&mut self, id: &Arc<Id>, now: Timestamp, rules: &Rules) -> Option<Timestamp> {
        let before = self.remove(id).filter(|before| {
            // What came before a lock that ended, or before a long quiet time, counts no more.
            before.locked_until.is_none() && clock::after(before.last, rules.counter_reset) > now
        });
        let count = before.map_or(1, |before| before.count.saturating_add(1));
        let locked_until = (count >= rules.threshold).then(|| clock::after(now, rules.duration));
        self.insert(id, Failures { count, last: now, locked_until });
        locked_until
    }

    pub(crate) fn forget(&mut self, id: &Id) {
        self.remove(id);
    }

    pub(crate) fn forget_mount(&mut self, mount: &str) {
        let of_mount: Vec<_> = self.entries.keys().filter(|id| id.mount == mount).cloned().collect();
        for id in of_mount {
            self.remove(&id);
        }
    }

    pub(crate) fn locked(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Id>> {
        let is_locked = move |failures: &Failures| failures.locked_until.is_some_and(|until| until > now);
        self.entries.iter().filter(move |(_, failures)| is_locked(failures)).map(|(id, _)| id)
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn insert(&mut self, id: &Arc<Id>, failures: Failures) {
        self.by_time.insert((failures.last, Arc::clone(id)));
        self.entries.insert(Arc::clone(id), failures);
        self.bytes += id.bytes();
        while self.bytes > self.most_bytes {
            let Some((_, oldest)) = self.by_time.first().cloned() else { return };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, id: &Id) -> Option<Failures> {
        let (id, failures) = self.entries.remove_entry(id)?;
        self.bytes -= id.bytes();
        self.by_time.remove(&(failures.last, id));
        Some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_when_there_is_no_more_room() {
        let room_for_three = 3 * Id::new("mount", "0000").bytes();
        let mut table = Table::new(room_for_three);
        let rules = Rules { threshold: 1, ..Rules::default() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let ids: Vec<_> = (0..1000).map(|n| Id::new("mount", &format!("{n:04}"))).collect();
        for (second, id) in (0..).zip(&ids) {
            table.fail(id, at(second), &rules);
            // The first one fails again and again, so it is never the oldest.
            table.fail(&ids[0], at(second), &rules);
            assert!(table.bytes <= room_for_three && table.entries.len() == table.by_time.len());
        }
        let kept: BTreeSet<_> = table.locked(at(999)).map(|id| id.alias.as_str()).collect();
        assert_eq!(kept, ["0000", "0998", "0999"].into());
        table.forget_mount("mount");
        assert_eq!((table.bytes, table.entries.len(), table.by_time.len()), (0, 0, 0));
    }
}
