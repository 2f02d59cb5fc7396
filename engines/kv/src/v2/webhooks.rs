//! `webhooks/{name}`: who is told of the changes of secrets without holding a stream open.
//!
//! How far a webhook was told is stored as a revision, and what has changed since is found by the revisions of the records:
//! so a restart loses nothing, and a receiver that is away for long costs no room. In memory is held only what has
//! changed lately, up to a bound; beyond it the records are looked through again.

use std::{collections::BTreeMap, time::Duration};

use api::{Name, Ttl};
use clock::Timestamp;
use engine::{Cx, Data, Done, Error, Keys, Scope};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use secret::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::{Batch, Change, Changes, Key, Revision};

use super::{Kv2, events, record::RECORDS, rotation::hook::Hook};
use crate::path::Paging;

/// A webhook as stored.
#[derive(Serialize, Deserialize)]
struct Webhook {
    /// The folder or the beginning of names that it is told about; empty for all.
    prefix: String,
    hook: Hook,
}

/// How far a webhook was told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    told: Revision,
    told_at: Option<Timestamp>,
    /// How many events were taken in all.
    delivered: u64,
    failures: u32,
    next: Option<Timestamp>,
    last_error: Option<String>,
}

/// The body of a write; what is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wish {
    url: Option<String>,
    secret: Option<SecretString>,
    ca_cert: Option<String>,
    timeout: Option<Ttl>,
    prefix: Option<String>,
}

/// A webhook and how it stands. Its secret is never part of it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    url: String,
    ca_cert: String,
    timeout: u64,
    prefix: String,
    delivered: u64,
    last_success: Option<Timestamp>,
    last_error: Option<String>,
    failures: u32,
    next_try: Option<Timestamp>,
}

pub(crate) async fn list(cx: Cx<Kv2>, (): (), paging: Paging) -> Result<Keys, Error> {
    let (after, limit) = paging.bounds();
    Ok(cx.view().list(WEBHOOKS, after, limit).await?.into())
}

pub(crate) async fn read(cx: Cx<Kv2>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let Some(Webhook { prefix, hook }) = cx.view().get_json(&webhook_key(name.as_str())).await? else {
        return Ok(None);
    };
    let progress: Progress = cx.view().get_json(&progress_key(name.as_str())).await?.unwrap_or_default();
    Ok(Some(Data(Shown {
        timeout: hook.timeout.as_secs(),
        url: hook.url,
        ca_cert: hook.ca_cert,
        prefix,
        delivered: progress.delivered,
        last_success: progress.told_at,
        last_error: progress.last_error,
        failures: progress.failures,
        next_try: progress.next,
    })))
}

pub(crate) async fn write(cx: Cx<Kv2>, name: Name, wish: Wish) -> Result<Done, Error> {
    let key = webhook_key(name.as_str());
    let before: Option<Webhook> = cx.view().get_json(&key).await?;
    let is_new = before.is_none();
    if is_new && cx.view().list(WEBHOOKS, None, MAX_WEBHOOKS).await?.names.len() == MAX_WEBHOOKS {
        return Err(Error::invalid(format!("a mount has at most {MAX_WEBHOOKS} webhooks; delete one first")));
    }
    let (old, old_prefix) = before.map_or((None, String::new()), |before| (Some(before.hook), before.prefix));
    let missing = |what: &str| Error::invalid(format!("{what}: a new webhook needs one"));
    let (url, secret, ca_cert, timeout) = match old {
        Some(old) => (Some(old.url), Some(old.secret), old.ca_cert, Some(old.timeout)),
        None => (None, None, String::new(), None),
    };
    let hook = Hook::new(
        wish.url.or(url).ok_or_else(|| missing("url"))?,
        wish.secret.or(secret).ok_or_else(|| missing("secret"))?,
        wish.ca_cert.unwrap_or(ca_cert),
        wish.timeout.and_then(Ttl::set).or(timeout),
    )
    .map_err(|error| match error {
        Error::Invalid(text) => Error::Invalid(text.replacen("hook.", "", 1)),
        error => error,
    })?;
    let prefix = wish.prefix.unwrap_or(old_prefix).trim_start_matches('/').to_owned();
    if prefix.len() > MAX_PREFIX {
        return Err(Error::invalid(format!("prefix: at most {MAX_PREFIX} bytes")));
    }
    cx.view().put_json(&key, &Webhook { prefix, hook })?;
    let mut progress: Progress = cx.view().get_json(&progress_key(name.as_str())).await?.unwrap_or_default();
    if is_new {
        progress.told = cx.services().store().commit(Batch::default()).await?;
    }
    // What was changed is tried at once.
    progress.next = None;
    cx.view().put_json(&progress_key(name.as_str()), &progress)?;
    cx.services().note_tended(cx.view().tx(), cx.mount(), true);
    cx.engine().telling.wake();
    Ok(Done)
}

pub(crate) async fn delete(cx: Cx<Kv2>, name: Name) -> Result<Done, Error> {
    cx.view().delete(&webhook_key(name.as_str()));
    cx.view().delete(&progress_key(name.as_str()));
    if cx.view().list(WEBHOOKS, None, 1).await?.names.is_empty() {
        cx.services().note_tended(cx.view().tx(), cx.mount(), false);
    }
    Ok(Done)
}

/// What a mount has in memory for its webhooks.
#[derive(Default)]
pub(crate) struct Telling {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Until when there is nobody to be told.
    idle_until: Option<Timestamp>,
    changes: Option<Changes>,
    /// What has changed after `since`, and by which commit last.
    lately: BTreeMap<String, Revision>,
    since: Revision,
}

impl Telling {
    /// There may be somebody to be told.
    fn wake(&self) {
        self.known.lock().idle_until = None;
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        self.known.lock().idle_until.is_some_and(|until| until > now)
    }

    /// Nobody is to be told: nothing is held in memory.
    fn rest(&self, now: Timestamp) {
        *self.known.lock() = Known { idle_until: Some(clock::after(now, IDLE)), ..Known::default() };
    }

    /// Takes in what has changed since the last time.
    async fn listen(&self, cx: &Scope<Kv2>) -> Result<(), Error> {
        let store = cx.services().store();
        let taken = self.known.lock().changes.take();
        let mut lost = taken.is_none();
        let mut changes = taken.unwrap_or_else(|| store.follow());
        let base = cx.view().key(RECORDS);
        let mut heard = Vec::new();
        while let Some(change) = changes.next().now_or_never() {
            match change {
                Some(Change::Keys(revision, keys)) => heard.extend(paths(&keys, base.as_str(), revision)),
                Some(Change::Lost) => lost = true,
                Some(Change::Current { .. }) => {}
                None => return Err(Error::Sealed),
            }
        }
        let newest = if lost { Some(store.commit(Batch::default()).await?) } else { None };
        let mut known = self.known.lock();
        known.changes = Some(changes);
        known.lately.extend(heard);
        if known.lately.len() > MAX_LATELY || newest.is_some() {
            let last = known.lately.values().max().copied().unwrap_or_default();
            known.since = newest.unwrap_or_default().max(last);
            known.lately.clear();
        }
        Ok(())
    }

    /// What has changed after `told`, if that is known; in the order of the commits.
    fn after(&self, told: Revision) -> Option<Vec<(Revision, String)>> {
        let known = self.known.lock();
        if told < known.since {
            return None;
        }
        let later = known.lately.iter().filter(|(_, revision)| **revision > told);
        let mut later: Vec<_> = later.map(|(path, revision)| (*revision, path.clone())).collect();
        later.sort();
        Some(later)
    }

    /// All have been told up to here.
    fn forget(&self, told: Revision) {
        self.known.lock().lately.retain(|_, revision| *revision > told);
    }
}

fn paths(keys: &[Key], base: &str, revision: Revision) -> Vec<(String, Revision)> {
    let inside = keys.iter().filter_map(|key| key.as_str().strip_prefix(base));
    inside.map(|path| (path.to_owned(), revision)).collect()
}

/// Tells everybody what there is to tell.
pub(crate) async fn tend(cx: &Scope<Kv2>) -> Result<(), Error> {
    let telling = &cx.engine().telling;
    if telling.is_idle(cx.now()) {
        return Ok(());
    }
    let names = cx.view().list(WEBHOOKS, None, MAX_WEBHOOKS).await?.names;
    if names.is_empty() {
        telling.rest(cx.now());
        return Ok(());
    }
    telling.listen(cx).await?;
    let mut told = Revision::MAX;
    for name in names {
        told = told.min(tell(cx, &name).await?);
    }
    telling.forget(told);
    Ok(())
}

/// Tells one webhook; up to where it has been told.
async fn tell(cx: &Scope<Kv2>, name: &str) -> Result<Revision, Error> {
    for _ in 0..MAX_CALLS {
        // Read anew each time, so that the commit fails if it was changed or deleted meanwhile.
        let Some(webhook) = cx.view().get_json::<Webhook>(&webhook_key(name)).await? else { return Ok(Revision::MAX) };
        let mut progress: Progress = cx.view().get_json(&progress_key(name)).await?.unwrap_or_default();
        if progress.next.is_some_and(|next| next > cx.now()) {
            return Ok(progress.told);
        }
        let store = cx.services().store();
        let base = cx.view().key("");
        let lately = cx.engine().telling.after(progress.told);
        let looked_up = lately.is_none();
        // Up to where `found` is complete.
        let (found, end) = match lately {
            Some(later) => {
                let end = later.last().map_or(progress.told, |(revision, _)| *revision);
                (Some(later), end)
            }
            None => {
                // Before looking: what comes after is heard of.
                let newest = store.commit(Batch::default()).await?;
                (events::changed_since(&store, base.as_str(), &webhook.prefix, progress.told).await?, newest)
            }
        };
        let (batch, told, more) = match found {
            None => (vec![json!({ "mount": &*cx.mount().path, "state": "reset" })], end, false),
            Some(changed) => {
                let wanted = changed.into_iter().filter(|(_, path)| path.starts_with(&webhook.prefix));
                let (page, more) = page(wanted.collect());
                let told = if more { page.last().map_or(end, |(revision, _)| *revision) } else { end };
                let mut batch = Vec::new();
                for (_, path) in page {
                    batch.push(events::describe(&store, base.as_str(), &cx.mount().path, &path, cx.now()).await?);
                }
                (batch, told, more)
            }
        };
        if batch.is_empty() {
            // Nothing is written for what concerns others, unless looking for it was work.
            if looked_up {
                progress.told = told;
                cx.view().put_json(&progress_key(name), &progress)?;
                cx.checkpoint().await?;
            }
            return Ok(told);
        }
        let count = batch.len() as u64;
        let outcome = call(cx, name, &webhook, &progress, told, batch).await;
        progress.note(cx.now(), outcome.map(|()| (told, count)));
        let failed = progress.failures > 0;
        cx.view().put_json(&progress_key(name), &progress)?;
        cx.checkpoint().await?;
        if failed || !more {
            return Ok(progress.told);
        }
    }
    let progress: Progress = cx.view().get_json(&progress_key(name)).await?.unwrap_or_default();
    Ok(progress.told)
}

/// As many changes as one call tells, and whether there are more. What one commit changed stays together.
fn page(mut changed: Vec<(Revision, String)>) -> (Vec<(Revision, String)>, bool) {
    changed.sort();
    let last = changed.get(MAX_EVENTS - 1).map(|(revision, _)| *revision);
    let end = last.map_or(changed.len(), |last| changed.partition_point(|(revision, _)| *revision <= last));
    let more = end < changed.len();
    changed.truncate(end);
    (changed, more)
}

async fn call(
    cx: &Scope<Kv2>,
    name: &str,
    webhook: &Webhook,
    progress: &Progress,
    told: Revision,
    batch: Vec<Value>,
) -> Result<(), String> {
    let key = format!("{name}/{}-{told}", progress.told);
    let body = json!({ "webhook": name, "mount": &*cx.mount().path, "idempotency_key": key, "events": batch });
    webhook.hook.post(cx.now(), &key, body.to_string().into_bytes()).await
}

impl Progress {
    fn note(&mut self, now: Timestamp, outcome: Result<(Revision, u64), String>) {
        match outcome {
            Ok((told, count)) => {
                self.told = told;
                self.told_at = Some(now);
                self.delivered += count;
                self.failures = 0;
                (self.next, self.last_error) = (None, None);
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.saturating_sub(1).min(20));
                self.next = Some(clock::after(now, pause.min(LONGEST_PAUSE)));
                self.last_error = Some(why);
            }
        }
    }
}

fn webhook_key(name: &str) -> String {
    format!("{WEBHOOKS}{name}")
}

fn progress_key(name: &str) -> String {
    format!("p/{name}")
}

/// Where the webhooks lie.
const WEBHOOKS: &str = "h/";
const MAX_WEBHOOKS: usize = 32;
const MAX_PREFIX: usize = 1900;
/// How many changes are held in memory.
const MAX_LATELY: usize = 5000;
/// About how many events one call brings.
const MAX_EVENTS: usize = 100;
/// How many calls a webhook gets in a row.
const MAX_CALLS: usize = 10;
/// For how long it is taken for granted that there is no webhook.
const IDLE: Duration = Duration::from_secs(30);
/// Between two tries; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let now = Timestamp::UNIX_EPOCH;
        let mut progress = Progress::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            progress.note(now, Err("no".to_owned()));
            pauses.push(clock::between(now, progress.next.unwrap()).as_secs());
        }
        assert_eq!(pauses[..5], [1, 2, 4, 8, 16]);
        assert_eq!(pauses[39], 3600);
        progress.note(now, Ok((7, 3)));
        assert_eq!((progress.told, progress.delivered, progress.failures, progress.next), (7, 3, 0, None));
    }

    #[test]
    fn what_one_commit_changed_is_told_together() {
        let changes = |revisions: &[Revision]| revisions.iter().map(|n| (*n, format!("s{n}"))).collect::<Vec<_>>();
        let (all, more) = page(changes(&[3, 1, 2]));
        assert_eq!((all, more), (changes(&[1, 2, 3]), false));
        let many: Vec<_> = (0..150).map(|n| (if n < 90 { 1 } else { 2 }, format!("s{n}"))).collect();
        assert_eq!((page(many.clone()).0.len(), page(many).1), (150, false));
        let many: Vec<_> = (0..250).map(|n| (n, format!("s{n}"))).collect();
        let (first, more) = page(many);
        assert_eq!((first.len(), more), (100, true));
    }
}
