//! `delete/`, `undelete/` and `destroy/`, and the deletion of the current version: how versions go and come back.
//! Versions that there are not are passed over, so that a request may be repeated.

use api::CommaList;
use engine::{Cx, Done, Error};
use serde::Deserialize;

use super::{
    Kv2,
    author::Author,
    record::{Record, Version, value_key},
};
use crate::path::SecretPath;

/// The body: which versions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Versions {
    versions: CommaList,
}

impl Versions {
    fn numbers(&self) -> Result<Vec<u64>, Error> {
        if self.versions.is_empty() {
            return Err(Error::invalid("No version number provided"));
        }
        let number = |text: &String| text.parse().map_err(|_| Error::invalid("versions: use a list of whole numbers"));
        self.versions.iter().map(number).collect()
    }
}

pub(crate) async fn delete_current(cx: Cx<Kv2>, path: SecretPath) -> Result<Done, Error> {
    let Some(record) = Record::load(cx.view(), path.as_str()).await? else { return Ok(Done) };
    let current = record.current();
    soft_delete(&cx, &path, record, &[current])
}

pub(crate) async fn delete(cx: Cx<Kv2>, path: SecretPath, versions: Versions) -> Result<Done, Error> {
    let numbers = versions.numbers()?;
    let Some(record) = Record::load(cx.view(), path.as_str()).await? else { return Ok(Done) };
    soft_delete(&cx, &path, record, &numbers)
}

fn soft_delete(cx: &Cx<Kv2>, path: &SecretPath, record: Record, numbers: &[u64]) -> Result<Done, Error> {
    let (now, author) = (cx.now(), Author::caller(cx.holder()?));
    change(cx, path, record, numbers, |version| {
        let open = !version.destroyed && !version.is_deleted(now);
        if open {
            version.deletion = Some(now);
            version.deleted_by = Some(author.clone());
        }
        open
    })
}

pub(crate) async fn undelete(cx: Cx<Kv2>, path: SecretPath, versions: Versions) -> Result<Done, Error> {
    let numbers = versions.numbers()?;
    let Some(record) = Record::load(cx.view(), path.as_str()).await? else { return Ok(Done) };
    change(&cx, &path, record, &numbers, |version| {
        version.deleted_by = None;
        !version.destroyed && version.deletion.take().is_some()
    })
}

pub(crate) async fn destroy(cx: Cx<Kv2>, path: SecretPath, versions: Versions) -> Result<Done, Error> {
    let numbers = versions.numbers()?;
    let Some(record) = Record::load(cx.view(), path.as_str()).await? else { return Ok(Done) };
    change(&cx, &path, record, &numbers, |version| {
        let there = !version.destroyed;
        version.destroyed = true;
        if there {
            cx.view().delete(&value_key(version.n, path.as_str()));
        }
        there
    })
}

/// Lets `act` change the versions with these numbers; it says whether it did.
fn change(
    cx: &Cx<Kv2>,
    path: &SecretPath,
    mut record: Record,
    numbers: &[u64],
    mut act: impl FnMut(&mut Version) -> bool,
) -> Result<Done, Error> {
    let mut changed = false;
    for number in numbers {
        changed |= record.version_mut(*number).is_some_and(&mut act);
    }
    if changed {
        record.updated = cx.now();
        record.updated_by = Some(Author::caller(cx.holder()?));
        record.save(cx.view(), path.as_str())?;
    }
    Ok(Done)
}
