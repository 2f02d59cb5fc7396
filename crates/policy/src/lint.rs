//! What a policy says that its author probably did not mean.

use std::{collections::HashMap, fmt, sync::Arc};

use api::KV_FAMILIES;

use crate::{Capability, Policy, Rule, pattern::Pattern};

/// What is mounted at a path, as far as rules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A key-value engine with versions, whose API paths begin with `data/`, `metadata/` and the like.
    KvV2,
    /// Anything else.
    Other,
}

/// A remark on one rule. The policy is valid all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line of the rule.
    pub line: u32,
    /// The path of the rule.
    pub path: String,
    /// What is odd, and what to do about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {:?} on line {}: {}", self.path, self.line, self.message)
    }
}

/// Looks for rules that can never match, grant nothing, or mean less or more than they seem to. `mounts` tells what is
/// mounted at exactly a path that ends in a slash, such as `secret/`.
pub fn lint(policy: &Policy, mounts: impl Fn(&str) -> Option<MountKind>) -> Vec<Warning> {
    let mut first_lines: HashMap<&str, &Rule> = HashMap::new();
    let mut warnings = Vec::new();
    for rule in policy.rules() {
        let mut messages = Vec::new();
        path(rule, &mut messages);
        capabilities(rule, &mut messages);
        values(rule, &mut messages);
        kv_v2(rule, &mounts, &mut messages);
        shadowed(rule, policy.rules(), &mut messages);
        match first_lines.get(rule.path.as_str()) {
            Some(first) => messages.push(repeated(first, rule)),
            None => drop(first_lines.insert(&rule.path, rule)),
        }
        let warning = |message| Warning { line: rule.line, path: rule.path.clone(), message };
        warnings.extend(messages.into_iter().map(warning));
    }
    warnings
}

fn path(rule: &Rule, messages: &mut Vec<String>) {
    let mut say = |message: String| messages.push(message);
    let (text, open) = match Pattern::new(&rule.path) {
        Pattern::Exact(text) => (text, false),
        Pattern::Wild { text, open } => (text, open),
    };
    if text.contains('*') {
        say("'*' is a wildcard only at the end; here it is an ordinary character. Use '+' for one segment".into());
    }
    if text.split('/').any(|segment| segment.len() > 1 && segment.contains('+')) {
        say("'+' is a wildcard only as a whole segment; here it is an ordinary character".into());
    }
    let body = if open { text } else { text.strip_suffix('/').unwrap_or(text) };
    let last = body.split('/').count();
    let never = |(number, segment): (usize, &str)| match segment {
        "." | ".." => number < last || !open,
        "" => number < last && !body.is_empty(),
        _ => false,
    };
    if (1..).zip(body.split('/')).any(never) {
        say("no request path has empty, '.' or '..' segments, so this rule never applies".into());
    }
    if let Some(rest) = text.strip_prefix("v1/") {
        say(format!("paths in policies do not begin with 'v1/'; write {rest:?}"));
    }
    let Some(template) = &rule.template else { return };
    for directive in template.unknown() {
        say(format!("there is no template {directive:?}, so this rule never applies"));
    }
    if rule.capabilities.denies() {
        say("a rule whose template has no value for a token is left out, so do not rely on it to deny".into());
    }
}

fn capabilities(rule: &Rule, messages: &mut Vec<String>) {
    if rule.capabilities == crate::Capabilities::NONE {
        messages.push("grants nothing, and keeps less specific rules from granting anything here".into());
    }
    if rule.voided {
        messages.push("'deny' voids the other capabilities of this rule".into());
    }
    if rule.capabilities.names() == [Capability::Sudo.as_str()] {
        messages.push("'sudo' alone allows nothing: add the capability of the operation, such as 'update'".into());
    }
}

fn values(rule: &Rule, messages: &mut Vec<String>) {
    for (list, limits) in
        [("allowed_parameters", &rule.constraints.allowed), ("denied_parameters", &rule.constraints.denied)]
    {
        for (name, _) in limits.iter().filter(|(_, values)| values.iter().any(|value| value == "*")) {
            messages.push(format!(
                "the value \"*\" of {name:?} in '{list}' matches only an asterisk; write [] for any value"
            ));
        }
    }
    for name in rule.constraints.required.intersection(&rule.constraints.denied.keys().cloned().collect()) {
        if rule.constraints.denied.get(name).is_some_and(Vec::is_empty) {
            messages.push(format!("the parameter {name:?} is both required and denied, so nothing is allowed"));
        }
    }
}

fn repeated(first: &Rule, again: &Rule) -> String {
    let line = first.line;
    match (first.capabilities.denies(), again.capabilities.denies()) {
        (true, false) => format!("the 'deny' for this path on line {line} voids this block"),
        (false, true) => format!("this 'deny' voids the block for this path on line {line}"),
        _ => format!("this path stands on line {line} too; the blocks are merged"),
    }
}

/// A `deny` says nothing about a path that a more specific rule decides on, however much it looks like it.
fn shadowed(rule: &Rule, rules: &[Arc<Rule>], messages: &mut Vec<String>) {
    if !rule.capabilities.denies() || rules.len() > MOST_COMPARED {
        return;
    }
    let granting = |other: &&Arc<Rule>| other.capabilities.grants() && covers(&rule.path, &other.path);
    if let Some(other) = rules.iter().find(granting) {
        messages.push(format!(
            "this 'deny' does not reach {:?} on line {}, which is more specific and grants: put 'deny' there, or remove it",
            other.path, other.line
        ));
    }
}

/// Whether every path that `narrow` matches is matched by `wide` too, and the two are not the same.
fn covers(wide: &str, narrow: &str) -> bool {
    let Pattern::Wild { text: wide_text, open } = Pattern::new(wide) else { return false };
    if wide == narrow {
        return false;
    }
    let (narrow_text, narrow_open) = match Pattern::new(narrow) {
        Pattern::Exact(text) => (text, false),
        Pattern::Wild { text, open } => (text, open),
    };
    let (wide, narrow): (Vec<&str>, Vec<&str>) = (wide_text.split('/').collect(), narrow_text.split('/').collect());
    let fits = |(wide, narrow): (&&str, &&str)| *wide == "+" && !narrow.is_empty() || wide == narrow;
    match (open, wide.split_last()) {
        (true, Some((last, firsts))) => {
            let next = narrow.get(firsts.len());
            let in_last = |next: &&str| if *last == "+" { !next.is_empty() } else { next.starts_with(last) };
            narrow.len() >= wide.len() && firsts.iter().zip(&narrow).all(fits) && next.is_some_and(in_last)
        }
        _ => !narrow_open && wide.len() == narrow.len() && wide.iter().zip(&narrow).all(fits),
    }
}

/// With more rules than this in a policy, rules are not compared with each other: that takes the square of their number.
const MOST_COMPARED: usize = 2_000;

fn kv_v2(rule: &Rule, mounts: &impl Fn(&str) -> Option<MountKind>, messages: &mut Vec<String>) {
    let slashes = rule.path.match_indices('/').map(|(at, _)| rule.path.split_at(at + 1));
    let Some((mount, below)) = slashes.into_iter().find(|(mount, _)| mounts(mount) == Some(MountKind::KvV2)) else {
        return;
    };
    let (first, rest) = below.split_once('/').map_or((below, None), |(first, rest)| (first, Some(rest)));
    let reaches = |known: &str| match (rest, first.strip_suffix('*')) {
        (_, _) if first == "+" || first == known => true,
        (None, Some(start)) => known.starts_with(start),
        _ => false,
    };
    if !below.is_empty() && !KV_FAMILIES.iter().any(|known| reaches(known)) {
        messages.push(format!(
            "{mount:?} is a KV version 2 mount, where this path does not exist: write \"{mount}data/{below}\" for values, \
             \"{mount}metadata/{below}\" for names and versions",
        ));
    }
    if first == "data" && rule.capabilities.contains(Capability::List) {
        let rest = rest.unwrap_or_default();
        messages
            .push(format!("names on a KV version 2 mount are listed at \"{mount}metadata/{rest}\", not below 'data/'"));
    }
}
