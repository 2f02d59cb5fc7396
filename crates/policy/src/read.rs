//! From the tree of a text to rules: which keys there are, what may stand in them, and what is refused.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hcl1::{Item, SyntaxError, Value};

use crate::{
    Capabilities, Capability, InvalidPolicyName, PolicyName, Rule,
    conditions::Conditions,
    parameters::{Constraints, Limits},
    rule::check_path,
    template::Template,
};

/// The greatest length of a policy's text in bytes.
pub const MAX_TEXT: usize = 1024 * 1024;

/// Why a text is no policy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A known key or capability holds what it must not.
    #[error("path {path:?} on line {line}: {what}")]
    Invalid {
        /// The path of the block.
        path: String,
        /// The line of the fault.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// The name is no policy name.
    #[error(transparent)]
    Name(#[from] InvalidPolicyName),
    /// The name is reserved.
    #[error("the policy name \"root\" is reserved: choose another name")]
    Root,
    /// The text is neither HCL nor JSON, or is not laid out as a policy.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line of the fault.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// The text is longer than [`MAX_TEXT`].
    #[error("policy text has {0} bytes; the limit is {MAX_TEXT}")]
    TooLong(usize),
    /// A key that no policy has.
    #[error("path {path:?}: invalid key {key:?} on line {line}")]
    UnknownKey {
        /// The path of the block.
        path: String,
        /// The key.
        key: String,
        /// Its line.
        line: u32,
    },
    /// A key or capability of Vault or OpenBao that this server does not act on. It is refused, because a rule that is
    /// stored without its restriction grants more than its author wrote.
    #[error("path {path:?} on line {line}: {what:?} is not supported; remove it")]
    Unsupported {
        /// The path of the block.
        path: String,
        /// The key or capability.
        what: String,
        /// Its line.
        line: u32,
    },
}

impl From<SyntaxError> for ParseError {
    fn from(SyntaxError { line, what }: SyntaxError) -> Self {
        Self::Syntax { line, what }
    }
}

/// What is wrong with a value, before it is known where.
#[derive(Debug)]
pub(crate) enum Problem {
    Invalid(String),
    Unsupported(String),
}

impl From<&str> for Problem {
    fn from(what: &str) -> Self {
        Self::Invalid(what.to_owned())
    }
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self::Invalid(what)
    }
}

/// The text of a policy as clients send it: plain, or in base64. What does not decode to text is taken as it is.
pub fn decode_text(sent: &str) -> Cow<'_, str> {
    let lines: String = sent.split_ascii_whitespace().collect();
    // Line breaks may stand within base64, blanks may not: "path x" must not become "pathx".
    let broken = sent.trim().contains([' ', '\t']);
    let decoded =
        if broken { None } else { STANDARD.decode(lines).ok().and_then(|bytes| String::from_utf8(bytes).ok()) };
    decoded.map_or(Cow::Borrowed(sent), Cow::Owned)
}

/// Reads all path blocks of a text.
pub(crate) fn rules(policy: &PolicyName, text: &str) -> Result<Vec<Rule>, ParseError> {
    if text.len() > MAX_TEXT {
        return Err(ParseError::TooLong(text.len()));
    }
    let mut rules = Vec::new();
    for item in hcl1::parse(text)? {
        let Some((key, labels)) = item.keys.split_first() else { continue };
        let syntax = |what: &str| ParseError::Syntax { line: key.line, what: what.to_owned() };
        match (key.text.as_str(), labels, item.value) {
            ("name", [], Value::Text(_)) => {}
            ("name", ..) => return Err(syntax("'name' must be one string")),
            ("path", [label], value) => block(policy, &label.text, label.line, value, &mut rules)?,
            ("path", [], value) => blocks(policy, key.line, value, &mut rules)?,
            ("path", ..) => return Err(syntax("'path' takes one path in quotes, then a block")),
            (other, ..) => return Err(syntax(&format!("invalid key {other:?}: a policy consists of 'path' blocks"))),
        }
    }
    Ok(rules)
}

/// `path = { "a" = {…}, "b" = {…} }`, or a list of such objects.
fn blocks(policy: &PolicyName, line: u32, value: Value, rules: &mut Vec<Rule>) -> Result<(), ParseError> {
    match value {
        Value::List(values) => values.into_iter().try_for_each(|value| match value {
            object @ Value::Object(_) => blocks(policy, line, object, rules),
            _ => Err(ParseError::Syntax { line, what: "a list of paths must hold objects".into() }),
        }),
        Value::Object(items) => items.into_iter().try_for_each(|item| match item.keys.as_slice() {
            [label] => block(policy, &label.text, label.line, item.value, rules),
            _ => Err(ParseError::Syntax { line, what: "each path must be one string, followed by a block".into() }),
        }),
        _ => Err(ParseError::Syntax { line, what: "'path' must be followed by a path in quotes and a block".into() }),
    }
}

/// The block of one path; JSON may give a list of several.
fn block(policy: &PolicyName, path: &str, line: u32, value: Value, rules: &mut Vec<Rule>) -> Result<(), ParseError> {
    match value {
        Value::Object(items) => {
            rules.push(rule(policy, path, line, items)?);
            Ok(())
        }
        Value::List(values) if values.iter().all(|value| matches!(value, Value::Object(_))) => {
            values.into_iter().try_for_each(|value| block(policy, path, line, value, rules))
        }
        _ => Err(place(path, line, "a path must be followed by a block in braces".into())),
    }
}

fn rule(policy: &PolicyName, path: &str, line: u32, items: Vec<Item>) -> Result<Rule, ParseError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let here = |problem: Problem| place(path, line, problem);
    check_path(path).map_err(here)?;
    let template = Template::parse(path).map_err(|problem| here(problem.into()))?;
    let mut fields = Fields::default();
    let mut seen: Vec<String> = Vec::new();
    for item in items {
        let Some((key, labels)) = item.keys.split_first() else { continue };
        let (text, line) = (key.text.clone(), key.line);
        if !labels.is_empty() {
            return Err(place(path, line, format!("key {text:?} takes no label").into()));
        }
        if seen.contains(&text) {
            return Err(place(path, line, format!("key {text:?} is given twice").into()));
        }
        match fields.set(&text, item.value) {
            Ok(true) => seen.push(text),
            Ok(false) => return Err(ParseError::UnknownKey { path: path.to_owned(), key: text, line }),
            Err(problem) => return Err(place(path, line, problem)),
        }
    }
    fields.finish(policy, path, line, template).map_err(here)
}

fn place(path: &str, line: u32, problem: Problem) -> ParseError {
    let path = path.to_owned();
    match problem {
        Problem::Invalid(what) => ParseError::Invalid { path, line, what },
        Problem::Unsupported(what) => ParseError::Unsupported { path, what, line },
    }
}

/// The keys of a path block, as they are read.
#[derive(Default)]
struct Fields {
    written: Vec<Capability>,
    constraints: Constraints,
    conditions: Conditions,
    min_wrapping_ttl: Option<Duration>,
    max_wrapping_ttl: Option<Duration>,
}

impl Fields {
    /// Takes one key; `false` if there is no such key.
    fn set(&mut self, key: &str, value: Value) -> Result<bool, Problem> {
        match key {
            "allowed_parameters" => self.constraints.allowed = limits(key, value)?,
            "capabilities" => self.written.extend(capabilities(value)?),
            "comment" => drop(text(key, value)?),
            "denied_parameters" => self.constraints.denied = limits(key, value)?,
            "hidden_fields" => self.conditions.hidden = texts(key, value)?.into_iter().collect(),
            "max_wrapping_ttl" => self.max_wrapping_ttl = duration(key, value)?,
            "min_wrapping_ttl" => self.min_wrapping_ttl = duration(key, value)?,
            "policy" => self.written.extend(old_policy(&text(key, value)?)?),
            "required_metadata" => self.conditions.metadata = metadata(key, value)?,
            "required_parameters" => {
                self.constraints.required = texts(key, value)?.iter().map(|name| name.to_lowercase()).collect();
            }
            "visible_fields" => self.conditions.visible = Some(texts(key, value)?.into_iter().collect()),
            "control_group"
            | "expiration"
            | "list_scan_response_keys_filter_path"
            | "mfa_methods"
            | "pagination_limit"
            | "subscribe_event_types" => return Err(Problem::Unsupported(key.to_owned())),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self, policy: &PolicyName, path: &str, line: u32, template: Option<Template>) -> Result<Rule, Problem> {
        if let (Some(min), Some(max)) = (self.min_wrapping_ttl, self.max_wrapping_ttl)
            && max < min
        {
            return Err("'max_wrapping_ttl' must not be less than 'min_wrapping_ttl'".into());
        }
        let capabilities: Capabilities = self.written.iter().copied().collect();
        let denies = capabilities.denies();
        Ok(Rule {
            policy: policy.clone(),
            line,
            path: path.to_owned(),
            capabilities,
            // A refusal has nothing left to restrict.
            min_wrapping_ttl: self.min_wrapping_ttl.filter(|_| !denies),
            max_wrapping_ttl: self.max_wrapping_ttl.filter(|_| !denies),
            constraints: if denies { Constraints::default() } else { self.constraints },
            conditions: if denies { Conditions::default() } else { self.conditions },
            template,
            voided: denies && self.written.iter().any(|&capability| capability != Capability::Deny),
        })
    }
}

/// The one word that stood for capabilities before there were any.
fn old_policy(word: &str) -> Result<&'static [Capability], Problem> {
    use Capability::{Create, Delete, Deny, List, Read, Sudo, Update};
    match word {
        "deny" => Ok(&[Deny]),
        "read" => Ok(&[Read, List]),
        "write" => Ok(&[Create, Read, Update, Delete, List]),
        "sudo" => Ok(&[Create, Read, Update, Delete, List, Sudo]),
        other => {
            Err(format!("invalid policy {other:?}: use deny, read, write or sudo, or better 'capabilities'").into())
        }
    }
}

fn capabilities(value: Value) -> Result<Vec<Capability>, Problem> {
    let read = |name: String| match (Capability::parse(&name), name.as_str()) {
        (Some(capability), _) => Ok(capability),
        (None, "recover" | "subscribe") => Err(Problem::Unsupported(name)),
        (None, _) => {
            let known = Capability::ALL.map(Capability::as_str).join(", ");
            Err(Problem::Invalid(format!("invalid capability {name:?}: use {known}")))
        }
    };
    texts("capabilities", value)?.into_iter().map(read).collect()
}

fn text(key: &str, value: Value) -> Result<String, Problem> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(format!("'{key}' must be a string in quotes").into()),
    }
}

fn texts(key: &str, value: Value) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::Invalid(format!("'{key}' must be a list of strings, such as [\"a\", \"b\"]"));
    let Value::List(values) = value else { return Err(wrong()) };
    values.into_iter().map(|value| text(key, value).map_err(|_| wrong())).collect()
}

/// Zero means "not set".
fn duration(key: &str, value: Value) -> Result<Option<Duration>, Problem> {
    let text = match value {
        Value::Text(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(format!("'{key}' must be a duration, such as 90 or \"1h\"").into()),
    };
    let duration = api::parse_duration(&text).map_err(|why| Problem::Invalid(format!("'{key}': {why}")))?;
    Ok((!duration.is_zero()).then_some(duration))
}

/// `{ name = [values], … }`, or a list of such objects as JSON writers make it.
fn limits(key: &str, value: Value) -> Result<Limits, Problem> {
    let wrong =
        || Problem::Invalid(format!("'{key}' must be an object of lists, such as {{ \"a\" = [\"b\"], \"c\" = [] }}"));
    let objects = match value {
        Value::List(values) => values,
        object => vec![object],
    };
    let mut limits = Limits::new();
    for object in objects {
        let Value::Object(items) = object else { return Err(wrong()) };
        for Item { keys, value } in items {
            let ([name], Value::List(values)) = (keys.as_slice(), value) else { return Err(wrong()) };
            let values = values.into_iter().map(json).collect::<Option<_>>().ok_or_else(wrong)?;
            if limits.insert(name.text.to_lowercase(), values).is_some() {
                return Err(format!("'{key}' names the parameter {:?} twice", name.text).into());
            }
        }
    }
    Ok(limits)
}

/// `{ key = [values], … }`, in the same forms; keys and values are texts, and their case counts.
fn metadata(key: &str, value: Value) -> Result<BTreeSet<(String, Vec<String>)>, Problem> {
    let wrong = || {
        Problem::Invalid(format!("'{key}' must be an object of lists of strings, such as {{ \"owner\" = [\"shop\"] }}"))
    };
    let objects = match value {
        Value::List(values) => values,
        object => vec![object],
    };
    let mut conditions = BTreeMap::new();
    for object in objects {
        let Value::Object(items) = object else { return Err(wrong()) };
        for Item { keys, value } in items {
            let [name] = keys.as_slice() else { return Err(wrong()) };
            let values = texts(key, value).map_err(|_| wrong())?;
            if conditions.insert(name.text.clone(), values).is_some() {
                return Err(format!("'{key}' names {:?} twice", name.text).into());
            }
        }
    }
    if conditions.is_empty() {
        return Err(wrong());
    }
    Ok(conditions.into_iter().collect())
}

fn json(value: Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::Flag(flag) => flag.into(),
        Value::List(values) => serde_json::Value::Array(values.into_iter().map(json).collect::<Option<_>>()?),
        Value::Null => serde_json::Value::Null,
        Value::Number(number) => number.into(),
        Value::Object(items) => {
            let mut map = serde_json::Map::new();
            for Item { keys, value } in items {
                let [key] = keys.as_slice() else { return None };
                if map.insert(key.text.clone(), json(value)?).is_some() {
                    return None;
                }
            }
            map.into()
        }
        Value::Text(text) => text.into(),
    })
}
