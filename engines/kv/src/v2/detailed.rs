//! `detailed-metadata/{path...}`: a listing that tells of each secret what `metadata/` would.

use engine::{Cx, Error, Keys};
use serde_json::value::to_raw_value;

use super::{
    Kv2, metadata,
    record::{RECORDS, Record},
};
use crate::{
    path::{FolderPath, Paging},
    scan::below,
};

pub(crate) async fn list(cx: Cx<Kv2>, folder: FolderPath, paging: Paging) -> Result<Keys, Error> {
    let (after, limit) = paging.bounds();
    let listed = cx.view().list(&format!("{RECORDS}{}", folder.as_str()), after, limit.min(MOST)).await?;
    tell(&cx, &folder, limit, listed.into()).await
}

pub(crate) async fn scan(cx: Cx<Kv2>, folder: FolderPath, paging: Paging) -> Result<Keys, Error> {
    let (_, limit) = paging.bounds();
    let found = below(&cx, "detailed-metadata/", RECORDS, &folder, &paging.at_most(MOST)).await?;
    tell(&cx, &folder, limit, found.into()).await
}

/// Adds what is known of the secrets among the names.
async fn tell(cx: &Cx<Kv2>, folder: &FolderPath, limit: usize, mut keys: Keys) -> Result<Keys, Error> {
    if keys.keys.len() == MOST && limit > MOST {
        cx.warn(format!("at most {MOST} names are shown at once: go on with after=<the last of these>"));
    }
    for name in keys.keys.iter().filter(|name| !name.ends_with('/')) {
        let path = format!("{}{name}", folder.as_str());
        let Some(record) = Record::load(cx.view(), &path).await? else { continue };
        let shown = to_raw_value(&metadata::show(record));
        let shown = shown.map_err(|_| Error::internal("the metadata of a secret cannot be written as JSON"))?;
        keys.key_info.insert(name.clone(), shown);
    }
    Ok(keys)
}

/// How many names a page has at most: each costs a look-up.
const MOST: usize = 1000;
