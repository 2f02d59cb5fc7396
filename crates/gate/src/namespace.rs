//! Namespaces, and how ids name the one they belong to.
//!
//! Everything a namespace has lies below `ns/<id>/` in the store, the root namespace's at the top. The ids of tokens,
//! accessors and leases end in `.<id>` for every namespace but the root one, so that where a record lies follows from its
//! id alone, without a look-up.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A namespace: its id and its path. Cheap to copy; the root namespace is nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(Option<Arc<Named>>);

#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Named {
    id: Box<str>,
    path: Box<str>,
}

impl Namespace {
    /// The root namespace.
    pub fn root() -> Self {
        Self::default()
    }

    /// A namespace as a client names it, by its path; it has no id before the program has found it. Surrounding slashes
    /// are dropped; empty and `root` are the root namespace.
    pub fn asked(path: &str) -> Self {
        match path.trim_matches('/') {
            "" | "root" => Self::root(),
            path => Self::known("", &format!("{path}/")),
        }
    }

    /// A namespace that exists, with its path, which ends in `/`.
    pub fn known(id: &str, path: &str) -> Self {
        Self(Some(Arc::new(Named { id: id.into(), path: path.into() })))
    }

    /// The path, which ends in `/`; empty for the root namespace.
    pub fn path(&self) -> &str {
        self.0.as_ref().map_or("", |named| &named.path)
    }

    /// The id as it is shown: `root` for the root namespace.
    pub fn id(&self) -> &str {
        self.0.as_ref().map_or("root", |named| &named.id)
    }

    /// The id as other ids carry it: empty for the root namespace.
    pub fn suffix(&self) -> &str {
        self.0.as_ref().map_or("", |named| &named.id)
    }

    /// Whether this is the root namespace.
    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }
}

/// Where everything lies that belongs to the namespace with this id; empty for the root namespace, whose id here is
/// empty.
pub fn scope(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!("{SCOPES}{namespace}/") }
}

/// Where the namespaces but the root one have what is theirs.
pub const SCOPES: &str = "ns/";

/// Where the ids of all namespaces but the root one stand, each a key with the path; at the top of the store.
pub const IDS: &str = "sys/namespace-id/";

/// The length of a namespace's id.
pub const ID_LENGTH: usize = 6;

/// The namespace that an id without slashes names: what follows its last dot, if that can be a namespace's id; empty for
/// the root namespace.
pub fn suffix_of(id: &str) -> &str {
    match id.rsplit_once('.') {
        Some((_, suffix)) if is_id(suffix) => suffix,
        _ => "",
    }
}

/// Whether a text has the form of a namespace's id.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `id` with the namespace it belongs to.
pub fn with_suffix(id: String, namespace: &str) -> String {
    if namespace.is_empty() { id } else { format!("{id}.{namespace}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseId, TokenId};

    #[test]
    fn an_id_names_its_namespace() {
        for (id, namespace) in [
            ("database/creds/app/Zx9", ""),
            ("database/creds/app/Zx9.aB3dE6", "aB3dE6"),
            ("a.b/c.aB3dE6/Zx9", ""),
            ("x.toolong", ""),
            ("x.a/b/c", ""),
            ("x.ab..cd", ""),
            ("x.аB3dE", ""),
            (".aB3dE6", "aB3dE6"),
            ("", ""),
        ] {
            assert_eq!(LeaseId(id.into()).namespace(), namespace, "{id}");
        }
        assert_eq!(TokenId("0123abcd".into()).namespace(), "");
        assert_eq!(TokenId("0123abcd.aB3dE6".into()).namespace(), "aB3dE6");
        assert_eq!((scope(""), scope("aB3dE6")), (String::new(), "ns/aB3dE6/".to_owned()));
        assert_eq!(with_suffix("x".to_owned(), ""), "x");
        assert_eq!(suffix_of(&with_suffix("x".to_owned(), "aB3dE6")), "aB3dE6");
    }

    #[test]
    fn the_root_namespace_is_what_is_empty() {
        for path in ["", "/", "root", "/root/"] {
            assert!(Namespace::asked(path).is_root(), "{path}");
        }
        assert_eq!(Namespace::asked("/a/b/").path(), "a/b/");
        // A namespace named like the root one inside of another is just one that is not there.
        assert_eq!(Namespace::asked("a/root").path(), "a/root/");
        let root = Namespace::root();
        assert_eq!((root.id(), root.suffix(), root.path()), ("root", "", ""));
        let known = Namespace::known("aB3dE6", "a/");
        assert_eq!((known.id(), known.suffix(), known.path()), ("aB3dE6", "aB3dE6", "a/"));
    }
}
