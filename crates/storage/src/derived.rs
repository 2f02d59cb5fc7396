//! What was worked out from a stored value, kept with it.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Room beside a value that stays in memory for what a reader works out from it, so that the next reader finds it. It is
/// gone with the value: when that changes, when its room is needed, when the store is closed.
///
/// The default has no room.
#[derive(Clone, Default)]
pub struct Derived(Option<Arc<Slot>>);

struct Slot {
    kept: OnceLock<Held>,
    budget: Arc<Budget>,
}

struct Held {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
}

/// How many bytes all that is derived from the values of one store may still take.
#[derive(Debug)]
pub struct Budget(AtomicUsize);

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl Derived {
    /// Room within a budget.
    pub fn within(budget: &Arc<Budget>) -> Self {
        Self(Some(Arc::new(Slot { kept: OnceLock::new(), budget: Arc::clone(budget) })))
    }

    /// What is kept, if it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let held = self.0.as_ref()?.kept.get()?;
        Arc::clone(&held.value).downcast().ok()
    }

    /// Keeps `value`, which takes about so many bytes, if there is room and nothing is kept yet.
    pub fn keep<T: Any + Send + Sync>(&self, value: Arc<T>, bytes: usize) {
        let Some(slot) = self.0.as_ref().filter(|slot| slot.kept.get().is_none()) else { return };
        if slot.budget.take(bytes) && slot.kept.set(Held { value, bytes }).is_err() {
            slot.budget.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(held) = self.kept.get() {
            self.budget.0.fetch_add(held.bytes, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived(..)")
    }
}

/// What is derived from equal values is no difference between them.
impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_its_type() {
        let derived = Derived::within(&Budget::new(100));
        assert_eq!(derived.get::<u32>(), None);
        derived.keep(Arc::new(7_u32), 10);
        derived.keep(Arc::new(8_u32), 10);
        assert_eq!(derived.clone().get::<u32>().as_deref(), Some(&7));
        assert_eq!(derived.get::<u64>(), None);
        Derived::default().keep(Arc::new(7_u32), 10);
    }

    #[test]
    fn a_budget_is_kept_and_given_back() {
        let budget = Budget::new(100);
        let (first, second) = (Derived::within(&budget), Derived::within(&budget));
        first.keep(Arc::new(1_u32), 60);
        second.keep(Arc::new(2_u32), 60);
        assert_eq!(second.get::<u32>(), None, "there was no room");
        drop(first);
        second.keep(Arc::new(2_u32), 60);
        assert_eq!(second.get::<u32>().as_deref(), Some(&2));
    }
}
