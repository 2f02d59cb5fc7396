//! Token roles: what a token made through `auth/token/create/<role>` may be.

use std::{collections::BTreeSet, time::Duration};

use api::{CommaList, Count, Flag, Name, Ttl};
use gate::{Error, TokenKind};
use serde::{Deserialize, Serialize};
use storage::{Key, Tx};

use crate::create::parse_cidrs;

/// A token role, as stored and as read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Policies that may be asked for; empty is the parent's.
    pub allowed_policies: Vec<String>,
    /// Policies that may not.
    pub disallowed_policies: Vec<String>,
    /// Like `allowed_policies`, with `*`.
    pub allowed_policies_glob: Vec<String>,
    /// Like `disallowed_policies`, with `*`.
    pub disallowed_policies_glob: Vec<String>,
    /// Tokens have no parent.
    pub orphan: bool,
    /// Tokens can be renewed.
    pub renewable: bool,
    /// Follows the role in the tokens' path.
    pub path_suffix: String,
    /// Entity aliases that may be asked for.
    pub allowed_entity_aliases: Vec<String>,
    /// Service, batch, or either.
    pub token_type: TokenKind,
    /// From where tokens may be used.
    pub token_bound_cidrs: Vec<String>,
    /// A hard end; zero is none.
    pub token_explicit_max_ttl: Ttl,
    /// A period; zero is none.
    pub token_period: Ttl,
    /// The limit on uses; 0 is none.
    pub token_num_uses: u64,
    /// Leave the `default` policy out.
    pub token_no_default_policy: bool,
}

/// A write to a role. Fields that are left out keep their value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RoleInput {
    allowed_policies: Option<CommaList>,
    disallowed_policies: Option<CommaList>,
    allowed_policies_glob: Option<CommaList>,
    disallowed_policies_glob: Option<CommaList>,
    orphan: Option<Flag>,
    renewable: Option<Flag>,
    path_suffix: Option<String>,
    allowed_entity_aliases: Option<CommaList>,
    token_type: Option<String>,
    token_bound_cidrs: Option<CommaList>,
    bound_cidrs: Option<CommaList>,
    token_explicit_max_ttl: Option<Ttl>,
    explicit_max_ttl: Option<Ttl>,
    token_period: Option<Ttl>,
    period: Option<Ttl>,
    token_num_uses: Option<Count>,
    token_no_default_policy: Option<Flag>,
}

impl Role {
    pub(crate) fn new(name: &Name) -> Self {
        Self { name: name.to_string(), renewable: true, token_type: TokenKind::DefaultService, ..Self::default() }
    }

    pub(crate) fn apply(&mut self, input: RoleInput) -> Result<(), Error> {
        set(&mut self.allowed_policies, input.allowed_policies.map(lowercase));
        set(&mut self.disallowed_policies, input.disallowed_policies.map(lowercase));
        set(&mut self.allowed_policies_glob, input.allowed_policies_glob.map(lowercase));
        set(&mut self.disallowed_policies_glob, input.disallowed_policies_glob.map(lowercase));
        set(&mut self.orphan, input.orphan.map(|flag| flag.0));
        set(&mut self.renewable, input.renewable.map(|flag| flag.0));
        set(&mut self.path_suffix, input.path_suffix);
        set(&mut self.allowed_entity_aliases, input.allowed_entity_aliases.map(lowercase));
        set(&mut self.token_bound_cidrs, input.token_bound_cidrs.or(input.bound_cidrs).map(|list| list.0));
        set(&mut self.token_explicit_max_ttl, input.token_explicit_max_ttl.or(input.explicit_max_ttl));
        set(&mut self.token_period, input.token_period.or(input.period));
        set(&mut self.token_num_uses, input.token_num_uses.map(|count| count.0));
        set(&mut self.token_no_default_policy, input.token_no_default_policy.map(|flag| flag.0));
        if let Some(kind) = input.token_type {
            self.token_type = parse_kind(&kind)?;
        }
        self.check()
    }

    fn check(&self) -> Result<(), Error> {
        parse_cidrs(&self.token_bound_cidrs)?;
        let suffix = self.path_suffix.as_str();
        if !suffix.is_empty() && Name::new(suffix).is_none() {
            return Err(Error::invalid("path_suffix: use letters, digits, '_', '.' and '-'"));
        }
        if self.token_type == TokenKind::Batch {
            if !self.orphan {
                return Err(Error::invalid(
                    "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens",
                ));
            }
            if self.renewable {
                return Err(Error::invalid(
                    "'token_type' cannot be 'batch' when role is set to generate renewable tokens",
                ));
            }
            if !self.token_period.is_zero() {
                return Err(Error::invalid(
                    "'token_type' cannot be 'batch' when role is set to generate periodic tokens",
                ));
            }
            if !self.token_explicit_max_ttl.is_zero() {
                return Err(Error::invalid(
                    "'token_type' cannot be 'batch' when role is set to generate tokens with an explicit max TTL",
                ));
            }
            if self.token_num_uses != 0 {
                return Err(Error::invalid(
                    "'token_type' cannot be 'batch' when role is set to generate tokens with a limited number of uses",
                ));
            }
        }
        Ok(())
    }

    /// Whether the role has lists that govern in place of the parent's policies.
    pub(crate) fn governs(&self) -> bool {
        !(self.allowed_policies.is_empty()
            && self.disallowed_policies.is_empty()
            && self.allowed_policies_glob.is_empty()
            && self.disallowed_policies_glob.is_empty())
    }

    /// The policies of a token made through this role, if its lists govern.
    pub(crate) fn policies(&self, wished: Vec<String>) -> Result<Vec<String>, Error> {
        let allows = !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty();
        let wished = match wished.is_empty() {
            true if !self.allowed_policies.is_empty() => self.allowed_policies.clone(),
            true => vec!["default".to_owned()],
            false => wished,
        };
        for policy in &wished {
            let listed = |list: &[String], globs: &[String]| {
                list.contains(policy) || globs.iter().any(|pattern| glob(pattern, policy))
            };
            let own_default = policy == "default" && !self.token_no_default_policy;
            if allows && !own_default && !listed(&self.allowed_policies, &self.allowed_policies_glob) {
                return Err(Error::invalid(format!(
                    "token policies ({policy}) must be subset of the role's allowed policies"
                )));
            }
            if policy == "root" && !self.allowed_policies.contains(policy) {
                return Err(Error::invalid("the role does not allow the policy root"));
            }
            if listed(&self.disallowed_policies, &self.disallowed_policies_glob) {
                return Err(Error::invalid(format!("token policy \"{policy}\" is disallowed by the role")));
            }
        }
        Ok(wished)
    }

    /// The last part of the path of tokens made through this role.
    pub(crate) fn path(&self) -> String {
        match self.path_suffix.as_str() {
            "" => format!("auth/token/create/{}", self.name),
            suffix => format!("auth/token/create/{}-{suffix}", self.name),
        }
    }

    /// Whether tokens are batch tokens, given what the caller asks for.
    pub(crate) fn batch(&self, wished: Option<TokenKind>) -> bool {
        match self.token_type {
            TokenKind::Batch => true,
            TokenKind::Service => false,
            TokenKind::DefaultBatch => wished != Some(TokenKind::Service),
            TokenKind::DefaultService | TokenKind::Default => wished == Some(TokenKind::Batch),
        }
    }
}

/// The parent's policies bound those of a child.
pub(crate) fn subset(wished: Vec<String>, parent: &[String]) -> Result<Vec<String>, Error> {
    let parent: BTreeSet<&str> = parent.iter().map(String::as_str).collect();
    match wished.iter().all(|policy| parent.contains(policy.as_str())) {
        true => Ok(wished),
        false => Err(Error::invalid("child policies must be subset of parent")),
    }
}

/// The lesser of two limits of which zero is "none".
pub(crate) fn lesser(a: Duration, b: Duration) -> Duration {
    match (a.is_zero(), b.is_zero()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.min(b),
    }
}

/// The lesser of two limits on uses of which 0 is "none".
pub(crate) fn fewer(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, limit) | (limit, 0) => limit,
        (a, b) => a.min(b),
    }
}

pub(crate) fn parse_kind(text: &str) -> Result<TokenKind, Error> {
    match text {
        "" | "default" | "default-service" => Ok(TokenKind::DefaultService),
        "service" => Ok(TokenKind::Service),
        "batch" => Ok(TokenKind::Batch),
        "default-batch" => Ok(TokenKind::DefaultBatch),
        _ => Err(Error::invalid("token_type: use service, batch, default-service or default-batch")),
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::from(format!("{PREFIX}{}", name.to_lowercase()))
}

pub(crate) const PREFIX: &str = "sys/token/role/";

pub(crate) async fn load(tx: &Tx, name: &str) -> Result<Option<Role>, Error> {
    Ok(tx.get_json(&key(name)).await?)
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn lowercase(list: CommaList) -> Vec<String> {
    list.0.iter().map(|item| item.to_lowercase()).collect()
}

/// Matches with `*` for any run of characters.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn lists_of_a_role_govern_in_place_of_the_parent() {
        assert!(!Role { renewable: true, ..Role::default() }.governs());
        let allowed = Role { allowed_policies: names(&["web", "db"]), ..Role::default() };
        assert!(allowed.governs());
        assert_eq!(allowed.policies(names(&[])).unwrap(), names(&["web", "db"]));
        assert_eq!(allowed.policies(names(&["web"])).unwrap(), names(&["web"]));
        assert_eq!(allowed.policies(names(&["web", "default"])).unwrap(), names(&["web", "default"]));
        assert!(allowed.policies(names(&["app"])).is_err());
        assert!(allowed.policies(names(&["root"])).is_err());
        let globs = Role { allowed_policies_glob: names(&["team-*"]), ..Role::default() };
        assert_eq!(globs.policies(names(&["team-a"])).unwrap(), names(&["team-a"]));
        assert_eq!(globs.policies(names(&[])).unwrap(), names(&["default"]));
        assert!(globs.policies(names(&["web"])).is_err());
        let disallowed = Role { disallowed_policies_glob: names(&["admin-*"]), ..Role::default() };
        assert!(disallowed.policies(names(&["web"])).is_ok());
        assert_eq!(disallowed.policies(names(&[])).unwrap(), names(&["default"]));
        assert!(disallowed.policies(names(&["admin-x"])).is_err());
        assert!(disallowed.policies(names(&["root"])).is_err());
    }

    #[test]
    fn a_parents_policies_bound_those_of_its_children() {
        let parent = names(&["app", "default"]);
        assert_eq!(subset(names(&["app"]), &parent).unwrap(), names(&["app"]));
        assert!(subset(names(&["other"]), &parent).is_err());
        // Not even the default policy is more than nothing.
        assert!(subset(names(&["default"]), &names(&["app"])).is_err());
    }

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, expected) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
