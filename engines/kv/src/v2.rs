//! With versions, on the data model that all front ends share.
//!
//! ```text
//! config                      settings of the mount
//! fingerprint-key             the key of the fingerprints, random
//! m/<path>                    the record of a secret: all but the values
//! v/<number>/<path>           the value of one version
//! r/<path>                    how one field is rotated
//! h/<name>, p/<name>          a webhook, and how far it was told
//! x/<second>/<path>           that a secret was removed, for a week
//! ```
//! The number comes first, so that a secret `a` cannot meet a secret `a/1`. A read costs one record and one value.

mod author;
mod batch;
mod config;
mod data;
mod detailed;
mod events;
mod glance;
mod invalid;
mod metadata;
mod record;
mod references;
mod rotation;
mod search;
mod span;
mod subkeys;
mod transfer;
mod versions;
mod webhooks;

use std::{collections::BTreeMap, sync::OnceLock};

use api::Verb;
use clock::Timestamp;
use engine::{Cx, Due, Engine, Error, Opening, Routes, Scope};
use secret::Zeroizing;
use storage::View;

use self::{
    author::Author,
    record::{Draft, Record},
};

/// A mount with versions.
pub(crate) struct Kv2 {
    fingerprint: OnceLock<crypto::hmac::Key>,
    listeners: events::Seats,
    telling: webhooks::Telling,
}

impl Engine for Kv2 {
    fn open(_: Opening) -> Self {
        Self {
            fingerprint: OnceLock::new(),
            listeners: events::Seats::default(),
            telling: webhooks::Telling::default(),
        }
    }

    fn routes() -> Routes<Self> {
        let routes = Routes::default()
            .on(Verb::Read, "data/{path...}", "Read a version of a secret; the current one unless told.", data::read)
            .only_reads()
            .on(Verb::Write, "data/{path...}", "Write a new version of a secret.", data::write)
            .exists(metadata::exists)
            .on(Verb::Patch, "data/{path...}", "Write a new version that is the current one, changed.", data::patch)
            .on(
                Verb::Delete,
                "data/{path...}",
                "Delete the current version; it can be undeleted.",
                versions::delete_current,
            )
            .on(Verb::Read, "metadata/{path...}", "Show a secret's settings and versions.", metadata::read)
            .only_reads()
            .on(Verb::List, "metadata/{path...}", "List the names in a folder.", metadata::list)
            .only_reads()
            .on(Verb::Scan, "metadata/{path...}", "List the names below a folder, at any depth.", metadata::scan)
            .only_reads()
            .on(Verb::List, "detailed-metadata/{path...}", "List the names in a folder, with metadata.", detailed::list)
            .only_reads()
            .on(
                Verb::Scan,
                "detailed-metadata/{path...}",
                "List the names below a folder, with metadata.",
                detailed::scan,
            )
            .only_reads()
            .on(Verb::Write, "metadata/{path...}", "Change a secret's settings.", metadata::write)
            .exists(metadata::exists)
            .on(Verb::Patch, "metadata/{path...}", "Change some of a secret's settings.", metadata::patch)
            .on(Verb::Delete, "metadata/{path...}", "Remove a secret with all its versions for good.", metadata::delete)
            .on(Verb::Write, "delete/{path...}", "Delete versions; they can be undeleted.", versions::delete)
            .on(Verb::Write, "undelete/{path...}", "Bring deleted versions back.", versions::undelete)
            .on(Verb::Write, "destroy/{path...}", "Remove the values of versions for good.", versions::destroy)
            .on(Verb::Read, "subkeys/{path...}", "Show the names in a secret without their values.", subkeys::read)
            .only_reads()
            .on(Verb::List, "search/{path...}", "Find secrets below a folder by name and metadata.", search::search)
            .on(Verb::Read, "search/{path...}", "Find secrets below a folder by name and metadata.", search::search)
            .on(Verb::Read, "references/{path...}", "Show which fields have their values elsewhere.", references::read)
            .only_reads()
            .on(Verb::Write, "references/{path...}", "Take values of fields from other secrets.", references::write)
            .exists(references::exists)
            .on(Verb::Delete, "references/{path...}", "End all references of a secret.", references::delete)
            .on(Verb::Write, "batch/read", "Read many secrets at once.", batch::read)
            .on(Verb::Write, "batch/write", "Write many secrets at once, or none of them.", batch::write)
            .on(Verb::Read, "events/{path...}", "Follow the changes of secrets, as server-sent events.", events::read)
            .only_reads()
            .on(Verb::List, "webhooks", "List the webhooks.", webhooks::list)
            .only_reads()
            .on(Verb::Read, "webhooks/{name}", "Show a webhook and how it stands.", webhooks::read)
            .only_reads()
            .on(Verb::Write, "webhooks/{name}", "Tell somebody of the changes of secrets.", webhooks::write)
            .sudo()
            .on(Verb::Delete, "webhooks/{name}", "Delete a webhook.", webhooks::delete)
            .sudo()
            .on(Verb::Write, "copy/{path...}", "Copy a secret or a tree with its history.", transfer::copy)
            .on(Verb::Write, "move/{path...}", "Move a secret or a tree with its history.", transfer::relocate)
            .on(Verb::Read, "config", "Show the settings of the mount.", config::read)
            .only_reads()
            .on(Verb::Write, "config", "Change the settings of the mount.", config::write);
        invalid::add(rotation::add(routes))
    }

    const HIDES_FIELDS: bool = true;
    const TENDED: bool = true;

    async fn tend(cx: Scope<Self>) -> Result<(), Error> {
        webhooks::tend(&cx).await
    }

    async fn metadata(cx: Cx<Self>) -> Result<Option<BTreeMap<String, String>>, Error> {
        let secret = cx
            .path()
            .split_once('/')
            .filter(|(family, path)| metadata::OF_SECRETS.contains(family) && !path.is_empty() && !path.ends_with('/'));
        let Some((_, path)) = secret else { return Ok(None) };
        Ok(Record::load(cx.view(), path).await?.map(|record| record.custom))
    }

    async fn rotate(cx: Scope<Self>, due: Due) -> Result<(), Error> {
        rotation::run(&cx, &due.id).await
    }
}

/// The keyed fingerprint of a value, in hexadecimal.
async fn fingerprint(cx: &Scope<Kv2>, value: &[u8]) -> Result<String, Error> {
    let tag = match cx.engine().fingerprint.get() {
        Some(key) => key.sign(value),
        None => match cx.view().get(FINGERPRINT_KEY).await? {
            Some(bytes) => cx.engine().fingerprint.get_or_init(|| crypto::hmac::Key::new(&bytes)).sign(value),
            // Not kept in memory yet: another request may be first to commit one.
            None => make_fingerprint_key(cx.view()).sign(value),
        },
    };
    Ok(short(tag))
}

fn make_fingerprint_key(view: &View) -> crypto::hmac::Key {
    let bytes = Zeroizing::new(crypto::random::bytes::<32>());
    let key = crypto::hmac::Key::new(&*bytes);
    view.put(FINGERPRINT_KEY, bytes::Bytes::from_owner(bytes));
    key
}

fn short(tag: [u8; 32]) -> String {
    hexadecimal(tag.first_chunk::<16>().unwrap_or(&[0; 16]))
}

/// The fingerprint that a value has in the mount of `view`.
async fn fingerprint_at(view: &View, value: &[u8]) -> Result<String, Error> {
    let key = match view.get(FINGERPRINT_KEY).await? {
        Some(bytes) => crypto::hmac::Key::new(&bytes),
        None => make_fingerprint_key(view),
    };
    Ok(short(key.sign(value)))
}

pub(crate) use glance::seen;

/// Keeps what a mount without versions held as the first version of a secret.
pub(crate) async fn take_over(view: &View, path: &str, value: bytes::Bytes, now: Timestamp) -> Result<(), Error> {
    let fingerprint = fingerprint_at(view, &value).await?;
    let author = Author::upgrade();
    let draft = Draft { id: crypto::random::uuid(), value, fingerprint, author, now, life: None };
    let mut record = Record::new(now);
    record.add(view, path, draft, config::DEFAULT_VERSIONS).await?;
    record.save(view, path)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const FINGERPRINT_KEY: &str = "fingerprint-key";
