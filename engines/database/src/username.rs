//! User names by template: the part of Go's template language that such templates use.
//!
//! ```text
//! {{ printf "v-%s-%s-%s" (.DisplayName | truncate 8) (random 20) (unix_time) | truncate 63 | lowercase }}
//! ```
//!
//! Fields: `.DisplayName`, `.RoleName`. Functions: `random n`, `truncate n`, `truncate_sha256 n`, `uppercase`,
//! `lowercase`, `replace old new`, `sha256`, `base64`, `unix_time`, `unix_time_millis`, `timestamp "layout"`, `uuid`,
//! `printf`. A template is checked wholly when it is written: functions, numbers and kinds of arguments, and that two
//! users never get the same name, since the undoing of one would remove the other.

mod layout;
mod parse;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clock::Timestamp;

use parse::{Call, Expr, Function, Node};

/// A checked template.
#[derive(Clone, Debug)]
pub struct UsernameTemplate {
    nodes: Vec<Node>,
    prefix: String,
    max_len: usize,
}

/// What a name is made from.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Who asks, such as `token-app` or `jwt-ci`.
    pub display_name: &'a str,
    /// The role that is asked for.
    pub role_name: &'a str,
}

impl UsernameTemplate {
    /// Reads a template and tries it out. `max_len` is the greatest length of a name in bytes.
    pub fn parse(text: &str, max_len: usize) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::Syntax("must not exceed 4096 bytes".to_owned()));
        }
        let nodes = parse::parse(text)?;
        let template = Self { prefix: constant_prefix(&nodes), nodes, max_len };
        template.try_out()?;
        Ok(template)
    }

    /// A new name.
    pub fn make(&self, names: &Names<'_>, now: Timestamp) -> Result<String, Error> {
        let mut made = String::new();
        for node in &self.nodes {
            match node {
                Node::Text(text) => made.push_str(text),
                Node::Expr(expr) => made.push_str(&evaluate(expr, names, now)?.into_text()),
            }
        }
        if made.is_empty() || made.len() > self.max_len {
            return Err(Error::Length { made: made.len(), limit: self.max_len });
        }
        match made.chars().find(|c| c.is_control()) {
            Some(_) => Err(Error::Unprintable),
            None => Ok(made),
        }
    }

    /// The text that every name begins with; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Long and short names in, at one moment: what is made must differ all the same.
    fn try_out(&self) -> Result<(), Error> {
        let long = "n".repeat(128);
        let now = Timestamp::UNIX_EPOCH;
        for name in ["n", &long] {
            let names = Names { display_name: name, role_name: name };
            let made = match (0..8).map(|_| self.make(&names, now)).collect::<Result<BTreeSet<_>, _>>() {
                // Long names need not fit: nothing is cut off then, so nothing repeats.
                Err(Error::Length { .. }) if name.len() > 1 => continue,
                made => made?,
            };
            if made.len() < 8 || self.nodes.iter().map(Node::random_chars).sum::<u64>() < MIN_RANDOM {
                return Err(Error::Repeats);
            }
        }
        Ok(())
    }
}

/// Why a template is refused, or makes no name of what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is empty or longer than the database takes.
    #[error(
        "username_template: makes a name of {made} bytes, the database takes 1 to {limit}: end with | truncate {limit}"
    )]
    Length {
        /// The length made.
        made: usize,
        /// The greatest length.
        limit: usize,
    },
    /// Two users could get the same name.
    #[error(
        "username_template: would give two users the same name: use random with at least 8 characters, or uuid, where truncate does not cut it off"
    )]
    Repeats,
    /// The text is no template; it says what is wrong.
    #[error("username_template: {0}")]
    Syntax(String),
    /// The name has control characters.
    #[error("username_template: makes a name with characters that cannot be printed")]
    Unprintable,
}

enum Value {
    Text(String),
    Number(i64),
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

fn evaluate(expr: &Expr, names: &Names<'_>, now: Timestamp) -> Result<Value, Error> {
    Ok(match expr {
        Expr::DisplayName => Value::Text(names.display_name.to_owned()),
        Expr::RoleName => Value::Text(names.role_name.to_owned()),
        Expr::Text(text) => Value::Text(text.clone()),
        Expr::Number(number) => Value::Number(*number),
        Expr::Call(call) => Value::Text(apply(call, names, now)?),
    })
}

fn apply(call: &Call, names: &Names<'_>, now: Timestamp) -> Result<String, Error> {
    let mut values = call.args.iter().map(|arg| evaluate(arg, names, now)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let mut next = || values.next().unwrap_or(Value::Number(0));
    let length = |value: Value| match value {
        Value::Number(number) => usize::try_from(number).unwrap_or_default(),
        Value::Text(_) => 0,
    };
    Ok(match &call.function {
        Function::Random => crypto::random::base62(length(next())).to_string(),
        Function::Truncate => {
            let limit = length(next());
            cut(&next().into_text(), limit).to_owned()
        }
        Function::TruncateSha256 => {
            let limit = length(next());
            let text = next().into_text();
            if text.len() <= limit {
                return Ok(text);
            }
            let head = cut(&text, limit.saturating_sub(HASH_TAIL));
            let rest = text.get(head.len()..).unwrap_or_default();
            format!("{head}{}", cut(&hex(&crypto::hash::sha256(rest.as_bytes())), HASH_TAIL))
        }
        Function::Uppercase => next().into_text().to_uppercase(),
        Function::Lowercase => next().into_text().to_lowercase(),
        Function::Replace => {
            let (old, new) = (next().into_text(), next().into_text());
            next().into_text().replace(&old, &new)
        }
        Function::Sha256 => hex(&crypto::hash::sha256(next().into_text().as_bytes())),
        Function::Base64 => STANDARD.encode(next().into_text()),
        Function::UnixTime => now.as_second().to_string(),
        Function::UnixTimeMillis => now.as_millisecond().to_string(),
        Function::Timestamp => layout::format(&next().into_text(), now),
        Function::Uuid => crypto::random::uuid(),
        Function::Printf(pieces) => {
            let mut text = String::new();
            for piece in pieces {
                match piece {
                    parse::Format::Text(plain) => text.push_str(plain),
                    parse::Format::Verb(verb) => text.push_str(&verb.format(&next().into_text())),
                }
            }
            text
        }
    })
}

/// The beginning of a text, at most `limit` bytes and no half character.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What every name begins with: the text before the first value, also inside `printf`, unless it is changed later.
fn constant_prefix(nodes: &[Node]) -> String {
    let mut prefix = String::new();
    for node in nodes {
        match node {
            Node::Text(text) => prefix.push_str(text),
            Node::Expr(expr) => {
                prefix.push_str(&expression_prefix(expr));
                break;
            }
        }
    }
    prefix
}

fn expression_prefix(expr: &Expr) -> String {
    let Expr::Call(call) = expr else {
        return match expr {
            Expr::Text(text) => text.clone(),
            _ => String::new(),
        };
    };
    let inner = |index: usize| call.args.get(index).map(expression_prefix).unwrap_or_default();
    match &call.function {
        Function::Printf(pieces) => match pieces.first() {
            Some(parse::Format::Text(text)) => text.clone(),
            _ => String::new(),
        },
        Function::Truncate | Function::TruncateSha256 => match call.args.first() {
            Some(Expr::Number(limit)) => {
                let kept = usize::try_from(*limit).unwrap_or_default().saturating_sub(HASH_TAIL);
                cut(&inner(1), kept).to_owned()
            }
            _ => String::new(),
        },
        Function::Uppercase => inner(0).to_uppercase(),
        Function::Lowercase => inner(0).to_lowercase(),
        _ => String::new(),
    }
}

const HASH_TAIL: usize = 8;
const MIN_RANDOM: u64 = 8;
const MAX_TEXT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD_TEMPLATE: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}"#;

    fn make(template: &str) -> Result<String, Error> {
        let names = Names { display_name: "token-Application", role_name: "reporting" };
        UsernameTemplate::parse(template, 63)?.make(&names, Timestamp::from_second(1_700_000_000).unwrap())
    }

    #[test]
    fn the_usual_template_makes_the_usual_names() {
        let name = make(STANDARD_TEMPLATE).unwrap();
        let parts: Vec<&str> = name.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[2], parts[3]), ("v", "token", "Ap", "reportin"), "{name}");
        assert_eq!((parts[4].len(), parts[5]), (20, "1700000000"));
        assert_eq!(UsernameTemplate::parse(STANDARD_TEMPLATE, 63).unwrap().prefix(), "v-");
    }

    #[test]
    fn every_function_does_what_it_says() {
        let cases = [
            ("{{ .RoleName }}", "reporting"),
            ("{{.DisplayName | truncate 5}}", "token"),
            ("{{ .DisplayName | truncate_sha256 12 }}", "toke12ffee92"),
            ("{{ .RoleName | uppercase }}", "REPORTING"),
            ("{{ lowercase .DisplayName }}", "token-application"),
            (r#"{{ .DisplayName | replace "-" "_" }}"#, "token_Application"),
            ("{{ sha256 `a` | truncate 8 }}", "ca978112"),
            (r#"{{ "a" | base64 }}"#, "YQ=="),
            ("{{ unix_time }}", "1700000000"),
            ("{{ unix_time_millis }}", "1700000000000"),
            (r#"{{ timestamp "2006-01-02T15:04:05Z" }}"#, "2023-11-14T22:13:20Z"),
            (r#"{{ timestamp "Jan _2 06 3:04PM Mon .000 MST -0700" }}"#, "Nov 14 23 10:13PM Tue .000 UTC +0000"),
            (r#"{{ printf "%s_%.3s|%5s|%-4s|%d%%" .RoleName .RoleName "ab" "cd" 7 }}"#, "reporting_rep|   ab|cd  |7%"),
            ("a {{- .RoleName -}} b", "areportingb"),
            ("{{ /* nothing */ }}x", "x"),
        ];
        for (template, wanted) in cases {
            let made =
                make(&format!("{template}{{{{ random 12 }}}}")).unwrap_or_else(|error| panic!("{template}: {error}"));
            assert_eq!(&made[..made.len() - 12], wanted, "{template}");
        }
        let uuid = make("{{ uuid }}").unwrap();
        assert_eq!((uuid.len(), uuid.matches('-').count()), (36, 4));
    }

    #[test]
    fn a_wrong_template_is_refused_when_it_is_written() {
        let cases = [
            ("{{ random 20", "does not end"),
            ("{{ random }}", "random takes 1"),
            ("{{ random \"20\" }}", "random takes a number"),
            ("{{ random 0 }}", "random: from 1"),
            ("{{ random 20 20 }}", "random takes 1"),
            ("{{ .Display }}", ".Display is unknown"),
            ("{{ shuffle 3 }}", "shuffle is unknown"),
            ("{{ .RoleName | truncate }}", "truncate takes 2"),
            ("{{ .RoleName | truncate -1 }}", "is not understood"),
            ("{{ .RoleName | truncate_sha256 8 }}", "truncate_sha256: from 9"),
            ("{{ printf \"%s\" }}", "printf has 1 placeholder"),
            ("{{ printf \"%s\" .RoleName .RoleName }}", "printf has 1 placeholder"),
            ("{{ printf \"%d\" .RoleName }}", "%d takes a number"),
            ("{{ printf \"%x\" .RoleName }}", "%x is unknown"),
            ("{{ printf .RoleName }}", "printf takes a text"),
            ("{{ (random 20 }}", "is not understood"),
            ("{{ \"open }}", "does not end"),
            ("{{ if true }}x{{ end }}", "is unknown"),
            ("{{ }}", "is empty"),
            ("{{ random 20 | }}", "is not understood"),
            ("{{ .RoleName .DisplayName }}", "is not understood"),
            (&"x".repeat(5000), "must not exceed"),
        ];
        for (template, wanted) in cases {
            let error = make(template).unwrap_err().to_string();
            assert!(error.contains(wanted), "{template}: {error}");
        }
    }

    #[test]
    fn names_that_could_repeat_or_do_not_fit_are_refused() {
        for template in [
            "app",
            "{{ .RoleName }}-{{ unix_time }}",
            "{{ .RoleName }}-{{ random 7 }}",
            "{{ printf \"%s-%s\" .RoleName (random 20) | truncate 20 }}",
            "{{ random 20 | truncate 1 | sha256 | truncate 1 }}",
        ] {
            assert_eq!(make(template).unwrap_err(), Error::Repeats, "{template}");
        }
        assert!(matches!(make("{{ random 64 }}"), Err(Error::Length { made: 64, limit: 63 })));
        let template = UsernameTemplate::parse("{{ .RoleName }}{{ random 20 }}", 63).unwrap();
        let long = Names { display_name: "", role_name: &"n".repeat(60) };
        assert_eq!(template.make(&long, Timestamp::UNIX_EPOCH), Err(Error::Length { made: 80, limit: 63 }));
        assert_eq!(make("a\nb{{ random 20 }}"), Err(Error::Unprintable));
    }

    #[test]
    fn the_constant_beginning_is_found() {
        let cases = [
            ("app_{{ random 20 }}", "app_"),
            (r#"{{ printf "v-%s" (random 20) | truncate 20 | lowercase }}"#, "v-"),
            (r#"{{ printf "V-%s" (random 20) | lowercase }}"#, "v-"),
            ("{{ random 20 }}x", ""),
            (r#"{{ printf "v-%s" (random 20) | sha256 | truncate 20 }}"#, ""),
        ];
        for (template, wanted) in cases {
            assert_eq!(UsernameTemplate::parse(template, 63).unwrap().prefix(), wanted, "{template}");
        }
    }

    #[test]
    fn a_cut_never_halves_a_character() {
        assert_eq!((cut("aé", 2), cut("aé", 3), cut("é", 1)), ("a", "aé", ""));
    }
}
