//! Writes a snapshot, part by part, into whatever takes bytes.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use storage::Store;

use crate::{
    Error, Manifest,
    manifest::{FORMAT, LATE, META, SEALED_SUMS, STATE, SUMMARY, SUMS, Summary},
    record::Record,
    sums::Sums,
    tar,
    walk::Walk,
};

/// Seals the list of sums under a key of the server, so that the server can tell later whether the snapshot is its own.
pub type SealSums = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, Error> + Send + Sync>;

/// Writes a snapshot of `store`, while it serves, and hands the bytes to `push` piece by piece. The manifest is taken as it
/// is, but for format and revision. Gives the revision that the snapshot is of.
pub async fn write<F>(
    store: Arc<dyn Store>,
    manifest: Manifest,
    seal: SealSums,
    mut push: impl FnMut(Bytes) -> F + Send,
) -> Result<u64, Error>
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let mut walk = Walk::begin(store).await?;
    let mut archive = Archive::new();
    let revision = walk.revision().unwrap_or_default();
    archive.json(META, &Manifest { format: FORMAT, revision, ..manifest })?;
    let mut parts = Parts::new(STATE);
    while let Some(records) = walk.next().await? {
        for record in records {
            parts.add(&record, &mut archive)?;
            // Between two parts, so that no more than one lies in memory.
            if let Some(bytes) = archive.ready() {
                push(bytes).await?;
            }
        }
    }
    parts.end(&mut archive)?;
    let mut records = parts.records;
    let (corrections, revision) = walk.settle().await?;
    let mut parts = Parts::new(LATE);
    for record in corrections {
        parts.add(&record, &mut archive)?;
        if let Some(bytes) = archive.ready() {
            push(bytes).await?;
        }
    }
    parts.end(&mut archive)?;
    records += parts.records;
    archive.json(SUMMARY, &Summary { revision, records })?;
    push(archive.finish(&seal)?).await?;
    Ok(revision)
}

/// The archive as far as it is written.
struct Archive {
    gzip: GzEncoder<Vec<u8>>,
    sums: Sums,
}

impl Archive {
    fn new() -> Self {
        // What is encrypted does not get smaller; names and manifests are little beside it.
        Self { gzip: GzEncoder::new(Vec::new(), Compression::none()), sums: Sums::default() }
    }

    fn json(&mut self, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(value).map_err(|error| Error::Io(error.into()))?;
        self.part(name, &json)
    }

    fn part(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.sums.add(name, bytes);
        self.put(name, bytes)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.gzip.write_all(&tar::head(name, bytes.len()))?;
        self.gzip.write_all(bytes)?;
        self.gzip.write_all(&vec![0; tar::padding(bytes.len())])?;
        Ok(())
    }

    /// What can be sent already, if it is worth it.
    fn ready(&mut self) -> Option<Bytes> {
        let written = self.gzip.get_mut();
        (written.len() >= PIECE).then(|| std::mem::take(written).into())
    }

    fn finish(mut self, seal: &SealSums) -> Result<Bytes, Error> {
        let sealed = seal(self.sums.as_bytes())?;
        let sums = std::mem::take(&mut self.sums);
        self.put(SUMS, sums.as_bytes())?;
        self.put(SEALED_SUMS, &sealed)?;
        self.gzip.write_all(&[0; 2 * tar::BLOCK])?;
        Ok(self.gzip.finish()?.into())
    }
}

/// Gathers entries into parts of about equal size.
struct Parts {
    folder: &'static str,
    number: u64,
    buffer: Vec<u8>,
    records: u64,
}

impl Parts {
    fn new(folder: &'static str) -> Self {
        Self { folder, number: 0, buffer: Vec::new(), records: 0 }
    }

    fn add(&mut self, record: &Record, archive: &mut Archive) -> Result<(), Error> {
        record.encode(&mut self.buffer);
        self.records += 1;
        if self.buffer.len() >= PART { self.end(archive) } else { Ok(()) }
    }

    fn end(&mut self, archive: &mut Archive) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.number += 1;
        archive.part(&format!("{}{:08}", self.folder, self.number), &std::mem::take(&mut self.buffer))
    }
}

/// The size from which a part is complete.
pub(crate) const PART: usize = 1024 * 1024;
/// The size from which bytes are handed on.
const PIECE: usize = 64 * 1024;
