//! As much of a manifest as the rules need: sections, keys, and the comments that stand with them.

/// A `Cargo.toml`.
pub(crate) struct Manifest {
    entries: Vec<Entry>,
}

/// One `key = value`.
pub(crate) struct Entry {
    /// The section, without brackets.
    pub(crate) section: String,
    /// The key; of `name.workspace = true` only `name`.
    pub(crate) key: String,
    /// The first line of the value, or what stands behind `key.` in the key.
    pub(crate) value: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Whether a comment stands on the line or right above it.
    pub(crate) has_comment: bool,
}

/// What a crate depends on.
pub(crate) struct Dependency<'m> {
    pub(crate) name: &'m str,
    pub(crate) line: usize,
    /// Whether the crate itself is built with it, and not its tests alone.
    pub(crate) is_normal: bool,
    /// Whether a feature brings it.
    pub(crate) is_optional: bool,
}

impl Manifest {
    pub(crate) fn of(text: &str) -> Self {
        let mut entries = Vec::new();
        let mut section = String::new();
        let mut commented = false;
        let mut open = 0_usize;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if open > 0 {
                open = (open + count(line, '[')).saturating_sub(count(line, ']'));
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
                section = name.trim_matches('[').to_owned();
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                open = count(value, '[').saturating_sub(count(value, ']'));
                let (key, rest) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
                let value = if rest.is_empty() { value.trim().to_owned() } else { format!("{rest} ={value}") };
                let has_comment = commented || value.contains(" # ");
                entries.push(Entry { section: section.clone(), key: key.to_owned(), value, line: at + 1, has_comment });
            }
            commented = line.starts_with('#');
        }
        Self { entries }
    }

    pub(crate) fn section<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m Entry> {
        self.entries.iter().filter(move |entry| entry.section == name)
    }

    /// Whether there is a section with this name, or one that begins with it and a dot.
    pub(crate) fn has_section(&self, name: &str) -> bool {
        let within =
            |section: &str| section.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.entries.iter().any(|entry| within(&entry.section))
    }

    pub(crate) fn dependencies(&self) -> impl Iterator<Item = Dependency<'_>> {
        let entries = self.entries.iter().filter(|entry| entry.section != "workspace.dependencies");
        entries.filter_map(|entry| {
            let is_normal = match entry.section.rsplit('.').next()? {
                "dependencies" | "build-dependencies" => true,
                "dev-dependencies" => false,
                _ => return None,
            };
            let is_optional = entry.value.contains("optional = true");
            Some(Dependency { name: &entry.key, line: entry.line, is_normal, is_optional })
        })
    }
}

fn count(text: &str, bracket: char) -> usize {
    text.chars().filter(|char| *char == bracket).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[package]
description = "A crate"

[dependencies]
strongroom-api.workspace = true
strongroom-auth = { workspace = true, optional = true }
# Why.
rand_core = { version = "0.6", features = ["a"] }
serde = "1" # reads

[target.'cfg(unix)'.dependencies]
libc.workspace = true

[dev-dependencies]
proptest.workspace = true

[features]
testing = [
    "dep:futures",
    "x=y",
]

[lints]
workspace = true
"#;

    #[test]
    fn dependencies_are_found_with_their_kinds() {
        let manifest = Manifest::of(TEXT);
        let found: Vec<_> =
            manifest.dependencies().map(|found| (found.name, found.is_normal, found.is_optional)).collect();
        let wanted = [
            ("strongroom-api", true, false),
            ("strongroom-auth", true, true),
            ("rand_core", true, false),
            ("serde", true, false),
            ("libc", true, false),
            ("proptest", false, false),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn comments_and_sections_are_seen() {
        let manifest = Manifest::of(TEXT);
        let commented: Vec<_> =
            manifest.entries.iter().filter(|entry| entry.has_comment).map(|entry| entry.key.as_str()).collect();
        assert_eq!(commented, ["rand_core", "serde"]);
        assert!(manifest.has_section("lints") && !manifest.has_section("lint"));
        assert_eq!(manifest.section("package").count(), 1);
        assert_eq!(manifest.section("features").count(), 1);
    }
}
