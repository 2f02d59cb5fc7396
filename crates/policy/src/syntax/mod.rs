//! The text of a policy as a tree of items: HashiCorp's first configuration language (HCL 1), or JSON.
//!
//! Policies are written in HCL 1, which differs from HCL 2 in ways that real policies use: several attributes may share a
//! line, keys may be quoted, commas between items are optional, and `${` in a string is just text. So it is read by its
//! own grammar, which also keeps line numbers and repeated keys: a reader that lets the last key win could lose a `deny`.

mod parse;
mod scan;

pub(crate) use parse::parse;

/// The deepest nesting of lists and objects that is read.
pub(crate) const MAX_DEPTH: usize = 32;

/// `key "label" { … }` or `key = value`; in JSON `"key": value`.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) keys: Vec<Key>,
    pub(crate) value: Value,
}

/// A key or label.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: u32,
}

/// What stands behind the keys.
#[derive(Debug)]
pub(crate) enum Value {
    Flag(bool),
    List(Vec<Self>),
    Null,
    Number(serde_json::Number),
    Object(Vec<Item>),
    Text(String),
}

/// Where the text is no HCL and no JSON, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    pub(crate) what: String,
}
