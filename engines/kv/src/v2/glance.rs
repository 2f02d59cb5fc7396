//! The way of a read: of the record, only what the reply needs is looked at, and nothing of it is copied but into the
//! reply. The reply with the current version is kept beside the record as long as that is kept in memory.

use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use engine::{Answer, Body, Cx, Error, Steady};
use secret::Kept;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Kv2,
    record::{CURRENT, Label, PREVIOUS, damaged, record_key, value},
    references::{self, Link},
};
use crate::{
    json::{Node, buffer},
    path::SecretPath,
};

/// A [`super::record::Record`], as far as a read needs it.
#[derive(Deserialize)]
struct Glance<'a> {
    labels: Labels,
    #[serde(borrow)]
    custom: Option<&'a RawValue>,
    /// Every change moves it.
    #[serde(borrow)]
    updated: &'a str,
    #[serde(borrow)]
    versions: Vec<Glanced<'a>>,
    /// Read in full only where values are wanted.
    #[serde(borrow)]
    links: Option<&'a RawValue>,
}

/// The labels that a read asks for.
#[derive(Clone, Copy, Deserialize)]
struct Labels {
    current: Option<Label>,
    previous: Option<Label>,
    pending: Option<Label>,
}

/// A [`super::record::Version`], as far as a read needs it. A moment has no characters that JSON escapes, so most of
/// them need not be understood.
#[derive(Deserialize)]
struct Glanced<'a> {
    n: u64,
    created: &'a str,
    deletion: Option<Timestamp>,
    #[serde(default)]
    destroyed: bool,
    #[serde(default)]
    disabled: bool,
    not_before: Option<Timestamp>,
    expires: Option<Timestamp>,
}

/// Which version is wanted.
enum Wanted {
    Number(u64),
    Current,
    Previous,
}

/// The reply to who reads the current version, kept beside the record it was made of. It holds until the record changes, or
/// time makes another of it.
struct Ready {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    tag: String,
    body: Bytes,
    kept: Arc<Kept>,
}

/// What a read shows of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// All of it, with the values that lie elsewhere.
    Filled,
    /// All of it, as it is stored.
    Own,
    /// The names in it, down to so many levels.
    Names(u64),
}

/// Reads the version that the query asks for.
pub(crate) async fn read(cx: &Cx<Kv2>, path: &SecretPath, show: Show) -> Result<Answer, Error> {
    let wanted = wanted(cx)?;
    let record = cx.view().get_entry(&record_key(path.as_str())).await?.ok_or(Error::NotFound)?;
    // The reply that is kept shows everything.
    let whole = !matches!(show, Show::Names(_)) && !cx.hides_fields();
    if whole
        && let (Wanted::Current, Some(ready)) = (&wanted, record.derived.get::<Ready>())
        && ready.holds(cx.now())
    {
        return Ok(ready.answer(cx, true));
    }
    let glance: Glance<'_> = serde_json::from_slice(&record.value).map_err(|_| damaged(path.as_str()))?;
    let now = cx.now();
    let version = glance.find(&wanted, now).ok_or(Error::NotFound)?;
    let field = if matches!(show, Show::Names(_)) { "subkeys" } else { "data" };
    if !version.is_live(now) {
        let body = reply(field, None, version, glance.custom);
        return Ok(Answer { body: Body::Json(body), status: Some(404), ..Answer::default() });
    }
    let links = glance.links.filter(|_| show == Show::Filled);
    if cx.hides_fields() || links.is_some() {
        // Another one for each caller, and with each change elsewhere: it has no tag, and is not kept.
        let body = own(cx, path, show, version.n, links).await?;
        return Ok(Answer { body: Body::Json(reply(field, Some(&body), version, glance.custom)), ..Answer::default() });
    }
    let tag = glance.tag(version);
    if let Some(unchanged) = unchanged(cx, &tag) {
        return Ok(unchanged);
    }
    let shown = own(cx, path, show, version.n, None).await?;
    let body = reply(field, Some(&shown), version, glance.custom);
    let until = [glance.labels.current.and_then(|label| label.until), version.expires, version.deletion];
    let until = until.into_iter().flatten().min();
    let ready = Arc::new(Ready { from: version.not_before, until, tag, body, kept: Arc::default() });
    // What is stored is the whole of it only where nothing comes from elsewhere.
    let steady = whole && glance.links.is_none() && matches!(wanted, Wanted::Current);
    if steady {
        record.derived.keep(Arc::clone(&ready), READY + 4 * ready.body.len());
    }
    Ok(ready.answer(cx, steady))
}

/// What this caller is shown of a value.
async fn own(cx: &Cx<Kv2>, path: &SecretPath, show: Show, n: u64, links: Option<&RawValue>) -> Result<Bytes, Error> {
    let value = value(cx.view(), path.as_str(), n).await?;
    let value = if cx.hides_fields() { seen(cx, &value)? } else { value };
    match (show, links) {
        (Show::Names(depth), _) => Ok(Node::parse(&value).ok_or_else(too_deep)?.names(depth)),
        (_, Some(links)) => {
            let links: Vec<Link> = serde_json::from_str(links.get()).map_err(|_| damaged(path.as_str()))?;
            let links: Vec<Link> = links.into_iter().filter(|link| cx.shows(&link.field)).collect();
            Box::pin(references::fill(cx, &links, value)).await
        }
        (_, None) => Ok(value),
    }
}

/// What the caller may see of a secret.
pub(crate) fn seen<E>(cx: &Cx<E>, value: &[u8]) -> Result<Bytes, Error> {
    Ok(Node::parse(value).ok_or_else(too_deep)?.retain(|name| cx.shows(name)))
}

fn too_deep() -> Error {
    Error::invalid("the secret is nested too deeply to be shown")
}

/// The reply to a client that has it already.
fn unchanged(cx: &Cx<Kv2>, tag: &str) -> Option<Answer> {
    let known = cx.header("if-none-match").filter(|_| cx.wrap_ttl().is_none())?;
    let headers = vec![("etag", tag.to_owned())];
    names(known, tag).then(|| Answer { status: Some(304), headers, ..Answer::default() })
}

impl Ready {
    fn holds(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    fn answer(&self, cx: &Cx<Kv2>, steady: bool) -> Answer {
        if let Some(unchanged) = unchanged(cx, &self.tag) {
            return unchanged;
        }
        // A wrapped reply is another one each time.
        let headers = if cx.wrap_ttl().is_none() { vec![("etag", self.tag.clone())] } else { Vec::new() };
        let kept = Some(Arc::clone(&self.kept));
        let steady = steady.then_some(Steady { until: self.until });
        Answer { body: Body::Json(self.body.clone()), kept, headers, steady, ..Answer::default() }
    }
}

/// What a reply that is kept takes besides its bytes, of which the audit log's text takes some more.
const READY: usize = 1024;

/// Whether a list of entity tags (RFC 9110, section 13.1.2) names this one.
fn names(known: &str, tag: &str) -> bool {
    known.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn wanted(cx: &Cx<Kv2>) -> Result<Wanted, Error> {
    match (cx.query("version"), cx.query("label")) {
        (None | Some("" | "0"), None) => Ok(Wanted::Current),
        (None, Some(CURRENT)) => Ok(Wanted::Current),
        (None, Some(PREVIOUS)) => Ok(Wanted::Previous),
        (None, Some(_)) => Err(Error::invalid("label: use \"current\" or \"previous\"")),
        (Some(version), None) => version
            .parse()
            .map(Wanted::Number)
            .map_err(|_| Error::invalid("version: use the number of a version, or 0 for the current one")),
        (Some(_), Some(_)) => Err(Error::invalid("version and label exclude each other; use one")),
    }
}

impl<'a> Glance<'a> {
    /// What changes whenever the reply does.
    fn tag(&self, version: &Glanced<'_>) -> String {
        format!("\"{}-{}\"", version.n, self.updated)
    }

    fn find(&self, wanted: &Wanted, now: Timestamp) -> Option<&Glanced<'a>> {
        let in_force = |label: Option<Label>| label.filter(|label| label.until.is_none_or(|until| until > now));
        let Labels { current, previous, pending } = self.labels;
        let n = match wanted {
            Wanted::Current => in_force(current)?.version,
            Wanted::Previous => in_force(previous)?.version,
            // What is not in force yet is not there for readers.
            Wanted::Number(n) if in_force(pending).is_some_and(|pending| pending.version == *n) => return None,
            Wanted::Number(n) => *n,
        };
        self.versions.iter().find(|version| version.n == n)
    }
}

impl Glanced<'_> {
    fn is_live(&self, now: Timestamp) -> bool {
        let passed = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment <= now);
        let early = self.not_before.is_some() && !passed(self.not_before);
        !(self.destroyed || self.disabled || early || passed(self.expires) || passed(self.deletion))
    }
}

/// `{"<field>": …, "metadata": {…}}`
fn reply(field: &str, shown: Option<&[u8]>, version: &Glanced<'_>, custom: Option<&RawValue>) -> Bytes {
    let shown = shown.unwrap_or(b"null");
    let custom = custom.map_or("null", RawValue::get);
    let number = version.n.to_string();
    let deletion = version.deletion.map(|deletion| deletion.to_string()).unwrap_or_default();
    let destroyed = if version.destroyed { "true" } else { "false" };
    let pieces: [&[u8]; 15] = [
        b"{\"",
        field.as_bytes(),
        b"\":",
        shown,
        b",\"metadata\":{\"created_time\":\"",
        version.created.as_bytes(),
        b"\",\"custom_metadata\":",
        custom.as_bytes(),
        b",\"deletion_time\":\"",
        deletion.as_bytes(),
        b"\",\"destroyed\":",
        destroyed.as_bytes(),
        b",\"version\":",
        number.as_bytes(),
        b"}}",
    ];
    let mut out = buffer(pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    Bytes::from_owner(out)
}
