//! Replies that are still true: what was read before, by the same caller and under the same rights, is answered again
//! without a way through the rooms.
//!
//! An engine says of an answer that it is [steady](gate::Steady): the same question gets it again as long as nothing that
//! was read for it changes. What was read from the request's arrival on, for the caller, the policies and the answer, is
//! witnessed by the barrier. So the reply holds as long as the witness bears it out, the mounts, settings and audit devices
//! are the same, and neither the token nor the answer has come to its end. Both records are in the audit log before the
//! reply is sent, like those of every other request; the limits on requests must be empty, since nothing is counted here.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::Verb;
use audit::{Again, Template};
use barrier::Witness;
use clock::Timestamp;
use gate::{Facts, Inline, Request, Steady, TokenKind};
use quick_cache::{Equivalent, Weighter, sync::Cache};
use tokens::Tag;

use crate::{Content, Reply, Success, audit::Recorder, live::Live, running::Running};

/// The replies that may be given again.
pub(crate) struct Recall {
    replies: Cache<Question, Arc<Known>, Bytes>,
    /// What was asked once lately: a reply is kept when the same is asked again.
    asked: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// Who asks for what.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    token: Tag,
    path: Box<str>,
}

#[derive(Hash)]
struct Asked<'r> {
    token: &'r Tag,
    path: &'r str,
}

impl Equivalent<Question> for Asked<'_> {
    fn equivalent(&self, key: &Question) -> bool {
        *self.token == key.token && *self.path == *key.path
    }
}

/// A reply, and what it rests on.
struct Known {
    witness: Witness,
    mounts: mounts::Snapshot,
    live: Arc<Live>,
    /// From when on, and before when.
    since: Timestamp,
    until: Option<Timestamp>,
    /// Where the same was asked from, and with which headers.
    address: IpAddr,
    headers: Vec<(String, String)>,
    records: Template,
    success: Success,
}

/// A question that may have a reply already, or get one that is kept. What a reply rests on is noted before anything is
/// looked up for it.
pub(crate) struct Recalling {
    token: Tag,
    address: IpAddr,
    port: u16,
    now: Timestamp,
    /// The state of the server, if a reply is to be kept.
    keep: Option<(mounts::Snapshot, Arc<Live>)>,
}

impl Recalling {
    /// Whether the reply is to be kept.
    pub(crate) fn keeps(&self) -> bool {
        self.keep.is_some()
    }
}

impl Recall {
    /// Replies that take so many bytes; with 0 none is kept.
    pub(crate) fn new(capacity: u64) -> Self {
        let asked = std::iter::repeat_with(AtomicU64::default).take(ASKED).collect();
        let replies = Cache::with_weighter(usize::try_from(capacity / TYPICAL).unwrap_or(0) + 1, capacity, Bytes);
        Self { replies, asked, hasher: RandomState::new() }
    }

    /// Forgets all replies.
    pub(crate) fn clear(&self) {
        self.replies.clear();
    }

    /// Whether this was asked before, not long ago.
    fn again(&self, asked: &Asked<'_>) -> bool {
        let hash = self.hasher.hash_one(asked) | 1;
        let place = usize::try_from(hash >> 1).unwrap_or_default() % ASKED;
        self.asked.get(place).is_some_and(|last| last.swap(hash, Ordering::Relaxed) == hash)
    }
}

impl Running {
    /// What a request asks for, if that may have a reply already or get one that is kept.
    pub(crate) fn recalling(&self, request: &Request) -> Option<Recalling> {
        let plain = request.verb == Verb::Read
            && request.namespace.is_root()
            && request.query.is_empty()
            && request.wrap_ttl.is_none()
            && !request.help
            && matches!(request.inline, Inline::None);
        let (address, port) = request.remote.filter(|(_, port)| plain && *port != 0)?;
        let token = self.tokens.tag(request.token.as_ref()?)?;
        Some(Recalling { token, address, port, now: request.received, keep: None })
    }

    /// The reply to a request, if it was answered before and that still holds.
    pub(crate) async fn recall(&self, recalling: &mut Recalling, request: &Request) -> Option<Reply> {
        let asked = Asked { token: &recalling.token, path: request.path.as_str() };
        let Some(known) = self.recall.replies.get(&asked) else {
            if self.recall.again(&asked) {
                self.note_state(recalling);
            }
            return None;
        };
        if self.following.is_shared() && Box::pin(self.check_fresh(request)).await.is_err() {
            // Who answers in full says why not.
            return None;
        }
        if !self.still_holds(&known, recalling, request) {
            self.note_state(recalling);
            return None;
        }
        let answered = self.clock.now();
        let again = Again { id: &request.id, port: recalling.port, asked: request.received, answered };
        let Some(handed) = self.audit.hand_over_again(&known.records, &again) else {
            self.note_state(recalling);
            return None;
        };
        let settled = self.settle_again(handed).await;
        self.metrics.recalled(settled.is_ok(), clock::between(request.received, answered));
        let outcome = settled.map(|()| known.success.again());
        Some(Reply { id: Arc::clone(&request.id), outcome, headers: Vec::new() })
    }

    fn note_state(&self, recalling: &mut Recalling) {
        let live = self.live.load_full();
        recalling.keep = live.limits.is_empty().then(|| (self.spaces.root().mounts.snapshot(), live));
    }

    fn still_holds(&self, known: &Known, recalling: &Recalling, request: &Request) -> bool {
        known.address == recalling.address
            && known.headers == request.headers
            && known.since <= recalling.now
            && known.until.is_none_or(|until| recalling.now < until)
            && self.spaces.root().mounts.is_at(&known.mounts)
            && Arc::ptr_eq(&known.live, &self.live.load())
            && self.barrier.bears_out(&known.witness)
    }

    /// Keeps the reply to a request, if it may be given again.
    pub(crate) fn remember(
        &self,
        recalling: Recalling,
        witness: Witness,
        facts: &Facts,
        success: &Success,
        recorder: &Recorder,
    ) {
        let Recalling { token, address, now, keep, .. } = recalling;
        let Some((mounts, live)) = keep else { return };
        let Some(until) = steady_until(facts, success) else { return };
        let Some(records) = recorder.template(facts, success) else { return };
        let request = facts.request();
        let (headers, success) = (request.headers.clone(), *success.again());
        let known = Known { witness, mounts, live, since: now, until, address, headers, records, success };
        self.recall.replies.insert(Question { token, path: request.path.as_str().into() }, Arc::new(known));
    }
}

/// Until when the same caller gets the same reply, if nothing changes: `Some(None)` is for ever, `None` not at all.
fn steady_until(facts: &Facts, success: &Success) -> Option<Option<Timestamp>> {
    let Steady { until } = success.steady?;
    let caller = facts.caller()?;
    // The uses of other tokens are counted, or they lie nowhere.
    let plain = caller.kind == TokenKind::Service && caller.num_uses == 0 && facts.request().namespace.is_root();
    // What depends on more than the caller and the path is another question each time.
    let conditional = facts.decision().is_none_or(|decision| decision.conditions.is_some());
    let only_data = matches!(success.content, Content::Data(_)) && success.status.is_none() && success.is_plain();
    (plain && !conditional && only_data && facts.only_reads()).then(|| until.into_iter().chain(caller.expires).min())
}

/// Counts the bytes of a reply.
#[derive(Clone)]
struct Bytes;

impl Weighter<Question, Arc<Known>> for Bytes {
    fn weight(&self, question: &Question, known: &Arc<Known>) -> u64 {
        let Content::Data(data) = &known.success.content else { return u64::MAX };
        let headers: usize = known.headers.iter().map(|(name, value)| name.len() + value.len() + PER_TEXT).sum();
        let all = question.path.len() + data.len() + headers + known.records.size() + size_of::<Known>() + PER_TEXT;
        u64::try_from(all).unwrap_or(u64::MAX)
    }
}

/// What the allocations of a text take besides its bytes, roughly.
const PER_TEXT: usize = 64;
/// What a reply takes, by which the room for their number is made.
const TYPICAL: u64 = 4096;
/// Among how many places what was asked is noted.
const ASKED: usize = 4096;
