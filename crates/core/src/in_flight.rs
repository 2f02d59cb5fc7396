//! The requests that are under way, for `sys/in-flight-req`.

use std::{collections::BTreeMap, sync::Arc};

use gate::Request;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::sharded::{SHARDS, own_shard};

/// The requests, in shards by the threads that took them in: each takes a short lock twice.
#[derive(Default)]
pub(crate) struct InFlight([Mutex<Shard>; SHARDS]);

/// Requests at places that are used again.
#[derive(Default)]
struct Shard {
    places: Vec<Option<Arc<Request>>>,
    free: Vec<usize>,
}

impl InFlight {
    /// Notes a request until the value is dropped.
    pub(crate) fn enter(self: &Arc<Self>, request: &Arc<Request>) -> Underway {
        let shard = own_shard();
        let place = self.shard(shard).lock().enter(Arc::clone(request));
        Underway { all: Arc::clone(self), shard, place }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().requests().count()).sum()
    }

    /// All of them, by id.
    pub(crate) fn list(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for shard in &self.0 {
            all.extend(shard.lock().requests().map(|request| (request.id.to_string(), shown(request))));
        }
        all
    }

    fn shard(&self, shard: usize) -> &Mutex<Shard> {
        // The array is never empty.
        self.0.get(shard).unwrap_or(&self.0[0])
    }
}

impl Shard {
    fn enter(&mut self, request: Arc<Request>) -> usize {
        if let Some(place) = self.free.pop()
            && let Some(free) = self.places.get_mut(place)
        {
            *free = Some(request);
            return place;
        }
        self.places.push(Some(request));
        self.places.len() - 1
    }

    fn leave(&mut self, place: usize) -> Option<Arc<Request>> {
        self.free.push(place);
        self.places.get_mut(place).and_then(Option::take)
    }

    fn requests(&self) -> impl Iterator<Item = &Request> {
        self.places.iter().flatten().map(AsRef::as_ref)
    }
}

fn shown(request: &Request) -> Value {
    let method = match request.verb {
        api::Verb::Delete => "DELETE",
        api::Verb::List => "LIST",
        api::Verb::Patch => "PATCH",
        api::Verb::Read => "GET",
        api::Verb::Scan => "SCAN",
        api::Verb::Write => "PUT",
    };
    json!({
        "start_time": request.received.to_string(),
        "client_remote_address": request.remote.map(|(address, _)| address.to_string()).unwrap_or_default(),
        "request_path": format!("/v1/{}", request.path),
        "request_method": method,
        "client_id": "",
    })
}

/// A request that is under way, for as long as this value lives.
pub(crate) struct Underway {
    all: Arc<InFlight>,
    shard: usize,
    place: usize,
}

impl Drop for Underway {
    fn drop(&mut self) {
        // Dropped when the lock is free again.
        let _request = self.all.shard(self.shard).lock().leave(self.place);
    }
}
