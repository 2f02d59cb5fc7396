//! Tokens that live as long as a process does.
//!
//! A process ties its token to a stream that it holds open. When no stream has been attached for the grace period, the
//! token is revoked, and with it all that it leased. The tie is durable: after a restart of the server every tied token
//! has its grace period to attach again. It says which node has the stream, so that each node watches its own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use clock::Timestamp;
use gate::{Error, Frames, TokenId};
use parking_lot::Mutex;

use crate::{Bound, Tokens};

/// The shortest and longest grace periods.
pub(crate) const SHORTEST: Duration = Duration::from_secs(1);
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);
/// Between two tries to revoke.
const PAUSE: Duration = Duration::from_secs(1);

/// Which tied tokens have a stream.
pub struct Liveness {
    tokens: Arc<Tokens>,
    present: Mutex<HashMap<TokenId, Presence>>,
}

#[derive(Default)]
struct Presence {
    streams: u32,
    /// Counts attachments, so that an old timer does not end a token that came back.
    generation: u64,
    /// The last beat; `None` until the holder sends one. Once it has, silence counts as death.
    beat: Option<Timestamp>,
}

impl Liveness {
    /// The streams of `tokens`: none yet.
    pub fn new(tokens: Arc<Tokens>) -> Arc<Self> {
        Arc::new(Self { tokens, present: Mutex::default() })
    }

    /// Attaches a stream for a tied token. Its frames are lines of JSON, three in a grace period; the token is revoked
    /// when the stream is dropped and none has taken its place within the grace period.
    pub fn attach(self: &Arc<Self>, id: TokenId, grace: Duration) -> Frames {
        {
            let mut present = self.present.lock();
            let presence = present.entry(id.clone()).or_default();
            presence.streams += 1;
            presence.generation += 1;
            presence.beat = None;
        }
        let attached = Attached { liveness: Arc::clone(self), id, grace };
        Box::pin(futures::stream::unfold((attached, 0_u64), |(attached, count)| async move {
            if count > 0 {
                attached.liveness.tokens.clock().sleep(attached.grace / 3).await;
            }
            if attached.is_over().await {
                return None;
            }
            let line = match count {
                0 => format!("{{\"bound\":true,\"grace\":{}}}\n", attached.grace.as_secs_f64()),
                count => format!("{{\"beat\":{count}}}\n"),
            };
            Some((Bytes::from(line), (attached, count + 1)))
        }))
    }

    /// Notes a sign of life of the holder.
    pub fn beat(&self, id: &TokenId) -> Result<(), Error> {
        let now = self.tokens.clock().now();
        match self.present.lock().get_mut(id) {
            Some(presence) => {
                presence.beat = Some(now);
                Ok(())
            }
            None => Err(Error::invalid("no liveness stream is attached; attach one before sending beats")),
        }
    }

    /// Whether a stream is attached.
    pub fn is_present(&self, id: &TokenId) -> bool {
        self.present.lock().get(id).is_some_and(|presence| presence.streams > 0)
    }

    /// After a start of the server, or the end of another node: ends the tied tokens whose holders do not come back within
    /// their grace period. Those whose stream was attached last to a run of the server that is not `gone` are not looked at,
    /// nor tokens that are tied later: each is watched from the moment it is tied.
    pub async fn resume(self: Arc<Self>, gone: impl Fn(&str) -> bool) -> Result<(), Error> {
        let start = self.tokens.clock().now();
        let mut waiting = self.tied().await?;
        waiting.retain(|(_, bound)| bound.held_by != self.tokens.leases().instance() && gone(&bound.held_by));
        waiting.sort_by_key(|(_, bound)| bound.grace);
        for (id, bound) in waiting {
            self.tokens.clock().sleep_until(clock::after(start, bound.grace)).await;
            // One that came back and went again is watched like any other, here or on another node.
            let known = self.present.lock().contains_key(&id);
            let elsewhere = self.tokens.held_by(&id).await.is_ok_and(|by| by.is_some_and(|by| by != bound.held_by));
            if !known && !elsewhere {
                self.give_up(&id).await;
            }
        }
        Ok(())
    }

    /// The tokens that are tied now, with their grace periods.
    async fn tied(&self) -> Result<Vec<(TokenId, Bound)>, Error> {
        let (mut tied, mut after) = (Vec::new(), None);
        loop {
            match self.tokens.bound(after.clone(), 256).await {
                Ok((page, next)) => {
                    tied.extend(page);
                    after = next;
                    if after.is_none() {
                        return Ok(tied);
                    }
                }
                Err(Error::Sealed) => return Err(Error::Sealed),
                Err(error) => {
                    tracing::warn!(%error, "the tied tokens of an earlier run cannot be read yet");
                    self.tokens.clock().sleep(PAUSE).await;
                }
            }
        }
    }

    /// Revokes a token whose holder is gone, for as long as that takes.
    async fn give_up(&self, id: &TokenId) {
        while let Err(error) = self.tokens.revoke_now(id).await {
            if matches!(error, Error::Sealed) {
                // The tie is durable: the next unseal takes it up.
                return;
            }
            tracing::warn!(%error, "a token whose holder ended could not be revoked yet");
            self.tokens.clock().sleep(PAUSE).await;
        }
    }

    /// A stream ended: the token is revoked unless one comes back in time.
    fn detach(self: &Arc<Self>, id: &TokenId, grace: Duration) {
        let generation = {
            let mut present = self.present.lock();
            let Some(presence) = present.get_mut(id) else { return };
            presence.streams = presence.streams.saturating_sub(1);
            if presence.streams > 0 {
                return;
            }
            presence.generation
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (liveness, id) = (Arc::clone(self), id.clone());
        runtime.spawn(async move {
            liveness.tokens.clock().sleep(grace).await;
            if !liveness.forget(&id, generation) {
                return;
            }
            let own = liveness.tokens.leases().instance();
            if liveness.tokens.held_by(&id).await.is_ok_and(|held_by| held_by.is_some_and(|by| by != own)) {
                // The holder came back to another node.
                return;
            }
            liveness.give_up(&id).await;
        });
    }

    /// Removes the presence if nobody came back since `generation`.
    fn forget(&self, id: &TokenId, generation: u64) -> bool {
        let mut present = self.present.lock();
        let gone = present.get(id).is_some_and(|presence| presence.streams == 0 && presence.generation == generation);
        if gone {
            present.remove(id);
        }
        gone
    }
}

struct Attached {
    liveness: Arc<Liveness>,
    id: TokenId,
    grace: Duration,
}

impl Attached {
    /// Whether the stream has to end: the holder fell silent, or the token is gone.
    async fn is_over(&self) -> bool {
        let now = self.liveness.tokens.clock().now();
        let beat = self.liveness.present.lock().get(&self.id).and_then(|presence| presence.beat);
        if beat.is_some_and(|beat| clock::between(beat, now) > self.grace) {
            if let Err(error) = self.liveness.tokens.revoke_now(&self.id).await {
                tracing::warn!(%error, "a token whose holder fell silent could not be revoked yet");
            }
            return true;
        }
        !matches!(self.liveness.tokens.find(&self.id).await, Ok(Some(_)) | Err(_))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.liveness.detach(&self.id, self.grace);
    }
}
