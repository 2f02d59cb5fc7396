//! What a rule can grant, and sets of it.

use std::fmt;

use api::Operation;

/// One right of a rule, or its explicit refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// To write what does not exist yet.
    Create,
    /// To remove.
    Delete,
    /// Refuses everything, whatever else is granted for the same path.
    Deny,
    /// To list.
    List,
    /// To merge into what exists.
    Patch,
    /// To read.
    Read,
    /// To list with everything below.
    Scan,
    /// To use paths that need more than a plain grant, beside the operation's own capability.
    Sudo,
    /// To write what exists.
    Update,
}

impl Capability {
    /// All capabilities, in the order of their names.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Delete,
        Self::Deny,
        Self::List,
        Self::Patch,
        Self::Read,
        Self::Scan,
        Self::Sudo,
        Self::Update,
    ];

    /// The capability's name in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Deny => "deny",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Sudo => "sudo",
            Self::Update => "update",
        }
    }

    /// The capability with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name)
    }

    /// The capability that an operation needs.
    pub fn of(operation: Operation) -> Self {
        match operation {
            Operation::Create => Self::Create,
            Operation::Delete => Self::Delete,
            Operation::List => Self::List,
            Operation::Patch => Self::Patch,
            Operation::Read => Self::Read,
            Operation::Scan => Self::Scan,
            Operation::Update => Self::Update,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of capabilities. A set with [`Capability::Deny`] holds nothing else.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u16);

impl Capabilities {
    /// The set with nothing in it, which grants nothing.
    pub const NONE: Self = Self(0);
    /// The set that refuses.
    pub const DENY: Self = Self(1 << Capability::Deny as u16);

    /// The union of both; `deny` on either side leaves only `deny`.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let both = self.0 | other.0;
        if both & Self::DENY.0 != 0 { Self::DENY } else { Self(both) }
    }

    /// This set with one more capability.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        self.union(Self(1 << capability as u16))
    }

    /// Whether the capability is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u16) != 0
    }

    /// Whether the set refuses explicitly.
    pub fn denies(self) -> bool {
        self == Self::DENY
    }

    /// Whether the set grants anything.
    pub fn grants(self) -> bool {
        self != Self::NONE && !self.denies()
    }

    /// The capabilities, in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |&capability| self.contains(capability))
    }

    /// The names, sorted.
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Capability::as_str).collect()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_read_back() {
        assert!(Capability::ALL.is_sorted_by_key(|capability| capability.as_str()));
        for capability in Capability::ALL {
            assert_eq!(Capability::parse(capability.as_str()), Some(capability));
        }
        assert_eq!(Capability::parse("Read"), None);
    }

    #[test]
    fn deny_swallows_the_rest() {
        let set: Capabilities = [Capability::Read, Capability::Deny, Capability::List].into_iter().collect();
        assert_eq!(set.names(), ["deny"]);
        assert!(set.denies() && !set.grants() && !set.contains(Capability::Read));
        assert!(!Capabilities::NONE.grants() && !Capabilities::NONE.denies());
    }
}
