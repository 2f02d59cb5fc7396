//! Without versions: what is written replaces what was there, and is given back as it was written.

use std::time::Duration;

use api::{Ttl, Verb};
use engine::{Answer, Body, Cx, Done, Engine, Error, Keys, LeaseId, Opening, Routes};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    path::{FolderPath, Paging, SecretPath},
    v2::seen,
};

/// A mount without versions. It holds nothing in memory.
pub(crate) struct Kv1;

impl Engine for Kv1 {
    fn open(_: Opening) -> Self {
        Self
    }

    const HIDES_FIELDS: bool = true;

    fn routes() -> Routes<Self> {
        Routes::default()
            .on(Verb::List, "{path...}", "List the names in a folder.", list)
            .only_reads()
            .on(Verb::Scan, "{path...}", "List the names below a folder, at any depth.", scan)
            .only_reads()
            .on(Verb::Read, "{path...}", "Read a secret.", read)
            .only_reads()
            .on(Verb::Write, "{path...}", "Write a secret.", write)
            .exists(exists)
            .on(Verb::Delete, "{path...}", "Delete a secret.", delete)
    }
}

/// What a secret may say about itself.
#[derive(Deserialize)]
struct Life<'a> {
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
    #[serde(borrow)]
    lease: Option<&'a RawValue>,
}

fn key(path: &SecretPath) -> String {
    format!("{SECRETS}{}", path.as_str())
}

async fn list(cx: Cx<Kv1>, folder: FolderPath, paging: Paging) -> Result<Keys, Error> {
    let (after, limit) = paging.bounds();
    Ok(cx.view().list(&format!("{SECRETS}{}", folder.as_str()), after, limit).await?.into())
}

async fn scan(cx: Cx<Kv1>, folder: FolderPath, paging: Paging) -> Result<Keys, Error> {
    Ok(crate::scan::below(&cx, "", SECRETS, &folder, &paging).await?.into())
}

async fn exists(cx: Cx<Kv1>, path: SecretPath) -> Result<bool, Error> {
    Ok(cx.view().get(&key(&path)).await?.is_some())
}

async fn read(cx: Cx<Kv1>, path: SecretPath) -> Result<Answer, Error> {
    let value = cx.view().get(&key(&path)).await?.ok_or(Error::NotFound)?;
    let value = if cx.hides_fields() { seen(&cx, &value)? } else { value };
    let life = wished_life(&value).unwrap_or(cx.mount().default_ttl);
    // No lease, but clients read here when to ask again.
    let renewed = Some((LeaseId("".into()), life, false));
    Ok(Answer { body: Body::Json(value), renewed, ..Answer::default() })
}

/// The `ttl` or `lease` that the secret names; one that makes no sense counts as none.
fn wished_life(value: &[u8]) -> Option<Duration> {
    let life: Life<'_> = serde_json::from_slice(value).ok()?;
    let wish: Ttl = serde_json::from_str(life.ttl.or(life.lease)?.get()).ok()?;
    wish.set()
}

async fn write(cx: Cx<Kv1>, path: SecretPath) -> Result<Done, Error> {
    let body = cx.body();
    let object = body.trim_ascii();
    if object.is_empty() || object == b"{}" {
        return Err(Error::invalid("missing data fields"));
    }
    cx.parse::<std::collections::BTreeMap<String, &RawValue>>()?;
    cx.view().put(&key(&path), body.clone());
    Ok(Done)
}

async fn delete(cx: Cx<Kv1>, path: SecretPath) -> Result<Done, Error> {
    cx.view().delete(&key(&path));
    Ok(Done)
}

/// Where the secrets lie.
pub(crate) const SECRETS: &str = "s/";
