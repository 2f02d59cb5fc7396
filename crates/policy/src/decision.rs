//! What is asked, and what the answer says about itself.

use std::{fmt, sync::Arc, time::Duration};

use api::Operation;

use crate::{Capabilities, Capability, Conditions, Parameters, PolicyName};

/// A question to [`crate::Acl::decide`].
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The path below `/v1/`.
    pub path: &'a str,
    /// What is to be done there.
    pub operation: Operation,
    /// What the request sends along; nothing is the same as an empty object.
    pub parameters: Option<&'a dyn Parameters>,
    /// Whether the path needs `sudo` beside the operation's own capability.
    pub sudo_required: bool,
    /// For how long the reply is to be wrapped; nothing or zero if it is not.
    pub wrap_ttl: Option<Duration>,
}

impl<'a> Ask<'a> {
    /// A question without parameters, sudo and wrapping.
    pub fn new(path: &'a str, operation: Operation) -> Self {
        Self { path, operation, parameters: None, sudo_required: false, wrap_ttl: None }
    }
}

/// One path block of one policy, as an explanation names it.
#[derive(Clone, PartialEq, Eq)]
pub struct RuleRef {
    /// The policy.
    pub policy: PolicyName,
    /// The path of the block, with templates replaced.
    pub path: Arc<str>,
    /// The line of the block, counted from one; zero if the policy has no text (`root`).
    pub line: u32,
    /// What this block grants; other blocks for the same path may add to it.
    pub capabilities: Capabilities,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "policy {:?}", self.policy.as_str()),
            line => write!(f, "policy {:?} line {line} path {:?}", self.policy.as_str(), self.path),
        }
    }
}

impl fmt::Debug for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {:?}", self.capabilities)
    }
}

/// Why a request is refused. Names and limits are the policy's or the request's own; no values are held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The deciding rule says `deny`.
    #[error("explicitly denied")]
    Denied,
    /// The deciding rule does not grant what the operation needs.
    #[error("capability \"{0}\" is missing")]
    MissingCapability(Capability),
    /// A required parameter is not in the request.
    #[error("required parameter {0:?} is missing")]
    MissingParameter(String),
    /// The path needs `sudo` too.
    #[error("capability \"sudo\" is missing, which this path needs beside the operation's own")]
    MissingSudo,
    /// No rule matches the path.
    #[error("no rule matches the path")]
    NoRule,
    /// The parameter is denied with any value.
    #[error("parameter {0:?} is denied")]
    ParameterDenied(String),
    /// The parameter is not among those allowed.
    #[error("parameter {0:?} is not among the allowed ones")]
    ParameterNotAllowed(String),
    /// The rule restricts parameters and the body cannot be read.
    #[error("the body cannot be checked against the rule: it is no JSON object")]
    UnreadableParameters,
    /// The value of the parameter is denied.
    #[error("the value of parameter {0:?} is denied")]
    ValueDenied(String),
    /// The value of the parameter is not among those allowed.
    #[error("the value of parameter {0:?} is not among the allowed ones")]
    ValueNotAllowed(String),
    /// Two policies leave no wrapping time that satisfies both.
    #[error("no wrapping time can satisfy min_wrapping_ttl {min:?} and max_wrapping_ttl {max:?}")]
    WrappingConflict {
        /// The least time.
        min: Duration,
        /// The longest time.
        max: Duration,
    },
    /// The reply must be wrapped.
    #[error("the reply must be wrapped")]
    WrappingRequired,
    /// The reply would be wrapped for too long.
    #[error("the reply may be wrapped for at most {max:?}")]
    WrappingTooLong {
        /// The longest time.
        max: Duration,
    },
    /// The reply would be wrapped for too short a time.
    #[error("the reply must be wrapped for at least {min:?}")]
    WrappingTooShort {
        /// The least time.
        min: Duration,
    },
}

/// The answer, with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    needed: Capability,
    sources: Option<Arc<[RuleRef]>>,
    reason: Option<Reason>,
    conditions: Option<Arc<Conditions>>,
}

impl Decision {
    pub(crate) fn allow(operation: Operation, sources: Arc<[RuleRef]>, conditions: Option<Arc<Conditions>>) -> Self {
        let needed = Capability::of(operation);
        Self { allowed: true, needed, sources: Some(sources), reason: None, conditions }
    }

    pub(crate) fn refuse(operation: Operation, sources: Option<Arc<[RuleRef]>>, reason: Reason) -> Self {
        let needed = Capability::of(operation);
        Self { allowed: false, needed, sources, reason: Some(reason), conditions: None }
    }

    /// What the secret itself must be like for the request to be allowed, and which of its fields may be seen; nothing if
    /// the rules say nothing about that.
    pub fn conditions(&self) -> Option<&Arc<Conditions>> {
        self.conditions.as_ref()
    }

    /// Why the request is refused; nothing if it is allowed.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// All blocks that say something about the deciding path: one per block and policy. Empty if no rule matches.
    pub fn rules(&self) -> &[RuleRef] {
        self.sources.as_deref().unwrap_or_default()
    }

    /// The blocks that grant what the operation needs. Empty if the request is refused.
    pub fn granting(&self) -> impl Iterator<Item = &RuleRef> {
        self.rules().iter().filter(|rule| self.allowed && (rule.line == 0 || rule.capabilities.contains(self.needed)))
    }

    /// Whether the policy `root` allowed it.
    pub fn is_root(&self) -> bool {
        self.allowed && self.rules().iter().any(|rule| rule.line == 0)
    }

    /// The decision in words, for those who may know: see the `Display` of [`Decision`].
    pub fn reason_text(&self) -> String {
        self.to_string()
    }

    /// The blocks to name: those that grant or deny; of a mere lack all that were looked at.
    fn named(&self) -> impl Iterator<Item = &RuleRef> {
        let denied = self.reason == Some(Reason::Denied);
        self.rules().iter().filter(move |rule| {
            let grants = rule.line == 0 || rule.capabilities.contains(self.needed);
            if self.allowed { grants } else { !denied || rule.capabilities.denies() }
        })
    }
}

/// Such as `allowed by policy "app" line 3 path "secret/data/*"`, or
/// `refused: capability "update" is missing in policy "app" line 3 path "secret/data/*"`.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut link = match &self.reason {
            None => {
                f.write_str("allowed")?;
                " by "
            }
            Some(reason) => {
                write!(f, "refused: {reason}")?;
                if matches!(reason, Reason::Denied) { " by " } else { " in " }
            }
        };
        for rule in self.named() {
            write!(f, "{link}{rule}")?;
            link = " and ";
        }
        match &self.conditions {
            Some(conditions) => write!(f, ", {conditions}"),
            None => Ok(()),
        }
    }
}
