//! What is remarked on, and what is not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use policy::{MountKind, Policy, lint};

fn mounts(path: &str) -> Option<MountKind> {
    match path {
        "kv/" | "team/kv/" => Some(MountKind::KvV2),
        "sys/" | "old/" => Some(MountKind::Other),
        _ => None,
    }
}

#[test]
fn odd_rules_are_remarked_on() {
    // A rule, and a part of each remark.
    let table: [(&str, &[&str]); 41] = [
        // Fine.
        (r#"path "kv/data/app" { policy = "read" }"#, &["listed at \"kv/metadata/app\""]),
        (r#"path "kv/data/app/*" { capabilities = ["read"] }"#, &[]),
        (r#"path "kv/metadata/*" { capabilities = ["list"] }"#, &[]),
        (r#"path "kv/*" { capabilities = ["list"] }"#, &[]),
        (r#"path "kv/+/app" { capabilities = ["read"] }"#, &[]),
        (r#"path "kv/da*" { capabilities = ["read"] }"#, &[]),
        (r#"path "kv/" { capabilities = ["list"] }"#, &[]),
        (r#"path "kv" { capabilities = ["read"] }"#, &[]),
        (r#"path "kv/config" { capabilities = ["read"] }"#, &[]),
        (r#"path "old/app" { capabilities = ["read"] }"#, &[]),
        (r#"path "a/" { capabilities = ["list"] }"#, &[]),
        (r#"path "*" { capabilities = ["read"] }"#, &[]),
        (r#"path "+/a/+" { capabilities = ["read"] }"#, &[]),
        (r#"path "a/..*" { capabilities = ["read"] }"#, &[]),
        (r#"path "a/{{identity.entity.id}}" { capabilities = ["read"] }"#, &[]),
        // Paths that a versioned store does not have.
        (r#"path "kv/app" { capabilities = ["read"] }"#, &["write \"kv/data/app\" for values"]),
        (r#"path "kv/app/*" { capabilities = ["read"] }"#, &["\"kv/metadata/app/*\" for names"]),
        (r#"path "kv/app*" { capabilities = ["deny"] }"#, &["does not exist"]),
        (r#"path "kv/dat/x" { capabilities = ["read"] }"#, &["does not exist"]),
        (r#"path "kv/da*x" { capabilities = ["read"] }"#, &["only at the end", "does not exist"]),
        (r#"path "team/kv/app" { capabilities = ["read"] }"#, &["\"team/kv/data/app\""]),
        (r#"path "kv/data/*" { capabilities = ["read", "list"] }"#, &["\"kv/metadata/*\""]),
        // Wildcards that are none.
        (r#"path "a/*/b" { capabilities = ["read"] }"#, &["'*' is a wildcard only at the end"]),
        (r#"path "a/**" { capabilities = ["read"] }"#, &["'*' is a wildcard only at the end"]),
        (r#"path "a/b+/c" { capabilities = ["read"] }"#, &["'+' is a wildcard only as a whole segment"]),
        // Paths that no request has.
        (r#"path "//a" { capabilities = ["read"] }"#, &["never applies"]),
        (r#"path "a//b" { capabilities = ["read"] }"#, &["never applies"]),
        (r#"path "a/../b" { capabilities = ["read"] }"#, &["never applies"]),
        (r#"path "a/.." { capabilities = ["read"] }"#, &["never applies"]),
        (r#"path "a/./*" { capabilities = ["read"] }"#, &["never applies"]),
        (r#"path "v1/kv/data/a" { capabilities = ["read"] }"#, &["write \"kv/data/a\""]),
        // Templates.
        (r#"path "a/{{entity.id}}" { capabilities = ["read"] }"#, &["no template \"entity.id\""]),
        (r#"path "a/{{identity.entity.id}}" { policy = "deny" }"#, &["do not rely on it to deny"]),
        // Capabilities and values.
        (r#"path "a" { capabilities = [] }"#, &["grants nothing"]),
        (r#"path "a" {}"#, &["grants nothing"]),
        (r#"path "a" { capabilities = ["deny", "read"] }"#, &["voids the other capabilities"]),
        (r#"path "a" { capabilities = ["sudo"] }"#, &["'sudo' alone allows nothing"]),
        (
            r#"path "a" { policy = "write" denied_parameters = { x = ["*"] } }"#,
            &["'denied_parameters' matches only an asterisk"],
        ),
        (r#"path "a" { policy = "write" allowed_parameters = { x = ["*", "b"] } }"#, &["'allowed_parameters' matches"]),
        (
            r#"path "a" { policy = "write" denied_parameters = { x = [] } required_parameters = ["X"] }"#,
            &["both required and denied"],
        ),
        (r#"path "a" { policy = "write" denied_parameters = { x = ["b"] } required_parameters = ["X"] }"#, &[]),
    ];
    for (text, expected) in table {
        let warnings = lint(&Policy::parse("p", text).unwrap(), mounts);
        let messages: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), expected.len(), "{text}: {messages:?}");
        for (message, part) in messages.iter().zip(expected) {
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

#[test]
fn repeated_paths_are_remarked_on_where_they_stand() {
    let block = |capability: &str| format!("path \"a\" {{ capabilities = [\"{capability}\"] }}\n");
    let table = [
        ("read", "update", "line 2: this path stands on line 1 too; the blocks are merged"),
        ("read", "deny", "line 2: this 'deny' voids the block for this path on line 1"),
        ("deny", "read", "line 2: the 'deny' for this path on line 1 voids this block"),
    ];
    for (first, second, expected) in table {
        let policy = Policy::parse("p", &(block(first) + &block(second))).unwrap();
        let warnings = lint(&policy, mounts);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].to_string().ends_with(expected), "{}", warnings[0]);
    }
}

#[test]
fn a_deny_that_a_more_specific_rule_overrides_is_remarked_on() {
    // The path of a `deny`, the path of a rule that grants, and whether the latter takes something from the former.
    let table = [
        ("a/*", "a/b", true),
        ("a/*", "a/b/c*", true),
        ("a/*", "a/", true),
        ("a/b*", "a/bc", true),
        ("a/b*", "a/c", false),
        ("a/b*", "a/*", false),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a/b/d", false),
        ("a/+/c", "a/b/c*", false),
        ("a/+/*", "a/b/c", true),
        ("a/+/*", "a//c", false),
        ("+", "a", true),
        ("+", "a/b", false),
        ("*", "a/+", true),
        ("a", "a/b", false),
    ];
    for (deny, grant, expected) in table {
        let text = format!("path \"{deny}\" {{ policy = \"deny\" }}\npath \"{grant}\" {{ capabilities = [\"read\"] }}");
        let policy = Policy::parse("p", &text).unwrap();
        let remarks = lint(&policy, |_| None);
        let found = remarks.iter().any(|remark| remark.line == 1 && remark.message.contains("does not reach"));
        assert_eq!(found, expected, "{deny} {grant}: {remarks:?}");
        if expected {
            let acl = policy::Acl::compile(&[std::sync::Arc::new(policy)], None);
            let path = grant.trim_end_matches('*').replace('+', "x");
            assert!(acl.allows(&path, api::Operation::Read), "{deny} {grant}: the rule does grant");
        }
    }
}
