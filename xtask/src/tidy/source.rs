//! Rules about single files of source.

use std::collections::BTreeSet;

use super::{File, Finding, Tree};

const LONGEST: usize = 700;

/// What says "later" instead of being done. Written in two halves, or this file would break its own rule.
const MARKERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];
const IGNORED: &str = concat!("#[", "ignore");

pub(super) fn crates(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in &tree.crates {
        let path = format!("{}/Cargo.toml", found.folder);
        let mut roots = ["lib", "main"].iter().filter_map(|root| tree.file(&format!("{}/src/{root}.rs", found.folder)));
        match roots.next() {
            None => findings.push(Finding::new(&*path, 1, "the crate has neither src/lib.rs nor src/main.rs")),
            Some(root) if !root.text.starts_with("//!") => {
                findings.push(Finding::new(&*root.path, 1, "say what the crate is in `//!`, two to ten lines"));
            }
            Some(_) => {}
        }
        if !found.manifest.section("package").any(|entry| entry.key == "description") {
            findings.push(Finding::new(&*path, 1, "the package has no description"));
        }
        if !found.manifest.has_section("lints") {
            findings.push(Finding::new(&*path, 1, "the crate does not take the workspace's lints"));
        }
    }
    findings
}

pub(super) fn lengths(tree: &Tree) -> Vec<Finding> {
    let long = |file: &&File| (file.is_rust() || file.path.ends_with(".sh")) && file.text.lines().count() > LONGEST;
    let what = |file: &File| {
        let count = file.text.lines().count();
        Finding::new(&*file.path, LONGEST + 1, format!("{count} lines; divide the file, at most {LONGEST} are allowed"))
    };
    tree.files.iter().filter(long).map(what).collect()
}

pub(super) fn put_off(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let checked = |file: &&File| !file.path.starts_with("vectors/") && !file.path.ends_with(".lock");
    for file in tree.files.iter().filter(checked) {
        for (at, line) in file.lines() {
            for marker in MARKERS.iter().filter(|marker| has_word(line, marker)) {
                findings.push(Finding::new(&*file.path, at, format!("do it or leave it out: {marker}")));
            }
            if file.is_rust() && line.contains(IGNORED) {
                findings.push(Finding::new(&*file.path, at, "a test that is ignored tests nothing"));
            }
        }
    }
    findings
}

/// Whether `word` stands in `line` and is no part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let part = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(part) && (word.ends_with('(') || !after.is_some_and(part))
    })
}

/// How many lines above an exposure its comment may stand.
const NEAR: usize = 3;

pub(super) fn exposures(tree: &Tree) -> Vec<Finding> {
    let tests = test_files(tree);
    let mut findings = Vec::new();
    let checked = |file: &&File| {
        // The crate that defines what exposing is, and this one, which only speaks of it.
        let defines = file.path.starts_with("crates/secret/") || file.path.starts_with("xtask/");
        file.is_rust() && !defines && !is_test_path(&file.path) && !tests.iter().any(|test| covers(test, &file.path))
    };
    for file in tree.files.iter().filter(checked) {
        let lines: Vec<&str> = file.text.lines().collect();
        let in_tests = test_lines(&lines);
        for (at, line) in lines.iter().enumerate() {
            let exposes = line.contains(".expose()") || line.contains("::expose)") || line.contains("::expose,");
            if !exposes || line.trim_start().starts_with("//") || in_tests.contains(&at) {
                continue;
            }
            let near = lines.get(at.saturating_sub(NEAR)..=at).unwrap_or_default();
            if !near.iter().any(|line| line.contains("// EXPOSE:")) {
                findings.push(Finding::new(&*file.path, at + 1, "a secret is exposed: say why in `// EXPOSE: …`"));
            }
        }
    }
    findings
}

/// Whether what lies at this path is for tests or measurements, and in no program that users run.
pub(super) fn is_test_path(path: &str) -> bool {
    let folders = ["tests", "testing", "examples", "benches", "bench", "fuzz", "testkit"];
    let name = path.rsplit('/').next().unwrap_or_default();
    path.split('/').any(|part| folders.contains(&part)) || name == "tests.rs" || name.ends_with("_tests.rs")
}

/// Files that their parents declare for tests alone, without `.rs`.
fn test_files(tree: &Tree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let lines: Vec<&str> = file.text.lines().collect();
        for at in test_lines(&lines) {
            let line = lines.get(at).map_or("", |line| line.trim());
            let module = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ");
            if let Some(name) = module.and_then(|module| module.strip_suffix(';')) {
                found.insert(format!("{}{name}", module_folder(&file.path)));
            }
        }
    }
    found
}

/// Where the modules of a file lie.
fn module_folder(path: &str) -> String {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    match stem.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => format!("{folder}/"),
        _ => format!("{stem}/"),
    }
}

fn covers(module: &str, path: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The lines (from 0) of items that are for tests alone. Formatted source is assumed: an item ends where a line with
/// the indentation of its beginning closes it.
fn test_lines(lines: &[&str]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let start = at;
        at += 1;
        let is_test = line.trim_start().starts_with("#[cfg(")
            && (line.contains("(test)") || line.contains("(test,") || line.contains("feature = \"testing\""));
        if !is_test {
            continue;
        }
        let indent = indentation(line);
        while let Some(line) = lines.get(at) {
            at += 1;
            let text = line.trim_start();
            let decoration = text.starts_with("#[") || text.starts_with("//");
            let ends = text.ends_with(';') || text.ends_with("{}") || text.starts_with('}');
            if indentation(line) == indent && ends && !decoration {
                break;
            }
        }
        found.extend(start..at);
    }
    found
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

pub(super) fn scripts(tree: &Tree) -> Vec<Finding> {
    let broken = |file: &&File| file.text.starts_with("#!/") && !file.executable;
    let what = |file: &File| Finding::new(&*file.path, 1, "a script that cannot be executed: chmod +x");
    tree.files.iter().filter(broken).map(what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{tree, whats};

    #[test]
    fn crates_explain_themselves() {
        let good = "[package]\ndescription = \"x\"\n[lints]\nworkspace = true\n";
        let tree = tree(&[
            ("crates/a/Cargo.toml", good),
            ("crates/a/src/lib.rs", "//! A.\n"),
            ("crates/b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("crates/b/src/main.rs", "fn main() {}\n"),
        ]);
        let found = whats(crates(&tree));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|found| found.starts_with("crates/b/")));
    }

    #[test]
    fn markers_are_found_as_words() {
        assert!(has_word("// FIXED, X X", "X"));
        assert!(!has_word("mktemp XXXXXX", MARKERS[2]));
        assert!(!has_word("TODOS", MARKERS[0]));
        let text = format!("// {}: later\n{}]\nfn f() {{ {}) }}\n", MARKERS[0], IGNORED, MARKERS[3]);
        let tree = tree(&[("crates/a/src/lib.rs", &text), ("vectors/x.txt", MARKERS[0])]);
        assert_eq!(put_off(&tree).len(), 3);
    }

    #[test]
    fn exposures_without_a_reason_are_found() {
        let text = "\
fn a() {
    // EXPOSE: sent.
    secret.expose();
    secret.expose(); // EXPOSE: sent.
    one();
    two();
    three();
    secret.expose();
}

#[cfg(test)]
mod helpers {
    fn b() {
        secret.expose();
    }
}

fn c() {
    value.map(SecretString::expose);
}
";
        let tree =
            tree(&[("crates/a/src/lib.rs", text), ("crates/a/tests/x.rs", text), ("crates/secret/src/lib.rs", text)]);
        let lines: Vec<_> = exposures(&tree).into_iter().map(|found| found.line).collect();
        assert_eq!(lines, [8, 19]);
    }

    #[test]
    fn modules_declared_for_tests_are_tests() {
        let parent = "mod a;\n#[cfg(test)]\nmod corpus;\nmod real;\n";
        let tree = tree(&[
            ("crates/a/src/lib.rs", parent),
            ("crates/a/src/corpus.rs", "fn f() { s.expose() }\n"),
            ("crates/a/src/corpus/deep.rs", "fn f() { s.expose() }\n"),
            ("crates/a/src/real.rs", "fn f() { s.expose() }\n"),
        ]);
        let found = whats(exposures(&tree));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/real.rs:1"));
    }

    #[test]
    fn scripts_and_lengths_are_checked() {
        let long = "x\n".repeat(LONGEST + 1);
        let tree = tree(&[("a.sh", "#!/bin/sh\n"), ("crates/a/src/lib.rs", &long), ("README.md", &long)]);
        assert_eq!(scripts(&tree).len(), 1);
        assert_eq!(lengths(&tree).len(), 1);
    }
}
