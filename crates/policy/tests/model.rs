//! The compiled form against the rules of the language written down as plainly as possible, over random policies.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use api::Operation;
use policy::{Acl, Ask, Capabilities, Capability, Policy, lint};
use proptest::prelude::*;

/// Whether a wildcard path matches, segment by segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (body, open) = pattern.strip_suffix('*').map_or((pattern, false), |body| (body, true));
    let (wanted, given): (Vec<&str>, Vec<&str>) = (body.split('/').collect(), path.split('/').collect());
    if given.len() < wanted.len() || (!open && given.len() != wanted.len()) {
        return false;
    }
    wanted.iter().enumerate().all(|(at, &segment)| {
        let last_of_open = open && at + 1 == wanted.len();
        segment == "+" || segment == given[at] || (last_of_open && given[at].starts_with(segment))
    })
}

fn is_wild(pattern: &str) -> bool {
    pattern.ends_with('*') || pattern.split('/').any(|segment| segment == "+")
}

/// The five rules of priority, one after the other.
fn priority(a: &str, b: &str) -> Ordering {
    let body = |p: &str| p.strip_suffix('*').unwrap_or(p).to_owned();
    let pluses = |p: &str| body(p).split('/').filter(|&segment| segment == "+").count();
    let first = |p: &str| {
        let plus = if p.starts_with("+/") || p == "+" { Some(0) } else { None };
        let inner = format!("{}/", body(p)).find("/+/").map(|at| at + 1);
        plus.or(inner).unwrap_or(body(p).len())
    };
    first(a)
        .cmp(&first(b))
        .then_with(|| b.ends_with('*').cmp(&a.ends_with('*')))
        .then_with(|| pluses(b).cmp(&pluses(a)))
        .then_with(|| body(a).len().cmp(&body(b).len()))
        .then_with(|| body(a).cmp(&body(b)))
}

type Rules = BTreeMap<String, Capabilities>;

fn best<'a>(rules: &'a Rules, path: &str) -> Option<&'a str> {
    let wild = rules.keys().filter(|pattern| is_wild(pattern) && matches(pattern, path));
    wild.max_by(|a, b| priority(a, b)).map(String::as_str)
}

fn decide<'a>(rules: &'a Rules, path: &str, operation: Operation) -> Option<&'a str> {
    let exact = |path: &str| rules.get_key_value(path).filter(|(key, _)| !is_wild(key)).map(|(key, _)| key.as_str());
    if operation != Operation::List {
        return exact(path).or_else(|| best(rules, path));
    }
    let folder = if path.is_empty() || path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
    let bare = folder.trim_end_matches('/');
    exact(&folder).or_else(|| exact(bare)).or_else(|| match (best(rules, &folder), best(rules, bare)) {
        (Some(with), Some(without)) if rules[without].denies() && priority(without, with).is_gt() => Some(without),
        (with, without) => with.or(without),
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => "[ab]{1,2}", 2 => Just("+".to_owned()), 1 => Just("a+".to_owned())];
    let end = prop_oneof![3 => Just(""), 2 => Just("*"), 2 => Just("/*"), 1 => Just("/")];
    (prop::collection::vec(segment, 0..5), end).prop_map(|(segments, end)| {
        let path = segments.join("/") + end;
        path.replace("+*", "+").trim_start_matches('/').to_owned()
    })
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![6 => "[ab]{1,2}", 1 => "[ab]{3}", 1 => Just("a+".to_owned())];
    (prop::collection::vec(segment, 0..6), prop::bool::weighted(0.2)).prop_map(|(segments, slash)| {
        let path = segments.join("/");
        if slash && !path.is_empty() { path + "/" } else { path }
    })
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    let some = prop::sample::subsequence(&[Capability::Read, Capability::List, Capability::Update][..], 0..=3)
        .prop_map(|list| list.into_iter().collect());
    prop_oneof![4 => some, 1 => Just(Capabilities::DENY)]
}

fn text(rules: &[(String, Capabilities)]) -> String {
    rules.iter().map(|(path, set)| format!("path {path:?} {{ capabilities = {:?} }}\n", set.names())).collect()
}

const OPERATIONS: [Operation; 3] = [Operation::Read, Operation::List, Operation::Update];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_index_decides_as_the_rules_say(
        policies in prop::collection::vec(prop::collection::vec((pattern(), capabilities()), 0..20), 1..4),
        paths in prop::collection::vec(path(), 20),
    ) {
        let mut rules = Rules::new();
        for (path, set) in policies.iter().flatten() {
            let merged = rules.entry(path.clone()).or_default();
            *merged = merged.union(*set);
        }
        let parse = |(number, rules): (usize, &Vec<_>)| Arc::new(Policy::parse(&format!("p{number}"), &text(rules)).unwrap());
        let acl = Acl::compile(&policies.iter().enumerate().map(parse).collect::<Vec<_>>(), None);
        for path in &paths {
            for operation in OPERATIONS {
                let expected = decide(&rules, path, operation);
                let decision = acl.decide(&Ask::new(path, operation));
                let found = decision.rules().first().map(|rule| &*rule.path);
                prop_assert_eq!(found, expected, "{} {:?} in {:?}", operation, path, rules);
                let allowed = expected.is_some_and(|rule| rules[rule].contains(Capability::of(operation)));
                prop_assert_eq!(decision.allowed, allowed);
                prop_assert_eq!(acl.allows(path, operation), allowed);
            }
        }
        // Nothing granted may be hidden from those who look at folders.
        for path in &paths {
            if acl.allows(path, Operation::Read) || acl.allows(path, Operation::List) {
                for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
                    prop_assert!(acl.grants_below(&path[..at]), "{:?} of {:?} in {:?}", &path[..at], path, rules);
                    let folder = path.get(..=at).unwrap_or("");
                    prop_assert!(acl.grants_below(folder), "{:?} of {:?} in {:?}", folder, path, rules);
                }
                prop_assert!(acl.grants_below(""));
            }
        }
    }

    // A text that changes on its way through parsing would change what it grants.
    #[test]
    fn what_is_written_is_what_is_read(rules in prop::collection::vec(("[ -~é]{0,12}", capabilities()), 0..8)) {
        let quote = |path: &str| serde_json::to_string(path).unwrap();
        let usable = |path: &str| !path.contains("${") && !path.contains("+*") && !path.contains("{{") && !path.contains("}}");
        let rules: Vec<_> = rules.into_iter().filter(|(path, _)| usable(path)).collect();
        let hcl: String =
            rules.iter().map(|(path, set)| format!("path {} {{ capabilities = {:?} }}", quote(path), set.names())).collect();
        let members: Vec<String> =
            rules.iter().map(|(path, set)| format!("{}: {{\"capabilities\": {:?}}}", quote(path), set.names())).collect();
        let json = format!("{{\"path\": {{{}}}}}", members.join(","));
        for text in [hcl, json] {
            let policy = Policy::parse("p", &text).unwrap();
            let read: Vec<_> = policy.rules().iter().map(|rule| (rule.path.clone(), rule.capabilities)).collect();
            let written: Vec<_> =
                rules.iter().map(|(path, set)| (path.strip_prefix('/').unwrap_or(path).to_owned(), *set)).collect();
            prop_assert_eq!(read, written);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        text in prop_oneof![
            "\\PC{0,200}",
            "[ \\n\"\\\\{}\\[\\]=,:#/*<$+a-c0-9.-]{0,200}",
            mutated(policy::DEFAULT),
            mutated(SAMPLE),
            mutated(JSON),
        ],
    ) {
        let text = policy::decode_text(&text);
        if let Ok(policy) = Policy::parse("p", &text) {
            let _ = lint(&policy, |_| Some(policy::MountKind::KvV2));
            let acl = Acl::compile(&[Arc::new(policy)], None);
            let _ = acl.decide(&Ask::new("cubbyhole/a", Operation::List)).reason_text();
            let _ = (acl.capabilities("a/"), acl.grants_below("a"));
        }
    }
}

/// A valid text with some pieces cut out, doubled or replaced.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..8_usize, "[\"{}\\[\\]=,:<$\\\\/*+ \\nxé]{0,3}", any::<bool>());
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, len, insert, double) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + len).min(chars.len());
            let cut: Vec<char> = chars.splice(at..end, insert.chars()).collect();
            if double {
                chars.splice(at..at, cut.iter().chain(&cut).copied());
            }
        }
        chars.into_iter().collect()
    })
}

const SAMPLE: &str = r#"
/* all keys */
name = "sample"
path "secret/data/{{identity.entity.name}}/+/x*" {
  capabilities = ["create", "read", "update", "delete", "list", "sudo", "patch"]
  allowed_parameters = { "a" = ["b*", 1, -2.5e3, true, ["c"], { d = "e" }], "*" = [] }
  denied_parameters { f = [] }
  required_parameters = ["g"]
  min_wrapping_ttl = "1s", max_wrapping_ttl = 90
  comment = <<-EOT
    several ${lines}
    EOT
}
"path" "x" { policy = "write" } // old
path = { y = { policy = "deny" } }
"#;

const JSON: &str = r#"{"name": "x", "path": [{"a/*": {"capabilities": ["read", "deny"], "allowed_parameters":
  {"k": ["v", null, 1.5, {"n": []}]}, "min_wrapping_ttl": "5m"}}, {"\u0062\ud83d\ude00": [{"policy": "sudo"}]}]}"#;
