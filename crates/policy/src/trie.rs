//! The wildcard paths of a token, so arranged that finding the most specific match costs what the path is long, not what
//! the policies are.
//!
//! Each node stands for a run of segments. Below it hang the segments that rules spell out, one branch for `+`, and the
//! sorted texts that stand before a final `*`. A search walks down the spelled-out segments as far as they go; the first
//! wildcard found from the deepest node upwards wins, since the one that stands later is the more specific.

use std::collections::HashMap;

use crate::pattern::Rank;

/// The index of a rule.
pub(crate) type Id = u32;

#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    ranks: HashMap<Id, Rank>,
}

#[derive(Debug, Default)]
struct Node {
    spelled: HashMap<Box<str>, usize>,
    plus: Option<usize>,
    /// The rule whose path ends here. Only below a `+`: others have no wildcard.
    whole: Option<Id>,
    /// The rules whose path ends in `text*` within the next segment.
    tails: Tails,
    /// The fewest `+` on the way from here to a path that ends without a `*`.
    nearest_whole: Option<u16>,
    /// The same for paths that end in `*`.
    nearest_tail: Option<u16>,
    /// The latest first wildcard of any rule below that grants something.
    grants: Option<usize>,
}

/// One wildcard path to put in.
pub(crate) struct Entry<'a> {
    pub(crate) id: Id,
    /// Without its final `*`.
    pub(crate) text: &'a str,
    pub(crate) rank: &'a Rank,
    pub(crate) grants: bool,
}

impl Trie {
    pub(crate) fn new<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Self {
        let mut trie = Self { nodes: vec![Node::default()], ranks: HashMap::new() };
        for entry in entries {
            trie.insert(&entry);
            trie.ranks.insert(entry.id, entry.rank.clone());
        }
        trie.finish();
        trie
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// The most specific rule that matches.
    pub(crate) fn best(&self, path: &str) -> Option<Id> {
        self.search(path, false)
    }

    /// The most specific rule that matches this path and everything that begins with it.
    pub(crate) fn best_open(&self, path: &str) -> Option<Id> {
        self.search(path, true)
    }

    pub(crate) fn rank(&self, id: Id) -> Option<&Rank> {
        self.ranks.get(&id)
    }

    /// Whether a rule that grants something can match a path below these segments, and begins its wildcards no earlier
    /// than at byte `from`.
    pub(crate) fn grants_below(&self, folder: &str, from: usize) -> bool {
        self.root().is_some_and(|root| self.grants_under(root, Some(folder), from))
    }

    fn root(&self) -> Option<&Node> {
        self.nodes.first()
    }

    fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index)
    }

    fn insert(&mut self, entry: &Entry<'_>) {
        let (mut at, mut rest) = (0, entry.text);
        let first = entry.grants.then_some(entry.rank.first);
        loop {
            let children = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            node.grants = node.grants.max(first);
            let (segment, after) = match rest.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None if entry.rank.closed => (rest, None),
                None => return node.tails.push(rest, entry.id),
            };
            at = match segment {
                "+" => *node.plus.get_or_insert(children),
                _ => match node.spelled.get(segment) {
                    Some(&child) => child,
                    None => {
                        node.spelled.insert(segment.into(), children);
                        children
                    }
                },
            };
            if at == children {
                self.nodes.push(Node::default());
            }
            let Some(after) = after else {
                if let Some(node) = self.nodes.get_mut(at) {
                    node.whole = Some(entry.id);
                    node.grants = node.grants.max(first);
                }
                return;
            };
            rest = after;
        }
    }

    /// Sorts the tails and counts, from the leaves up, how far away the ends are. Children stand behind their parents.
    fn finish(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            let Some(node) = self.nodes.get(index) else { continue };
            let mut whole = node.whole.map(|_| 0);
            let mut tail = (!node.tails.0.is_empty()).then_some(0);
            let spelled = node.spelled.values().map(|&child| (child, 0));
            for (child, step) in spelled.chain(node.plus.map(|child| (child, 1))) {
                let Some(child) = self.nodes.get(child) else { continue };
                whole = fewer(whole, child.nearest_whole.map(|count: u16| count.saturating_add(step)));
                tail = fewer(tail, child.nearest_tail.map(|count| count.saturating_add(step)));
            }
            if let Some(node) = self.nodes.get_mut(index) {
                (node.nearest_whole, node.nearest_tail) = (whole, tail);
                node.tails.sort();
            }
        }
    }

    fn search(&self, path: &str, open: bool) -> Option<Id> {
        self.root().and_then(|root| self.first_wildcard(root, Some(path), open))
    }

    /// The best rule whose first wildcard stands in what is left of the path, the way to here being spelled out.
    fn first_wildcard(&self, node: &Node, rest: Option<&str>, open: bool) -> Option<Id> {
        let rest = rest?;
        let (segment, after) = split(rest);
        let child = node.spelled.get(segment).and_then(|&child| self.node(child));
        if let Some(found) = child.and_then(|child| self.first_wildcard(child, after, open)) {
            return Some(found);
        }
        let tail = node.tails.longest(rest);
        if let Some(Tail { text, id, .. }) = tail
            && !text.is_empty()
        {
            return Some(*id);
        }
        let mut best = Best { trie: self, open, id: tail.map(|tail| tail.id) };
        if let Some(plus) = node.plus.and_then(|plus| self.node(plus)) {
            best.walk(plus, after, 1);
        }
        best.id
    }

    fn grants_under(&self, node: &Node, folder: Option<&str>, from: usize) -> bool {
        if node.grants.is_none_or(|first| first < from) {
            return false;
        }
        let Some(folder) = folder.filter(|folder| !folder.is_empty()) else { return true };
        let (segment, after) = split(folder);
        let children = node.spelled.get(segment).into_iter().chain(&node.plus);
        children.filter_map(|&child| self.node(child)).any(|child| self.grants_under(child, after, from))
    }
}

/// A search below a `+`, where several branches may match. All finds share the place of their first wildcard.
struct Best<'a> {
    trie: &'a Trie,
    /// Only rules that end in `*`.
    open: bool,
    id: Option<Id>,
}

impl<'a> Best<'a> {
    fn walk(&mut self, node: &'a Node, rest: Option<&str>, plus: u16) {
        if self.hopeless(node, plus) {
            return;
        }
        let Some(rest) = rest else {
            if let Some(id) = node.whole.filter(|_| !self.open) {
                self.offer(id);
            }
            return;
        };
        let (segment, after) = split(rest);
        if let Some(child) = node.spelled.get(segment).and_then(|&child| self.trie.node(child)) {
            self.walk(child, after, plus);
        }
        // Of the tails of one node the longest is the most specific.
        if let Some(tail) = node.tails.longest(rest) {
            self.offer(tail.id);
        }
        if let Some(child) = node.plus.and_then(|child| self.trie.node(child)) {
            self.walk(child, after, plus.saturating_add(1));
        }
    }

    fn offer(&mut self, id: Id) {
        let rank = self.trie.rank(id);
        if self.id.is_none_or(|best| rank > self.trie.rank(best)) {
            self.id = Some(id);
        }
    }

    /// Whether nothing below this node can beat what was found, so that crafted rules cannot make a search visit every
    /// combination of spelled-out segments and `+`.
    fn hopeless(&self, node: &Node, plus: u16) -> bool {
        let Some(best) = self.id.and_then(|id| self.trie.rank(id)) else { return false };
        let worse = |more: u16| plus.saturating_add(more) > best.plus.0;
        match (node.nearest_whole.filter(|_| !self.open), node.nearest_tail, best.closed) {
            (Some(_), _, false) => false,
            (Some(whole), _, true) => worse(whole),
            (None, _, true) | (None, None, false) => true,
            (None, Some(tail), false) => worse(tail),
        }
    }
}

/// Texts before a final `*`, sorted by bytes once complete.
#[derive(Debug, Default)]
struct Tails(Vec<Tail>);

#[derive(Debug)]
struct Tail {
    text: Box<str>,
    id: Id,
    /// The longest other text that this one begins with.
    shorter: Option<usize>,
}

impl Tails {
    fn push(&mut self, text: &str, id: Id) {
        self.0.push(Tail { text: text.into(), id, shorter: None });
    }

    fn sort(&mut self) {
        self.0.sort_by(|a, b| a.text.as_bytes().cmp(b.text.as_bytes()));
        let mut open: Vec<(usize, Box<str>)> = Vec::new();
        for (index, tail) in self.0.iter_mut().enumerate() {
            while open.last().is_some_and(|(_, text)| !tail.text.starts_with(&**text)) {
                open.pop();
            }
            tail.shorter = open.last().map(|(index, _)| *index);
            open.push((index, tail.text.clone()));
        }
    }

    /// The longest text that `rest` begins with. Every such text also begins the last one that does not sort after
    /// `rest`, so it is on that one's chain of shorter texts.
    fn longest(&self, rest: &str) -> Option<&Tail> {
        let after = self.0.partition_point(|tail| tail.text.as_bytes() <= rest.as_bytes());
        let mut tail = self.0.get(after.checked_sub(1)?)?;
        let common = tail.text.bytes().zip(rest.bytes()).take_while(|(a, b)| a == b).count();
        while tail.text.len() > common {
            tail = self.0.get(tail.shorter?)?;
        }
        Some(tail)
    }
}

/// The first segment, and what follows its slash.
fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(segment, after)| (segment, Some(after)))
}

fn fewer(one: Option<u16>, other: Option<u16>) -> Option<u16> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
