//! The paths of secrets, and the parts of listings.

use api::Count;
use engine::{Error, FromPath};
use serde::Deserialize;

/// The path of one secret inside the mount. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct SecretPath(String);

impl SecretPath {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromPath for SecretPath {
    const CAPTURES: usize = 1;

    fn from_path(captures: &[String]) -> Result<Self, Error> {
        let path = captures.first().map(String::as_str).unwrap_or_default();
        if path.is_empty() {
            return Err(Error::NoRoute("the path of a secret is missing; only listings work without one".to_owned()));
        }
        checked(path).map(Self)
    }
}

/// A folder inside the mount: empty for the root, else with its slash at the end.
#[derive(Clone, Debug)]
pub(crate) struct FolderPath(String);

impl FolderPath {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromPath for FolderPath {
    const CAPTURES: usize = 1;

    fn from_path(captures: &[String]) -> Result<Self, Error> {
        match captures.first().map(|path| path.trim_end_matches('/')).unwrap_or_default() {
            "" => Ok(Self(String::new())),
            path => Ok(Self(checked(path)? + "/")),
        }
    }
}

/// Which part of a listing is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Paging {
    after: Option<String>,
    limit: Option<Count>,
}

impl Paging {
    /// The same part, with so many names at most.
    pub(crate) fn at_most(self, most: usize) -> Self {
        let (_, limit) = self.bounds();
        Self { limit: Some(Count(limit.min(most) as u64)), ..self }
    }

    /// The name after which the listing begins, and how many names it has at most.
    pub(crate) fn bounds(&self) -> (Option<&str>, usize) {
        let limit = self.limit.and_then(|limit| usize::try_from(limit.0).ok()).filter(|limit| *limit > 0);
        (self.after.as_deref(), limit.unwrap_or(usize::MAX))
    }
}

/// What fits into a storage key beside the prefix of the mount.
const MAX: usize = 1900;

fn checked(path: &str) -> Result<String, Error> {
    if path.len() > MAX {
        return Err(Error::invalid(format!("the path of a secret must not be longer than {MAX} bytes")));
    }
    Ok(path.to_owned())
}
