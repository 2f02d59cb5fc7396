//! `search/{path...}`: names below a folder at any depth, by name and custom metadata, page by page. Shown is only what
//! the caller may read or list anyway; values are never looked at.

use std::collections::BTreeMap;

use api::Operation;
use clock::Timestamp;
use engine::{Cx, Data, Error};
use serde::Serialize;
use serde_json::value::RawValue;
use storage::Scan;

use super::{
    Kv2,
    record::{RECORDS, Record},
};
use crate::path::FolderPath;

/// What is looked for. Beside the named ones there is a parameter `meta.<key>` for each key of the custom metadata.
struct Filter {
    name: Option<String>,
    meta: BTreeMap<String, String>,
    label: Option<String>,
    state: Option<State>,
    updated: (Option<Timestamp>, Option<Timestamp>),
    now: Timestamp,
    after: Option<String>,
    limit: usize,
    depth: usize,
}

/// How a secret is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The current version can be read.
    Live,
    /// The current version is deleted or destroyed.
    Deleted,
    /// There is no version, only metadata.
    Empty,
}

/// A page of what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// Paths relative to the folder, ascending; one that ends in a slash stands for what lies deeper than asked for.
    keys: Vec<String>,
    /// Whether there may be more.
    more: bool,
    /// Where the next page begins: its `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl Filter {
    fn new(mut parameters: BTreeMap<String, String>, now: Timestamp) -> Result<Self, Error> {
        let mut take = |name: &str| parameters.remove(name).filter(|text| !text.is_empty());
        let number = |name: &str, text: Option<String>| match text {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| Error::invalid(format!("{name}: use a whole number"))),
        };
        let name = take("name").map(|name| name.to_lowercase());
        let after = take("after");
        let (limit, depth) = (number("limit", take("limit"))?, number("depth", take("depth"))?);
        let moment = |name: &str, text: Option<String>| match text.map(|text| text.parse()) {
            None => Ok(None),
            Some(Ok(moment)) => Ok(Some(moment)),
            Some(Err(_)) => Err(Error::invalid(format!("{name}: use a time such as 2026-01-02T03:04:05Z"))),
        };
        let updated =
            (moment("updated_after", take("updated_after"))?, moment("updated_before", take("updated_before"))?);
        let label = take("label");
        let state = match take("state").as_deref() {
            None => None,
            Some("live") => Some(State::Live),
            Some("deleted") => Some(State::Deleted),
            Some("empty") => Some(State::Empty),
            Some(_) => return Err(Error::invalid("state: use live, deleted or empty")),
        };
        let mut meta = BTreeMap::new();
        for (parameter, wanted) in parameters {
            let Some(key) = parameter.strip_prefix("meta.") else {
                return Err(Error::invalid(format!(
                    "{parameter:?} is no parameter of a search; use name, meta.<key>, label, state, \
                     updated_after, updated_before, depth, after and limit"
                )));
            };
            meta.insert(key.to_owned(), wanted.to_lowercase());
        }
        let limit = if limit == 0 { MAX_FOUND } else { limit.min(MAX_FOUND) };
        let depth = if depth == 0 { usize::MAX } else { depth };
        Ok(Self { name, meta, label, state, updated, now, after, limit, depth })
    }

    /// Whether more is asked for than the name.
    fn looks_inside(&self) -> bool {
        let (after, before) = self.updated;
        !self.meta.is_empty() || self.label.is_some() || self.state.is_some() || after.is_some() || before.is_some()
    }

    /// Whether a path, relative to the folder, is one that is looked for.
    fn names(&self, path: &str) -> bool {
        match &self.name {
            None => true,
            Some(name) if name.contains('*') => glob(name, &path.to_lowercase()),
            Some(name) => path.to_lowercase().contains(name),
        }
    }

    fn describes(&self, record: &[u8]) -> bool {
        let Ok(record) = serde_json::from_slice::<Record>(record) else { return false };
        let has = |(key, wanted): (&String, &String)| {
            record.custom.get(key).is_some_and(|value| glob(wanted, &value.to_lowercase()))
        };
        let labelled =
            |name: &String| record.label(name).is_some_and(|label| label.until.is_none_or(|until| until > self.now));
        let state = match record.version(record.current()) {
            Some(version) if version.is_live(self.now) => State::Live,
            Some(_) => State::Deleted,
            None => State::Empty,
        };
        let (after, before) = self.updated;
        self.meta.iter().all(has)
            && self.label.as_ref().is_none_or(labelled)
            && self.state.is_none_or(|wanted| wanted == state)
            && after.is_none_or(|after| record.updated > after)
            && before.is_none_or(|before| record.updated < before)
    }
}

pub(crate) async fn search(
    cx: Cx<Kv2>,
    folder: FolderPath,
    parameters: BTreeMap<String, Box<RawValue>>,
) -> Result<Data<Found>, Error> {
    let text = |(name, value): (String, Box<RawValue>)| match serde_json::from_str(value.get()) {
        Ok(text) => Ok((name, text)),
        Err(_) => Err(Error::invalid(format!("{name:?} must be one text"))),
    };
    let filter = Filter::new(parameters.into_iter().map(text).collect::<Result<_, _>>()?, cx.now())?;
    let mut found = Found { keys: Vec::new(), more: true, after: None };
    let mut search = Search { cx: &cx, folder: folder.as_str(), filter: &filter, looked_at: 0, step: PAGE };
    let mut after = filter.after.clone();
    while found.more && found.keys.len() < filter.limit && search.looked_at < MAX_LOOKED_AT {
        (after, found.more) = search.page(after, &mut found.keys).await?;
    }
    found.after = after.filter(|_| found.more);
    // A listing of nothing is not found; the end of one that goes on is.
    match found.keys.is_empty() && !found.more && filter.after.is_none() {
        true => Err(Error::NotFound),
        false => Ok(Data(found)),
    }
}

struct Search<'a> {
    cx: &'a Cx<Kv2>,
    folder: &'a str,
    filter: &'a Filter,
    /// How many records were read so far.
    looked_at: usize,
    /// How many to read next.
    step: usize,
}

impl Search<'_> {
    /// Looks at some more records after the relative path `after`. Gives the path up to which it came, and whether
    /// there are more.
    async fn page(&mut self, after: Option<String>, found: &mut Vec<String>) -> Result<(Option<String>, bool), Error> {
        let base = self.cx.view().key(&format!("{RECORDS}{}", self.folder));
        let base = base.as_str();
        let scan = Scan {
            prefix: base.to_owned(),
            after: after.as_deref().map(|after| beyond(base, after)),
            limit: self.step,
            values: self.filter.looks_inside(),
        };
        let (entries, more) = self.cx.view().tx().scan(&scan).await?;
        self.looked_at += entries.len().max(1);
        self.step = PAGE;
        let mut last = after;
        for (at, (key, record)) in entries.iter().enumerate() {
            let path = key.as_str().get(base.len()..).unwrap_or_default();
            if let Some(deep) = self.too_deep(path) {
                // Whatever else lies in there is passed over; the next folder may begin right behind it.
                self.step = PAGE_AMONG_FOLDERS;
                self.offer(deep, None, found);
                return Ok((Some(deep.to_owned()), true));
            }
            self.offer(path, Some(record), found);
            last = Some(path.to_owned());
            if found.len() == self.filter.limit {
                return Ok((last, more || at + 1 < entries.len()));
            }
        }
        Ok((last, more))
    }

    /// The folder that stands for a path which lies deeper than asked for.
    fn too_deep<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (end, _) = path.match_indices('/').nth(self.filter.depth.checked_sub(1)?)?;
        path.get(..=end)
    }

    /// Takes a path if it is looked for and the caller may know of it. A folder has no record.
    fn offer(&self, path: &str, record: Option<&bytes::Bytes>, found: &mut Vec<String>) {
        let wanted = self.filter.names(path)
            && match record {
                Some(record) => !self.filter.looks_inside() || self.filter.describes(record),
                None => !self.filter.looks_inside(),
            };
        if wanted && self.may_know(path) {
            found.push(path.to_owned());
        }
    }

    fn may_know(&self, path: &str) -> bool {
        let full = format!("{}{path}", self.folder);
        let folder = full.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder);
        let slash = if folder.is_empty() { "" } else { "/" };
        let reads = |family: &str| self.cx.allows(&format!("{family}/{full}"), Operation::Read);
        // Whoever asks for metadata must be allowed to read it, else the answers would tell it.
        reads("metadata")
            || !self.filter.looks_inside()
                && (reads("data") || self.cx.allows(&format!("metadata/{folder}{slash}"), Operation::List))
    }
}

/// Behind a path and, if it is a folder, behind all that is in it.
fn beyond(base: &str, after: &str) -> String {
    match after.ends_with('/') {
        true => format!("{base}{after}{}", char::MAX),
        false => format!("{base}{after}"),
    }
}

/// Whether `text` is `pattern`, where each `*` stands for anything.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// How many names a page of the reply has at most.
const MAX_FOUND: usize = 1000;
/// How many records are read for one page of the reply (and one step more), whatever is found.
const MAX_LOOKED_AT: usize = 5000;
/// How many records are read in one step.
const PAGE: usize = 500;
const PAGE_AMONG_FOLDERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text) in
            [("a", "a"), ("*", ""), ("*", "abc"), ("a*c", "abc"), ("a*c", "ac"), ("*b*", "abc"), ("a**", "a")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*a", "a"), ("*b", "abc"), ("b*", "abc"), ("a*b*c", "acb"), ("", "a")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
