//! What a rule says about the secret itself, beyond the request: which custom metadata it must have, and which of its
//! fields may be seen. Neither is known to Vault, whose parser refuses the keys; a policy without them means what it always
//! meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::parameters::glob;

/// Conditions on a secret. Those of all rules for a path hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Each key must be there, with one of these values; no values means any.
    pub(crate) metadata: BTreeSet<(String, Vec<String>)>,
    /// If there is such a list, only these fields are shown.
    pub(crate) visible: Option<BTreeSet<String>>,
    /// These fields are not shown.
    pub(crate) hidden: BTreeSet<String>,
}

impl Conditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.metadata.is_empty() && !self.on_fields()
    }

    /// Whether the custom metadata has to be looked at.
    pub fn on_metadata(&self) -> bool {
        !self.metadata.is_empty()
    }

    /// Whether some fields may be left out.
    pub fn on_fields(&self) -> bool {
        self.visible.is_some() || !self.hidden.is_empty()
    }

    /// Whether a secret with this custom metadata fits; if not, the key at fault.
    pub fn admits(&self, custom: &BTreeMap<String, String>) -> Result<(), &str> {
        let fits = |key: &str, values: &[String]| {
            let value = custom.get(key);
            value.is_some_and(|value| values.is_empty() || values.iter().any(|wanted| glob(wanted, value)))
        };
        match self.metadata.iter().find(|(key, values)| !fits(key, values)) {
            Some((key, _)) => Err(key),
            None => Ok(()),
        }
    }

    /// Whether a top-level field of a secret may be seen. What is hidden stays so, also where it is said to be visible.
    pub fn shows(&self, field: &str) -> bool {
        let named = |names: &BTreeSet<String>| names.iter().any(|name| glob(name, field));
        !named(&self.hidden) && self.visible.as_ref().is_none_or(named)
    }

    /// Joins what another rule for the same path says.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.metadata.extend(other.metadata.iter().cloned());
        self.hidden.extend(other.hidden.iter().cloned());
        if let Some(visible) = &other.visible {
            self.visible.get_or_insert_default().extend(visible.iter().cloned());
        }
    }
}

/// Such as `if custom metadata "owner" is one of ["shop"], without the fields ["password"]`.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        for (key, values) in &self.metadata {
            said.push(match values.is_empty() {
                true => format!("if there is custom metadata {key:?}"),
                false => format!("if custom metadata {key:?} is one of {values:?}"),
            });
        }
        said.extend(self.visible.iter().map(|visible| format!("only the fields {visible:?}")));
        said.extend((!self.hidden.is_empty()).then(|| format!("without the fields {:?}", self.hidden)));
        f.write_str(&said.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_key_must_be_there_with_one_of_its_values() {
        let wanted = |key: &str, values: &[&str]| (key.to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
        let metadata = BTreeSet::from([wanted("owner", &["shop", "team-*"]), wanted("tier", &[])]);
        let conditions = Conditions { metadata, ..Conditions::default() };
        let custom = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        for (pairs, fault) in [
            (&[("owner", "shop"), ("tier", "")][..], None),
            (&[("owner", "team-web"), ("tier", "1"), ("more", "x")], None),
            (&[("owner", "shops"), ("tier", "1")], Some("owner")),
            (&[("owner", "Shop"), ("tier", "1")], Some("owner")),
            (&[("Owner", "shop"), ("tier", "1")], Some("owner")),
            (&[("owner", "shop")], Some("tier")),
            (&[], Some("owner")),
        ] {
            assert_eq!(conditions.admits(&custom(pairs)).err(), fault, "{pairs:?}");
        }
    }

    #[test]
    fn what_is_hidden_stays_so() {
        let shown = |visible: Option<&[&str]>, hidden: &[&str], field: &str| {
            Conditions { visible: visible.map(set), hidden: set(hidden), ..Conditions::default() }.shows(field)
        };
        assert!(shown(None, &[], "a"));
        assert!(shown(None, &["b", "p*"], "a") && !shown(None, &["b", "p*"], "password"));
        assert!(shown(Some(&["a", "pub*"]), &[], "public") && !shown(Some(&["a"]), &[], "b"));
        assert!(!shown(Some(&["a"]), &["a"], "a") && !shown(Some(&[]), &[], "a"));
    }

    #[test]
    fn rules_for_a_path_hold_together() {
        let mut one = Conditions { hidden: set(&["a"]), ..Conditions::default() };
        one.merge(&Conditions { visible: Some(set(&["a", "b"])), ..Conditions::default() });
        one.merge(&Conditions { visible: Some(set(&["c"])), hidden: set(&["d"]), ..Conditions::default() });
        assert_eq!((one.visible, one.hidden), (Some(set(&["a", "b", "c"])), set(&["a", "d"])));
    }
}
