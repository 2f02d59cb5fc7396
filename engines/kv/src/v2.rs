//! With versions, on the data model that all front ends share.
//!
//! ```text
//! config                      settings of the mount
//! fingerprint-key             the key of the fingerprints, random
//! m/<path>                    the record of a secret: all but the values
//! v/<number>/<path>           the value of one version
//! r/<path>                    how one field is rotated
//! ```
//! The number comes first, so that a secret `a` cannot meet a secret `a/1`. A read costs one record and one value.

mod author;
mod config;
mod data;
mod detailed;
mod glance;
mod invalid;
mod metadata;
mod record;
mod rotation;
mod search;
mod span;
mod subkeys;
mod versions;

use std::sync::OnceLock;

use api::Verb;
use clock::Timestamp;
use engine::{Due, Engine, Error, Opening, Routes, Scope};
use secret::Zeroizing;
use storage::View;

use self::{
    author::Author,
    record::{Draft, Record},
};

/// A mount with versions.
pub(crate) struct Kv2 {
    fingerprint: OnceLock<crypto::hmac::Key>,
}

impl Engine for Kv2 {
    fn open(_: Opening) -> Self {
        Self { fingerprint: OnceLock::new() }
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
            .on(Verb::Read, "config", "Show the settings of the mount.", config::read)
            .only_reads()
            .on(Verb::Write, "config", "Change the settings of the mount.", config::write);
        invalid::add(rotation::add(routes))
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

/// Keeps what a mount without versions held as the first version of a secret.
pub(crate) async fn take_over(view: &View, path: &str, value: bytes::Bytes, now: Timestamp) -> Result<(), Error> {
    let key = match view.get(FINGERPRINT_KEY).await? {
        Some(bytes) => crypto::hmac::Key::new(&bytes),
        None => make_fingerprint_key(view),
    };
    let fingerprint = short(key.sign(&value));
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
