//! Snapshots in a directory.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use snapshot::{Checked, Manifest, SealSums};
use storage::Store;

/// Writes a snapshot to the new file `name` in `folder`, reads it again to its end, and gives it its name only then.
pub(super) async fn save(
    store: Arc<dyn Store>,
    manifest: Manifest,
    seal: SealSums,
    folder: &Path,
    name: &str,
) -> Result<Checked, snapshot::Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (partial, complete) = (folder.join(format!("{name}{PARTIAL}")), folder.join(name));
    let done = write(store, manifest, seal, &partial).await;
    if done.is_err() {
        // What matters is the first error.
        let _ = fs::remove_file(&partial);
    }
    let checked = done?;
    fs::rename(&partial, &complete)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(checked)
}

async fn write(
    store: Arc<dyn Store>,
    manifest: Manifest,
    seal: SealSums,
    partial: &Path,
) -> Result<Checked, snapshot::Error> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(partial)?;
    let file = Mutex::new(file);
    // Pieces are small, and the disk's own cache takes them.
    let push = |piece: Bytes| {
        let written = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&piece);
        std::future::ready(written.map_err(snapshot::Error::from))
    };
    snapshot::write(store, manifest, seal, push).await?;
    file.into_inner().unwrap_or_else(PoisonError::into_inner).sync_all()?;
    let path = partial.to_owned();
    let checked = tokio::task::spawn_blocking(move || snapshot::check(&path, &[])).await;
    checked.map_err(|_| snapshot::Error::Io(io::Error::other("the check was stopped")))?
}

/// Removes the oldest snapshots of this prefix beyond `retain`, and more until those that are left take no more than
/// `max_bytes`; the newest stays in any case. What was begun before it and never got its name goes, too. Names sort by time.
pub(super) fn retain(folder: &Path, prefix: &str, retain: usize, max_bytes: u64) -> io::Result<()> {
    let (mut whole, mut begun) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')) else { continue };
        let is_time = |time: &str| time.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if rest.strip_suffix(ENDING).is_some_and(is_time) {
            whole.push((name, entry.path(), entry.metadata()?.len()));
        } else if rest.strip_suffix(PARTIAL).and_then(|rest| rest.strip_suffix(ENDING)).is_some_and(is_time) {
            begun.push((name, entry.path()));
        }
    }
    whole.sort_by(|one, other| other.0.cmp(&one.0));
    let newest = whole.first().map(|(name, ..)| name.clone()).unwrap_or_default();
    let mut bytes = 0;
    for (number, (_, path, size)) in whole.into_iter().enumerate() {
        bytes += size;
        if number >= retain.max(1) || number > 0 && bytes > max_bytes {
            fs::remove_file(path)?;
        }
    }
    begun.into_iter().filter(|(name, _)| *name < newest).try_for_each(|(_, path)| fs::remove_file(path))
}

/// What the name of a file ends in that is being written.
const PARTIAL: &str = ".part";
pub(super) const ENDING: &str = ".snap";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_and_what_is_not_ours_stays() {
        let folder = std::env::temp_dir().join(format!("retention-{}", crypto::random::uuid()));
        fs::create_dir(&folder).unwrap();
        let others = ["a.snap", "daily-notes.txt", "daily-x y.snap", "weekly-20260101T000000Z.snap"];
        for name in others {
            fs::write(folder.join(name), "x").unwrap();
        }
        for day in 1..=6 {
            fs::write(folder.join(format!("daily-2026010{day}T000000Z.snap")), "0123456789").unwrap();
        }
        let (stale, under_way) = ("daily-20260101T000000Z.snap.part", "daily-20260107T000000Z.snap.part");
        for name in [stale, under_way] {
            fs::write(folder.join(name), "x").unwrap();
        }
        let own = || {
            names(&folder)
                .into_iter()
                .filter(|name| name.starts_with("daily-2026") && name.ends_with(ENDING))
                .collect::<Vec<_>>()
        };
        retain(&folder, "daily", 4, u64::MAX).unwrap();
        assert_eq!(own().len(), 4);
        assert!(!folder.join(stale).exists() && folder.join(under_way).exists());
        assert_eq!(own().first().unwrap(), "daily-20260103T000000Z.snap");
        retain(&folder, "daily", 4, 25).unwrap();
        assert_eq!(own(), ["daily-20260105T000000Z.snap", "daily-20260106T000000Z.snap"]);
        retain(&folder, "daily", 0, 0).unwrap();
        assert_eq!(own(), ["daily-20260106T000000Z.snap"], "the newest stays");
        assert!(others.iter().all(|name| folder.join(name).exists()));
        fs::remove_dir_all(folder).unwrap();
    }
}
