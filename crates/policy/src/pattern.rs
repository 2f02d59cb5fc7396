//! The path of a rule: which paths it matches, and how specific it is.

use std::cmp::Reverse;

/// What kind of path a rule has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern<'a> {
    /// Matches only itself.
    Exact(&'a str),
    /// Matches by wildcards: `+` stands for one segment, a `*` at the end for any rest.
    Wild {
        /// The text without the `*` at its end.
        text: &'a str,
        /// Whether a `*` stands at its end.
        open: bool,
    },
}

impl<'a> Pattern<'a> {
    /// Reads the path of a rule.
    pub(crate) fn new(path: &'a str) -> Self {
        let (text, open) = path.strip_suffix('*').map_or((path, false), |text| (text, true));
        if open || text.split('/').any(|segment| segment == "+") {
            Self::Wild { text, open }
        } else {
            Self::Exact(path)
        }
    }
}

/// How specific a wildcard path is. Of all that match, the greatest decides. The order of the fields is the order of the
/// rules: the first wildcard stands later; no `*` at the end; fewer `+`; longer; greater in byte order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) first: usize,
    pub(crate) closed: bool,
    pub(crate) plus: Reverse<u16>,
    len: usize,
    text: Box<str>,
}

impl Rank {
    pub(crate) fn new(text: &str, open: bool) -> Self {
        let mut first = None;
        let mut plus = 0_u16;
        let mut offset = 0;
        for segment in text.split('/') {
            if segment == "+" {
                first.get_or_insert(offset);
                plus = plus.saturating_add(1);
            }
            offset += segment.len() + 1;
        }
        Self {
            first: first.unwrap_or(text.len()),
            closed: !open,
            plus: Reverse(plus),
            len: text.len(),
            text: text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(path: &str) -> Rank {
        match Pattern::new(path) {
            Pattern::Wild { text, open } => Rank::new(text, open),
            Pattern::Exact(_) => panic!("{path} has no wildcard"),
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        for exact in ["", "a", "a/b/", "a/*/b", "a+b", "a/+b/c", "a/b+"] {
            assert_eq!(Pattern::new(exact), Pattern::Exact(exact));
        }
        for (path, text, open) in [("*", "", true), ("a/b*", "a/b", true), ("+", "+", false), ("+/a*", "+/a", true)] {
            assert_eq!(Pattern::new(path), Pattern::Wild { text, open });
        }
    }

    #[test]
    fn each_rule_of_priority_breaks_the_tie_of_the_one_before() {
        let table = [
            // 1: the first wildcard stands later.
            ("a/b/*", "a/+/c"),
            ("a/b*", "a/+/c/d/e"),
            ("a/b/+", "a/+/c"),
            ("a/*", "+/b/c/d"),
            // 2: no star at the end.
            ("a/+/b", "a/+/b/c*"),
            ("a/+", "a/*"),
            ("a/+/+/+", "a/+/*"),
            // 3: fewer segments that match anything.
            ("a/+/b/c", "a/+/+/cccccc"),
            ("a/+/b*", "a/+/+/b*"),
            // 4: longer.
            ("a/+/bb*", "a/+/b*"),
            ("a/+/b/*", "a/+/b*"),
            // 5: greater in byte order.
            ("a/+/c/+", "a/+/+/b"),
        ];
        for (winner, loser) in table {
            assert!(rank(winner) > rank(loser), "{winner} beats {loser}");
        }
    }
}
