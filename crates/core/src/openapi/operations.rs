//! The operations of the Vault API, by the names that its own OpenAPI document gives them: clients are generated from these.

use api::Verb;
use serde_json::{Map, Value, json};

/// One operation.
pub(super) struct Operation {
    pub(super) verb: Verb,
    /// The path inside the mount, with its captures.
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    fields: &'static str,
}

const TABLE: &str = include_str!("operations.txt");

/// The operations of a kind of mount, by the name of their section.
pub(super) fn of(section: &str) -> impl Iterator<Item = Operation> {
    let begin = format!("[{section}]");
    let lines = TABLE.lines().skip_while(move |line| *line != begin).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter_map(Operation::read)
}

impl Operation {
    fn read(line: &'static str) -> Option<Self> {
        let (method, rest) = line.split_once(' ')?;
        let (path, rest) = rest.split_once(' ')?;
        let (id, fields) = rest.split_once(' ').unwrap_or((rest, ""));
        let verb = match method {
            "DELETE" => Verb::Delete,
            "GET" => Verb::Read,
            "LIST" => Verb::List,
            "PATCH" => Verb::Patch,
            "POST" => Verb::Write,
            _ => return None,
        };
        Some(Self { verb, path, id, fields })
    }

    /// What the reply holds, if that is known.
    pub(super) fn reply(&self) -> Option<Value> {
        if self.fields.is_empty() {
            return None;
        }
        let properties: Map<_, _> = self.fields.split(' ').map(property).collect();
        Some(json!({ "type": "object", "properties": properties }))
    }

    /// Whether the reply is the names of a listing and nothing else.
    pub(super) fn is_plain_list(&self) -> bool {
        self.fields == "keys[]"
    }
}

/// A field with the mark of its type behind it.
fn property(field: &str) -> (String, Value) {
    let marked = |mark: &str| field.strip_suffix(mark);
    let (name, schema) = match (marked("#"), marked("?"), marked("[]"), marked("{}")) {
        (Some(name), ..) => (name, json!({ "type": "integer" })),
        (_, Some(name), ..) => (name, json!({ "type": "boolean" })),
        // Of what, is said where a list of texts is the whole reply.
        (_, _, Some(name), _) => (name, json!({ "type": "array", "items": items(name) })),
        (.., Some(name)) => (name, json!({ "type": "object" })),
        (None, None, None, None) => (field, json!({ "type": "string" })),
    };
    (name.to_owned(), schema)
}

/// What is in a list: objects in a few, texts in the others.
fn items(name: &str) -> Value {
    let objects = ["aliases", "by_namespace", "cpu", "cpu_times", "detailed", "disk", "nodes"];
    let kind = if objects.contains(&name) { "object" } else { "string" };
    json!({ "type": kind })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECTIONS: [&str; 10] =
        ["approle", "cubbyhole", "database", "identity", "jwt", "kv-v1", "kv-v2", "system", "token", "userpass"];

    #[test]
    fn every_line_of_the_table_is_an_operation_with_a_name_of_its_own() {
        let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '[']));
        let read: Vec<_> = SECTIONS.iter().flat_map(|section| of(section)).collect();
        assert_eq!(read.len(), lines.count());
        let ids: BTreeSet<_> = read.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), read.len());
        for operation in &read {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(operation.id.chars().all(plain) && !operation.path.starts_with('/'), "{}", operation.id);
        }
    }

    #[test]
    fn fields_say_their_type() {
        let line = "GET a/{b} read-a name count# on? list[] map{} nodes[]";
        let reply = Operation::read(line).and_then(|operation| operation.reply());
        let expected = json!({ "type": "object", "properties": {
            "name": { "type": "string" },
            "count": { "type": "integer" },
            "on": { "type": "boolean" },
            "list": { "type": "array", "items": { "type": "string" } },
            "map": { "type": "object" },
            "nodes": { "type": "array", "items": { "type": "object" } },
        }});
        assert_eq!(reply, Some(expected));
    }
}
