//! Reads a whole snapshot and believes nothing in it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use storage::{Key, MAX_KEY, MAX_VALUE};

use crate::{
    Content, Error, Manifest,
    error::damaged,
    manifest::{FORMAT, LATE, META, SEALED_SUMS, STATE, SUMMARY, SUMS, Summary},
    record::{Record, is_own},
    sums::{Hashed, Summing, Sums},
    tar,
    write::PART,
};

/// A snapshot that is whole: every part is there, with its sum, and every entry can be read.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it says of itself, with the revision.
    pub manifest: Manifest,
    /// What a store holds after it was put back.
    pub content: Content,
    /// The list of sums of its parts.
    pub sums: Vec<u8>,
    /// The same, sealed by the server that wrote it.
    pub sealed_sums: Vec<u8>,
    kept: BTreeMap<String, Bytes>,
}

impl Checked {
    /// The value of one of the entries that [`check`] was asked to keep.
    pub fn kept(&self, key: &str) -> Option<&Bytes> {
        self.kept.get(key)
    }
}

/// Reads the snapshot in `file` to its end. The values at the keys `keep` are kept in memory; of all else no more than a
/// part at a time.
pub fn check(file: &Path, keep: &[&str]) -> Result<Checked, Error> {
    let (checked, late) = pass(File::open(file)?, keep, BTreeMap::new())?;
    if late.is_empty() {
        return Ok(checked);
    }
    // Corrections stand behind what they correct, so the sum is taken in a second pass, which knows them.
    pass(File::open(file)?, keep, late).map(|(checked, _)| checked)
}

/// The hashes of corrections, by key; nothing where the entry is gone.
type Late = BTreeMap<Key, Option<Hashed>>;

fn pass(from: impl Read, keep: &[&str], known: Late) -> Result<(Checked, Late), Error> {
    let mut parts = Parts::begin(from)?;
    let mut tally =
        Tally { known, summing: Summing::default(), last: None, late: Late::new(), kept: BTreeMap::new(), keep };
    let mut records = 0;
    while let Some((is_late, part)) = parts.next()? {
        records += part.len() as u64;
        part.into_iter().try_for_each(|record| if is_late { tally.late(record) } else { tally.main(record) })?;
    }
    let Ended { manifest, summary, sums, sealed_sums } = parts.end()?;
    if summary.records != records {
        return Err(damaged("the number of its entries is wrong"));
    }
    let manifest = Manifest { revision: summary.revision, ..manifest };
    let (late, kept) = (std::mem::take(&mut tally.late), std::mem::take(&mut tally.kept));
    Ok((Checked { manifest, content: tally.finish(), sums, sealed_sums, kept }, late))
}

struct Tally<'k> {
    /// The corrections of all keys behind the last.
    known: Late,
    summing: Summing,
    last: Option<Key>,
    late: Late,
    keep: &'k [&'k str],
    kept: BTreeMap<String, Bytes>,
}

impl Tally<'_> {
    fn main(&mut self, record: Record) -> Result<(), Error> {
        let value = record.value.as_ref().ok_or_else(|| damaged("an entry has no value"))?;
        if self.last.as_ref().is_some_and(|last| *last >= record.key) {
            return Err(damaged("its entries are out of order"));
        }
        while let Some(late) = self.known.first_entry().filter(|late| *late.key() < record.key) {
            late.remove().iter().for_each(|hashed| self.summing.add(hashed));
        }
        match self.known.remove(&record.key) {
            Some(corrected) => corrected.iter().for_each(|hashed| self.summing.add(hashed)),
            None => self.summing.add(&Hashed::of(&record.key, value)),
        }
        self.last = Some(record.key.clone());
        self.keep(&record)
    }

    fn late(&mut self, record: Record) -> Result<(), Error> {
        let hashed = record.value.as_ref().map(|value| Hashed::of(&record.key, value));
        self.late.insert(record.key.clone(), hashed);
        self.keep(&record)
    }

    fn keep(&mut self, record: &Record) -> Result<(), Error> {
        let key = record.key.as_str();
        if is_own(key) {
            return Err(damaged(format!("it holds {key}, which no snapshot holds")));
        }
        if self.keep.contains(&key) {
            match &record.value {
                Some(value) => self.kept.insert(key.to_owned(), Bytes::copy_from_slice(value)),
                None => self.kept.remove(key),
            };
        }
        Ok(())
    }

    fn finish(mut self) -> Content {
        self.known.into_values().flatten().for_each(|hashed| self.summing.add(&hashed));
        self.summing.finish()
    }
}

/// The parts of a snapshot one after the other, in the only order there is.
pub(crate) struct Parts<R: Read> {
    from: GzDecoder<BufReader<R>>,
    sums: Sums,
    manifest: Manifest,
    summary: Option<Summary>,
    at: (bool, u64),
}

/// What stands before and after the entries.
struct Ended {
    manifest: Manifest,
    summary: Summary,
    sums: Vec<u8>,
    sealed_sums: Vec<u8>,
}

impl<R: Read> Parts<R> {
    pub(crate) fn begin(from: R) -> Result<Self, Error> {
        let mut from = GzDecoder::new(BufReader::with_capacity(PART / 8, from));
        let no_snapshot = |what: &str| Error::NotASnapshot(what.to_owned());
        let first = tar::next(&mut from, size_of_part);
        let (name, meta) = match first {
            Ok(Some(first)) => first,
            Ok(None) => return Err(no_snapshot("the archive is empty")),
            Err(Error::Damaged(what)) => return Err(Error::NotASnapshot(what)),
            Err(error) => return Err(error),
        };
        if name != META {
            return Err(no_snapshot("it does not begin with meta.json"));
        }
        let found: serde_json::Value =
            serde_json::from_slice(&meta).map_err(|_| no_snapshot("its meta.json is no JSON"))?;
        match found["format"].as_u64() {
            None | Some(0) => return Err(no_snapshot("its meta.json names no format of ours")),
            Some(found) if found > FORMAT => return Err(Error::Newer { found, known: FORMAT }),
            Some(_) => {}
        }
        let manifest = serde_json::from_value(found).map_err(|_| damaged("its meta.json cannot be understood"))?;
        let mut sums = Sums::default();
        sums.add(META, &meta);
        Ok(Self { from, sums, manifest, summary: None, at: (false, 0) })
    }

    /// The entries of the next part, and whether they are corrections; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<(bool, Vec<Record>)>, Error> {
        let (name, bytes) = self.part()?;
        self.sums.add(&name, &bytes);
        if name == SUMMARY {
            let summary = serde_json::from_slice(&bytes).map_err(|_| damaged("its summary cannot be understood"))?;
            self.summary = Some(summary);
            return Ok(None);
        }
        let (is_late, number) = self.at;
        let (late, next) = (name.starts_with(LATE), number + 1);
        let expected = match (is_late, late) {
            (false, true) => format!("{LATE}{:08}", 1),
            (_, true) => format!("{LATE}{next:08}"),
            (_, false) => format!("{STATE}{next:08}"),
        };
        if name != expected || is_late && !late {
            return Err(damaged(format!("a part is missing before {name}")));
        }
        self.at = (late, if late && !is_late { 1 } else { next });
        Ok(Some((late, Record::decode_all(&bytes.into())?)))
    }

    fn part(&mut self) -> Result<(String, Vec<u8>), Error> {
        tar::next(&mut self.from, size_of_part)?.ok_or_else(|| damaged("it ends too soon"))
    }

    fn end(mut self) -> Result<Ended, Error> {
        let summary = self.summary.take().ok_or_else(|| damaged("it has no summary"))?;
        let (sums, sealed_sums) = match (self.part()?, self.part()?) {
            ((first, sums), (second, sealed)) if first == SUMS && second == SEALED_SUMS => (sums, sealed),
            _ => return Err(damaged("its checksums are missing")),
        };
        self.sums.agree(&sums)?;
        if tar::next(&mut self.from, size_of_part)?.is_some() {
            return Err(damaged("something follows its end"));
        }
        // To the end of the compression, whose own check stands there.
        let mut rest = Vec::new();
        Read::by_ref(&mut self.from).take(64 * 1024).read_to_end(&mut rest).map_err(tar::cut)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(damaged("something follows its end"));
        }
        Ok(Ended { manifest: self.manifest, summary, sums, sealed_sums })
    }
}

/// The most bytes that a part of this name can have; `None` if there is no such part.
fn size_of_part(name: &str) -> Option<usize> {
    match name {
        META | SUMMARY => Some(64 * 1024),
        // A line for each part; the server that seals it adds little.
        SUMS | SEALED_SUMS => Some(256 * 1024 * 1024),
        _ if name.starts_with(STATE) || name.starts_with(LATE) => Some(PART + MAX_KEY + MAX_VALUE + 64),
        _ => None,
    }
}
