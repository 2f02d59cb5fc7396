//! The lists of kinds: what can be mounted, what can be stored in.
//!
//! To add a kind, add its folder, its line here, and its dependency in this crate's manifest. The tests walk the lists.

use engine::Kind;
use engine_database::{Targets, target::DatabaseKind};
use seal::KeeperKind;

/// The secrets engines and auth methods, sorted by class and name.
pub const KINDS: &[Kind] = &[
    // Auth methods.
    auth_approle::KIND,
    auth_jwt::KIND,
    auth_userpass::KIND,
    // Secrets engines.
    engine_database::kind::<Databases>(),
    engine_kv::KIND,
];

/// The databases in which users can be made, sorted by name.
pub const DATABASES: &[DatabaseKind] = &[database_postgresql::KIND];

/// Hands the list of databases to the database engine.
struct Databases;

impl Targets for Databases {
    const KINDS: &'static [DatabaseKind] = DATABASES;
}

/// The seals that open a server by themselves, sorted by name. Key shares (`shamir`) are what there is without any.
pub const SEALS: &[KeeperKind] = &[seal_awskms::KIND, seal_static::KIND, seal_transit::KIND];

/// The seal with this name.
pub fn seal(name: &str) -> Option<&'static KeeperKind> {
    SEALS.iter().find(|kind| kind.name == name)
}

/// The stores that a configuration can name.
pub const STORES: &[StoreKind] = &[
    StoreKind { name: "embedded", aliases: &["file", "raft"], summary: "One SQLite file on this machine." },
    StoreKind { name: "inmem", aliases: &["inmem_ha"], summary: "Memory; everything is lost at the end." },
    StoreKind { name: "postgresql", aliases: &[], summary: "PostgreSQL, which several servers can share." },
];

/// A kind of store.
#[derive(Clone, Copy, Debug)]
pub struct StoreKind {
    /// The name in `storage "<name>"`.
    pub name: &'static str,
    /// Names of other programs' single-node stores, which open this one at their path.
    pub aliases: &'static [&'static str],
    /// One sentence.
    pub summary: &'static str,
}

/// The store with this name or alias.
pub fn store(name: &str) -> Option<&'static StoreKind> {
    STORES.iter().find(|kind| kind.name == name || kind.aliases.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn kinds_are_sorted_and_named_once() {
        let names: Vec<_> = KINDS.iter().map(|kind| (kind.class.as_str(), kind.name)).collect();
        let sorted: BTreeSet<_> = names.iter().copied().collect();
        assert_eq!(names, sorted.into_iter().collect::<Vec<_>>());
        assert!(KINDS.iter().all(|kind| kind.summary.ends_with('.')));
    }

    #[test]
    fn every_kind_has_a_readme_with_the_headings_of_its_family() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folders =
            ["auth-methods/approle", "auth-methods/jwt", "auth-methods/userpass", "engines/database", "engines/kv"];
        assert_eq!(folders.len(), KINDS.len());
        for folder in folders {
            let readme = std::fs::read_to_string(root.join(folder).join("README.md")).expect(folder);
            for heading in ["## Routes", "## Example", "## Limits"] {
                assert!(readme.contains(heading), "{folder}/README.md lacks {heading}");
            }
        }
    }

    #[test]
    fn seals_are_sorted_and_each_has_its_page() {
        assert!(SEALS.is_sorted_by_key(|kind| kind.name));
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for kind in SEALS {
            let readme =
                std::fs::read_to_string(root.join("seals").join(kind.name).join("README.md")).expect(kind.name);
            for heading in ["## Options", "## Example", "## Limits"] {
                assert!(readme.contains(heading), "{} lacks {heading}", kind.name);
            }
            assert!(kind.summary.ends_with('.'));
        }
    }

    #[test]
    fn a_store_is_found_by_its_aliases() {
        assert_eq!(store("raft").map(|kind| kind.name), Some("embedded"));
        assert!(store("consul").is_none());
    }
}
