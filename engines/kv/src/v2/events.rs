//! `events/{path...}`: which secrets change, as a stream of server-sent events. No event holds a value; told is only what
//! the caller may see at that moment.
//!
//! The id of an event is the revision of the store that made it, with its time. Who comes back with the last id gets
//! what has changed since, found by the revisions of the records, so nothing is kept for those who are away but the
//! names of what was removed, for a week.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::Operation;
use bytes::Bytes;
use clock::{Clock, Timestamp};
use engine::{Answer, Body, Cx, Error, Sight, Watch};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use storage::{Batch, Change, Changes, Key, Revision, Scan, Store, View};

use super::{
    Kv2,
    record::{RECORDS, Record},
};
use crate::path::FolderPath;

/// How many streams there are of a mount.
pub(crate) type Seats = Arc<AtomicUsize>;

/// One of them; given back when the stream ends.
struct Seat(Seats);

impl Seat {
    fn take(seats: &Seats) -> Result<Self, Error> {
        let seat = Self(Arc::clone(seats));
        if seats.fetch_add(1, Ordering::Relaxed) < MAX_LISTENERS {
            return Ok(seat);
        }
        let text = format!("at most {MAX_LISTENERS} streams of events of a mount at a time");
        Err(Error::Quota { text, retry_after: BEAT })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The query; browsers and other readers of such streams send the id as a header.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wish {
    last_event_id: Option<String>,
}

pub(crate) async fn read(cx: Cx<Kv2>, folder: FolderPath, wish: Wish) -> Result<Answer, Error> {
    if cx.wrap_ttl().is_some() {
        return Err(Error::invalid("a stream cannot be wrapped"));
    }
    let sent = cx.header("last-event-id").map(str::to_owned).or(wish.last_event_id).filter(|id| !id.is_empty());
    let last = sent.map(|id| EventId::parse(&id)).transpose()?;
    let watch = cx.watch().ok_or_else(|| Error::internal("there are no streams here"))?;
    let seat = Seat::take(&cx.engine().listeners)?;
    let store = cx.services().store();
    // From here on nothing is missed; what comes before is looked up.
    // Up to where changes were told does not matter here, and would keep putting off the beats.
    let changes = store.follow().filter(|change| futures::future::ready(!matches!(change, Change::Current { .. })));
    let changes: Changes = Box::pin(changes);
    let newest = store.commit(Batch::default()).await?;
    let mut listener = Listener {
        watch,
        clock: cx.clock().clone(),
        changes,
        base: cx.view().key("").as_str().to_owned(),
        folder: folder.as_str().to_owned(),
        last: newest,
        behind: false,
        frames: VecDeque::new(),
        over: false,
        store,
        _seat: seat,
    };
    listener.begin(last, newest);
    let frames = futures::stream::unfold(listener, |mut listener| async move {
        let frame = listener.next().await?;
        Some((frame, listener))
    });
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    Ok(Answer { body: Body::Stream(Box::pin(frames)), headers, ..Answer::default() })
}

/// `<revision>-<seconds>`.
#[derive(Clone, Copy)]
struct EventId {
    revision: Revision,
    second: i64,
}

impl EventId {
    fn parse(text: &str) -> Result<Self, Error> {
        let parts = text.split_once('-').and_then(|(revision, second)| {
            Some(Self { revision: revision.parse().ok()?, second: second.parse().ok()? })
        });
        parts.ok_or_else(|| Error::invalid("Last-Event-ID: send the id of the last event as it came, or none"))
    }
}

struct Listener {
    watch: Arc<dyn Watch>,
    store: Arc<dyn Store>,
    clock: Clock,
    changes: Changes,
    /// The storage of the mount.
    base: String,
    folder: String,
    /// Everything up to here was told.
    last: Revision,
    /// Whether changes were missed since.
    behind: bool,
    /// What is ready to be sent: what one commit, or one catching up, has changed.
    frames: VecDeque<Bytes>,
    over: bool,
    _seat: Seat,
}

impl Listener {
    /// Where the stream begins.
    fn begin(&mut self, last: Option<EventId>, newest: Revision) {
        let now = self.clock.now();
        match last {
            Some(id) if id.revision > newest || now.as_second() - id.second > KEPT.as_secs().cast_signed() => {
                self.reset("the id is too old, or of another server");
            }
            Some(id) => {
                self.last = id.revision;
                self.behind = true;
            }
            None => {}
        }
        self.frames.push_back(self.frame("ready", "{}"));
    }

    /// The next piece of the stream; `None` after its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.advance().await {
                self.end(&error);
            }
        }
    }

    async fn advance(&mut self) -> Result<(), Error> {
        if self.behind {
            return self.catch_up().await;
        }
        let beat = self.clock.sleep(BEAT);
        tokio::select! {
            change = self.changes.next() => match change {
                Some(Change::Keys(revision, keys)) if revision > self.last => self.tell_all(revision, &keys).await,
                Some(Change::Keys(..) | Change::Current { .. }) => Ok(()),
                Some(Change::Lost) => {
                    self.behind = true;
                    Ok(())
                }
                None => Err(Error::Sealed),
            },
            () = beat => {
                self.watch.look().await?;
                self.frames.push_back(Bytes::from_static(b": still here\n\n"));
                Ok(())
            }
        }
    }

    async fn tell_all(&mut self, revision: Revision, keys: &[Key]) -> Result<(), Error> {
        let base = format!("{}{RECORDS}{}", self.base, self.folder);
        let paths: Vec<String> = keys
            .iter()
            .filter(|key| key.as_str().starts_with(&base))
            .filter_map(|key| key.as_str().get(self.base.len() + RECORDS.len()..))
            .map(str::to_owned)
            .collect();
        self.last = revision;
        if paths.is_empty() {
            return Ok(());
        }
        let sight = self.watch.look().await?;
        for path in paths {
            self.tell(&sight, revision, &path).await?;
        }
        Ok(())
    }

    /// Tells how a secret is now, if the caller may know of it.
    async fn tell(&mut self, sight: &Sight, revision: Revision, path: &str) -> Result<(), Error> {
        if !may_know(sight, path) {
            return Ok(());
        }
        let said = describe(&self.store, &self.base, &sight.mount().path, path, self.clock.now()).await?;
        let id = self.id(revision);
        self.frames.push_back(Bytes::from(format!("id: {id}\nevent: secret\ndata: {said}\n\n")));
        Ok(())
    }

    /// Finds what has changed since the last event, by the revisions of the records.
    async fn catch_up(&mut self) -> Result<(), Error> {
        self.behind = false;
        let since = self.last;
        // What changes from here on comes by itself.
        let newest = self.store.commit(Batch::default()).await?;
        let Some(mut changed) = changed_since(&self.store, &self.base, &self.folder, since).await? else {
            self.last = newest;
            self.reset("too much has changed");
            return Ok(());
        };
        changed.sort();
        changed.dedup_by(|one, other| one.1 == other.1);
        let sight = self.watch.look().await?;
        for (revision, path) in changed {
            self.tell(&sight, revision, &path).await?;
        }
        self.last = newest;
        Ok(())
    }

    /// Tells that events were left out: list anew.
    fn reset(&mut self, why: &str) {
        self.frames.push_back(self.frame("reset", &json!({ "why": why }).to_string()));
    }

    fn end(&mut self, error: &Error) {
        let why = match error {
            Error::Denied(_) => "the token has ended",
            Error::NoRoute(_) => "the mount is gone",
            Error::Sealed => "the server is sealed",
            _ => "the server could not go on; come back with the last id",
        };
        self.frames.push_back(self.frame("end", &json!({ "why": why }).to_string()));
        self.over = true;
    }

    fn frame(&self, event: &str, data: &str) -> Bytes {
        Bytes::from(format!("id: {}\nevent: {event}\ndata: {data}\n\n", self.id(self.last)))
    }

    fn id(&self, revision: Revision) -> String {
        format!("{revision}-{}", self.clock.now().as_second())
    }
}

/// How a secret is now, without its value.
pub(crate) async fn describe(
    store: &Arc<dyn Store>,
    base: &str,
    mount: &str,
    path: &str,
    now: Timestamp,
) -> Result<Value, Error> {
    let stored = store.get(&Key::join([base, RECORDS, path])).await?;
    let record = stored.as_ref().and_then(|entry| serde_json::from_slice::<Record>(&entry.value).ok());
    let Some(record) = record else { return Ok(json!({ "mount": mount, "path": path, "state": "removed" })) };
    let state = match record.version(record.current()) {
        Some(version) if version.is_live(now) => "live",
        Some(_) => "deleted",
        None => "empty",
    };
    Ok(json!({
        "mount": mount,
        "path": path,
        "state": state,
        "version": record.current(),
        "metadata_version": record.metadata_version,
        "updated_time": record.updated.to_string(),
    }))
}

/// The secrets below a folder that were written or removed since, in the storage at `base`; `None` if there are too many.
pub(crate) async fn changed_since(
    store: &Arc<dyn Store>,
    base: &str,
    folder: &str,
    since: Revision,
) -> Result<Option<Vec<(Revision, String)>>, Error> {
    let mut changed = Vec::new();
    let mut looked_at = 0;
    for (family, below) in [(RECORDS, folder), (REMOVED, "")] {
        let start = format!("{base}{family}");
        let mut scan = Scan { prefix: format!("{start}{below}"), after: None, limit: PAGE, values: false };
        loop {
            let page = store.scan(&scan).await?;
            looked_at += page.entries.len();
            for (key, entry) in page.entries.iter().filter(|(_, entry)| entry.revision > since) {
                let path = key.as_str().get(start.len()..).unwrap_or_default();
                let path = if family == REMOVED { path.split_once('/').map_or("", |(_, path)| path) } else { path };
                if path.starts_with(folder) {
                    changed.push((entry.revision, path.to_owned()));
                }
            }
            if changed.len() > MAX_CAUGHT_UP || looked_at > MAX_LOOKED_AT {
                return Ok(None);
            }
            match page.entries.last().filter(|_| page.more) {
                Some((key, _)) => scan.after = Some(key.as_str().to_owned()),
                None => break,
            }
        }
    }
    Ok(Some(changed))
}

/// Whether the caller may know that there is such a secret: as in a search or a listing.
fn may_know(sight: &Sight, path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    sight.allows(&format!("metadata/{path}"), Operation::Read)
        || sight.allows(&format!("data/{path}"), Operation::Read)
        || sight.allows(&format!("metadata/{folder}"), Operation::List)
}

/// Notes that a secret is gone, for those who come back later; and forgets some of what was noted long ago.
pub(crate) async fn note_removal(view: &View, path: &str, now: Timestamp) -> Result<(), Error> {
    let long_ago = removal_key(now.as_second() - KEPT.as_secs().cast_signed(), "");
    let (oldest, _) = view.scan(REMOVED, None, FORGOTTEN).await?;
    for (key, _) in oldest.iter().filter(|(key, _)| *key < long_ago) {
        view.delete(key);
    }
    view.put(&removal_key(now.as_second(), path), Bytes::from_static(b"{}"));
    Ok(())
}

/// In the order of time.
fn removal_key(second: i64, path: &str) -> String {
    format!("{REMOVED}{second:012}/{path}")
}

/// Where the names of removed secrets lie.
const REMOVED: &str = "x/";
/// For how long they are kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many old ones a removal forgets at most.
const FORGOTTEN: usize = 4;
/// How often a silent stream says that it is there, and looks whether it still may.
const BEAT: Duration = Duration::from_secs(5);
const MAX_LISTENERS: usize = 256;
/// How many events a stream catches up with.
const MAX_CAUGHT_UP: usize = 5000;
/// How many records are looked at for that.
const MAX_LOOKED_AT: usize = 100_000;
const PAGE: usize = 1000;
