//! Rules about the documents.

use super::{File, Finding, Tree};

const BOOK: &str = "docs/src/";
const SUMMARY: &str = "docs/src/SUMMARY.md";

/// Links and includes with a path lead to a file or folder of the repository.
pub(super) fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (at, target) in targets(file) {
            let resolved = resolve(&file.path, target);
            if !resolved.as_deref().is_some_and(|path| tree.has(path)) {
                findings.push(Finding::new(&*file.path, at, format!("leads nowhere: {target}")));
            }
        }
    }
    findings
}

/// The lines and paths that a document links to or includes, without those outside the repository and in examples.
fn targets(file: &File) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_example = false;
    for (at, line) in file.lines() {
        if line.trim_start().starts_with("```") {
            in_example = !in_example;
        }
        if in_example {
            continue;
        }
        let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let includes = line.split("{{#include ").skip(1).filter_map(|rest| rest.split(['}', ':', ' ']).next());
        let paths = links.chain(includes).map(|target| target.split('#').next().unwrap_or_default());
        found.extend(
            paths
                .filter(|path| !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:"))
                .map(|path| (at, path)),
        );
    }
    found
}

/// The path that `target` means in the document at `from`, from the root; `None` above the root.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

pub(super) fn summary(tree: &Tree) -> Vec<Finding> {
    let Some(summary) = tree.file(SUMMARY) else { return vec![Finding::new(SUMMARY, 1, "is missing")] };
    let listed: Vec<String> = targets(summary).into_iter().filter_map(|(_, target)| resolve(SUMMARY, target)).collect();
    let pages = tree.files.iter().filter(|file| file.path.starts_with(BOOK) && file.path.ends_with(".md"));
    let missing = pages.filter(|page| page.path != SUMMARY && !listed.contains(&page.path));
    missing.map(|page| Finding::new(SUMMARY, 1, format!("does not list {}", page.path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{tree, whats};

    #[test]
    fn links_are_followed() {
        let page = "[a](../b.md#x) [b](nowhere.md) [c](https://example.com) [d](#here)\n```\n[e](no.md)\n```\n{{#include ../b.md:part}}\n[f](../sub/)\n[g](../../../x.md)\n";
        let tree = tree(&[("docs/a/page.md", page), ("docs/b.md", ""), ("docs/sub/x.md", "")]);
        let found = whats(links(&tree));
        assert_eq!(
            found,
            ["docs/a/page.md:1: leads nowhere: nowhere.md", "docs/a/page.md:7: leads nowhere: ../../../x.md"]
        );
    }

    #[test]
    fn pages_stand_in_the_summary() {
        let tree = tree(&[(SUMMARY, "- [One](one.md)\n"), ("docs/src/one.md", ""), ("docs/src/in/two.md", "")]);
        assert_eq!(whats(summary(&tree)), ["docs/src/SUMMARY.md:1: does not list docs/src/in/two.md"]);
    }
}
