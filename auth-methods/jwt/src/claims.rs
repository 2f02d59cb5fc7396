//! What a role asks of the claims of a token, and what it takes from them.

use std::collections::{BTreeMap, BTreeSet};

use clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{refusal::Refusal, token::Claims};

/// The part of a role that speaks of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Bounds {
    /// The audiences; a token must name one of them, letter by letter.
    pub(crate) audiences: Vec<String>,
    /// The subject; empty is any.
    pub(crate) subject: String,
    /// For each claim the value it must have, or a list of values of which it must have one.
    pub(crate) claims: BTreeMap<String, Value>,
    /// How the values are compared.
    pub(crate) matching: Matching,
    /// Claims that become metadata of the token, with their names there.
    pub(crate) mappings: BTreeMap<String, String>,
    /// The claim that names the holder.
    pub(crate) user_claim: String,
    /// Whether `user_claim` may be a JSON pointer.
    pub(crate) user_claim_pointer: bool,
    /// The claim that lists the holder's groups; empty is none.
    pub(crate) groups_claim: String,
    /// Seconds added to `exp` (and to a missing `nbf` subtracted), see [`Leeway`].
    pub(crate) leeway: Leeway,
    /// The longest life of a token in seconds, from `iat` or `nbf` to `exp`; 0 is any.
    pub(crate) max_life: u64,
    /// Whether each token is taken once.
    pub(crate) single_use: bool,
}

/// How the values of a bound claim are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Matching {
    /// Letter by letter.
    #[default]
    String,
    /// `*` stands for any text.
    Glob,
}

/// Allowances for clocks that differ, in seconds. Zero takes the default, a negative number means none at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Leeway {
    /// Added to `exp`, on top of `skew`. The default is none: in Vault its 150 seconds only stand in for a missing
    /// `exp`, and here `exp` is required.
    pub(crate) expiration: i64,
    /// Subtracted from `nbf`, on top of `skew`. The default is none, for the same reason.
    pub(crate) not_before: i64,
    /// Applied to `exp`, `nbf` and `iat`. The default is [`DEFAULT_SKEW`].
    pub(crate) skew: i64,
}

/// The allowance for clocks that differ, in seconds, where a role sets none.
const DEFAULT_SKEW: i64 = 60;
/// The greatest allowance, in seconds: a day. More is a mistake, and would make expiry meaningless.
pub(crate) const MAX_LEEWAY: i64 = 24 * 3600;

impl Leeway {
    fn skew(self) -> f64 {
        (if self.skew == 0 { DEFAULT_SKEW } else { self.skew.max(0) }) as f64
    }

    fn after_expiry(self) -> f64 {
        self.skew() + self.expiration.max(0) as f64
    }

    fn before_start(self) -> f64 {
        self.skew() + self.not_before.max(0) as f64
    }
}

/// What the claims of an accepted token say about its holder.
#[derive(Debug, PartialEq)]
pub(crate) struct Holder {
    /// The name, for the entity alias.
    pub(crate) alias: String,
    /// The groups.
    pub(crate) groups: Vec<String>,
    /// The mapped claims.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The id of the token together with its issuer, if the role takes each token once.
    pub(crate) once: Option<String>,
    /// The last second in which the token would be accepted.
    pub(crate) usable_until: i64,
}

impl Bounds {
    /// Whether anything at all is asked of a token besides a good signature.
    pub(crate) fn constrain(&self) -> bool {
        !self.audiences.is_empty() || !self.subject.is_empty() || !self.claims.is_empty()
    }

    /// Whether a bound claim is satisfied by any value at all.
    pub(crate) fn matches_anything(&self) -> bool {
        let anything =
            |value: &Value| value.as_str().is_some_and(|text| !text.is_empty() && text.chars().all(|c| c == '*'));
        self.matching == Matching::Glob && self.claims.values().any(|wanted| each(wanted).iter().any(anything))
    }

    /// Checks `claims` at the moment `now`. `issuer` is the one wanted; empty is any.
    pub(crate) fn check(&self, claims: &Claims, issuer: &str, now: Timestamp) -> Result<Holder, Refusal> {
        let end = self.check_times(claims, now)?;
        if !issuer.is_empty() && text(claims, "iss")? != Some(issuer) {
            return Err(Refusal::IssuerMismatch);
        }
        if !self.subject.is_empty() && text(claims, "sub")? != Some(&self.subject) {
            return Err(Refusal::SubjectMismatch);
        }
        self.check_audience(claims)?;
        for (name, wanted) in &self.claims {
            self.check_bound(claims, name, wanted)?;
        }
        Ok(Holder {
            alias: self.alias(claims)?,
            groups: self.groups(claims)?,
            metadata: self.metadata(claims)?,
            once: self.once(claims)?,
            usable_until: end,
        })
    }

    /// Gives the last second in which the token is accepted.
    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<i64, Refusal> {
        // Floats tell seconds of this millennium apart to the microsecond, which is finer than any clock skew.
        let now = now.as_second() as f64 + f64::from(now.subsec_nanosecond()) / 1e9;
        let expires = date(claims, "exp")?.ok_or(Refusal::ExpiryMissing)?;
        let starts = date(claims, "nbf")?;
        let issued = date(claims, "iat")?;
        let end = expires + self.leeway.after_expiry();
        if now >= end {
            return Err(Refusal::Expired);
        }
        if starts.is_some_and(|starts| now < starts - self.leeway.before_start()) {
            return Err(Refusal::NotYetValid);
        }
        if issued.is_some_and(|issued| now < issued - self.leeway.skew()) {
            return Err(Refusal::IssuedInFuture);
        }
        if self.max_life > 0 {
            let from = issued.or(starts).ok_or(Refusal::LivesTooLong)?;
            if expires - from > self.max_life as f64 {
                return Err(Refusal::LivesTooLong);
            }
        }
        Ok(end.ceil() as i64)
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let audiences = match claims.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(all)) => {
                let texts = all.iter().map(|item| item.as_str().ok_or(Refusal::ClaimMalformed("aud")));
                texts.collect::<Result<_, _>>()?
            }
            Some(_) => return Err(Refusal::ClaimMalformed("aud")),
        };
        if self.audiences.is_empty() {
            return if audiences.is_empty() { Ok(()) } else { Err(Refusal::AudienceUnbound) };
        }
        let bound = |audience: &&str| self.audiences.iter().any(|bound| bound == audience);
        if audiences.iter().any(bound) { Ok(()) } else { Err(Refusal::AudienceMismatch) }
    }

    fn check_bound(&self, claims: &Claims, name: &str, wanted: &Value) -> Result<(), Refusal> {
        let held = claims.find(name).ok_or_else(|| Refusal::BoundClaimMissing(name.to_owned()))?;
        let (held, wanted) = (each(held), each(wanted));
        let matches = |held: &Value, wanted: &Value| match (self.matching, held, wanted) {
            (Matching::Glob, Value::String(held), Value::String(wanted)) => glob(wanted, held),
            (_, Value::String(_) | Value::Bool(_) | Value::Number(_), _) => held == wanted,
            _ => false,
        };
        let any = held.iter().any(|held| wanted.iter().any(|wanted| matches(held, wanted)));
        if any { Ok(()) } else { Err(Refusal::BoundClaimMismatch(name.to_owned())) }
    }

    fn alias(&self, claims: &Claims) -> Result<String, Refusal> {
        let name = &self.user_claim;
        let value = if self.user_claim_pointer { claims.find(name) } else { claims.get(name) };
        let alias = value.and_then(Value::as_str).filter(|alias| usable_name(alias));
        alias.map(str::to_owned).ok_or_else(|| Refusal::UserClaim(name.clone()))
    }

    fn groups(&self, claims: &Claims) -> Result<Vec<String>, Refusal> {
        let name = &self.groups_claim;
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let refusal = || Refusal::Groups(name.clone());
        let groups = each(claims.find(name).ok_or_else(refusal)?);
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for group in groups {
            let group = group.as_str().filter(|group| usable_name(group)).ok_or_else(refusal)?;
            if seen.insert(group) {
                names.push(group.to_owned());
            }
        }
        Ok(names)
    }

    fn metadata(&self, claims: &Claims) -> Result<BTreeMap<String, String>, Refusal> {
        let mut metadata = BTreeMap::new();
        for (name, target) in &self.mappings {
            let text = match claims.find(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.clone(),
                Some(Value::Bool(flag)) => flag.to_string(),
                Some(Value::Number(number)) => number.to_string(),
                Some(Value::Array(_) | Value::Object(_)) => return Err(Refusal::MappedClaim(name.clone())),
            };
            metadata.insert(target.clone(), text);
        }
        Ok(metadata)
    }

    fn once(&self, claims: &Claims) -> Result<Option<String>, Refusal> {
        if !self.single_use {
            return Ok(None);
        }
        let id = text(claims, "jti")?.filter(|id| !id.is_empty()).ok_or(Refusal::JtiMissing)?;
        let issuer = text(claims, "iss")?.unwrap_or_default();
        // The length keeps two pairs from running into the same text.
        Ok(Some(format!("{}:{issuer}{id}", issuer.len())))
    }
}

/// The items of a list, or the one value.
fn each(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

/// A name for an entity alias or a group.
fn usable_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control)
}

/// The longest name of a holder or group, in bytes.
const MAX_NAME: usize = 512;

/// A registered claim that must be a text if it is there.
fn text<'a>(claims: &'a Claims, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::ClaimMalformed(name)),
    }
}

/// A registered claim that must be a date if it is there: seconds since 1970, whole or not, before the year 10000.
fn date(claims: &Claims, name: &'static str) -> Result<Option<f64>, Refusal> {
    const END: f64 = 253_402_300_800.0;
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(seconds) if (0.0..END).contains(&seconds) => Ok(Some(seconds)),
            _ => Err(Refusal::ClaimMalformed(name)),
        },
        Some(_) => Err(Refusal::ClaimMalformed(name)),
    }
}

/// Whether `text` is what `pattern` describes; `*` stands for any text, the empty one included. Takes time in
/// proportion to the product of the lengths at worst.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part).and_then(|start| text.get(start + part.len()..)) {
            Some(behind) => text = behind,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_a_whole() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("ab*ba", "aba", false),
            ("*b*", "abc", true),
            ("*b*d*", "abcd", true),
            ("*d*b*", "abcd", false),
            ("repo:*:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/main", true),
            ("repo:acme/*:ref", "repo:evil:repo:acme/x:ref", false),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }
}
