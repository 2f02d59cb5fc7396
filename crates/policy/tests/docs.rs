//! The examples of the user's page are policies, and good ones.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use policy::{MountKind, Policy, lint};

#[test]
fn the_examples_of_the_page_parse_without_a_warning() {
    let page = include_str!("../../../docs/src/policies.md");
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    assert!(blocks.len() >= 4);
    for block in blocks {
        let (language, text) = block.split_once('\n').unwrap();
        if language == "toml" {
            // A table for `policy test`, which the program's own tests read.
            continue;
        }
        assert!(["hcl", "json"].contains(&language), "{language}");
        let policy = Policy::parse("page", text).unwrap();
        let kv = |path: &str| (path == "kv/").then_some(MountKind::KvV2);
        assert_eq!(lint(&policy, kv), [], "{text}");
    }
}
