//! The rules, and the repository as they see it.

mod documents;
mod manifest;
mod source;
mod workspace;

use std::{fmt, fs, io, path::Path};

use self::manifest::Manifest;

/// A rule of the repository.
pub(crate) struct Rule {
    /// The rule in one sentence.
    pub(crate) says: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

/// All rules, in the order they are checked.
pub(crate) const RULES: &[Rule] = &[
    Rule { says: "Every crate begins with `//!` and its manifest has a description and lints.", check: source::crates },
    Rule { says: "No source file has more than 700 lines.", check: source::lengths },
    Rule { says: "Nothing is put off: no markers for later, no ignored tests.", check: source::put_off },
    Rule { says: "Each exposed secret says why, in a comment that begins with EXPOSE.", check: source::exposures },
    Rule { says: "A file that begins with `#!` can be executed.", check: source::scripts },
    Rule { says: "Every crate stands in ARCHITECTURE.md, below all that it depends on.", check: workspace::map },
    Rule { says: "Every member of a family has a README.md.", check: workspace::readmes },
    Rule { says: "Every dependency of the workspace has a reason beside it, and a user.", check: workspace::reasons },
    Rule { says: "What only one crate may name, no other names.", check: workspace::only },
    Rule { says: "Links between documents lead somewhere.", check: documents::links },
    Rule { says: "Every page of the book stands in its summary.", check: documents::summary },
];

/// What breaks a rule, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// The repository's texts and crates.
pub(crate) struct Tree {
    files: Vec<File>,
    crates: Vec<Crate>,
}

/// A text.
pub(crate) struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
    executable: bool,
}

/// A crate.
pub(crate) struct Crate {
    /// Its folder, from the root.
    folder: String,
    manifest: Manifest,
}

/// Where crates lie, in folders of their own; `true` where each is a member of a family that a user meets.
const FAMILIES: &[(&str, bool)] = &[
    ("crates", false),
    ("engines", true),
    ("auth-methods", true),
    ("stores", true),
    ("databases", true),
    ("seals", true),
    ("bins", false),
];

/// Crates that belong to no family.
const ALONE: &[&str] = &["bench", "xtask"];

impl Tree {
    /// Reads everything below `root`, except what is built and what git keeps for itself.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        walk(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self::of(files))
    }

    fn of(files: Vec<File>) -> Self {
        let manifests = files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml").zip(Some(file)));
        let crates =
            manifests.map(|(folder, file)| Crate { folder: folder.to_owned(), manifest: Manifest::of(&file.text) });
        let crates =
            crates.filter(|found| found.family().is_some() || ALONE.contains(&found.folder.as_str())).collect();
        Self { files, crates }
    }

    /// What breaks a rule.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        RULES.iter().flat_map(|rule| (rule.check)(self)).collect()
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether there is a file or a folder.
    fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

impl Crate {
    /// The family it lies in, and whether its members are met by users.
    fn family(&self) -> Option<(&'static str, bool)> {
        let (family, name) = self.folder.split_once('/')?;
        FAMILIES.iter().find(|(folder, _)| *folder == family && !name.contains('/')).copied()
    }
}

impl File {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type()?;
        let hidden = name.starts_with('.') && ![".ci", ".cargo"].contains(&name.as_str());
        if hidden || (kind.is_dir() && name == "target") {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            // A file may go while others work in the tree; what is no text is none of our business.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(File { path, text, executable: is_executable(&entry) });
            }
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(entry: &fs::DirEntry) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    entry.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &fs::DirEntry) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree out of paths and texts.
    pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
            executable: false,
        };
        Tree::of(files.iter().map(file).collect())
    }

    pub(super) fn whats(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn the_repository_is_tidy() {
        let findings = whats(Tree::read(crate::root()).unwrap().findings());
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn every_rule_is_a_sentence() {
        for rule in RULES {
            assert!(rule.says.ends_with('.') && rule.says.starts_with(char::is_uppercase), "{}", rule.says);
        }
    }

    #[test]
    fn only_folders_of_families_are_crates() {
        let tree = tree(&[
            ("crates/a/Cargo.toml", ""),
            ("crates/a/fuzz/Cargo.toml", ""),
            ("Cargo.toml", ""),
            ("xtask/Cargo.toml", ""),
        ]);
        let folders: Vec<_> = tree.crates.iter().map(|found| found.folder.as_str()).collect();
        assert_eq!(folders, ["crates/a", "xtask"]);
    }
}
