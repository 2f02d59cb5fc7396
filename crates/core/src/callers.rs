//! The holders of tokens, with what their entities add.

use std::sync::Arc;

use gate::{Caller, TokenId};
use identity::Standing;
use quick_cache::sync::Cache;

/// The callers that were put together last. One is used again as long as both of its parts are the same, so that what is kept
/// beside it is found again.
pub(crate) struct Callers(Cache<TokenId, Arc<Joined>>);

struct Joined {
    holder: Arc<Caller>,
    standing: Arc<Standing>,
    caller: Arc<Caller>,
}

/// How many callers are kept.
const CALLERS: usize = 4096;

impl Callers {
    pub(crate) fn new() -> Self {
        Self(Cache::new(CALLERS))
    }

    /// The holder of a token, who is the entity that `standing` is of.
    pub(crate) fn join(&self, holder: Arc<Caller>, standing: Arc<Standing>) -> Arc<Caller> {
        if let Some(known) = self.0.get(&holder.id)
            && Arc::ptr_eq(&known.holder, &holder)
            && Arc::ptr_eq(&known.standing, &standing)
        {
            return Arc::clone(&known.caller);
        }
        let caller = Arc::new(holder.as_entity(&standing.id, &standing.policies));
        // The holder of a token whose uses are counted is another one each time.
        if holder.num_uses == 0 {
            let id = holder.id.clone();
            self.0.insert(id, Arc::new(Joined { holder, standing, caller: Arc::clone(&caller) }));
        }
        caller
    }
}
