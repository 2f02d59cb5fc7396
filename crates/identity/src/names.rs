//! What a name may be, and when two spellings are the same name.

use std::collections::BTreeMap;

use gate::Error;
use policy::PolicyName;

/// The longest name in bytes.
const LONGEST: usize = 512;

/// The spelling under which a name is found. This is the only rule: every index and every comparison uses it.
pub fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Refuses what cannot be a name. `field` is what the caller called it.
///
/// Blanks around a name are refused and not dropped: an issuer of identities may tell `bob` from `bob ` or not, and either
/// guess would make two people one, or one person two.
pub(crate) fn check(field: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::invalid(format!("{field}: must not be empty")));
    }
    if fold(name).len() > LONGEST {
        return Err(Error::invalid(format!("{field}: must not be longer than {LONGEST} bytes")));
    }
    if name.trim() != name {
        return Err(Error::invalid(format!("{field}: must not begin or end with a blank")));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFFD}')) {
        return Err(Error::invalid(format!("{field}: must consist of printable characters")));
    }
    Ok(())
}

/// The policies that an entity or group may be given: each in its one spelling, once, and never `root`.
pub(crate) fn policies(names: &[String]) -> Result<Vec<String>, Error> {
    let mut policies = Vec::with_capacity(names.len());
    for name in names {
        let name = PolicyName::new(name).map_err(|why| Error::invalid(format!("policies: {why}")))?;
        if name.is_root() {
            return Err(Error::invalid("policies cannot contain root"));
        }
        policies.push(name.as_str().to_owned());
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}

/// Refuses metadata that is more than notes.
pub(crate) fn metadata(field: &str, pairs: &BTreeMap<String, String>) -> Result<(), Error> {
    if pairs.len() > MOST_PAIRS {
        return Err(Error::invalid(format!("{field}: must not have more than {MOST_PAIRS} keys")));
    }
    if pairs.keys().any(|key| key.is_empty() || key.len() > LONGEST_KEY) {
        return Err(Error::invalid(format!("{field}: keys must have 1 to {LONGEST_KEY} bytes")));
    }
    if pairs.values().any(|value| value.len() > LONGEST_VALUE) {
        return Err(Error::invalid(format!("{field}: values must not be longer than {LONGEST_VALUE} bytes")));
    }
    let printable = |text: &String| !text.chars().any(char::is_control);
    if !pairs.iter().all(|(key, value)| printable(key) && printable(value)) {
        return Err(Error::invalid(format!("{field}: keys and values must consist of printable characters")));
    }
    Ok(())
}

const MOST_PAIRS: usize = 64;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 512;

/// `entity_1a2b3c4d` and the like.
pub(crate) fn make(kind: &str) -> String {
    let digits: String = crypto::random::bytes::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}_{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_told_apart_are_refused() {
        for name in ["", " bob", "bob ", "bob\u{a0}", "b\u{0}b", "b\nb", "\u{2028}", &"a".repeat(513)] {
            assert!(check("name", name).is_err(), "{name:?}");
        }
        for name in ["bob", "Bob the 2nd", "repo:org/app:ref", "böb", &"a".repeat(512)] {
            assert!(check("name", name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn no_spelling_of_root_gets_in() {
        for name in ["root", "Root", " ROOT ", "root\t"] {
            let error = policies(&["a".to_owned(), name.to_owned()]).unwrap_err().to_string();
            assert_eq!(error, "policies cannot contain root", "{name:?}");
        }
        assert_eq!(policies(&["B".to_owned(), " a".to_owned(), "b".to_owned()]).unwrap(), ["a", "b"]);
        assert!(policies(&["rо\u{43e}t".to_owned()]).is_err());
    }
}
