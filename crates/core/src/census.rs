//! How many tokens, leases and entities there are. They lie on disk and are not counted as they come and go, so to know
//! is to look at all of them; what was found is kept for a while.

use std::time::Duration;

use clock::{Clock, Timestamp};
use gate::Error;
use storage::{Scan, Store};

/// The numbers as they were counted last.
#[derive(Default)]
pub(crate) struct Census(tokio::sync::Mutex<Option<Taken>>);

struct Taken {
    at: Timestamp,
    took: Duration,
    numbers: Numbers,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Service tokens.
    pub(crate) tokens: u64,
    /// Leases and tokens that end by themselves.
    pub(crate) leases: u64,
    /// Leases whose revocation fails.
    pub(crate) failing: u64,
    /// Entities.
    pub(crate) entities: u64,
}

impl Census {
    /// The numbers, counted anew unless that was done lately: counting takes at most a fiftieth of the time.
    pub(crate) async fn numbers(&self, store: &dyn Store, clock: &Clock) -> Result<Numbers, Error> {
        let mut taken = self.0.lock().await;
        let began = clock.now();
        if let Some(taken) = &*taken
            && clock::between(taken.at, began) < taken.took * SHARE
        {
            return Ok(taken.numbers);
        }
        let numbers = Numbers {
            tokens: count(store, tokens::ACCESSORS).await?,
            leases: count(store, leases::DUE).await?,
            failing: count(store, leases::FAILING).await?,
            entities: count(store, identity::entity_key("").as_str()).await?,
        };
        let at = clock.now();
        *taken = Some(Taken { at, took: clock::between(began, at), numbers });
        Ok(numbers)
    }
}

/// Counts the entries below a prefix, a page at a time.
pub(crate) async fn count(store: &dyn Store, prefix: &str) -> Result<u64, Error> {
    let (mut count, mut after) = (0, None);
    loop {
        let scan = Scan { prefix: prefix.to_owned(), after, limit: 1000, values: false };
        let page = store.scan(&scan).await?;
        count += page.entries.len() as u64;
        after = page.entries.last().map(|(key, _)| key.as_str().to_owned());
        if !page.more {
            return Ok(count);
        }
    }
}

const SHARE: u32 = 50;
