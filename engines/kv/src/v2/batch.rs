//! `batch/read` and `batch/write`: many secrets with one request. Each of them goes through the rooms as if it had been
//! asked for alone; what is written is written all at once or not at all.

use std::collections::BTreeSet;

use api::{Count, Verb};
use bytes::Bytes;
use engine::{Answer, Body, Cx, Error, PartAnswer, PartRequest};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Kv2;
use crate::json::{buffer, quoted};

/// The body of a batch of reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reads {
    items: Vec<Read>,
}

#[derive(Debug, Deserialize)]
struct Read {
    path: String,
    #[serde(default)]
    version: Option<Count>,
}

/// The body of a batch of writes. Values stay parts of it.
#[derive(Deserialize)]
struct Writes<'a> {
    #[serde(borrow, default)]
    items: Vec<Write<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write<'a> {
    path: String,
    #[serde(default)]
    method: Method,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
}

/// What is done to a secret.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// Delete the current version.
    Delete,
    /// Change the current version by a merge patch.
    Patch,
    /// Write a new version.
    #[default]
    Write,
}

pub(crate) async fn read(cx: Cx<Kv2>, (): (), reads: Reads) -> Result<Answer, Error> {
    checked(reads.items.iter().map(|item| item.path.as_str()), Twice::Fine)?;
    let mut told = Vec::new();
    let mut size = 0;
    for (at, item) in reads.items.iter().enumerate() {
        let told_of = read_one(&cx, item).await.map_err(|error| error.of_part(place(at, &item.path)))?;
        size += told_of.iter().map(Bytes::len).sum::<usize>();
        if size > MAX_REPLY {
            return Err(Error::invalid(format!(
                "{}: the values of the batch are larger than {MAX_REPLY} bytes; ask for fewer at once",
                place(at, &item.path)
            )));
        }
        told.push(told_of);
    }
    Ok(items(&told))
}

/// What is said of a secret, in pieces. That one may not be read, or is not there, concerns it alone.
async fn read_one(cx: &Cx<Kv2>, item: &Read) -> Result<Vec<Bytes>, Error> {
    let part = PartRequest {
        verb: Verb::Read,
        path: full(cx, &item.path),
        query: item.version.iter().map(|version| ("version".to_owned(), version.0.to_string())).collect(),
        body: Bytes::new(),
    };
    let asked = async { cx.answer(cx.admit(part).await?).await };
    let (status, said) = match asked.await {
        Ok(PartAnswer { status, json, .. }) => (status.unwrap_or(200), json.slice(1.min(json.len())..)),
        Err(Error::Denied(_)) => (403, errors(Some("permission denied"))),
        Err(Error::NotFound) => (404, errors(None)),
        Err(Error::NoRoute(text)) => (404, errors(Some(&text))),
        Err(Error::Invalid(text)) => (400, errors(Some(&text))),
        Err(error) => return Err(error),
    };
    let head = format!("{{\"path\":{},\"status\":{status},", &*quoted(&item.path));
    Ok(vec![Bytes::from(head), said])
}

/// The rest of an object that says what is wrong.
fn errors(text: Option<&str>) -> Bytes {
    let text = text.map(|text| quoted(text).to_string()).unwrap_or_default();
    Bytes::from(format!("\"errors\":[{text}]}}"))
}

pub(crate) async fn write(cx: Cx<Kv2>, (): ()) -> Result<Answer, Error> {
    let writes: Writes<'_> = cx.parse()?;
    checked(writes.items.iter().map(|item| item.path.as_str()), Twice::Refused)?;
    let mut parts = Vec::new();
    for (at, item) in writes.items.iter().enumerate() {
        let admitted = async { cx.admit(item.part(&cx)?).await };
        parts.push(admitted.await.map_err(|error| error.of_part(place(at, &item.path)))?);
    }
    let mut told = Vec::new();
    for (at, (item, part)) in writes.items.iter().zip(parts).enumerate() {
        let answer = cx.answer(part).await.map_err(|error| error.of_part(place(at, &item.path)))?;
        if let Some(404) = answer.status {
            // A patch of a version that was deleted.
            return Err(Error::NotFound.of_part(place(at, &item.path)));
        }
        let head = format!("{{\"path\":{}", &*quoted(&item.path));
        told.push(match answer.json.len() {
            0 | 1 => vec![Bytes::from(head), Bytes::from_static(b"}")],
            _ => vec![Bytes::from(head), Bytes::from_static(b","), answer.json.slice(1..)],
        });
    }
    Ok(items(&told))
}

impl Write<'_> {
    /// The request that it would be alone.
    fn part(&self, cx: &Cx<Kv2>) -> Result<PartRequest, Error> {
        let verb = match self.method {
            Method::Delete if self.data.is_some() || self.options.is_some() => {
                return Err(Error::invalid("a deletion takes neither data nor options"));
            }
            Method::Delete => Verb::Delete,
            Method::Patch => Verb::Patch,
            Method::Write => Verb::Write,
        };
        let fields = [("data", self.data), ("options", self.options)];
        let given = fields.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?.get())));
        let size = given.clone().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        let mut body = buffer(size + 2);
        for (name, value) in given {
            let start: &[u8] = if body.is_empty() { b"{\"" } else { b",\"" };
            body.extend_from_slice(start);
            for piece in [name, "\":", value] {
                body.extend_from_slice(piece.as_bytes());
            }
        }
        if !body.is_empty() {
            body.push(b'}');
        }
        let body = Bytes::from_owner(body);
        Ok(PartRequest { verb, path: full(cx, &self.path), query: Vec::new(), body })
    }
}

/// Whether a secret may be named twice.
#[derive(PartialEq, Eq)]
enum Twice {
    Fine,
    Refused,
}

fn checked<'a>(paths: impl ExactSizeIterator<Item = &'a str>, twice: Twice) -> Result<(), Error> {
    if !(1..=MAX_ITEMS).contains(&paths.len()) {
        return Err(Error::invalid(format!("items: a batch has from 1 to {MAX_ITEMS} of them, each with a path")));
    }
    let mut seen = BTreeSet::new();
    for (at, path) in paths.enumerate() {
        if path.trim_matches('/').is_empty() || path.ends_with('/') {
            return Err(Error::invalid(format!("items[{at}].path: name a secret, such as \"app/db\"")));
        }
        if !seen.insert(path.trim_start_matches('/')) && twice == Twice::Refused {
            return Err(Error::invalid(format!(
                "{}: another item names the same secret; a batch changes each once",
                place(at, path)
            )));
        }
    }
    Ok(())
}

fn full(cx: &Cx<Kv2>, path: &str) -> String {
    format!("{}data/{}", cx.mount().path, path.trim_start_matches('/'))
}

/// How an error names an item.
fn place(at: usize, path: &str) -> String {
    format!("items[{at}] ({})", path.escape_debug())
}

/// `{"items": […]}` of the pieces of its items.
fn items(told: &[Vec<Bytes>]) -> Answer {
    let size = told.iter().flatten().map(Bytes::len).sum::<usize>() + told.len() + 16;
    let mut out = buffer(size);
    out.extend_from_slice(b"{\"items\":[");
    for (at, pieces) in told.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    }
    out.extend_from_slice(b"]}");
    Answer { body: Body::Json(Bytes::from_owner(out)), ..Answer::default() }
}

/// How many secrets a batch has at most.
const MAX_ITEMS: usize = 128;
/// How large its values may be together: as large as the body of a request.
const MAX_REPLY: usize = 32 << 20;
