//! Proves offline, with the public key alone, that a journal is whole and unchanged.
//!
//! Segments and heads are read once, side by side. What is behind the last head is held together by the chain alone,
//! which needs no key: the report says how many records those are. That the newest heads themselves were cut off
//! together with their records shows against an anchor, a head that was kept elsewhere.
//!
//! A journal that a server is writing meanwhile is verified as it was at the beginning: heads are looked at before
//! segments, so that every head finds its record.

use std::{
    fmt,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Take},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    chain::{GENESIS, Hash, Link},
    head::Head,
    segment::{HEADS, LOCK, Segment, open_read},
};
use crate::error::Error;

/// What is known from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// A head that the journal must hold.
    pub anchor: Option<Head>,
    /// Whether old segments may have been taken away to an archive. The rest must begin behind a head.
    pub archived: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The number of the first record; 0 if there is none.
    pub first: u64,
    /// The number of the last record; 0 if there is none.
    pub last: u64,
    /// How many records were read.
    pub records: u64,
    /// How many heads were read.
    pub heads: u64,
    /// The last head with a good signature.
    pub last_head: Option<Head>,
    /// How many records lie behind the last head: chained, not signed yet.
    pub unsigned: u64,
    /// Whether the journal was closed cleanly. If it was not and no server has it open, it ended in a crash, or
    /// records behind the last head were taken away.
    pub closed: bool,
    /// Whether a server has the journal open.
    pub open: bool,
    /// What is wrong, in order; at most 100.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One fault, with the place where it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 if it concerns the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

/// Verifies the journal in `directory`. Fails only if its files cannot be read; what is wrong with it is in the report.
pub fn verify(directory: &Path, public_key: &[u8], check: &Check) -> Result<Report, Error> {
    let report = Report { open: is_open(directory), ..Report::default() };
    let heads = Heads::open(directory, public_key)?;
    let mut segments = Vec::new();
    for segment in Segment::list(directory)? {
        segments.push((length(&open_read(&segment.path)?, &segment.path)?, segment));
    }
    let mut run = Run {
        heads,
        check,
        report,
        last: segments.last().map_or(0, |(_, segment)| segment.first),
        seq: 0,
        hash: GENESIS,
        shift: 0,
        file: directory.to_owned(),
        line: 0,
    };
    run.next_head();
    for (length, segment) in &segments {
        run.segment(segment, *length)?;
    }
    run.finish();
    Ok(run.report)
}

/// Whether the lock of the journal is held.
fn is_open(directory: &Path) -> bool {
    let lock = open_read(&directory.join(LOCK)).ok();
    lock.is_some_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

fn length(file: &File, path: &Path) -> Result<u64, Error> {
    let meta = file.metadata().map_err(|error| Error::io(format!("read {}", path.display()), error))?;
    Ok(meta.len())
}

struct Run<'c> {
    heads: Heads<'c>,
    check: &'c Check,
    report: Report,
    /// Where the last segment begins.
    last: u64,
    /// The last record as it says itself, so that one fault is reported once.
    seq: u64,
    hash: Hash,
    /// By how many bytes the records of this segment lie elsewhere than their heads say, as far as that was told already.
    shift: i64,
    file: PathBuf,
    line: u64,
}

impl Run<'_> {
    fn segment(&mut self, segment: &Segment, length: u64) -> Result<(), Error> {
        (self.file, self.line, self.shift) = (segment.path.clone(), 0, 0);
        if self.report.records == 0 && segment.first != 1 {
            self.archived_start(segment);
        } else if segment.first != self.seq + 1 {
            self.fault(format!("the segment is to begin with record {}, not {}", self.seq + 1, segment.first));
        }
        let fault = |error| Error::io(format!("read {}", segment.path.display()), error);
        let mut reader = BufReader::with_capacity(1 << 16, open_read(&segment.path)?.take(length));
        let mut line = Vec::new();
        let mut end = 0;
        loop {
            line.clear();
            reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(fault)?;
            if line.is_empty() {
                return Ok(());
            }
            self.line += 1;
            end += line.len() as u64;
            match line.strip_suffix(b"\n") {
                Some(text) => self.record(text, end),
                // Being written right now.
                None if self.report.open && segment.first == self.last && end == length => {}
                None => self.fault("the line has no end"),
            }
        }
    }

    /// The journal's first record is not there: allowed only if it was archived up to a head.
    fn archived_start(&mut self, segment: &Segment) {
        while self.heads.next.as_ref().is_some_and(|head| head.seq + 1 < segment.first) {
            self.next_head();
        }
        match &self.heads.next {
            Some(head) if self.check.archived && head.seq + 1 == segment.first => {
                (self.seq, self.hash) = (head.seq, head.hash);
                while self.heads.next.as_ref().is_some_and(|head| head.seq == self.seq) {
                    self.next_head();
                }
            }
            _ => self.fault(format!("the records before {} are missing", segment.first)),
        }
    }

    fn record(&mut self, text: &[u8], end: u64) {
        let Some(link) = Link::parse(text) else {
            self.fault("the line is no record");
            return;
        };
        if self.report.records == 0 {
            self.report.first = link.seq;
        }
        if link.seq != self.seq + 1 {
            self.fault(format!("record {} stands where {} is to be", link.seq, self.seq + 1));
        } else if link.prev != self.hash {
            self.fault(format!("record {} does not follow the record before it", link.seq));
        }
        if !link.holds() {
            self.fault(format!("record {} was changed", link.seq));
        }
        self.report.records += 1;
        (self.seq, self.hash) = (link.seq, link.hash);
        while let Some(head) = self.heads.next.clone().filter(|head| head.seq <= link.seq) {
            // A head that follows another without a record between them may count from a new segment.
            let moved = head.end == 0;
            let shift = end.cast_signed().wrapping_sub(head.end.cast_signed());
            if head.seq == link.seq && head.hash != link.hash {
                self.fault(format!("record {} is not the one that head {} signed", link.seq, head.number));
            } else if head.seq == link.seq && !moved && shift != self.shift {
                self.shift = shift;
                let number = head.number;
                self.fault(format!("record {} lies {shift} bytes from where head {number} signed it", link.seq));
            } else if head.seq < link.seq && head.seq > 0 {
                self.fault(format!("head {} signed record {}, which is missing", head.number, head.seq));
            }
            self.next_head();
        }
    }

    fn next_head(&mut self) {
        self.heads.advance(&mut self.report);
        if let (Some(head), Some(anchor)) = (&self.heads.next, &self.check.anchor)
            && head.number == anchor.number
            && head != anchor
        {
            let what = format!("head {} is not the one that was kept elsewhere", anchor.number);
            self.report.add(Fault { file: self.heads.path.clone(), line: self.heads.line, what });
        }
    }

    fn finish(&mut self) {
        // Heads of an empty journal, and heads behind its end.
        while let Some(head) = self.heads.next.clone() {
            if head.seq > self.seq || (head.seq == 0 && head.hash != GENESIS) {
                self.fault(format!("the journal ends with record {}, but {} was signed", self.seq, head.seq));
            }
            self.next_head();
        }
        self.report.last = self.seq;
        let signed = self.report.last_head.as_ref().map_or(0, |head| head.seq);
        self.report.unsigned = self.seq.saturating_sub(signed);
        self.report.closed =
            self.report.unsigned == 0 && self.report.last_head.as_ref().is_some_and(|head| head.closed);
        let known = self.report.last_head.as_ref().map_or(0, |head| head.number);
        if let Some(anchor) = self.check.anchor.as_ref().filter(|anchor| anchor.number > known) {
            let what = format!("the heads end with {known}, but {} was kept elsewhere", anchor.number);
            self.report.add(Fault { file: self.heads.path.clone(), line: 0, what });
        }
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.report.add(Fault { file: self.file.clone(), line: self.line, what: what.into() });
    }
}

impl Report {
    fn add(&mut self, fault: Fault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// The heads, read one by one.
struct Heads<'k> {
    path: PathBuf,
    reader: Option<BufReader<Take<File>>>,
    public_key: &'k [u8],
    /// The next head that no record was compared with.
    next: Option<Head>,
    line: u64,
    number: u64,
    fingerprint: Hash,
}

impl<'k> Heads<'k> {
    fn open(directory: &Path, public_key: &'k [u8]) -> Result<Self, Error> {
        let path = directory.join(HEADS);
        let mut reader = None;
        if path.exists() {
            let file = open_read(&path)?;
            let length = length(&file, &path)?;
            reader = Some(BufReader::new(file.take(length)));
        }
        Ok(Self { path, reader, public_key, next: None, line: 0, number: 0, fingerprint: GENESIS })
    }

    /// Goes on to the next sound head.
    fn advance(&mut self, report: &mut Report) {
        self.next = None;
        while let Some(reader) = &mut self.reader {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line).is_err() || line.is_empty() {
                self.reader = None;
                return;
            }
            self.line += 1;
            if report.open && !line.ends_with(b"\n") {
                // Being written right now.
                self.reader = None;
                return;
            }
            let head = line.strip_suffix(b"\n").and_then(Head::parse);
            let Some(head) = head else {
                self.fault(report, "the line is no head".to_owned());
                continue;
            };
            if !head.signed_by(self.public_key) {
                self.fault(report, format!("head {} is not signed with this key", head.number));
                continue;
            }
            if head.number != self.number + 1 || head.previous != self.fingerprint {
                self.fault(report, format!("head {} does not follow head {}", head.number, self.number));
            }
            (self.number, self.fingerprint) = (head.number, head.fingerprint());
            report.heads += 1;
            report.last_head = Some(head.clone());
            self.next = Some(head);
            return;
        }
    }

    fn fault(&self, report: &mut Report, what: String) {
        report.add(Fault { file: self.path.clone(), line: self.line, what });
    }
}

const MOST_FAULTS: usize = 100;
const LONGEST_LINE: u64 = 256 << 20;
