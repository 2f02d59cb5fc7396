//! The journal: an append-only, hash-chained, signed and indexed audit device.
//!
//! A directory holds segment files of one record a line; each record carries the hash of the one before it. Every so
//! many records or seconds, and on a clean close, everything is synced to disk and a signed head is appended to
//! `heads.jsonl`. [`verify`] proves offline, with the public key alone, that nothing was changed, taken out, put in
//! or cut off. An index in a separate SQLite file is built in the background and can be deleted at any time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use clock::Clock;
use crypto::ed25519::KeyPair;

use crate::{
    device::{Device, Written},
    error::Error,
    format::Format,
    options::{Common, Options},
    writer::{Act, Writer},
};

mod chain;
mod facts;
mod head;
mod index;
mod query;
mod recover;
mod segment;
mod sink;
mod verify;

pub use head::Head;
pub use query::{Filter, Found, Holding, Order, Reader, Record};
pub use verify::{Check, Fault, Report, verify};

/// The kind's name.
pub const KIND: &str = "journal";

/// Where the journal lies and how often it is signed.
#[derive(Clone)]
pub struct Settings {
    /// The directory; made if it is missing, its parent must be there. Nothing else may lie in it.
    pub directory: PathBuf,
    /// A head is signed after so many records.
    pub head_records: u64,
    /// A head is signed after so long, if there are new records. An idle journal notices within two seconds more.
    pub head_interval: Duration,
    /// A new segment file is begun when one has grown to this many bytes.
    pub segment_bytes: u64,
    /// The newest head that is known from elsewhere: a journal that ends before it is not continued.
    pub anchor: Option<Head>,
    /// Told of every new head, on the journal's thread; keep the newest where the journal's files cannot reach.
    pub on_head: Option<OnHead>,
}

/// What is told of every new head.
pub type OnHead = Arc<dyn Fn(&Head) + Send + Sync>;

impl Settings {
    /// A journal in `directory` with the default frequencies: a head every 1,024 records or 10 seconds, segments of 64 MiB.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            head_records: 1024,
            head_interval: Duration::from_secs(10),
            segment_bytes: 64 << 20,
            anchor: None,
            on_head: None,
        }
    }

    /// Reads the options of the device: `path` (the directory), `head_records`, `head_interval` (whole seconds), and
    /// those that all devices share, except `prefix`.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<(Self, Common), Error> {
        let mut options = Options::new(given);
        let common = Common::take(&mut options, false)?;
        let path = options.text("path").ok_or_else(|| Error::option("path", "is required: the journal's directory"))?;
        let mut settings = Self::new(path);
        if let Some(records) = number(&mut options, "head_records", 1_000_000)? {
            settings.head_records = records;
        }
        if let Some(seconds) = number(&mut options, "head_interval", 3600)? {
            settings.head_interval = Duration::from_secs(seconds);
        }
        options.finish()?;
        Ok((settings, common))
    }
}

fn number(options: &mut Options, name: &str, most: u64) -> Result<Option<u64>, Error> {
    let Some(text) = options.text(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.map(Some).ok_or_else(|| Error::option(name, format!("must be a whole number from 1 to {most}")))
}

/// The journal as a device, with its reader.
pub struct Journal {
    writer: Writer,
    reader: Arc<Reader>,
    public_key: [u8; 32],
}

impl Journal {
    /// Opens the journal in the directory, or begins one. `format` is the one that the broker gets for this device.
    ///
    /// After a crash a torn last line is moved into a file that ends in `.torn`, and the chain goes on with a record
    /// that says so. Blocks while it looks at the records behind the last head. A journal that ends before its last
    /// head is refused.
    pub fn open(settings: Settings, keys: KeyPair, format: &Format, clock: Clock) -> Result<Self, Error> {
        let public_key = keys.public_key();
        let directory = settings.directory.clone();
        let (news, heard) = mpsc::sync_channel(1);
        let recovered = recover::open(&settings, &public_key)?;
        let committed = segment::Committed::default();
        let mut sink = sink::Chain::new(settings, recovered, keys, clock, news, committed.clone());
        sink.note_unclean_end(format)?;
        let writer = Writer::start("audit-journal", |_| sink)?;
        let reader = Arc::new(Reader::beside(&directory, format.hasher().clone(), committed, writer.asker())?);
        index_in_background(reader.clone(), heard)?;
        Ok(Self { writer, reader, public_key })
    }

    /// Answers questions about what the journal holds.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// The key that verifies the heads.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The journal's directory.
    pub fn directory(&self) -> &Path {
        self.reader.directory()
    }
}

impl Device for Journal {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn write(&self, line: &[u8]) -> Written {
        self.writer.write(line)
    }

    fn reopen(&self) -> Written {
        self.writer.act(Act::Reopen)
    }

    fn check(&self) -> Written {
        self.writer.act(Act::Check)
    }

    fn close(&self) -> Written {
        self.writer.act(Act::Close)
    }

    fn trouble(&self) -> Option<Error> {
        self.writer.trouble()
    }
}

/// Follows the journal until its sink is gone. Faults are logged; a question meets them again.
fn index_in_background(reader: Arc<Reader>, heard: mpsc::Receiver<()>) -> Result<(), Error> {
    let run = move || {
        while heard.recv().is_ok() {
            // Gather what arrives together; the journal itself never waits for its index.
            thread::sleep(INDEX_PAUSE);
            if let Err(error) = reader.catch_up(u64::MAX) {
                tracing::warn!(error = error.chain(), "the journal's index is behind");
            }
        }
    };
    let started = thread::Builder::new().name("audit-index".to_owned()).spawn(run);
    started.map(drop).map_err(|error| Error::io("start the thread of the journal's index", error))
}

const INDEX_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
