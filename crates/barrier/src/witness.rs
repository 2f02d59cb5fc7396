//! What something was made of, so that it is known when that changes, without a look at any entry.
//!
//! Every key has a mark, which many keys share. A commit that begins moves the marks of its keys, as does news of a commit
//! elsewhere; while a commit to a key is under way, nothing can be witnessed. A mark is noted before its entry is read. So
//! as long as the mark is the same, no commit to the entry has begun since, and none was acknowledged.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use storage::Key;

use crate::Unsealed;

/// Which entries something was made of; see [`Unsealed::witness`].
#[derive(Debug)]
pub struct Witness(Box<[Noted]>);

#[derive(Clone, Copy, Debug)]
struct Noted {
    mark: usize,
    value: u64,
}

impl Unsealed {
    /// Does `work`, and notes which entries it reads. There is no witness to work that listed or wrote entries, that read
    /// what was just being changed, or if nothing is kept in memory. What is read in tasks that the work starts is not
    /// noted.
    pub async fn witness<T>(&self, work: impl Future<Output = T>) -> (T, Option<Witness>) {
        let noting = async {
            let done = work.await;
            (done, NOTES.with(RefCell::take))
        };
        let (done, notes) = NOTES.scope(RefCell::default(), noting).await;
        let witness = (self.cache.keeps() && !notes.forgone).then(|| Witness(notes.all.into()));
        (done, witness)
    }

    /// Whether none of the entries has changed since. Costs no lock and no write to shared memory.
    pub fn bears_out(&self, witness: &Witness) -> bool {
        witness.0.iter().all(|noted| self.cache.marks.value(noted.mark) == noted.value)
    }
}

#[derive(Default)]
struct Notes {
    all: Vec<Noted>,
    forgone: bool,
}

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

/// Notes that `key` is about to be read, if anybody wants to know.
pub(crate) fn note(marks: &Marks, key: &Key) {
    // An error means that nobody does.
    let _ = NOTES.try_with(|notes| {
        let mut notes = notes.borrow_mut();
        let mark = marks.of(key);
        let value = marks.value(mark);
        notes.forgone |= value >= ONE_UNDER_WAY;
        notes.all.push(Noted { mark, value });
    });
}

/// What is done now cannot be witnessed.
pub(crate) fn forgo() {
    // An error means that nobody wants to.
    let _ = NOTES.try_with(|notes| notes.borrow_mut().forgone = true);
}

/// The marks: how often the entries were changed, and in the upper bits how many commits to them are under way.
pub(crate) struct Marks {
    values: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Marks {
    pub(crate) fn new() -> Self {
        let values = std::iter::repeat_with(AtomicU64::default).take(MARKS).collect();
        Self { values, hasher: RandomState::new() }
    }

    /// A commit to `key` begins.
    pub(crate) fn begin(&self, key: &Key) {
        self.add(self.of(key), ONE_UNDER_WAY + 1);
    }

    /// A commit to `key` has ended, whatever came of it.
    pub(crate) fn end(&self, key: &Key) {
        self.at(self.of(key)).fetch_sub(ONE_UNDER_WAY, Ordering::AcqRel);
    }

    /// The entry at `key` was changed.
    pub(crate) fn change(&self, key: &Key) {
        self.add(self.of(key), 1);
    }

    /// Anything may have changed.
    pub(crate) fn change_all(&self) {
        (0..self.values.len()).for_each(|mark| self.add(mark, 1));
    }

    fn of(&self, key: &Key) -> usize {
        // The remainder fits.
        (self.hasher.hash_one(key) % MARKS as u64) as usize
    }

    fn value(&self, mark: usize) -> u64 {
        self.at(mark).load(Ordering::Acquire)
    }

    fn add(&self, mark: usize, amount: u64) {
        self.at(mark).fetch_add(amount, Ordering::AcqRel);
    }

    fn at(&self, mark: usize) -> &AtomicU64 {
        #[allow(clippy::indexing_slicing, reason = "there are MARKS marks and the index is below that")]
        &self.values[mark]
    }
}

/// How many marks there are: enough that a few hundred commits a second seldom move that of another key.
const MARKS: usize = 4096;
/// Below it, changes are counted: at a million a second for half a year.
const ONE_UNDER_WAY: u64 = 1 << 44;
