//! The writing side of the journal, on its thread: links lines into the chain and signs heads.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    sync::mpsc::SyncSender,
};

use clock::{Clock, Timestamp, between};
use crypto::ed25519::KeyPair;

use super::{
    Settings,
    chain::{Hash, Link},
    head::{Head, Said},
    recover::Recovered,
    segment::{Committed, Segment, open_append, sync_directory},
};
use crate::{
    entry::{Body, Data, Entry, Namespace, Request},
    error::Error,
    format::Format,
    writer::Sink,
};

pub(super) struct Chain {
    settings: Settings,
    keys: KeyPair,
    clock: Clock,
    /// Tells the index that there is more.
    news: SyncSender<()>,
    /// Tells it how far it may read.
    committed: Committed,
    _lock: OwnedFd,
    segment: Segment,
    file: File,
    len: u64,
    seq: u64,
    hash: Hash,
    heads: File,
    heads_len: u64,
    last_head: Option<Head>,
    /// When the first record behind the last head was written.
    unsigned_since: Option<Timestamp>,
    /// The bytes that were set aside when the journal was opened.
    unclean: Option<u64>,
    /// Whether a failed write may have left bytes behind the last record.
    dirty: bool,
    buffer: Vec<u8>,
}

impl Chain {
    pub(super) fn new(
        settings: Settings,
        recovered: Recovered,
        keys: KeyPair,
        clock: Clock,
        news: SyncSender<()>,
        committed: Committed,
    ) -> Self {
        committed.set(recovered.segment.first, recovered.len);
        let Recovered { lock, heads, heads_len, last_head, segment, file, len, seq, hash, unclean } = recovered;
        let signed = last_head.as_ref().map_or(0, |head| head.seq);
        let unsigned_since = (seq > signed).then(|| clock.now());
        // The index may be behind from the last time. A full channel says the same.
        let _ = news.try_send(());
        Self {
            settings,
            keys,
            clock,
            news,
            committed,
            _lock: lock,
            segment,
            file,
            len,
            seq,
            hash,
            heads,
            heads_len,
            last_head,
            unsigned_since,
            unclean,
            dirty: false,
            buffer: Vec::new(),
        }
    }

    /// Begins with a record that says that the last run did not close the journal, if it did not.
    pub(super) fn note_unclean_end(&mut self, format: &Format) -> Result<(), Error> {
        let Some(torn) = self.unclean.take() else { return Ok(()) };
        let id = crypto::random::uuid();
        let data = format!("{{\"last_record\":{},\"torn_bytes\":{torn}}}", self.seq);
        let request = Request {
            id: &id,
            operation: "update",
            actor: "system",
            namespace: Namespace { id: "root", path: "" },
            path: "sys/audit/journal",
            data: Data { body: Body::Json(data.as_bytes()), ..Data::default() },
            ..Request::default()
        };
        let error = "the journal was not closed; its last unsigned records may be missing";
        let line = format.line(&Entry::request(self.clock.now(), &request).error(error));
        self.write(&line)?;
        self.settle()
    }

    /// Appends to the segment, all or nothing.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.dirty {
            self.file.set_len(self.len).map_err(|error| self.fault("mend", error))?;
            self.dirty = false;
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.dirty = self.file.set_len(self.len).is_err();
            return Err(self.fault("write to", error));
        }
        if self.file.metadata().is_ok_and(|meta| meta.nlink() == 0) {
            return Err(self.deleted());
        }
        self.len += bytes.len() as u64;
        self.committed.set(self.segment.first, self.len);
        Ok(())
    }

    /// Makes everything durable and signs it.
    fn sign(&mut self, closed: bool) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| self.fault("sync", error))?;
        let said = Said { seq: self.seq, hash: self.hash, end: self.len, time: self.clock.now(), closed };
        let head = Head::sign(self.last_head.as_ref(), said, &self.keys);
        let mut line = head.line();
        line.push('\n');
        let written = self.heads.set_len(self.heads_len).and_then(|()| self.heads.write_all(line.as_bytes()));
        let synced = written.and_then(|()| self.heads.sync_data());
        synced.map_err(|error| Error::io("write the heads of the journal", error))?;
        self.heads_len += line.len() as u64;
        self.unsigned_since = None;
        if let Some(tell) = &self.settings.on_head {
            tell(&head);
        }
        self.last_head = Some(head);
        Ok(())
    }

    fn sign_if_due(&mut self) -> Result<(), Error> {
        let Some(since) = self.unsigned_since else { return Ok(()) };
        let unsigned = self.seq - self.last_head.as_ref().map_or(0, |head| head.seq);
        let full = self.len >= self.settings.segment_bytes;
        let old = between(since, self.clock.now()) >= self.settings.head_interval;
        if full || old || unsigned >= self.settings.head_records {
            self.sign(false)?;
        }
        if full { self.begin_segment() } else { Ok(()) }
    }

    /// Only behind a head: everything before the last segment is signed.
    fn begin_segment(&mut self) -> Result<(), Error> {
        let segment = Segment::at(&self.settings.directory, self.seq + 1);
        self.file = open_append(&segment.path)?;
        self.segment = segment;
        self.len = 0;
        self.committed.set(self.segment.first, 0);
        sync_directory(&self.settings.directory)
    }

    fn fault(&self, act: &str, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full(self.segment.path.clone()),
            _ => Error::io(format!("{act} {}", self.segment.path.display()), error),
        }
    }

    fn deleted(&self) -> Error {
        let what = format!("{} was deleted or moved away", self.segment.path.display());
        Error::Journal { directory: self.settings.directory.clone(), what }
    }
}

impl Sink for Chain {
    fn write(&mut self, lines: &[u8]) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let (mut seq, mut hash) = (self.seq, self.hash);
        // A line holds no line feed but its last byte.
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let link = Link::new(seq + 1, hash, line.strip_suffix(b"\n").unwrap_or(line));
            link.write(&mut buffer);
            (seq, hash) = (link.seq, link.hash);
        }
        let outcome = self.append(&buffer);
        if buffer.capacity() <= KEPT_BUFFER {
            self.buffer = buffer;
        }
        outcome?;
        (self.seq, self.hash) = (seq, hash);
        self.unsigned_since.get_or_insert_with(|| self.clock.now());
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Error> {
        let _ = self.news.try_send(());
        self.sign_if_due()
    }

    fn reopen(&mut self) -> Result<(), Error> {
        // The journal is not rotated from outside.
        self.check()
    }

    fn check(&mut self) -> Result<(), Error> {
        let there = self.segment.path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        let open = self.file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        if there.is_none() || there != open {
            return Err(self.deleted());
        }
        self.sign_if_due()
    }

    fn vouch(&mut self) -> Result<(), Error> {
        if self.unsigned_since.is_some() { self.sign(false) } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), Error> {
        self.sign(true)
    }
}

const KEPT_BUFFER: usize = 1 << 20;
