//! A policy as it was written: its path blocks, checked but not yet merged with anything.

use std::{sync::Arc, time::Duration};

use crate::{
    Capabilities, ParseError, PolicyName, Subject,
    builtin::ROOT_NAME,
    conditions::Conditions,
    parameters::Constraints,
    read::{self, Problem},
    template::Template,
};

/// A parsed policy.
#[derive(Clone, Debug)]
pub struct Policy {
    name: PolicyName,
    rules: Vec<Arc<Rule>>,
    root: bool,
}

impl Policy {
    /// Reads the text of a policy, in HCL or JSON; an empty text is a policy that grants nothing.
    ///
    /// Refuses what it does not know or does not support (naming path, key and line), so that no restriction is lost
    /// without notice. At most [`crate::MAX_TEXT`] bytes, nested at most 32 deep, each path at most 4096 bytes and 256
    /// segments. The name `root` is refused: see [`Policy::root`].
    pub fn parse(name: &str, text: &str) -> Result<Self, ParseError> {
        let name = PolicyName::new(name)?;
        if name.is_root() {
            return Err(ParseError::Root);
        }
        let rules = read::rules(&name, text)?.into_iter().map(Arc::new).collect();
        Ok(Self { name, rules, root: false })
    }

    /// The policy that allows everything to a token that holds it alone.
    pub fn root() -> Self {
        Self { name: PolicyName::built_in(ROOT_NAME), rules: Vec::new(), root: true }
    }

    /// The policy's name.
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// The path blocks, in the order of the text.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Whether a path holds a `{{…}}` template, so that what the policy grants depends on who asks.
    pub fn is_templated(&self) -> bool {
        self.rules.iter().any(|rule| rule.template.is_some())
    }

    /// The policy as it stands for this subject: templates replaced by values, blocks dropped whose templates have none
    /// or one that could widen the path (`*`, `+` or `/` in it).
    #[must_use]
    pub fn resolve(&self, subject: &Subject) -> Self {
        let rules = self.rules.iter().filter_map(|rule| rule.resolve(Some(subject))).collect();
        Self { name: self.name.clone(), rules, root: self.root }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.root
    }
}

/// One path block of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The policy it stands in.
    pub policy: PolicyName,
    /// The line on which its path stands, counted from one.
    pub line: u32,
    /// The path as written, without its leading slash.
    pub path: String,
    /// What it grants, or `deny`.
    pub capabilities: Capabilities,
    /// The least time for which the reply must be wrapped.
    pub min_wrapping_ttl: Option<Duration>,
    /// The longest time for which the reply may be wrapped.
    pub max_wrapping_ttl: Option<Duration>,
    pub(crate) constraints: Constraints,
    pub(crate) conditions: Conditions,
    pub(crate) template: Option<Template>,
    /// Capabilities stand beside a `deny` that voids them.
    pub(crate) voided: bool,
}

impl Rule {
    /// The rule for one subject, or nothing if its template cannot be resolved.
    pub(crate) fn resolve(self: &Arc<Self>, subject: Option<&Subject>) -> Option<Arc<Self>> {
        let Some(template) = &self.template else { return Some(Arc::clone(self)) };
        let path = template.resolve(subject?)?;
        // A value may bring together what each part alone does not hold, such as a `+` before a `*`.
        check_path(&path).is_ok().then(|| Arc::new(Self { path, template: None, ..(**self).clone() }))
    }
}

/// The greatest length of a path in a policy, in bytes.
const MAX_PATH: usize = api::ReqPath::MAX;
/// The greatest number of segments of a path in a policy.
const MAX_SEGMENTS: usize = 256;

/// Whether a path may stand in a rule.
pub(crate) fn check_path(path: &str) -> Result<(), Problem> {
    if path.contains("+*") {
        return Err("'+*' is no valid wildcard: write '+' for one segment, or '*' alone at the end".into());
    }
    if path.len() > MAX_PATH {
        return Err(format!("the path is longer than {MAX_PATH} bytes").into());
    }
    if path.split('/').count() > MAX_SEGMENTS {
        return Err(format!("the path has more than {MAX_SEGMENTS} segments").into());
    }
    Ok(())
}
