//! Password policies: how long a password is, and which characters it has.
//!
//! A policy is HCL with a `length` and one or more rules:
//!
//! ```text
//! length = 20
//! rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
//! rule "charset" { charset = "0123456789" min-chars = 2 }
//! ```
//!
//! Every password that satisfies the rules is equally likely: one is drawn from all characters of all rules, and drawn
//! anew until the rules are met.

mod read;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secret::{SecretString, Zeroizing};

use read::{Fields, Scalar, Written};

/// A checked policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    length: usize,
    rules: Vec<Rule>,
    alphabet: Vec<char>,
}

impl PasswordPolicy {
    /// Reads a policy in HCL or JSON, or base64 of it, and tries it out.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::Invalid("policy: must not exceed 64 KiB".to_owned()));
        }
        let decoded = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let policy = check(&read::read(decoded.as_deref().unwrap_or(text))?)?;
        // A policy that hardly any password satisfies is found out now, not when one is needed.
        for _ in 0..TRIALS {
            policy.generate()?;
        }
        Ok(policy)
    }

    /// The policy that applies where none is named: 20 characters, with a lower-case letter, an upper-case letter, a
    /// digit and a dash at least once each.
    pub fn standard() -> Self {
        let rule = |charset: &str| Rule { charset: charset.chars().collect(), min_chars: 1 };
        let rules = vec![rule(LOWER), rule(UPPER), rule(DIGITS), rule("-")];
        Self::new(20, rules)
    }

    fn new(length: usize, rules: Vec<Rule>) -> Self {
        let alphabet: BTreeSet<char> = rules.iter().flat_map(|rule| rule.charset.iter().copied()).collect();
        Self { length, rules, alphabet: alphabet.into_iter().collect() }
    }

    /// The number of characters of each password.
    pub fn length(&self) -> usize {
        self.length
    }

    /// A new password. Fails only for a policy that hardly any password satisfies.
    pub fn generate(&self) -> Result<SecretString, Error> {
        for _ in 0..MAX_DRAWS {
            let candidate = self.draw();
            if self.rules.iter().all(|rule| rule.satisfied(&candidate)) {
                return Ok(SecretString::init_with(|text| {
                    text.reserve_exact(self.length * 4);
                    text.extend(candidate.iter());
                }));
            }
        }
        Err(Error::Improbable)
    }

    fn draw(&self) -> Zeroizing<Vec<char>> {
        let mut drawn = Zeroizing::new(Vec::with_capacity(self.length));
        for _ in 0..self.length {
            let index = crypto::random::below(self.alphabet.len() as u64) as usize;
            drawn.extend(self.alphabet.get(index));
        }
        drawn
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    charset: BTreeSet<char>,
    min_chars: usize,
}

impl Rule {
    fn satisfied(&self, password: &[char]) -> bool {
        password.iter().filter(|c| self.charset.contains(c)).count() >= self.min_chars
    }
}

/// Why a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Hardly any password drawn at random satisfies the rules.
    #[error("policy: hardly any password satisfies the rules; make it longer or ask for fewer characters of a kind")]
    Improbable,
    /// The text is no policy; it says where and what to write instead.
    #[error("{0}")]
    Invalid(String),
}

fn check(written: &Written) -> Result<PasswordPolicy, Error> {
    let mut length = None;
    for (name, value) in &written.fields {
        match (name.as_str(), value) {
            ("length", value) => length = Some(number("length", value)?),
            ("entropy_source", Scalar::Text(source)) if source.is_empty() || source == "platform" => {}
            ("entropy_source", _) => {
                return Err(Error::Invalid("entropy_source: only \"platform\" is there".to_owned()));
            }
            (other, _) => {
                return Err(Error::Invalid(format!("{other}: unknown; a policy has length and rule \"charset\"")));
            }
        }
    }
    let length = length.ok_or_else(|| Error::Invalid("length: missing; write for example length = 20".to_owned()))?;
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
        return Err(Error::Invalid(format!("length: must be from {MIN_LENGTH} to {MAX_LENGTH}")));
    }
    let rules =
        written.rules.iter().map(|(label, fields)| rule(label, fields)).collect::<Result<Vec<Rule>, Error>>()?;
    if rules.is_empty() {
        return Err(Error::Invalid(
            "rule: missing; write for example rule \"charset\" { charset = \"abc\" }".to_owned(),
        ));
    }
    if rules.iter().map(|rule| rule.min_chars).fold(0, usize::saturating_add) > length {
        return Err(Error::Invalid("min-chars: the rules together ask for more characters than length".to_owned()));
    }
    Ok(PasswordPolicy::new(length, rules))
}

fn rule(label: &str, fields: &Fields) -> Result<Rule, Error> {
    if label != "charset" {
        return Err(Error::Invalid(format!("rule: {label:?} is unknown; the only one is rule \"charset\" {{ … }}")));
    }
    let mut rule = Rule { charset: BTreeSet::new(), min_chars: 0 };
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("charset", Scalar::Text(text)) if text.chars().any(char::is_control) => {
                return Err(Error::Invalid("charset: must hold printable characters only".to_owned()));
            }
            ("charset", Scalar::Text(text)) => rule.charset = text.chars().collect(),
            ("charset", Scalar::Number(_)) => {
                return Err(Error::Invalid("charset: must be a text in double quotes".to_owned()));
            }
            ("min-chars", value) => rule.min_chars = number("min-chars", value)?,
            (other, _) => return Err(Error::Invalid(format!("{other}: unknown; a rule has charset and min-chars"))),
        }
    }
    match rule.charset.is_empty() {
        true => Err(Error::Invalid("charset: must have at least one character".to_owned())),
        false => Ok(rule),
    }
}

fn number(field: &str, value: &Scalar) -> Result<usize, Error> {
    let number = match value {
        Scalar::Number(number) => usize::try_from(*number).ok(),
        Scalar::Text(text) => text.parse().ok(),
    };
    number.ok_or_else(|| Error::Invalid(format!("{field}: must be a whole number that is not negative")))
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const MIN_LENGTH: usize = 4;
const MAX_LENGTH: usize = 1024;
const MAX_TEXT: usize = 64 * 1024;
const MAX_DRAWS: usize = 20_000;
const TRIALS: usize = 3;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn refusal(text: &str) -> String {
        PasswordPolicy::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_standard_policy_has_every_kind_of_character() {
        let policy = PasswordPolicy::standard();
        for _ in 0..1000 {
            let password = policy.generate().unwrap();
            // EXPOSE: made for this test.
            let text = password.expose();
            assert_eq!(text.len(), 20);
            for charset in [LOWER, UPPER, DIGITS, "-"] {
                assert!(text.chars().any(|c| charset.contains(c)), "{text}");
            }
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        }
    }

    #[test]
    fn a_policy_is_read_from_hcl_json_and_base64() {
        let hcl = "# a comment\nlength = 12 // more\n/* and more */\nrule \"charset\" {\n  charset = \"abc\"\n  min-chars = 3\n}\nrule \"charset\" { charset = \"0123456789\" }\n";
        let json = r#"{"length": 12, "rule": [{"charset": {"charset": "abc", "min-chars": 3}}, {"charset": {"charset": "0123456789"}}]}"#;
        let policy = PasswordPolicy::parse(hcl).unwrap();
        assert_eq!(policy, PasswordPolicy::parse(json).unwrap());
        assert_eq!(policy, PasswordPolicy::parse(&STANDARD.encode(hcl)).unwrap());
        assert_eq!(policy.length(), 12);
        for _ in 0..200 {
            let password = policy.generate().unwrap();
            // EXPOSE: made for this test.
            let text = password.expose();
            assert!(text.len() == 12 && text.chars().filter(|c| "abc".contains(*c)).count() >= 3);
        }
    }

    #[test]
    fn every_satisfying_password_is_equally_likely() {
        // The passwords of two letters from {a, b, 1} with at least one digit, widened to the least length by a
        // character that is alone in its set: counted by how often each of the four places holds the digit.
        let policy = PasswordPolicy::parse(
            "length = 4\nrule \"charset\" { charset = \"ab\" }\nrule \"charset\" { charset = \"1\" min-chars = 1 }",
        )
        .unwrap();
        let mut counts: HashMap<String, u32> = HashMap::new();
        for _ in 0..13_000 {
            // EXPOSE: made for this test.
            *counts.entry(policy.generate().unwrap().expose().clone()).or_default() += 1;
        }
        // 3^4 - 2^4 passwords satisfy it; each is expected 200 times.
        assert_eq!(counts.len(), 65);
        assert!(counts.values().all(|count| (120..290).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_wrong_policy_is_refused_with_the_field_that_is_wrong() {
        let rule = "rule \"charset\" { charset = \"abc\" }";
        let cases = [
            ("", "length: missing"),
            ("length = 20", "rule: missing"),
            (&format!("length = 3\n{rule}"), "length: must be from 4"),
            (&format!("length = 2000\n{rule}"), "length: must be from 4"),
            (&format!("length = -1\n{rule}"), "length: must be a whole number"),
            (&format!("length = 8\nsize = 9\n{rule}"), "size: unknown"),
            (&format!("length = 8\nentropy_source = \"seal\"\n{rule}"), "entropy_source"),
            ("length = 8\nrule \"regex\" { charset = \"abc\" }", "rule: \"regex\" is unknown"),
            ("length = 8\nrule \"charset\" { }", "charset: must have"),
            ("length = 8\nrule \"charset\" { charset = \"\" }", "charset: must have"),
            ("length = 8\nrule \"charset\" { charset = \"a\\tb\" }", "charset: must hold printable"),
            ("length = 8\nrule \"charset\" { charset = \"abc\" min-chars = 9 }", "min-chars: the rules together"),
            ("length = 8\nrule \"charset\" { charset = 8 }", "charset: must be a text"),
            ("length = 8\nrule \"charset\" { charset = \"abc\" max-chars = 9 }", "max-chars: unknown"),
            ("length = [", "policy: line 1: '[' is not understood"),
            ("length = 8\nrule \"charset\" {\n charset = \"abc", "policy: line 3: a text in quotes"),
            ("length = 8\n/*", "policy: line 2: a comment"),
            ("length 8", "policy: line 1: expected ="),
            ("{\"length\": 8, \"rule\": 7}", "policy: not a policy in JSON"),
        ];
        for (text, wanted) in cases {
            let refusal = refusal(text);
            assert!(refusal.starts_with(wanted), "{text}: {refusal}");
        }
        let tight = "length = 100\nrule \"charset\" { charset = \"abcdefghijklmnopqrstuvwxyz\" }\nrule \"charset\" { charset = \"1\" min-chars = 90 }";
        assert_eq!(PasswordPolicy::parse(tight), Err(Error::Improbable));
    }
}
