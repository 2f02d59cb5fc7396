//! JSON as pieces of the text it stands in. Names are looked at; values are copied only into the result, in buffers that
//! wipe themselves. Numbers and spellings stay as they were written.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use secret::{WipedBytes, Zeroizing};

/// A value of a JSON text, with the objects in it taken apart.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    text: &'a str,
    members: Option<Vec<Member<'a>>>,
}

#[derive(Debug)]
struct Member<'a> {
    name: Cow<'a, str>,
    /// The name as it is written, quotes included.
    written: &'a str,
    value: Node<'a>,
}

impl<'a> Node<'a> {
    /// Takes apart a text that is known to be JSON. `None` if it is not, or is nested too deeply.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut scanner = Scanner { text, at: 0, depth: 0 };
        let node = scanner.value()?;
        scanner.blanks();
        (scanner.at == text.len()).then_some(node)
    }

    /// The text of the value.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The value of a member of this object. Of members with the same name, the last counts.
    pub(crate) fn member(&self, name: &str) -> Option<&Node<'a>> {
        let mut members = self.members.iter().flatten().rev();
        members.find(|member| member.name == name).map(|member| &member.value)
    }

    /// This object with what a merge patch (RFC 7396) says.
    pub(crate) fn merged(&self, patch: &Node<'_>) -> Bytes {
        let mut out = buffer(self.text.len() + patch.text.len());
        merge(Some(self), patch, &mut out);
        Bytes::from_owner(out)
    }

    /// This object with `name` set to `value`, a JSON text.
    pub(crate) fn with(&self, name: &str, value: &str) -> Bytes {
        let mut out = buffer(self.text.len() + name.len() * 6 + value.len());
        out.push(b'{');
        for member in self.members.iter().flatten().filter(|member| member.name != name) {
            write_name(member.written, &mut out);
            out.extend_from_slice(member.value.text.as_bytes());
        }
        write_name(&quoted(name), &mut out);
        out.extend_from_slice(value.as_bytes());
        out.push(b'}');
        Bytes::from_owner(out)
    }

    /// This object with those members only whose names `keep` takes.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) -> Bytes {
        let mut out = buffer(self.text.len());
        out.push(b'{');
        for member in self.members.iter().flatten().filter(|member| keep(&member.name)) {
            write_name(member.written, &mut out);
            out.extend_from_slice(member.value.text.as_bytes());
        }
        out.push(b'}');
        Bytes::from_owner(out)
    }

    /// The names in this object, down to `depth` levels (0 is all), with null for the values.
    pub(crate) fn names(&self, depth: u64) -> Bytes {
        let mut out = buffer(self.text.len());
        write_names(self, (depth > 0).then_some(depth), &mut out);
        Bytes::from_owner(out)
    }
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 6 + 2));
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// A buffer that need not grow, as what it left behind would not be wiped.
pub(crate) fn buffer(size: usize) -> WipedBytes {
    WipedBytes::with_capacity(size + 16)
}

fn merge(target: Option<&Node<'_>>, patch: &Node<'_>, out: &mut Vec<u8>) {
    let Some(changes) = &patch.members else {
        out.extend_from_slice(patch.text.as_bytes());
        return;
    };
    let changes: BTreeMap<&str, &Member<'_>> = changes.iter().map(|change| (&*change.name, change)).collect();
    let before = target.and_then(|target| target.members.as_deref()).unwrap_or_default();
    let by_name: BTreeMap<&str, &Node<'_>> = before.iter().map(|member| (&*member.name, &member.value)).collect();
    out.push(b'{');
    for member in before.iter().filter(|member| !changes.contains_key(&*member.name)) {
        write_name(member.written, out);
        out.extend_from_slice(member.value.text.as_bytes());
    }
    for (name, change) in changes {
        if change.value.text != "null" {
            write_name(change.written, out);
            merge(by_name.get(name).copied(), &change.value, out);
        }
    }
    out.push(b'}');
}

fn write_names(node: &Node<'_>, depth: Option<u64>, out: &mut Vec<u8>) {
    match &node.members {
        Some(members) if depth != Some(0) => {
            out.push(b'{');
            for member in members {
                write_name(member.written, out);
                write_names(&member.value, depth.map(|depth| depth - 1), out);
            }
            out.push(b'}');
        }
        _ => out.extend_from_slice(b"null"),
    }
}

/// Begins the next member of the object that `out` ends in.
fn write_name(written: &str, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(written.as_bytes());
    out.push(b':');
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Deeper than any body that the listener lets through.
const MAX_DEPTH: usize = 1000;

impl<'a> Scanner<'a> {
    fn value(&mut self) -> Option<Node<'a>> {
        self.blanks();
        let start = self.at;
        let members = match self.peek()? {
            b'{' => Some(self.object()?),
            b'[' => self.array().map(|()| None)?,
            b'"' => self.string().map(|_| None)?,
            _ => self.scalar().map(|()| None)?,
        };
        Some(Node { text: self.text.get(start..self.at)?, members })
    }

    fn object(&mut self) -> Option<Vec<Member<'a>>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut members = Vec::new();
        self.take(b'{')?;
        self.blanks();
        while self.peek()? != b'}' {
            let written = self.string()?;
            let name = match written.contains('\\') {
                true => Cow::Owned(serde_json::from_str(written).ok()?),
                false => Cow::Borrowed(written.get(1..written.len().checked_sub(1)?)?),
            };
            self.blanks();
            self.take(b':')?;
            members.push(Member { name, written, value: self.value()? });
            self.blanks();
            if self.peek()? == b',' {
                self.at += 1;
                self.blanks();
            }
        }
        self.depth -= 1;
        self.take(b'}')?;
        Some(members)
    }

    /// Passes over an array, whatever is in it.
    fn array(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Some(());
            }
        }
    }

    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        while self.peek().is_some_and(inside) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn parse(text: &str) -> Node<'_> {
        Node::parse(text.as_bytes()).unwrap()
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn patches_are_merged_as_the_rfc_says() {
        // The cases of RFC 7396, appendix A, whose target is an object.
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (target, patch, merged) in cases {
            assert_eq!(text(&parse(target).merged(&parse(patch))), merged, "{target} with {patch}");
        }
    }

    #[test]
    fn what_is_not_patched_stays_as_it_was_written() {
        let target = r#" { "n" : 1.10e+5 , "big":123456789012345678901234567890, "u":"\u0041\"}" } "#;
        let merged = parse(target).merged(&parse(r#"{"A":1}"#));
        assert_eq!(text(&merged), r#"{"n":1.10e+5,"big":123456789012345678901234567890,"u":"\u0041\"}","A":1}"#);
        assert_eq!(text(&parse(r#"{"\u0061":1,"b":2}"#).merged(&parse(r#"{"a":3}"#))), r#"{"b":2,"a":3}"#);
        assert_eq!(parse(r#"{"a":1,"a":2}"#).member("a").unwrap().text(), "2");
    }

    #[test]
    fn a_member_is_set_whatever_its_name() {
        assert_eq!(text(&parse("{}").with("a\"b\n\u{1}", "[1]")), r#"{"a\"b\n\u0001":[1]}"#);
        assert_eq!(text(&parse(r#"{"a":1,"b":{"c":2}}"#).with("a", "null")), r#"{"b":{"c":2},"a":null}"#);
    }

    #[test]
    fn names_are_told_without_values() {
        let secret = parse(r#"{"a":"x","b":{"c":[{"d":1}],"e":{}},"f":null}"#);
        assert_eq!(text(&secret.names(0)), r#"{"a":null,"b":{"c":null,"e":{}},"f":null}"#);
        assert_eq!(text(&secret.names(1)), r#"{"a":null,"b":null,"f":null}"#);
        assert_eq!(text(&secret.names(2)), r#"{"a":null,"b":{"c":null,"e":null},"f":null}"#);
    }

    #[test]
    fn what_is_no_json_is_turned_away() {
        for bad in ["", "{", "{\"a\"", "{\"a\":", "{\"a\":}", "[", "\"", "\"\\", "{]", "{\"a\":1}}", "[}1"] {
            assert!(Node::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Node::parse(b"\xff").is_none());
        let deep = "{\"a\":".repeat(2000) + "1" + &"}".repeat(2000);
        assert!(Node::parse(deep.as_bytes()).is_none());
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(Node::parse(deep.as_bytes()).is_some());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\é\n]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// The model: the algorithm of the RFC on parsed values.
    fn model(target: &mut Value, patch: &Value) {
        let Value::Object(changes) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (name, change) in changes {
            match change {
                Value::Null => drop(target.as_object_mut().unwrap().remove(name)),
                change => model(&mut target[name], change),
            }
        }
    }

    proptest! {
        #[test]
        fn merging_texts_is_merging_values(target in value(), patch in value(), pretty in any::<bool>()) {
            let written = if pretty { format!("{target:#}") } else { target.to_string() };
            let change = patch.to_string();
            let mut expected = target;
            let merged = parse(&written).merged(&parse(&change));
            model(&mut expected, &patch);
            prop_assert_eq!(serde_json::from_slice::<Value>(&merged).unwrap(), expected);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = Node::parse(text.as_bytes());
        }
    }
}
