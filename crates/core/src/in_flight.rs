//! The requests that are under way, for `sys/in-flight-req`.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use clock::Timestamp;
use gate::{Request, RequestId};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The requests by id, in shards: each request takes a short lock twice.
#[derive(Default)]
pub(crate) struct InFlight([Mutex<HashMap<RequestId, Entry>>; SHARDS]);

struct Entry {
    since: Timestamp,
    remote: Option<(IpAddr, u16)>,
    path: String,
    verb: api::Verb,
}

const SHARDS: usize = 16;

impl InFlight {
    /// Notes a request until the value is dropped.
    pub(crate) fn enter(self: &Arc<Self>, request: &Request) -> Underway {
        let entry = Entry {
            since: request.received,
            remote: request.remote,
            path: request.path.as_str().to_owned(),
            verb: request.verb,
        };
        let id = Arc::clone(&request.id);
        self.shard(&id).lock().insert(Arc::clone(&id), entry);
        Underway { all: Arc::clone(self), id }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().len()).sum()
    }

    /// All of them, by id.
    pub(crate) fn list(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for shard in &self.0 {
            all.extend(shard.lock().iter().map(|(id, entry)| (id.to_string(), entry.shown())));
        }
        all
    }

    fn shard(&self, id: &RequestId) -> &Mutex<HashMap<RequestId, Entry>> {
        // Ids are random, so any byte of them spreads; the array is never empty.
        let at = id.bytes().last().map_or(0, usize::from) % SHARDS;
        self.0.get(at).unwrap_or(&self.0[0])
    }
}

impl Entry {
    fn shown(&self) -> Value {
        let method = match self.verb {
            api::Verb::Delete => "DELETE",
            api::Verb::List => "LIST",
            api::Verb::Patch => "PATCH",
            api::Verb::Read => "GET",
            api::Verb::Scan => "SCAN",
            api::Verb::Write => "PUT",
        };
        json!({
            "start_time": self.since.to_string(),
            "client_remote_address": self.remote.map(|(address, _)| address.to_string()).unwrap_or_default(),
            "request_path": format!("/v1/{}", self.path),
            "request_method": method,
            "client_id": "",
        })
    }
}

/// A request that is under way, for as long as this value lives.
pub(crate) struct Underway {
    all: Arc<InFlight>,
    id: RequestId,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.all.shard(&self.id).lock().remove(&self.id);
    }
}
