//! `data/{path...}`: the values.

use api::Count;
use bytes::Bytes;
use engine::{Answer, Cx, Data, Error};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;

use super::{
    Kv2,
    author::Author,
    config::Config,
    fingerprint,
    glance::{self, Show},
    record::{Draft, Record, damaged, value},
};
use crate::{json::Node, path::SecretPath};

/// The body of a write or patch. The value is never copied out of the body.
#[derive(Deserialize)]
struct New<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    options: Option<Options>,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object such as {\"cas\": 1}")]
struct Options {
    #[serde(deserialize_with = "cas")]
    cas: Option<Count>,
}

/// Its own error, because one that is only told of `options` leaves the caller to guess.
fn cas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Count>, D::Error> {
    let wrong = |_| D::Error::custom("cas: use the number of the current version, or 0 if there must be none");
    Option::deserialize(deserializer).map_err(wrong)
}

/// What is known of the version that was written.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    created_time: String,
    custom_metadata: Option<std::collections::BTreeMap<String, String>>,
    deletion_time: String,
    destroyed: bool,
    version: u64,
}

pub(crate) async fn read(cx: Cx<Kv2>, path: SecretPath) -> Result<Answer, Error> {
    let show = match cx.query("references") {
        None | Some("" | "true") => Show::Filled,
        Some("false") => Show::Own,
        Some(_) => return Err(Error::invalid("references: use true, or false for the secret as it is stored")),
    };
    glance::read(&cx, &path, show).await
}

pub(crate) async fn write(cx: Cx<Kv2>, path: SecretPath) -> Result<Data<Written>, Error> {
    let new: New<'_> = cx.parse()?;
    let value = object(cx.body(), new.data)?;
    let config = Config::load(cx.scope()).await?;
    let record = Record::load(cx.view(), path.as_str()).await?;
    check(new.options, &config, record.as_ref())?;
    let record = record.unwrap_or_else(|| Record::new(cx.now()));
    put(&cx, &path, record, &config, value).await
}

/// A patch of a version that was deleted gets the reply of a read.
pub(crate) async fn patch(cx: Cx<Kv2>, path: SecretPath) -> Result<Answer, Error> {
    let new: New<'_> = cx.parse()?;
    let change = object(cx.body(), new.data)?;
    let config = Config::load(cx.scope()).await?;
    let record = Record::load(cx.view(), path.as_str()).await?.ok_or(Error::NotFound)?;
    let current = record.current();
    if !record.version(current).ok_or(Error::NotFound)?.is_live(cx.now()) {
        return glance::read(&cx, &path, Show::Own).await;
    }
    check(new.options, &config, Some(&record))?;
    let before = value(cx.view(), path.as_str(), current).await?;
    let before = Node::parse(&before).ok_or_else(|| damaged(path.as_str()))?;
    let merged = before.merged(&Node::parse(&change).ok_or_else(too_deep)?);
    engine::IntoAnswer::into_answer(put(&cx, &path, record, &config, merged).await?)
}

fn too_deep() -> Error {
    Error::invalid("data: it is nested too deeply")
}

/// Makes a new version and puts it in force.
async fn put(
    cx: &Cx<Kv2>,
    path: &SecretPath,
    mut record: Record,
    config: &Config,
    value: Bytes,
) -> Result<Data<Written>, Error> {
    let draft = Draft {
        id: crypto::random::uuid(),
        fingerprint: fingerprint(cx.scope(), &value).await?,
        value,
        author: Author::caller(cx.holder()?),
        now: cx.now(),
        life: config.life(record.delete_version_after),
    };
    let keep = record.kept(config);
    let n = record.add(cx.view(), path.as_str(), draft, keep).await?;
    record.updated_by = Some(Author::caller(cx.holder()?));
    record.save(cx.view(), path.as_str())?;
    let version = record.version(n).ok_or_else(|| damaged(path.as_str()))?;
    Ok(Data(Written {
        created_time: version.created.to_string(),
        deletion_time: version.deletion.map(|deletion| deletion.to_string()).unwrap_or_default(),
        destroyed: false,
        version: n,
        custom_metadata: (!record.custom.is_empty()).then_some(record.custom),
    }))
}

impl Record {
    /// How many versions this secret keeps. One that is rotated keeps the previous value in any case.
    pub(crate) fn kept(&self, config: &Config) -> u64 {
        config.versions(self.max_versions).max(if self.rotation_class.is_some() { 2 } else { 1 })
    }
}

/// The `data` of a body, as a part of it.
fn object(body: &Bytes, data: Option<&RawValue>) -> Result<Bytes, Error> {
    let data = data.ok_or_else(|| Error::invalid("no data provided"))?.get();
    if !data.starts_with('{') {
        return Err(Error::invalid("error converting input for field \"data\": expected an object"));
    }
    Ok(body.slice_ref(data.as_bytes()))
}

/// Whether the write replaces what its author believes it to replace.
fn check(options: Option<Options>, config: &Config, record: Option<&Record>) -> Result<(), Error> {
    let required = config.cas_required || record.is_some_and(|record| record.cas_required);
    match options.and_then(|options| options.cas) {
        None if required => Err(Error::invalid("check-and-set parameter required for this call")),
        Some(cas) if cas.0 != record.map_or(0, Record::current) => {
            Err(Error::invalid("check-and-set parameter did not match the current version"))
        }
        _ => Ok(()),
    }
}
