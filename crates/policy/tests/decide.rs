//! Decisions, as tables: which rule decides, and what it says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use std::{sync::Arc, time::Duration};

use api::Operation::{self, Create, Delete, List, Patch, Read, Update};
use policy::{Acl, Ask, Policy, Reason, Subject};

fn policies(texts: &[&str]) -> Vec<Arc<Policy>> {
    let parse = |(number, text): (u32, &&str)| Arc::new(Policy::parse(&format!("p{number}"), text).unwrap());
    (1..).zip(texts).map(parse).collect()
}

fn acl(texts: &[&str]) -> Acl {
    Acl::compile(&policies(texts), None)
}

/// A policy with one path a line: `path: capability capability`.
fn short(rules: &str) -> String {
    let rule = |line: &str| {
        let (path, capabilities) = line.trim().rsplit_once(':').unwrap();
        let list = capabilities.split_whitespace().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        format!("path {path:?} {{ capabilities = [{list}] }}\n")
    };
    rules.split(';').map(rule).collect()
}

/// What decided: `allow path`, `deny path`, `lack path` or `none`.
fn verdict(acl: &Acl, operation: Operation, path: &str) -> String {
    let decision = acl.decide(&Ask::new(path, operation));
    let rule = decision.rules().first().map_or(String::new(), |rule| format!(" {}", rule.path));
    assert_eq!(decision.allowed, decision.reason().is_none());
    assert_eq!(decision.allowed, decision.granting().next().is_some());
    assert_eq!(decision.allowed, acl.allows(path, operation));
    match decision.reason() {
        None => format!("allow{rule}"),
        Some(Reason::Denied) => format!("deny{rule}"),
        Some(Reason::MissingCapability(_)) => format!("lack{rule}"),
        Some(Reason::NoRule) => "none".to_owned(),
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_most_specific_path_decides_alone() {
    // Policies, operation, path, verdict.
    let table = [
        // Paths without wildcards match themselves, and nothing below or beside.
        ("a/b: read", Read, "a/b", "allow a/b"),
        ("a/b: read", Read, "/a/b", "allow a/b"),
        ("a/b: read", Read, "a/b/", "none"),
        ("a/b: read", Read, "a/b/c", "none"),
        ("a/b: read", Read, "a", "none"),
        ("a/b: read", Read, "A/b", "none"),
        ("a/b: read", Update, "a/b", "lack a/b"),
        // A star at the end matches any rest, also none, also within a segment.
        ("a/b*: read", Read, "a/b", "allow a/b*"),
        ("a/b*: read", Read, "a/bc/d", "allow a/b*"),
        ("a/b*: read", Read, "a/", "none"),
        ("a/*: read", Read, "a/", "allow a/*"),
        ("a/*: read", Read, "a", "none"),
        ("*: read", Read, "anything/at/all", "allow *"),
        ("*: read", Read, "", "allow *"),
        // A star elsewhere is a character.
        ("a/*/c: read", Read, "a/b/c", "none"),
        ("a/*/c: read", Read, "a/*/c", "allow a/*/c"),
        // A plus matches exactly one segment.
        ("a/+/c: read", Read, "a/b/c", "allow a/+/c"),
        ("a/+/c: read", Read, "a/b/x/c", "none"),
        ("a/+/c: read", Read, "a/c", "none"),
        ("a/+/c: read", Read, "a/b/c/d", "none"),
        ("a/+: read", Read, "a/b", "allow a/+"),
        ("a/+: read", Read, "a/b/c", "none"),
        ("+: read", Read, "a", "allow +"),
        ("+/b: read", Read, "a/b", "allow +/b"),
        ("+/+/+: read", Read, "a/b/c", "allow +/+/+"),
        ("a+/b: read", Read, "ax/b", "none"),
        ("a+/b: read", Read, "a+/b", "allow a+/b"),
        ("a/+b/c: read", Read, "a/xb/c", "none"),
        // Both together.
        ("a/+/c*: read", Read, "a/b/cd/e", "allow a/+/c*"),
        ("a/+/c*: read", Read, "a/b/d", "none"),
        ("a/+/*: read", Read, "a/b/", "allow a/+/*"),
        ("a/+/*: read", Read, "a/b", "none"),
        // Without wildcards before with them, whatever they say.
        ("a/b: read; a/b*: update; a/+: update", Read, "a/b", "allow a/b"),
        ("a/b: read; a/b*: update; a/+: update", Update, "a/b", "lack a/b"),
        ("a/b: deny; a/*: read", Read, "a/b", "deny a/b"),
        ("a/b: read; a/*: deny", Read, "a/b", "allow a/b"),
        // 1: the wildcard that stands later.
        ("a/*: deny; a/b/*: read", Read, "a/b/c", "allow a/b/*"),
        ("a/*: read; a/b/*: deny", Read, "a/b/c", "deny a/b/*"),
        ("a/b*: read; a/bc*: deny; a/bcd*: read", Read, "a/bcx", "deny a/bc*"),
        ("a/b*: read; a/bc*: deny; a/bcd*: read", Read, "a/bcde", "allow a/bcd*"),
        ("a/b*: read; a/+/c/d: deny", Read, "a/b/c/d", "allow a/b*"),
        ("a/b/+: read; a/+/c: deny", Read, "a/b/c", "allow a/b/+"),
        ("+/b/c: deny; a/*: read", Read, "a/b/c", "allow a/*"),
        ("+/b/c: deny; *: read", Read, "a/b/c", "deny +/b/c"),
        // 2: not ending in a star.
        ("a/+: read; a/*: deny", Read, "a/b", "allow a/+"),
        ("a/+/+/d: read; a/+/c*: deny", Read, "a/b/c/d", "allow a/+/+/d"),
        ("a/+/+/+: read; a/+/*: deny", Read, "a/b/c/d", "allow a/+/+/+"),
        // 3: fewer pluses.
        ("a/+/c/d: read; a/+/+/d: deny", Read, "a/b/c/d", "allow a/+/c/d"),
        ("a/+/c/*: read; a/+/+/d*: deny", Read, "a/b/c/d", "allow a/+/c/*"),
        ("a/*: read; a/+/c*: deny", Read, "a/b/c", "allow a/*"),
        // 4: longer.
        ("a/+/c*: deny; a/+/cd*: read", Read, "a/b/cde", "allow a/+/cd*"),
        ("a/+/+/dd/e: read; a/+/c/+/e: deny", Read, "a/b/c/dd/e", "allow a/+/+/dd/e"),
        // 5: greater in byte order.
        ("a/+/c/+: read; a/+/+/d: deny", Read, "a/b/c/d", "allow a/+/c/+"),
        ("a/+/c/+/e*: deny; a/+/+/d/e*: read", Read, "a/b/c/d/e", "deny a/+/c/+/e*"),
        // A rule that grants nothing still decides.
        ("a/b:; a/*: read", Read, "a/b", "lack a/b"),
        // Trailing slashes count.
        ("a/b/: read; a/*: deny", Read, "a/b/", "allow a/b/"),
        ("a/b/: read; a/*: deny", Read, "a/b", "deny a/*"),
    ];
    for (rules, operation, path, expected) in table {
        let split: Vec<String> = rules.split(';').map(short).collect();
        let split: Vec<&str> = split.iter().map(String::as_str).collect();
        assert_eq!(verdict(&acl(&[&short(rules)]), operation, path), expected, "{rules}: {operation} {path:?}");
        let reversed: Vec<&str> = split.iter().rev().copied().collect();
        assert_eq!(verdict(&acl(&split), operation, path), expected, "a policy each: {rules}");
        assert_eq!(verdict(&acl(&reversed), operation, path), expected, "a policy each, reversed: {rules}");
    }
}

#[test]
fn listing_looks_at_the_folder_with_and_without_its_slash() {
    let table = [
        ("a/b: list", "a/b", "allow a/b"),
        ("a/b: list", "a/b/", "allow a/b"),
        ("a/b/: list", "a/b", "allow a/b/"),
        ("a/b/: list", "a/b/", "allow a/b/"),
        ("a/b/: list; a/b: deny", "a/b", "allow a/b/"),
        ("a/b/: deny; a/b: list", "a/b", "deny a/b/"),
        ("a/*: list", "a", "allow a/*"),
        ("a/*: list", "a/b", "allow a/*"),
        ("a/b*: list", "a/b", "allow a/b*"),
        // Wildcards match with the slash first, then without it.
        ("+/b/: list", "a/b", "allow +/b/"),
        ("+/b: list", "a/b/", "allow +/b"),
        ("a/+: list", "a/", "allow a/+"),
        ("a/+: list", "a/b", "allow a/+"),
        ("a/+/: list", "a/b", "allow a/+/"),
        ("a/*: list; a/+: read", "a/b", "allow a/*"),
        ("a/*: read; a/+: list", "a/b", "lack a/*"),
        // The whole.
        ("*: list", "", "allow *"),
        ("+: list", "", "allow +"),
        ("a: list", "", "none"),
        ("a/b: read", "a/b", "lack a/b"),
        // A rule without the slash does not stand aside for one with it when it is about other operations.
        ("a/b: read; a/*: list", "a/b", "lack a/b"),
    ];
    for (rules, path, expected) in table {
        assert_eq!(verdict(&acl(&[&short(rules)]), List, path), expected, "{rules}: {path:?}");
    }
}

// A folder that a policy denies could be listed, because the look-up without the trailing slash came first and found only
// the wider grant (GHSA-xp3c-3jw3-4vcr). A deny that is the more specific must win in either spelling.
#[test]
fn listing_honours_a_deny_in_the_more_specific_wildcard() {
    let table = [
        ("s/metadata/*: list; s/metadata/private/*: deny", "s/metadata/private", "deny s/metadata/private/*"),
        ("s/metadata/*: list; s/metadata/private/*: deny", "s/metadata/private/", "deny s/metadata/private/*"),
        ("s/metadata/*: list; s/metadata/private/*: deny", "s/metadata/private/app", "deny s/metadata/private/*"),
        ("s/metadata/*: list; s/metadata/private/*: deny", "s/metadata/public", "allow s/metadata/*"),
        ("s/metadata/*: list; s/metadata/private*: deny", "s/metadata/private", "deny s/metadata/private*"),
        ("s/metadata/*: list; s/metadata/private: deny", "s/metadata/private", "deny s/metadata/private"),
        ("s/metadata/*: list; s/metadata/private/: deny", "s/metadata/private", "deny s/metadata/private/"),
        ("s/*: list; s/+: deny", "s/private", "deny s/+"),
        ("s/*: list; s/+/: deny", "s/private", "deny s/+/"),
        ("s/*: list; s/+/+: deny", "s/metadata/private", "deny s/+/+"),
        // A less specific deny does not.
        ("s/metadata/*: list; +/metadata/private: deny", "s/metadata/private", "allow s/metadata/*"),
        ("s/metadata/*: list; s/*: deny", "s/metadata/private", "allow s/metadata/*"),
        // Nor one that a rule for the very path overrides.
        ("s/private: list; s/private/*: deny", "s/private", "allow s/private"),
    ];
    for (rules, path, expected) in table {
        assert_eq!(verdict(&acl(&[&short(rules)]), List, path), expected, "{rules}: {path:?}");
    }
}

#[test]
fn each_operation_needs_its_own_capability() {
    let operations = [Create, Delete, List, Patch, Read, Update];
    for granted in operations {
        let acl = acl(&[&short(&format!("a: {granted}"))]);
        for asked in operations {
            let expected = if asked == granted { "allow a" } else { "lack a" };
            assert_eq!(verdict(&acl, asked, "a"), expected, "{granted} granted, {asked} asked");
        }
    }
    let all = acl(&[&short("a: create delete list patch read scan sudo update")]);
    assert!(operations.into_iter().all(|operation| verdict(&all, operation, "a") == "allow a"));
}

#[test]
fn rules_for_the_same_path_are_merged_and_deny_wins() {
    let table: [(&[&str], Operation, &str); 8] = [
        (&["a*: read", "a*: update"], Read, "allow"),
        (&["a*: read", "a*: update"], Update, "allow"),
        (&["a*: read", "a*: update"], Delete, "lack"),
        (&["a*: read", "a*: deny"], Read, "deny"),
        (&["a*: deny", "a*: read"], Read, "deny"),
        (&["a*: read", "a*: deny", "a*: update"], Update, "deny"),
        (&["a*: read; a*: deny"], Read, "deny"),
        // Another path string is another rule, even where both match the same.
        (&["a: read", "a*: deny"], Read, "allow"),
    ];
    for (texts, operation, expected) in table {
        let texts: Vec<String> = texts.iter().map(|rules| short(rules)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!(verdict(&acl(&texts), operation, "a").starts_with(expected), "{texts:?}: {operation}");
    }
}

#[test]
fn a_decision_names_the_blocks_that_made_it() {
    let one = "# app\npath \"a/*\" {\n  capabilities = [\"read\"]\n}\n";
    let two = "path \"a/*\" { capabilities = [\"update\", \"read\"] }\npath \"b\" { capabilities = [\"deny\"] }";
    let acl = acl(&[one, two]);
    let explain = |operation, path| acl.decide(&Ask::new(path, operation)).reason_text();
    let table = [
        (Read, "a/x", r#"allowed by policy "p1" line 2 path "a/*" and policy "p2" line 1 path "a/*""#),
        (Update, "a/x", r#"allowed by policy "p2" line 1 path "a/*""#),
        (
            Delete,
            "a/x",
            r#"refused: capability "delete" is missing in policy "p1" line 2 path "a/*" and policy "p2" line 1 path "a/*""#,
        ),
        (Read, "b", r#"refused: explicitly denied by policy "p2" line 2 path "b""#),
        (Read, "c", "refused: no rule matches the path"),
    ];
    for (operation, path, expected) in table {
        assert_eq!(explain(operation, path), expected);
    }
    let decision = acl.decide(&Ask::new("a/x", Update));
    let granting: Vec<_> = decision.granting().map(|rule| (rule.policy.as_str(), rule.line, &*rule.path)).collect();
    assert_eq!(granting, [("p2", 1, "a/*")]);
    assert_eq!(decision.rules().len(), 2);
}

#[test]
fn sudo_is_needed_beside_the_operation() {
    let acl = acl(&[&short("a: update; b: update sudo; c: sudo")]);
    let ask = |path| acl.decide(&Ask { sudo_required: true, ..Ask::new(path, Update) });
    assert_eq!(ask("a").reason(), Some(&Reason::MissingSudo));
    assert!(ask("b").allowed);
    assert!(matches!(ask("c").reason(), Some(Reason::MissingCapability(_))));
    assert!(acl.decide(&Ask::new("b", Update)).allowed);
}

#[test]
fn wrapping_times_are_held() {
    let block = |limits: &str| format!("path \"a\" {{ capabilities = [\"read\", \"list\"] {limits} }}");
    let (min, max) = (Duration::from_secs(60), Duration::from_secs(300));
    let both: &[&str] = &["min_wrapping_ttl = \"1m\" max_wrapping_ttl = \"5m\""];
    let (too_short, too_long) = (Some(Reason::WrappingTooShort { min }), Some(Reason::WrappingTooLong { max }));
    let required = Some(Reason::WrappingRequired);
    let table: [(&[&str], u64, Option<Reason>); 18] = [
        (&[""], 0, None),
        (&[""], 5, None),
        (both, 0, required.clone()),
        (both, 59, too_short.clone()),
        (both, 60, None),
        (both, 300, None),
        (both, 301, too_long.clone()),
        (&["min_wrapping_ttl = 60"], 0, required.clone()),
        (&["min_wrapping_ttl = 60"], 100_000, None),
        (&["max_wrapping_ttl = \"300\""], 0, required),
        (&["max_wrapping_ttl = \"300\""], 1, None),
        (&["min_wrapping_ttl = 0 max_wrapping_ttl = \"0s\""], 0, None),
        // Of two policies the lesser of each limit counts, also where the other has none.
        (&["min_wrapping_ttl = 60", "min_wrapping_ttl = 90"], 59, too_short.clone()),
        (&["min_wrapping_ttl = 60", "min_wrapping_ttl = 90"], 60, None),
        (&["max_wrapping_ttl = 300", "max_wrapping_ttl = 900"], 301, too_long.clone()),
        (&["max_wrapping_ttl = 900", "", "max_wrapping_ttl = 300"], 301, too_long),
        (&["", "min_wrapping_ttl = 60"], 1, too_short),
        (
            &["min_wrapping_ttl = 300", "max_wrapping_ttl = 60"],
            100,
            Some(Reason::WrappingConflict { min: max, max: min }),
        ),
    ];
    for (texts, asked, expected) in table {
        let texts: Vec<String> = texts.iter().map(|limits| block(limits)).collect();
        let acl = acl(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        for operation in [Read, List] {
            let ask = Ask { wrap_ttl: Some(Duration::from_secs(asked)), ..Ask::new("a", operation) };
            assert_eq!(acl.decide(&ask).reason(), expected.as_ref(), "{texts:?}: {asked} s");
        }
        if asked == 0 {
            assert_eq!(acl.decide(&Ask::new("a", Read)).reason(), expected.as_ref());
        }
    }
}

#[test]
fn root_alone_allows_everything() {
    let root = Arc::new(Policy::root());
    let acl = Acl::compile(&[Arc::clone(&root)], None);
    let decision = acl.decide(&Ask { sudo_required: true, ..Ask::new("sys/seal", Update) });
    assert!(acl.is_root() && decision.allowed && decision.is_root());
    assert_eq!(decision.reason_text(), "allowed by policy \"root\"");
    assert_eq!(decision.granting().map(|rule| rule.policy.as_str()).collect::<Vec<_>>(), ["root"]);
    assert_eq!(acl.capabilities("a"), ["root"]);
    assert!(acl.grants_below("a/") && acl.allows("a", List));
    // No token is made with root and others; such a list must not be all-powerful.
    let mut damaged = policies(&[&short("a: read")]);
    damaged.push(root);
    let acl = Acl::compile(&damaged, None);
    assert!(!acl.is_root());
    assert_eq!(verdict(&acl, Read, "a"), "allow a");
    assert_eq!(verdict(&acl, Read, "b"), "none");
    let nobody = Acl::compile(&[], None);
    assert_eq!(verdict(&nobody, Read, ""), "none");
    assert!(!nobody.grants_below(""));
}

#[test]
fn templates_follow_the_subject() {
    let text = short(
        "kv/{{identity.entity.name}}/*: read; kv/{{identity.entity.metadata.team}}/+: update; kv/plain: read; kv/bob/x: deny",
    );
    let policy = Arc::new(Policy::parse("t", &text).unwrap());
    assert!(policy.is_templated());
    let mut subject = Subject { name: "bob".into(), ..Subject::default() };
    let bob = Acl::compile(&[Arc::clone(&policy)], Some(&subject));
    assert_eq!(verdict(&bob, Read, "kv/bob/a"), "allow kv/bob/*");
    assert_eq!(verdict(&bob, Read, "kv/bob/x"), "deny kv/bob/x");
    assert_eq!(verdict(&bob, Read, "kv/alice/a"), "none");
    assert_eq!(verdict(&bob, Update, "kv/blue/a"), "none");
    assert_eq!(bob.decide(&Ask::new("kv/bob/a", Read)).rules()[0].line, 1);
    subject.metadata.insert("team".into(), "bob".into());
    let same = Acl::compile(&[Arc::clone(&policy)], Some(&subject));
    assert_eq!(verdict(&same, Update, "kv/bob/a"), "allow kv/bob/+");
    subject.metadata.insert("team".into(), "blue".into());
    assert_eq!(verdict(&Acl::compile(&[Arc::clone(&policy)], Some(&subject)), Update, "kv/blue/a"), "allow kv/blue/+");
    // Without an entity nothing templated is left.
    let nobody = Acl::compile(&[Arc::clone(&policy)], None);
    assert_eq!(verdict(&nobody, Read, "kv/bob/a"), "none");
    assert_eq!(verdict(&nobody, Read, "kv/plain"), "allow kv/plain");
    let resolved = policy.resolve(&subject);
    assert!(!resolved.is_templated());
    let paths: Vec<_> = resolved.rules().iter().map(|rule| rule.path.as_str()).collect();
    assert_eq!(paths, ["kv/bob/*", "kv/blue/+", "kv/plain", "kv/bob/x"]);
}

// A name or metadata value with a wildcard in it opened other people's paths (GHSA-59w7-v8rr-pr4p).
#[test]
fn values_cannot_widen_a_templated_path() {
    let policy = Arc::new(
        Policy::parse("t", &short("kv/{{identity.entity.name}}*: read; x/{{identity.entity.name}}: read")).unwrap(),
    );
    for name in ["*", "+", "a*", "a/b", "/", "", "a/+"] {
        let subject = Subject { name: name.into(), ..Subject::default() };
        let acl = Acl::compile(&[Arc::clone(&policy)], Some(&subject));
        assert_eq!(acl.paths().count(), 0, "{name:?}");
        assert_eq!(verdict(&acl, Read, "kv/alice"), "none", "{name:?}");
    }
}

#[test]
fn capabilities_are_sorted_and_never_empty() {
    let acl =
        acl(&[&short("a/*: update read list; a/b: deny; a/c:; d/: list; e: sudo create patch delete; +/f: read")]);
    let table: [(&str, &[&str]); 9] = [
        ("a/x", &["list", "read", "update"]),
        ("/a/x", &["list", "read", "update"]),
        ("a/b", &["deny"]),
        ("a/c", &["deny"]),
        ("nothing", &["deny"]),
        ("d/", &["list"]),
        ("d", &["deny"]),
        ("e", &["create", "delete", "patch", "sudo"]),
        ("e/", &["create", "delete", "patch", "sudo"]),
    ];
    for (path, expected) in table {
        assert_eq!(acl.capabilities(path), expected, "{path}");
    }
}

#[test]
fn grants_below_tells_which_mounts_to_show() {
    let table = [
        ("a/b/c: read", "a/", true),
        ("a/b/c: read", "a", true),
        ("a/b/c: read", "a/b/c/", true),
        ("a/b/c: read", "a/b/c/d", false),
        ("a/b/c: read", "ab/", false),
        ("a/b/c: read", "b/", false),
        ("a/b/c: read", "", true),
        ("a/b/c: deny", "a/", false),
        ("a/b/c:", "a/", false),
        ("a: read", "a/", true),
        ("a*: read", "ab/", true),
        ("*: read", "a/", true),
        ("*: deny", "a/", false),
        ("a/b*: read", "a/", true),
        ("a/b*: read", "a/bc/d/", true),
        ("a/b*: read", "a/c/", false),
        ("+/b: read", "a/", true),
        ("+/b: read", "a/c/", false),
        ("+/+/c*: read", "a/b/", true),
        ("+/+/c*: read", "a/b/cc/", true),
        ("+/+/c*: read", "a/b/d/", false),
        // A deny covers what is less specific, not what is more.
        ("*: read; a/*: deny", "a/", false),
        ("*: read; a/*: deny", "a", true),
        ("*: read; a/*: deny", "b/", true),
        ("*: read; a/*: deny; a/b/c: read", "a/", true),
        ("a/*: deny; a/b/*: read", "a/", true),
        ("a/*: deny; a/+/c: read", "a/", true),
        ("a/*: deny; +/b/c: read", "a/", false),
        ("a/*: read; a/b/*: deny", "a/", true),
        ("a/*: read; a/b/*: deny", "a/b/", false),
        ("a/*: read; a/b/: deny", "a/b/", true),
        ("a/b/+: deny; a/*: read", "a/b", true),
    ];
    for (rules, path, expected) in table {
        assert_eq!(acl(&[&short(rules)]).grants_below(path), expected, "{rules}: {path:?}");
    }
}

#[test]
fn the_default_policy_grants_what_a_token_may_do_with_itself() {
    let policy = Arc::new(Policy::parse(policy::DEFAULT_NAME, policy::DEFAULT).unwrap());
    let subject = Subject { id: "e-1".into(), name: "bob".into(), ..Subject::default() };
    let acl = Acl::compile(&[policy], Some(&subject));
    let table = [
        (Read, "auth/token/lookup-self", true),
        (Update, "auth/token/renew-self", true),
        (Update, "auth/token/revoke-self", true),
        (Update, "sys/capabilities-self", true),
        (Read, "sys/internal/ui/resultant-acl", true),
        (Read, "identity/entity/id/e-1", true),
        (Read, "identity/entity/name/bob", true),
        (Read, "identity/entity/id/e-2", false),
        (Update, "sys/leases/renew", true),
        (Update, "sys/leases/lookup", true),
        (Update, "sys/leases/revoke", false),
        (Create, "cubbyhole/a/b", true),
        (List, "cubbyhole", true),
        (Update, "sys/wrapping/unwrap", true),
        (Update, "sys/tools/hash/sha2-256", true),
        (Read, "identity/oidc/provider/p/authorize", true),
        (Read, "identity/oidc/provider/p/q/authorize", false),
        (Update, "auth/token/create", false),
        (Read, "secret/data/a", false),
        (Update, "sys/seal", false),
    ];
    for (operation, path, expected) in table {
        assert_eq!(acl.decide(&Ask::new(path, operation)).allowed, expected, "{operation} {path}");
    }
    let wrapping = acl_of(policy::RESPONSE_WRAPPING_NAME, policy::RESPONSE_WRAPPING);
    assert_eq!(wrapping.capabilities("cubbyhole/response"), ["create", "read"]);
    assert_eq!(wrapping.capabilities("sys/wrapping/unwrap"), ["update"]);
    assert_eq!(wrapping.paths().count(), 2);
}

fn acl_of(name: &str, text: &str) -> Acl {
    Acl::compile(&[Arc::new(Policy::parse(name, text).unwrap())], None)
}

#[test]
fn conditions_on_the_secret_are_told_with_the_decision() {
    let plain = r#"path "kv/data/*" { capabilities = ["read", "update"] hidden_fields = ["password"] }"#;
    let owned = r#"path "kv/data/*" {
        capabilities      = ["read"]
        required_metadata = { "owner" = ["shop", "team-*"] }
    }"#;
    let decide = |acl: &Acl| acl.decide(&Ask::new("kv/data/a", Read));
    let decision = decide(&acl(&[plain]));
    assert!(decision.allowed && decision.reason().is_none());
    let conditions = decision.conditions().unwrap();
    assert!(!conditions.on_metadata() && conditions.on_fields());
    assert!(conditions.shows("user") && !conditions.shows("password"));
    assert_eq!(
        decision.to_string(),
        "allowed by policy \"p1\" line 1 path \"kv/data/*\", without the fields {\"password\"}"
    );
    // What two policies say of a path holds together, whichever grants.
    let both = acl(&[plain, owned]);
    let decision = decide(&both);
    let conditions = decision.conditions().unwrap();
    assert!(conditions.on_metadata() && !conditions.shows("password"));
    assert!(
        decision.to_string().contains("if custom metadata \"owner\" is one of [\"shop\", \"team-*\"]"),
        "{decision}"
    );
    // A more specific rule without conditions decides alone, as ever.
    let open = r#"path "kv/data/open" { capabilities = ["read"] }"#;
    let open = acl(&[plain, owned, open]);
    assert!(open.decide(&Ask::new("kv/data/open", Read)).conditions().is_none());
    // To show names, what depends on metadata is not allowed; in full, what has hidden fields is not either.
    let allowed = |acl: &Acl| (acl.allows("kv/data/a", Read), acl.allows_plainly("kv/data/a", Read));
    assert_eq!(allowed(&acl(&[plain])), (true, false));
    assert_eq!(allowed(&both), (false, false));
    assert_eq!(allowed(&acl(&[&short("kv/data/*: read")])), (true, true));
    // A deny has nothing to restrict, and root is held by nothing.
    let denied = acl(&[owned, &short("kv/data/*: deny")]);
    assert!(decide(&denied).conditions().is_none());
    assert!(decide(&Acl::compile(&[Arc::new(Policy::root())], None)).conditions().is_none());
}
