//! `references/{path...}`: fields of a secret whose values lie in other secrets, of this or another mount.
//!
//! A reference is no right: a read goes through the rooms for each secret that it leads to, in the name of who reads.

use std::collections::BTreeMap;

use api::{Operation, Verb};
use bytes::Bytes;
use engine::{Cx, Data, Done, Error, Neighbour, PartAnswer, PartRequest, Refusal};
use serde::{Deserialize, Serialize};
use storage::View;

use super::{Kv2, author::Author, record::Record};
use crate::{json::Node, path::SecretPath};

/// A field whose value lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The field of this secret.
    pub(crate) field: String,
    /// The other secret: the path of its mount and its own.
    pub(crate) path: String,
    /// The field of the other secret.
    pub(crate) key: String,
    /// Which version of it; the current one unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
}

impl Link {
    /// Reads `mount/path#key`, with `@version` behind the path for one version.
    fn parse(field: &str, text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Err(Error::invalid(format!(
                "references: {why}; write MOUNT/PATH#KEY or MOUNT/PATH@VERSION#KEY, such as \"secret/app/db#password\""
            )))
        };
        if field.is_empty() || field.len() > MAX_FIELD {
            return wrong("a field has from 1 to 128 bytes");
        }
        let Some((place, key)) = text.split_once('#') else { return wrong("one has no '#' with a key behind it") };
        let (path, version) = match place.rsplit_once('@') {
            None => (place, None),
            Some((path, version)) => match version.parse() {
                Ok(version) if version > 0 => (path, Some(version)),
                _ => return wrong("a version is a whole number from 1"),
            },
        };
        let path = path.trim_start_matches('/');
        if key.is_empty() || key.len() > MAX_FIELD {
            return wrong("a key has from 1 to 128 bytes");
        }
        if path.ends_with('/') || !path.contains('/') || api::ReqPath::new(path).is_err() {
            return wrong("one does not name a mount and the path of a secret in it");
        }
        Ok(Self { field: field.to_owned(), path: path.to_owned(), key: key.to_owned(), version })
    }

    fn text(&self) -> String {
        let version = self.version.map(|version| format!("@{version}")).unwrap_or_default();
        format!("{}{version}#{}", self.path, self.key)
    }
}

/// The body, and the reply: where the value of each field is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct References {
    references: BTreeMap<String, String>,
}

pub(crate) async fn exists(cx: Cx<Kv2>, path: SecretPath) -> Result<bool, Error> {
    Ok(Record::load(cx.view(), path.as_str()).await?.is_some_and(|record| !record.links.is_empty()))
}

pub(crate) async fn read(cx: Cx<Kv2>, path: SecretPath) -> Result<Option<Data<References>>, Error> {
    let record = Record::load(cx.view(), path.as_str()).await?;
    let links = record.map(|record| record.links).unwrap_or_default();
    let references = links.iter().map(|link| (link.field.clone(), link.text())).collect();
    Ok((!links.is_empty()).then_some(Data(References { references })))
}

pub(crate) async fn write(cx: Cx<Kv2>, path: SecretPath, given: References) -> Result<Done, Error> {
    if given.references.is_empty() || given.references.len() > MAX_LINKS {
        return Err(Error::invalid(format!(
            "references: name from 1 to {MAX_LINKS} fields, each with the place of its value; delete them to have none"
        )));
    }
    let links = given.references.iter().map(|(field, text)| Link::parse(field, text)).collect::<Result<Vec<_>, _>>()?;
    let here = format!("{}{}", cx.mount().path, path.as_str());
    check_circles(&cx, &here, &links).await?;
    change(&cx, &path, links).await
}

pub(crate) async fn delete(cx: Cx<Kv2>, path: SecretPath) -> Result<Done, Error> {
    match Record::load(cx.view(), path.as_str()).await? {
        Some(record) if !record.links.is_empty() => change(&cx, &path, Vec::new()).await,
        _ => Ok(Done),
    }
}

/// They decide what readers of the secret see, so who changes them must be one who may change the secret.
async fn change(cx: &Cx<Kv2>, path: &SecretPath, links: Vec<Link>) -> Result<Done, Error> {
    if !cx.allows(&format!("data/{}", path.as_str()), Operation::Update) {
        let why = "references of a secret need the right to update the secret itself, at data/";
        return Err(Error::Denied(Refusal::Other(why.to_owned())));
    }
    let mut record = Record::load(cx.view(), path.as_str()).await?.ok_or(Error::NotFound)?;
    record.links = links;
    record.updated = cx.now();
    record.updated_by = Some(Author::caller(cx.holder()?));
    record.save(cx.view(), path.as_str())?;
    Ok(Done)
}

/// Follows references from `links` on. None may lead to the secret at `here`, and none too far. What lies in between
/// is looked at without anybody's right, but only that there is a circle is told.
pub(crate) async fn check_circles(cx: &Cx<Kv2>, here: &str, links: &[Link]) -> Result<(), Error> {
    let mut looked_at = 0;
    for link in links {
        let mut next = vec![(link.path.clone(), 1)];
        while let Some((at, depth)) = next.pop() {
            let wrong = |why: &str| Err(Error::invalid(format!("references: that of {:?} {why}", link.field)));
            if at == here {
                return wrong("leads back to this secret");
            }
            if depth > MAX_STEPS {
                return wrong("leads to others that lead on too often");
            }
            looked_at += 1;
            if looked_at > MAX_LOOKED_AT {
                return wrong("leads to too many others");
            }
            let further = further(cx, &at).await?;
            next.extend(further.into_iter().map(|link| (link.path, depth + 1)));
        }
    }
    Ok(())
}

/// The references of a secret, wherever it is.
async fn further(cx: &Cx<Kv2>, at: &str) -> Result<Vec<Link>, Error> {
    let Some(Neighbour { mount, path, view }) = cx.neighbour(at) else { return Ok(Vec::new()) };
    if !versioned(&mount) {
        return Ok(Vec::new());
    }
    Ok(load(&view, &path).await?.map(|record| record.links).unwrap_or_default())
}

async fn load(view: &View, path: &str) -> Result<Option<Record>, Error> {
    if path.is_empty() { Ok(None) } else { Record::load(view, path).await }
}

fn versioned(mount: &engine::MountInfo) -> bool {
    mount.options.get("version").is_some_and(|version| version == "2")
}

/// The value of a secret with the fields whose values lie elsewhere.
pub(crate) async fn fill(cx: &Cx<Kv2>, links: &[Link], value: Bytes) -> Result<Bytes, Error> {
    if usize::from(cx.depth()) >= MAX_STEPS {
        return Err(Error::invalid("references lead in a circle, or from one to the next too often"));
    }
    let mut places: BTreeMap<(&str, Option<u64>), Vec<&Link>> = BTreeMap::new();
    for link in links {
        places.entry((&link.path, link.version)).or_default().push(link);
    }
    let mut filled = value;
    for ((path, version), links) in places {
        let named = links.iter().map(|link| format!("{:?}", link.field)).collect::<Vec<_>>().join(", ");
        let place = format!("the reference of {named}");
        let data = fetch(cx, path, version).await.map_err(|error| error.of_part(&*place))?;
        let said = Node::parse(&data);
        for link in links {
            let value = said.as_ref().and_then(|said| said.member(&link.key)).ok_or_else(nothing);
            let value = value.map_err(|error| error.of_part(&*place))?;
            let before = Node::parse(&filled).ok_or_else(|| Error::invalid("the secret is nested too deeply"))?;
            filled = before.with(&link.field, value.text());
        }
    }
    Ok(filled)
}

/// That there is no such secret is told to those only who might read it, and so is that it lacks the field.
fn nothing() -> Error {
    Error::invalid("there is no such secret, version or key")
}

/// Reads another secret in the name of the caller, and gives its `data`.
async fn fetch(cx: &Cx<Kv2>, path: &str, version: Option<u64>) -> Result<Bytes, Error> {
    let Some(Neighbour { mount, path: inside, .. }) = cx.neighbour(path) else {
        return Err(Error::invalid("no kv engine is mounted there"));
    };
    let keeps_versions = versioned(&mount);
    let family = if keeps_versions { "data/" } else { "" };
    let query = version.iter().map(|version| ("version".to_owned(), version.to_string())).collect();
    let part =
        PartRequest { verb: Verb::Read, path: format!("{}{family}{inside}", mount.path), query, body: Bytes::new() };
    let answered = async { cx.answer(cx.admit(part).await?).await };
    match answered.await {
        Ok(PartAnswer { json, .. }) if !keeps_versions && version.is_none() => Ok(json),
        Ok(PartAnswer { json, status: None, .. }) if keeps_versions => {
            let data = Node::parse(&json).and_then(|node| node.member("data").map(|data| data.text().to_owned()));
            let data = data.map(|data| Bytes::from_owner(secret::Zeroizing::new(data.into_bytes())));
            data.ok_or_else(nothing)
        }
        Ok(_) | Err(Error::NotFound | Error::NoRoute(_)) => Err(nothing()),
        Err(error) => Err(error),
    }
}

/// How many fields of a secret may lie elsewhere.
const MAX_LINKS: usize = 32;
const MAX_FIELD: usize = 128;
/// How often a reference may lead on to another one.
const MAX_STEPS: usize = 4;
/// How many secrets are looked at for circles.
const MAX_LOOKED_AT: usize = 256;
