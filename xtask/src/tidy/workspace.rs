//! Rules about how the crates hang together.

use std::collections::BTreeMap;

use super::{Finding, Tree};

const MAP: &str = "ARCHITECTURE.md";
const ROOT: &str = "Cargo.toml";

/// Dependencies that only the named crates may have, outside their tests, and why.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("argon2", &["crates/crypto"], "only `crypto` hashes passwords"),
    ("aws-lc-rs", &["crates/crypto"], "only `crypto` names the cryptographic backend"),
    ("bcrypt", &["crates/crypto"], "only `crypto` hashes passwords"),
    ("http", &["crates/http"], "only `http` knows HTTP requests"),
    ("hyper", &["crates/http"], "only `http` knows HTTP requests"),
    ("hyper-util", &["crates/http"], "only `http` knows HTTP requests"),
    ("http-body-util", &["crates/http"], "only `http` knows HTTP requests"),
    ("libc", &["crates/agent"], "only `agent` needs what has no safe form"),
    ("rusqlite", &["crates/audit", "stores/embedded"], "only the embedded store and the journal's index are SQLite"),
    (
        "tokio-postgres",
        &["crates/postgres-tls", "databases/postgresql", "stores/postgresql"],
        "only the members of their families name PostgreSQL's library",
    ),
];

/// Every crate has a row in the map, and each row stands below those of all crates it depends on.
pub(super) fn map(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.file(MAP) else { return vec![Finding::new(MAP, 1, "is missing")] };
    let mut findings = Vec::new();
    let rows: BTreeMap<&str, usize> = map.lines().filter_map(|(at, line)| Some((row(line)?, at))).collect();
    let folders: BTreeMap<String, &str> =
        tree.crates.iter().map(|found| (package(&found.folder), found.folder.as_str())).collect();
    for found in &tree.crates {
        let Some(own) = rows.get(found.folder.as_str()) else {
            let what = format!("no row begins with | `{}` |: say in one sentence what the crate is", found.folder);
            findings.push(Finding::new(MAP, 1, what));
            continue;
        };
        for dependency in found.manifest.dependencies().filter(|found| found.is_normal && !found.is_optional) {
            let Some(folder) = folders.get(dependency.name) else { continue };
            if rows.get(folder).is_some_and(|row| row > own) {
                let what = format!("depends on {folder}, which stands below it in {MAP}");
                findings.push(Finding::new(format!("{}/Cargo.toml", found.folder), dependency.line, what));
            }
        }
    }
    let gone = rows.iter().filter(|(folder, _)| !tree.has(folder));
    findings.extend(gone.map(|(folder, at)| Finding::new(MAP, *at, format!("there is no {folder}"))));
    findings
}

/// The folder that a row of the map is about.
fn row(line: &str) -> Option<&str> {
    let (folder, _) = line.strip_prefix("| `")?.split_once("` |")?;
    (folder.contains('/') || super::ALONE.contains(&folder)).then_some(folder)
}

/// The package that lies in a folder.
fn package(folder: &str) -> String {
    let prefixes = [
        ("crates/", ""),
        ("engines/", "engine-"),
        ("auth-methods/", "auth-"),
        ("stores/", "store-"),
        ("databases/", "database-"),
        ("seals/", "seal-"),
    ];
    let named =
        prefixes.iter().find_map(|(family, kind)| Some(format!("strongroom-{kind}{}", folder.strip_prefix(family)?)));
    named.unwrap_or_else(|| folder.rsplit('/').next().unwrap_or(folder).to_owned())
}

pub(super) fn readmes(tree: &Tree) -> Vec<Finding> {
    let members = tree.crates.iter().filter(|found| found.family().is_some_and(|(_, met)| met));
    let paths = members.map(|found| format!("{}/README.md", found.folder));
    paths.filter(|path| !tree.has(path)).map(|path| Finding::new(path, 1, "is missing: the page for users")).collect()
}

pub(super) fn reasons(tree: &Tree) -> Vec<Finding> {
    let Some(root) = tree.file(ROOT) else { return vec![Finding::new(ROOT, 1, "is missing")] };
    let manifest = super::Manifest::of(&root.text);
    let mut findings = Vec::new();
    for entry in manifest.section("workspace.dependencies") {
        let ours = entry.value.contains("path =");
        if !ours && !entry.has_comment {
            let what = format!("{}: say in a comment what it is for", entry.key);
            findings.push(Finding::new(ROOT, entry.line, what));
        }
        let used = tree.crates.iter().any(|found| found.manifest.dependencies().any(|found| found.name == entry.key));
        if !(used || ours && entry.key == "xtask") {
            findings.push(Finding::new(ROOT, entry.line, format!("{}: no crate depends on it", entry.key)));
        }
    }
    findings
}

pub(super) fn only(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let programs = tree.crates.iter().filter(|found| !super::source::is_test_path(&found.folder));
    for found in programs {
        for dependency in found.manifest.dependencies().filter(|found| found.is_normal) {
            let rule = ONLY.iter().find(|(name, _, _)| *name == dependency.name);
            let Some((name, _, why)) = rule.filter(|(_, may, _)| !may.contains(&found.folder.as_str())) else {
                continue;
            };
            let path = format!("{}/Cargo.toml", found.folder);
            findings.push(Finding::new(path, dependency.line, format!("depends on {name}, but {why}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{tree, whats};

    #[test]
    fn the_map_is_complete_and_in_order() {
        let map_text = "| `crates/a` | a |\n| `crates/b` | b |\n| `crates/gone` | x |\n";
        let a = "[dependencies]\nstrongroom-b.workspace = true\n[dev-dependencies]\nstrongroom-b.workspace = true\n";
        let b = "[dependencies]\nstrongroom-b = { workspace = true, optional = true }\n";
        let tree = tree(&[
            (MAP, map_text),
            ("crates/a/Cargo.toml", a),
            ("crates/b/Cargo.toml", b),
            ("engines/c/Cargo.toml", ""),
        ]);
        let found = whats(map(&tree));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.contains(
            &"crates/a/Cargo.toml:2: depends on crates/b, which stands below it in ARCHITECTURE.md".to_owned()
        ));
        assert!(found.contains(&"ARCHITECTURE.md:3: there is no crates/gone".to_owned()));
    }

    #[test]
    fn folders_have_package_names() {
        assert_eq!(package("crates/api"), "strongroom-api");
        assert_eq!(package("engines/kv"), "strongroom-engine-kv");
        assert_eq!(package("auth-methods/jwt"), "strongroom-auth-jwt");
        assert_eq!(package("bins/strongroom"), "strongroom");
    }

    #[test]
    fn dependencies_need_a_reason_and_a_user() {
        let root = "[workspace.dependencies]\nstrongroom-a = { path = \"crates/a\" }\nb = \"1\" # b\nc = \"1\"\n";
        let user = "[dependencies]\nstrongroom-a.workspace = true\nc.workspace = true\n";
        let tree = tree(&[(ROOT, root), ("crates/a/Cargo.toml", user)]);
        let found = whats(reasons(&tree));
        assert_eq!(
            found,
            ["Cargo.toml:3: b: no crate depends on it", "Cargo.toml:4: c: say in a comment what it is for"]
        );
    }

    #[test]
    fn readmes_and_names_are_kept() {
        let manifest = "[dependencies]\nhyper.workspace = true\n";
        let tree = tree(&[
            ("engines/kv/Cargo.toml", manifest),
            ("stores/a/Cargo.toml", ""),
            ("stores/a/README.md", ""),
            ("crates/http/Cargo.toml", manifest),
        ]);
        assert_eq!(readmes(&tree).len(), 1);
        assert_eq!(only(&tree).len(), 1);
    }
}
