//! `copy/{path...}` and `move/{path...}`: a secret, or a tree of them, in another place, with its whole history. Values
//! stay on the server.
//!
//! What the caller needs: the right to update `copy/` or `move/` with the secret's path, and to create (or update)
//! `data/` of the place it goes to, as if its present value had been sent there. A move deletes `metadata/` of where it
//! was. A copy is no way to read: who may read at the new place has to be one who may read at the old one.

use api::{Count, Flag, Operation, Verb};
use bytes::Bytes;
use engine::{Cx, Data, Error, Neighbour, PartId, PartRequest, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use storage::Scan;

use super::{
    Kv2, fingerprint_at,
    record::{PENDING, RECORDS, Record, damaged, value, value_key},
    references,
};
use crate::{json::buffer, path::FolderPath, v1};

/// The body: where to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Order {
    to: String,
    to_mount: Option<String>,
    overwrite: Option<Flag>,
    tree: Option<Flag>,
    after: Option<String>,
    limit: Option<Count>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Copy,
    Move,
}

impl Act {
    fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Move => "move",
        }
    }
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Report {
    One(Moved),
    Tree(Tree),
}

/// A secret in its new place.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Moved {
    from: String,
    to: String,
    versions: usize,
    /// The size of its values.
    bytes: usize,
}

/// A page of a tree.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tree {
    /// The secrets that are in their new place, relative to the tree, ascending.
    done: Vec<String>,
    /// Those that are not, and why.
    failed: Vec<Failed>,
    /// How many there are that the caller may not copy or move.
    not_allowed: usize,
    /// Whether there may be more.
    more: bool,
    /// Where the next page begins: its `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

#[derive(Debug, Serialize)]
struct Failed {
    path: String,
    error: String,
}

pub(crate) async fn copy(cx: Cx<Kv2>, from: FolderPath, order: Order) -> Result<Data<Report>, Error> {
    transfer(&cx, &from, &order, Act::Copy).await
}

pub(crate) async fn relocate(cx: Cx<Kv2>, from: FolderPath, order: Order) -> Result<Data<Report>, Error> {
    transfer(&cx, &from, &order, Act::Move).await
}

async fn transfer(cx: &Cx<Kv2>, from: &FolderPath, order: &Order, act: Act) -> Result<Data<Report>, Error> {
    let to = order.place(cx)?;
    let tree = order.tree.is_some_and(|tree| tree.0);
    if !tree && (order.after.is_some() || order.limit.is_some()) {
        return Err(Error::invalid("after and limit are for trees: add tree=true"));
    }
    if tree {
        return Ok(Data(Report::Tree(whole_tree(cx, from, order, &to, act).await?)));
    }
    let from = from.as_str().trim_end_matches('/');
    if from.is_empty() {
        return Err(Error::invalid("the path of a secret is missing; add tree=true for all that there is"));
    }
    if to.path.is_empty() {
        return Err(Error::invalid("to: name the secret's new path, such as \"app/db\""));
    }
    let goods = Goods::load(cx, from, act).await?;
    Ok(Data(Report::One(goods.deliver(cx, order, &to).await?)))
}

/// Where a secret or a tree goes to.
struct Place {
    /// With its slash.
    mount: String,
    /// Without slashes at its ends; empty for a tree that becomes the whole mount.
    path: String,
}

impl Order {
    fn place(&self, cx: &Cx<Kv2>) -> Result<Place, Error> {
        let own = cx.mount().path.to_string();
        let mount = match self.to_mount.as_deref().map(|mount| mount.trim_matches('/')) {
            None | Some("") => own,
            Some(mount) => format!("{mount}/"),
        };
        let path = self.to.trim_matches('/').to_owned();
        let tree = self.tree.is_some_and(|tree| tree.0);
        if path.is_empty() && !(tree && self.to_mount.is_some()) {
            return Err(Error::invalid("to: name the new path, such as \"app/db\""));
        }
        Ok(Place { mount, path })
    }

    fn overwrites(&self) -> bool {
        self.overwrite.is_some_and(|overwrite| overwrite.0)
    }
}

/// A secret on its way.
struct Goods<'a> {
    from: &'a str,
    act: Act,
    record: Record,
    /// The values of the versions that have one.
    values: Vec<(u64, Bytes)>,
}

impl<'a> Goods<'a> {
    async fn load(cx: &Cx<Kv2>, from: &'a str, act: Act) -> Result<Self, Error> {
        let mut record = Record::load(cx.view(), from).await?.ok_or(Error::NotFound)?;
        if record.rotation_class.is_some() && act == Act::Move {
            return Err(Error::invalid("the secret is rotated where it is: end its rotation first, or copy it"));
        }
        if record.rotation_class.take().is_some() {
            cx.warn(format!("{from} is rotated; its copy is not"));
        }
        if let Some(pending) = record.pending() {
            record.labels.remove(PENDING);
            record.versions.retain(|version| version.n != pending);
        }
        let mut values = Vec::new();
        let mut size = 0;
        for version in record.versions.iter().filter(|version| !version.destroyed) {
            let value = value(cx.view(), from, version.n).await?;
            size += value.len();
            if size > MAX_BYTES {
                return Err(Error::invalid(format!(
                    "the versions of the secret are larger than {MAX_BYTES} bytes together; destroy some first"
                )));
            }
            values.push((version.n, value));
        }
        Ok(Self { from, act, record, values })
    }

    /// Everything that may refuse comes before anything is written.
    async fn deliver(mut self, cx: &Cx<Kv2>, order: &Order, to: &Place) -> Result<Moved, Error> {
        let here = to.mount == *cx.mount().path;
        if here && to.path == self.from {
            return Err(Error::invalid("to: this is where the secret is already"));
        }
        let target = self.find(cx, to)?;
        let before = Record::load(&target.view, &to.path).await?;
        self.check_rights(cx, to, before.as_ref()).await?;
        let leaving = match self.act {
            Act::Copy => None,
            Act::Move => Some(self.leave(cx).await?),
        };
        if !here && !target.view.scan(v1::SECRETS, None, 1).await?.0.is_empty() {
            return Err(Error::invalid("to_mount: the mount is being upgraded; try again later"));
        }
        if let Some(before) = &before {
            if !order.overwrites() {
                return Err(Error::invalid(
                    "to: there is a secret already; add overwrite=true to replace it with all its versions",
                ));
            }
            if before.rotation_class.is_some() {
                return Err(Error::invalid("to: the secret that is there is rotated; end its rotation first"));
            }
        }
        references::check_circles(cx, &format!("{}{}", to.mount, to.path), &self.record.links).await?;
        if !here {
            self.sign_anew(&target).await?;
        }
        for version in before.iter().flat_map(|before| &before.versions) {
            target.view.delete(&value_key(version.n, &to.path));
        }
        for (n, value) in &self.values {
            target.view.put(&value_key(*n, &to.path), value.clone());
        }
        self.record.save(&target.view, &to.path)?;
        if let Some(leaving) = leaving {
            cx.answer(leaving).await?;
        }
        Ok(Moved {
            from: format!("{}{}", cx.mount().path, self.from),
            to: format!("{}{}", to.mount, to.path),
            versions: self.record.versions.len(),
            bytes: self.values.iter().map(|(_, value)| value.len()).sum(),
        })
    }

    fn find(&self, cx: &Cx<Kv2>, to: &Place) -> Result<Neighbour, Error> {
        let target = cx.neighbour(&format!("{}data/{}", to.mount, to.path));
        let target = target.filter(|target| *target.mount.path == *to.mount);
        let versions = |target: &Neighbour| target.mount.options.get("version").is_some_and(|version| version == "2");
        target.filter(versions).ok_or_else(|| {
            Error::invalid("to_mount: name a mount of the kv engine that keeps versions, such as \"secret\"")
        })
    }

    /// Asks for the rights at the new place, as if the secret were written there by hand.
    async fn check_rights(&self, cx: &Cx<Kv2>, to: &Place, before: Option<&Record>) -> Result<(), Error> {
        let admit = async |family: &str, body: Bytes| {
            let path = format!("{}{family}/{}", to.mount, to.path);
            let part = PartRequest { verb: Verb::Write, path, query: Vec::new(), body };
            cx.admit(part).await.map_err(|error| error.of_part(format!("to ({}{})", to.mount, to.path)))
        };
        admit("data", self.body(before.map_or(0, Record::current))).await?;
        if let Some(settings) = self.settings() {
            admit("metadata", settings).await?;
        }
        let caller = cx.holder()?;
        let reads_there = cx.services().allows(caller, &format!("{}data/{}", to.mount, to.path), Operation::Read);
        let reads_here = cx.allows_plainly(&format!("{}data/{}", cx.mount().path, self.from), Operation::Read);
        if reads_there && !reads_here {
            let why = "a copy is no way to read: the caller may read the new place and not the old one";
            return Err(Error::Denied(Refusal::Other(why.to_owned())).of_part("to"));
        }
        Ok(())
    }

    /// What would be sent to write the present value by hand.
    fn body(&self, current: u64) -> Bytes {
        let now = self.values.iter().find(|(n, _)| *n == self.record.current());
        let value: &[u8] = now.map_or(b"{}", |(_, value)| value);
        let mut body = buffer(value.len() + 64);
        body.extend_from_slice(b"{\"data\":");
        body.extend_from_slice(value);
        body.extend_from_slice(format!(",\"options\":{{\"cas\":{current}}}}}").as_bytes());
        Bytes::from_owner(body)
    }

    /// What would be sent to make its settings by hand; `None` if it has none of its own.
    fn settings(&self) -> Option<Bytes> {
        let record = &self.record;
        let mut settings = Map::new();
        let mut set = |name: &str, differs: bool, value: Value| {
            if differs {
                settings.insert(name.to_owned(), value);
            }
        };
        set("custom_metadata", !record.custom.is_empty(), json!(record.custom));
        set("max_versions", record.max_versions > 0, json!(record.max_versions));
        set("cas_required", record.cas_required, json!(true));
        set("metadata_cas_required", record.metadata_cas_required, json!(true));
        let life = record.delete_version_after;
        set("delete_version_after", life.positive().is_some(), json!(life.to_string()));
        (!settings.is_empty()).then(|| Value::Object(settings).to_string().into())
    }

    /// Asks for the right to remove the secret from its old place.
    async fn leave(&self, cx: &Cx<Kv2>) -> Result<PartId, Error> {
        let path = format!("{}metadata/{}", cx.mount().path, self.from);
        let part = PartRequest { verb: Verb::Delete, path, query: Vec::new(), body: Bytes::new() };
        cx.admit(part).await.map_err(|error| error.of_part(format!("from ({}{})", cx.mount().path, self.from)))
    }

    /// Fingerprints are those of their mount.
    async fn sign_anew(&mut self, target: &Neighbour) -> Result<(), Error> {
        for (n, value) in &self.values {
            let version = self.record.version_mut(*n).ok_or_else(|| damaged(self.from))?;
            version.fingerprint = fingerprint_at(&target.view, value).await?;
        }
        Ok(())
    }
}

/// A page of a tree: each secret goes by itself, through the rooms, and all of the page in one commit.
async fn whole_tree(cx: &Cx<Kv2>, from: &FolderPath, order: &Order, to: &Place, act: Act) -> Result<Tree, Error> {
    let folder = if to.path.is_empty() { String::new() } else { format!("{}/", to.path) };
    if to.mount == *cx.mount().path && folder.starts_with(from.as_str()) {
        return Err(Error::invalid("to: the new place lies within the tree itself"));
    }
    let asked = order.limit.and_then(|limit| usize::try_from(limit.0).ok()).filter(|limit| *limit > 0);
    let limit = asked.unwrap_or(PAGE).min(PAGE);
    let base = cx.view().key(&format!("{RECORDS}{}", from.as_str()));
    let base = base.as_str();
    let after = order.after.as_deref().map(|after| format!("{base}{after}"));
    let scan = Scan { prefix: base.to_owned(), after, limit, values: false };
    let (entries, more) = cx.view().tx().scan(&scan).await?;
    if entries.is_empty() && order.after.is_none() {
        return Err(Error::NotFound);
    }
    let mut tree = Tree { more, ..Tree::default() };
    let mut bytes = 0;
    for (at, (key, _)) in entries.iter().enumerate() {
        let name = key.as_str().get(base.len()..).unwrap_or_default();
        let body = json!({ "to": format!("{folder}{name}"), "to_mount": to.mount, "overwrite": order.overwrites() });
        let path = format!("{}{}/{}{name}", cx.mount().path, act.as_str(), from.as_str());
        let part = PartRequest { verb: Verb::Write, path, query: Vec::new(), body: body.to_string().into() };
        let asked = async { cx.answer(cx.admit(part).await?).await };
        match asked.await {
            Ok(answer) => {
                answer.warnings.into_iter().for_each(|warning| cx.warn(warning));
                bytes += serde_json::from_slice::<Moved>(&answer.json).map_or(0, |moved| moved.bytes);
                tree.done.push(name.to_owned());
            }
            Err(Error::Denied(_)) => tree.not_allowed += 1,
            // Somebody removed it meanwhile.
            Err(Error::NotFound) => {}
            Err(error @ (Error::Invalid(_) | Error::NoRoute(_) | Error::Part { .. })) => {
                tree.failed.push(Failed { path: name.to_owned(), error: error.to_string() });
            }
            Err(error) => return Err(error),
        }
        tree.after = Some(name.to_owned());
        if bytes > MAX_BYTES / 2 {
            tree.more |= at + 1 < entries.len();
            break;
        }
    }
    tree.after = tree.after.filter(|_| tree.more);
    Ok(tree)
}

/// How many secrets of a tree go with one request at most.
const PAGE: usize = 100;
/// How large the values of one secret, and about how large those of a page may be.
const MAX_BYTES: usize = 64 << 20;
