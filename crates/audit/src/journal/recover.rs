//! Finds where a journal ends when it is opened, also after a crash.
//!
//! Everything up to the last head was on disk before the head was written, and a new segment is begun only behind a
//! head. So the records that a crash may have torn all lie in the last segment, behind the last head.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    Settings,
    chain::{GENESIS, Hash, Link},
    head::Head,
    segment::{HEADS, LOCK, Segment, make_directory, open_append, set_aside, sync_directory},
};
use crate::error::Error;

/// A journal that can be continued.
pub(super) struct Recovered {
    /// Held as long as the journal is open.
    pub(super) lock: OwnedFd,
    pub(super) heads: File,
    pub(super) heads_len: u64,
    pub(super) last_head: Option<Head>,
    pub(super) segment: Segment,
    pub(super) file: File,
    pub(super) len: u64,
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// The bytes that were set aside; `None` if the journal is new or was closed cleanly.
    pub(super) unclean: Option<u64>,
}

pub(super) fn open(settings: &Settings, public_key: &[u8]) -> Result<Recovered, Error> {
    let directory = settings.directory.as_path();
    make_directory(directory)?;
    let lock = take_lock(directory)?;
    let (heads, heads_len, last_head) = open_heads(directory, public_key)?;
    let refuse = |what: String| Error::Journal { directory: directory.to_owned(), what };
    if let Some(anchor) = &settings.anchor {
        let known = last_head.as_ref().map_or(0, |head| head.number);
        if known < anchor.number {
            return Err(refuse(format!("it has {known} heads, but {} were signed", anchor.number)));
        }
    }
    let segments = Segment::list(directory)?;
    let signed = last_head.as_ref().map_or(0, |head| head.seq);
    let segment = match segments.last() {
        Some(last) => last.clone(),
        None if signed == 0 => Segment::at(directory, 1),
        None => return Err(refuse(format!("its segments are missing, but {signed} records were signed"))),
    };
    if segment.first > signed + 1 {
        return Err(refuse(format!("{} begins behind the last head, record {signed}", segment.path.display())));
    }
    let mut file = open_append(&segment.path)?;
    let start = match &last_head {
        Some(head) if segment.first <= signed => {
            check_head(&segment, &file, head).map_err(refuse)?;
            head.end
        }
        _ => 0,
    };
    let hash = last_head.as_ref().map_or(GENESIS, |head| head.hash);
    let end = follow(&segment, &mut file, start, signed, hash)?;
    if !end.torn.is_empty() {
        set_aside(&segment.path, &file, end.len, &end.torn)?;
    }
    sync_directory(directory)?;
    let new = last_head.is_none() && end.seq == 0 && end.torn.is_empty();
    let closed = last_head.as_ref().is_some_and(|head| head.closed && head.seq == end.seq) && end.torn.is_empty();
    let unclean = (!new && !closed).then_some(end.torn.len() as u64);
    let End { len, seq, hash, .. } = end;
    Ok(Recovered { lock, heads, heads_len, last_head, segment, file, len, seq, hash, unclean })
}

fn take_lock(directory: &Path) -> Result<OwnedFd, Error> {
    let lock = OwnedFd::from(open_append(&directory.join(LOCK))?);
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(Error::Locked(directory.to_owned())),
        Err(errno) => Err(Error::io(format!("lock {}", directory.display()), errno.into())),
    }
}

/// Opens the file of heads and finds the last whole one; what a crash tore behind it is set aside.
fn open_heads(directory: &Path, public_key: &[u8]) -> Result<(File, u64, Option<Head>), Error> {
    let path = directory.join(HEADS);
    let file = open_append(&path)?;
    let fault = |error| Error::io(format!("read {}", path.display()), error);
    let len = file.metadata().map_err(fault)?.len();
    let start = len.saturating_sub(HEADS_TAIL);
    let mut tail = vec![0; usize::try_from(len - start).unwrap_or(0)];
    file.read_exact_at(&mut tail, start).map_err(fault)?;
    let mut end = tail.len();
    loop {
        let whole = tail.get(..end).unwrap_or_default();
        // Up to and with the last line feed.
        let stop = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let Some(line) = whole.get(..stop.saturating_sub(1)).filter(|_| stop > 0) else {
            if start > 0 {
                let what = format!("{} ends in {HEADS_TAIL} bytes without a signed head", path.display());
                return Err(Error::Journal { directory: directory.to_owned(), what });
            }
            set_aside(&path, &file, 0, &tail)?;
            return Ok((file, 0, None));
        };
        let line = line.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Some(head) = Head::parse(line).filter(|head| head.signed_by(public_key)) {
            let keep = start + stop as u64;
            set_aside(&path, &file, keep, tail.get(stop..).unwrap_or_default())?;
            return Ok((file, keep, Some(head)));
        }
        if Head::parse(line).is_some() {
            let what = format!("the last head in {} was signed with another key", path.display());
            return Err(Error::Journal { directory: directory.to_owned(), what });
        }
        end = stop - 1;
    }
}

/// Checks that the record under the head is where the head says.
fn check_head(segment: &Segment, file: &File, head: &Head) -> Result<(), String> {
    let name = segment.path.display();
    if head.end == 0 {
        return Err(format!("the segment behind {name} is missing"));
    }
    let len = file.metadata().map_err(|error| format!("cannot read {name}: {error}"))?.len();
    if len < head.end {
        return Err(format!("{name} was cut off: record {} was signed", head.seq));
    }
    let start = head.end.saturating_sub(LONGEST_CHECKED);
    let mut tail = vec![0; usize::try_from(head.end - start).unwrap_or(0)];
    file.read_exact_at(&mut tail, start).map_err(|error| format!("cannot read {name}: {error}"))?;
    let Some((b'\n', before)) = tail.split_last() else { return Err(format!("{name} was changed before its head")) };
    let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if start > 0 && line.len() == before.len() {
        // Longer than what is read here; verifying will see it.
        return Ok(());
    }
    match Link::parse(line).filter(Link::holds) {
        Some(link) if (link.seq, link.hash) == (head.seq, head.hash) => Ok(()),
        _ => Err(format!("{name} was changed: record {} is not the one that was signed", head.seq)),
    }
}

/// How far the chain goes.
struct End {
    len: u64,
    seq: u64,
    hash: Hash,
    torn: Vec<u8>,
}

/// Follows the chain from `start` to the last whole record; the rest is torn.
fn follow(segment: &Segment, file: &mut File, start: u64, seq: u64, hash: Hash) -> Result<End, Error> {
    let fault = |error| Error::io(format!("read {}", segment.path.display()), error);
    file.seek(SeekFrom::Start(start)).map_err(fault)?;
    let mut reader = BufReader::new(file);
    let mut end = End { len: start, seq, hash, torn: Vec::new() };
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(fault)?;
        let link = line.strip_suffix(b"\n").and_then(Link::parse);
        match link.filter(|link| link.seq == end.seq + 1 && link.prev == end.hash && link.holds()) {
            Some(link) => {
                (end.seq, end.hash) = (link.seq, link.hash);
                end.len += line.len() as u64;
            }
            None => break,
        }
    }
    end.torn = line;
    reader.read_to_end(&mut end.torn).map_err(fault)?;
    Ok(end)
}

const HEADS_TAIL: u64 = 1 << 20;
const LONGEST_CHECKED: u64 = 4 << 20;
