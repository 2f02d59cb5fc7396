//! A text as a tree of items: HashiCorp's first configuration language (HCL 1), or JSON.
//!
//! Policies and configurations are written in HCL 1, which differs from HCL 2 in ways that real ones use: several
//! attributes may share a line, keys may be quoted, commas between items are optional, and `${` in a string is just
//! text. So it is read by its own grammar, which also keeps line numbers and repeated keys: a reader that lets the last
//! key win could lose a `deny`.

mod parse;
mod scan;

pub use parse::parse;

/// The deepest nesting of lists and objects that is read.
pub const MAX_DEPTH: usize = 32;

/// `key "label" { … }` or `key = value`; in JSON `"key": value`.
#[derive(Debug)]
pub struct Item {
    /// The key, and the labels after it; at least one.
    pub keys: Vec<Key>,
    /// What they stand for.
    pub value: Value,
}

/// A key or label.
#[derive(Debug)]
pub struct Key {
    /// As it is written, without quotes.
    pub text: String,
    /// Where it stands, counted from one.
    pub line: u32,
}

/// What stands behind the keys.
#[derive(Debug)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// `[…]`.
    List(Vec<Self>),
    /// JSON's `null`.
    Null,
    /// With all its digits.
    Number(serde_json::Number),
    /// `{…}`; repeated keys are kept.
    Object(Vec<Item>),
    /// In quotes, or a heredoc.
    Text(String),
}

/// Where the text is no HCL and no JSON, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, counted from one.
    pub line: u32,
    /// What is wrong there; may quote a word of the text.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_configurations_use_is_read_with_its_lines() {
        let text = "storage \"raft\" { path = \"/x\" node_id = \"a\" }\n\ncustom {\n  \"default\" = { \"X-A\" = [\"v\"], },\n  \"2xx\" = {}\n}\n";
        let items = parse(text).unwrap();
        let line = |item: &Item| item.keys.first().map(|key| (key.text.clone(), key.line));
        assert_eq!(line(&items[0]), Some(("storage".to_owned(), 1)));
        assert_eq!(items[0].keys.len(), 2);
        let Value::Object(custom) = &items[1].value else { panic!("{:?}", items[1]) };
        assert_eq!(
            custom.iter().map(|item| line(item).unwrap()).collect::<Vec<_>>(),
            [("default".to_owned(), 4), ("2xx".to_owned(), 5)]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line) in [("a = 1\nb =", 2), ("a {\n\n", 3), ("{\"a\":\n1,}", 2), ("a = \"x", 1), ("= 1", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
