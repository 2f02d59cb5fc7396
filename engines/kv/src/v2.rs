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
use engine::{Due, Engine, Error, Opening, Routes, Scope};
use secret::Zeroizing;

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
            .on(Verb::Write, "metadata/{path...}", "Change a secret's settings.", metadata::write)
            .exists(metadata::exists)
            .on(Verb::Patch, "metadata/{path...}", "Change some of a secret's settings.", metadata::patch)
            .on(Verb::Delete, "metadata/{path...}", "Remove a secret with all its versions for good.", metadata::delete)
            .on(Verb::Write, "delete/{path...}", "Delete versions; they can be undeleted.", versions::delete)
            .on(Verb::Write, "undelete/{path...}", "Bring deleted versions back.", versions::undelete)
            .on(Verb::Write, "destroy/{path...}", "Remove the values of versions for good.", versions::destroy)
            .on(Verb::Scan, "metadata/{path...}", "List the names below a folder, at any depth.", metadata::scan)
            .on(Verb::List, "detailed-metadata/{path...}", "List the names in a folder, with metadata.", detailed::list)
            .on(
                Verb::Scan,
                "detailed-metadata/{path...}",
                "List the names below a folder, with metadata.",
                detailed::scan,
            )
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

/// The keyed fingerprint of a value, in hexadecimal. Must be asked for at most once in a unit of work.
async fn fingerprint(cx: &Scope<Kv2>, value: &[u8]) -> Result<String, Error> {
    let tag = match cx.engine().fingerprint.get() {
        Some(key) => key.sign(value),
        None => match cx.view().get(FINGERPRINT_KEY).await? {
            Some(bytes) => cx.engine().fingerprint.get_or_init(|| crypto::hmac::Key::new(&bytes)).sign(value),
            None => {
                // Not kept in memory yet: another request may be first to commit one.
                let bytes = Zeroizing::new(crypto::random::bytes::<32>());
                let tag = crypto::hmac::Key::new(&*bytes).sign(value);
                cx.view().put(FINGERPRINT_KEY, bytes::Bytes::from_owner(bytes));
                tag
            }
        },
    };
    Ok(hexadecimal(tag.first_chunk::<16>().unwrap_or(&[0; 16])))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const FINGERPRINT_KEY: &str = "fingerprint-key";
