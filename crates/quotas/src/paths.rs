//! Sets of paths and beginnings of paths, found without going through them.

use std::collections::{BTreeSet, HashMap};

/// Values by path; a path that ends in `*` stands for all that begins like it. The longest that fits counts.
#[derive(Debug)]
pub(crate) struct ByPath<T> {
    exact: HashMap<String, T>,
    beginnings: HashMap<String, T>,
    lengths: BTreeSet<usize>,
}

impl<T> Default for ByPath<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), beginnings: HashMap::new(), lengths: BTreeSet::new() }
    }
}

impl<T> ByPath<T> {
    pub(crate) fn insert(&mut self, path: &str, value: T) {
        match path.strip_suffix('*') {
            Some(beginning) => {
                self.lengths.insert(beginning.len());
                self.beginnings.insert(beginning.to_owned(), value);
            }
            None => drop(self.exact.insert(path.to_owned(), value)),
        }
    }

    /// At most one look-up for each length that a beginning has and the path is not shorter than.
    pub(crate) fn find(&self, path: &str) -> Option<&T> {
        let beginning = |length: &usize| path.get(..*length).and_then(|begins| self.beginnings.get(begins));
        let exact = self.exact.get(path);
        exact.or_else(|| self.lengths.range(..=path.len()).rev().find_map(beginning))
    }
}

/// A set of paths; one that ends in `*` stands for all that begins like it.
#[derive(Debug, Default)]
pub struct Paths(ByPath<()>);

impl Paths {
    /// Whether a path is in the set.
    pub fn contains(&self, path: &str) -> bool {
        self.0.find(path).is_some()
    }
}

impl<'a> FromIterator<&'a String> for Paths {
    fn from_iter<I: IntoIterator<Item = &'a String>>(paths: I) -> Self {
        let mut set = ByPath::default();
        for path in paths {
            set.insert(path.trim_start_matches('/'), ());
        }
        Self(set)
    }
}
