//! The policies of one token, merged and ready to decide.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::Operation;

use crate::{
    Ask, Capabilities, Capability, Conditions, Decision, Policy, PolicyName, Reason, RuleRef, Subject,
    builtin::ROOT_NAME,
    merged::{Merged, Merging},
    pattern::Pattern,
    trie::{Entry, Id, Trie},
};

/// The policies of one token, merged. Cheap to ask, not so cheap to make: keep it as long as the policies stand.
///
/// Exactly one path decides a request: the one that equals the request's path, else the most specific of those that match
/// it by wildcards. Rules of several policies for that same path are merged; rules for other paths are not looked at. A
/// decision costs a few microseconds, however many rules there are.
#[derive(Debug)]
pub struct Acl {
    rules: Vec<Merged>,
    exact: HashMap<Arc<str>, Id>,
    wild: Trie,
    /// The paths without wildcards that grant something, sorted.
    granted: Vec<Arc<str>>,
    root: Option<Arc<[RuleRef]>>,
}

impl Acl {
    /// Merges policies for a token whose entity is `subject`; blocks with templates are left out if there is none, or if
    /// it lacks a value.
    ///
    /// [`Policy::root`] allows everything if it is the only policy. Beside others it counts for nothing: no token is
    /// made like that, so such a list is damaged, and the lesser reading is the safe one.
    pub fn compile(policies: &[Arc<Policy>], subject: Option<&Subject>) -> Self {
        let root = match policies {
            [only] if only.is_root() => Some(root_source()),
            _ => None,
        };
        let mut by_path: BTreeMap<String, Merging> = BTreeMap::new();
        for rule in policies.iter().flat_map(|policy| policy.rules()) {
            let Some(rule) = rule.resolve(subject) else { continue };
            match by_path.get_mut(&rule.path) {
                Some(merging) => merging.join(&rule),
                None => drop(by_path.insert(rule.path.clone(), Merging::new(&rule))),
            }
        }
        let rules: Vec<Merged> = by_path.into_values().map(Merging::finish).collect();
        let numbered = || (0..).zip(&rules);
        let exact = numbered().filter(|(_, rule)| rule.rank.is_none()).map(|(id, rule)| (Arc::clone(&rule.path), id));
        let granting = rules.iter().filter(|rule| rule.rank.is_none() && rule.capabilities.grants());
        let wild = Trie::new(numbered().filter_map(|(id, rule)| wildcard(id, rule)));
        let (exact, granted) = (exact.collect(), granting.map(|rule| Arc::clone(&rule.path)).collect());
        Self { exact, granted, wild, rules, root }
    }

    /// Whether the token may do everything.
    pub fn is_root(&self) -> bool {
        self.root.is_some()
    }

    /// Decides a request.
    pub fn decide(&self, ask: &Ask<'_>) -> Decision {
        if let Some(root) = &self.root {
            return Decision::allow(ask.operation, Arc::clone(root), None);
        }
        let Some(rule) = self.deciding(ask.path, ask.operation) else {
            return Decision::refuse(ask.operation, None, Reason::NoRule);
        };
        let sources = Arc::clone(&rule.sources);
        match rule.refusal(ask) {
            None => Decision::allow(ask.operation, sources, rule.conditions.clone()),
            Some(reason) => Decision::refuse(ask.operation, Some(sources), reason),
        }
    }

    /// Whether the operation's capability is granted on the path. Parameters, sudo and wrapping are not looked at: this
    /// is for showing or hiding names, not for letting requests through. Where it depends on the secret's metadata, the
    /// answer is no.
    pub fn allows(&self, path: &str, operation: Operation) -> bool {
        self.allows_if(path, operation, |conditions| !conditions.on_metadata())
    }

    /// As [`Acl::allows`], and whatever the secret holds may be seen: no field of it is hidden.
    pub fn allows_plainly(&self, path: &str, operation: Operation) -> bool {
        self.allows_if(path, operation, Conditions::is_empty)
    }

    fn allows_if(&self, path: &str, operation: Operation, fine: impl Fn(&Conditions) -> bool) -> bool {
        let grants = |rule: &Merged| {
            rule.capabilities.contains(Capability::of(operation)) && rule.conditions.as_deref().is_none_or(&fine)
        };
        self.is_root() || self.deciding(path, operation).is_some_and(grants)
    }

    /// The names of what is granted on a path, sorted; `["root"]` for root, `["deny"]` if nothing is granted.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.is_root() {
            return vec![ROOT_NAME];
        }
        let granted = self.granted_on(bare_path(path));
        if granted.grants() { granted.names() } else { vec![Capability::Deny.as_str()] }
    }

    /// Whether anything is granted on this path or below it, such as on a mount path, which ends in a slash. May say yes
    /// where only rules remain that more specific ones cover piece by piece; never says no where something is granted.
    pub fn grants_below(&self, path: &str) -> bool {
        let path = bare_path(path);
        let folder = if path.is_empty() || path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
        if self.is_root() || self.granted_on(path).grants() || self.granted_on(&folder).grants() {
            return true;
        }
        let after = self.granted.partition_point(|granted| **granted < *folder);
        if self.granted.get(after).is_some_and(|granted| granted.starts_with(&folder)) {
            return true;
        }
        // The rule that covers the folder and all in it: if it grants nothing, nor does any less specific one.
        let cover = self.wild.best_open(&folder);
        if cover.is_some_and(|id| self.rule(id).is_some_and(|rule| rule.capabilities.grants())) {
            return true;
        }
        let from = cover.and_then(|id| self.wild.rank(id)).map_or(0, |rank| rank.first);
        self.wild.grants_below(&folder, from)
    }

    /// Every path of the policies, with what is granted there.
    pub fn paths(&self) -> impl Iterator<Item = (&str, Capabilities)> {
        self.rules.iter().map(|rule| (&*rule.path, rule.capabilities))
    }

    fn rule(&self, id: Id) -> Option<&Merged> {
        self.rules.get(usize::try_from(id).ok()?)
    }

    fn deciding(&self, path: &str, operation: Operation) -> Option<&Merged> {
        let path = bare_path(path);
        let id = match operation {
            Operation::List | Operation::Scan if path.is_empty() || path.ends_with('/') => self.find_folder(path),
            Operation::List | Operation::Scan => self.find_folder(&format!("{path}/")),
            _ => self.find(path),
        };
        self.rule(id?)
    }

    fn granted_on(&self, path: &str) -> Capabilities {
        let id = if path.ends_with('/') { self.find_folder(path) } else { self.find(path) };
        id.and_then(|id| self.rule(id)).map_or(Capabilities::NONE, |rule| rule.capabilities)
    }

    fn find(&self, path: &str) -> Option<Id> {
        self.exact.get(path).copied().or_else(|| self.best(path))
    }

    /// The rule for a folder, whose path ends in a slash. Authors often leave the slash out, so a rule without it counts
    /// where there is none with it; and a `deny` without it counts where it is the more specific.
    fn find_folder(&self, path: &str) -> Option<Id> {
        let bare = path.strip_suffix('/').unwrap_or(path);
        let exact = self.exact.get(path).or_else(|| self.exact.get(bare));
        exact.copied().or_else(|| match (self.best(path), self.best(bare)) {
            (Some(folder), Some(other)) => {
                let denies = self.rule(other).is_some_and(|rule| rule.capabilities.denies());
                Some(if denies && self.wild.rank(other) > self.wild.rank(folder) { other } else { folder })
            }
            (folder, other) => folder.or(other),
        })
    }

    fn best(&self, path: &str) -> Option<Id> {
        if self.wild.is_empty() { None } else { self.wild.best(path) }
    }
}

fn bare_path(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn wildcard(id: Id, rule: &Merged) -> Option<Entry<'_>> {
    match Pattern::new(&rule.path) {
        Pattern::Exact(_) => None,
        Pattern::Wild { text, .. } => {
            rule.rank.as_ref().map(|rank| Entry { id, text, rank, grants: rule.capabilities.grants() })
        }
    }
}

fn root_source() -> Arc<[RuleRef]> {
    let all = Capability::ALL.into_iter().filter(|&capability| capability != Capability::Deny).collect();
    Arc::new([RuleRef { policy: PolicyName::built_in(ROOT_NAME), path: "*".into(), line: 0, capabilities: all }])
}
