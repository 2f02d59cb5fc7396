//! All rules for one path, of all policies of a token, made into one.

use std::{sync::Arc, time::Duration};

use crate::{
    Ask, Capabilities, Capability, Reason, Rule, RuleRef,
    conditions::Conditions,
    parameters::Constraints,
    pattern::{Pattern, Rank},
};

/// The rules for one path together: what is granted, and under which limits.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub(crate) path: Arc<str>,
    /// Nothing for a path without wildcards.
    pub(crate) rank: Option<Rank>,
    pub(crate) capabilities: Capabilities,
    min_wrapping_ttl: Option<Duration>,
    max_wrapping_ttl: Option<Duration>,
    constraints: Constraints,
    /// Nothing where there are none.
    pub(crate) conditions: Option<Arc<Conditions>>,
    pub(crate) sources: Arc<[RuleRef]>,
}

/// A [`Merged`] in the making.
#[derive(Debug)]
pub(crate) struct Merging {
    merged: Merged,
    conditions: Conditions,
    sources: Vec<RuleRef>,
}

impl Merging {
    pub(crate) fn new(rule: &Rule) -> Self {
        let path: Arc<str> = rule.path.as_str().into();
        let rank = match Pattern::new(&path) {
            Pattern::Exact(_) => None,
            Pattern::Wild { text, open } => Some(Rank::new(text, open)),
        };
        let merged = Merged {
            path,
            rank,
            capabilities: rule.capabilities,
            min_wrapping_ttl: rule.min_wrapping_ttl,
            max_wrapping_ttl: rule.max_wrapping_ttl,
            constraints: rule.constraints.clone(),
            conditions: None,
            sources: Arc::new([]),
        };
        let mut merging = Self { merged, conditions: rule.conditions.clone(), sources: Vec::new() };
        merging.note(rule);
        merging
    }

    /// Joins another rule for the same path.
    pub(crate) fn join(&mut self, rule: &Rule) {
        self.note(rule);
        let merged = &mut self.merged;
        merged.capabilities = merged.capabilities.union(rule.capabilities);
        if merged.capabilities.denies() {
            merged.constraints = Constraints::default();
            self.conditions = Conditions::default();
            (merged.min_wrapping_ttl, merged.max_wrapping_ttl) = (None, None);
            return;
        }
        merged.constraints.merge(&rule.constraints);
        self.conditions.merge(&rule.conditions);
        merged.min_wrapping_ttl = lesser(merged.min_wrapping_ttl, rule.min_wrapping_ttl);
        merged.max_wrapping_ttl = lesser(merged.max_wrapping_ttl, rule.max_wrapping_ttl);
    }

    pub(crate) fn finish(self) -> Merged {
        let conditions = (!self.conditions.is_empty()).then(|| Arc::new(self.conditions));
        Merged { sources: self.sources.into(), conditions, ..self.merged }
    }

    fn note(&mut self, rule: &Rule) {
        self.sources.push(RuleRef {
            policy: rule.policy.clone(),
            path: Arc::clone(&self.merged.path),
            line: rule.line,
            capabilities: rule.capabilities,
        });
    }
}

impl Merged {
    /// Why a request is refused, if it is.
    pub(crate) fn refusal(&self, ask: &Ask<'_>) -> Option<Reason> {
        let needed = Capability::of(ask.operation);
        if self.capabilities.denies() {
            return Some(Reason::Denied);
        }
        if !self.capabilities.contains(needed) {
            return Some(Reason::MissingCapability(needed));
        }
        if ask.sudo_required && !self.capabilities.contains(Capability::Sudo) {
            return Some(Reason::MissingSudo);
        }
        if let Some(reason) = self.wrapping(ask.wrap_ttl.unwrap_or_default()) {
            return Some(reason);
        }
        match needed {
            Capability::Create | Capability::Patch | Capability::Read | Capability::Update => {
                self.constraints.check(ask.parameters).err()
            }
            _ => None,
        }
    }

    /// Zero is a reply that is not wrapped; any limit makes wrapping a duty.
    fn wrapping(&self, asked: Duration) -> Option<Reason> {
        let (min, max) = (self.min_wrapping_ttl, self.max_wrapping_ttl);
        if (min.is_some() || max.is_some()) && asked.is_zero() {
            return Some(Reason::WrappingRequired);
        }
        // Merging the limits of two policies may leave none that satisfies both.
        let bounds = min.zip(max).filter(|(min, max)| max < min);
        let conflict = bounds.map(|(min, max)| Reason::WrappingConflict { min, max });
        let long = max.filter(|&max| asked > max).map(|max| Reason::WrappingTooLong { max });
        let short = min.filter(|&min| asked < min).map(|min| Reason::WrappingTooShort { min });
        conflict.or(long).or(short)
    }
}

fn lesser(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
