//! Reading a signed token, distrustfully: form and header first, then the signature, and only then the claims.
//!
//! [`Unverified`] gives away nothing but what is needed to find the key. [`Claims`] can be made only by
//! [`Unverified::verify`], so no claim is ever looked at whose signature was not checked.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{
    algorithm::Algorithm,
    json,
    key::Key,
    refusal::{Part, Refusal},
};

/// A token in compact form whose signature has not been checked.
pub(crate) struct Unverified<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Checks size, form and header.
    pub(crate) fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::NotThreeParts);
        };
        let message = token.get(..header.len() + 1 + claims.len()).ok_or(Refusal::NotThreeParts)?;
        let header = object(header, Part::Header)?;
        let (algorithm, kid) = check_header(&header)?;
        if signature.is_empty() {
            return Err(Refusal::SignatureMissing);
        }
        // Decoded here too, so that a malformed one is told apart from a wrong one.
        decode(signature, Part::Signature)?;
        Ok(Self { algorithm, kid, message, claims, signature })
    }

    /// The algorithm that the header names.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `key` may have signed this token: its type and its own algorithm fit the header, and its id is the
    /// header's, if both have one to compare.
    pub(crate) fn names(&self, key: &Key) -> bool {
        let id_fits = match (&self.kid, key.kid()) {
            (None, _) => true,
            (Some(_), _) if key.answers_any_id() => true,
            (Some(wanted), Some(held)) => wanted == held,
            (Some(_), None) => false,
        };
        id_fits && key.fits(self.algorithm)
    }

    /// Whether one of `keys` made the signature; if so, the claims may be read.
    pub(crate) fn verify(&self, keys: &[Key]) -> Result<SignedBytes<'a>, Refusal> {
        let mut candidates = keys.iter().filter(|key| self.names(key)).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::KeyUnknown);
        }
        let made_by = |key: &Key| key.verify(self.message.as_bytes(), self.signature, self.algorithm);
        match candidates.any(made_by) {
            true => Ok(SignedBytes(self.claims)),
            false => Err(Refusal::SignatureInvalid),
        }
    }
}

/// The claims part of a token whose signature is good.
pub(crate) struct SignedBytes<'a>(&'a str);

impl SignedBytes<'_> {
    /// Reads the claims.
    pub(crate) fn claims(&self) -> Result<Claims, Refusal> {
        object(self.0, Part::Claims).map(Claims)
    }
}

/// The claims of a token whose signature is good.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    /// The claim of this name, or, if the name begins with `/`, the value that it points to as a JSON pointer.
    pub(crate) fn find(&self, name: &str) -> Option<&Value> {
        let Some(pointer) = name.strip_prefix('/') else {
            return self.0.get(name);
        };
        let mut steps = pointer.splitn(2, '/');
        let first = steps.next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let value = self.0.get(&first)?;
        match steps.next() {
            Some(rest) => value.pointer(&format!("/{rest}")),
            None => Some(value),
        }
    }

    /// The claim of exactly this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// The longest token, in bytes.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;
/// The longest key id, in bytes.
const MAX_KID: usize = 512;

fn decode(part: &str, which: Part) -> Result<Vec<u8>, Refusal> {
    // This engine takes neither padding, nor the standard alphabet, nor line breaks, nor stray trailing bits.
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::NotBase64Url(which))
}

fn object(part: &str, which: Part) -> Result<Map<String, Value>, Refusal> {
    let bytes = decode(part, which)?;
    json::object(&bytes).map_err(|fault| match fault {
        json::Fault::Duplicate => Refusal::DuplicateMember(which),
        json::Fault::Inexact => Refusal::InexactNumber(which),
        json::Fault::NotAnObject | json::Fault::Syntax => Refusal::NotAJsonObject(which),
        json::Fault::TooDeep => Refusal::TooDeep(which),
    })
}

fn check_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), Refusal> {
    if header.contains_key("enc") || header.contains_key("zip") {
        return Err(Refusal::Encrypted);
    }
    // No extension is understood here, so none may be critical; `b64` is one that must be.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Refusal::CriticalHeader);
    }
    // A key that the token brings itself proves nothing. (`jku`, `x5u`, `x5c` are never followed; some issuers send
    // them as a matter of course.)
    if header.contains_key("jwk") {
        return Err(Refusal::EmbeddedKey);
    }
    check_type(header)?;
    let name = header.get("alg").and_then(Value::as_str).ok_or(Refusal::AlgorithmNotAllowed)?;
    let algorithm = name.parse().map_err(|()| Refusal::AlgorithmNotAllowed)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if !kid.is_empty() && kid.len() <= MAX_KID && !kid.contains(char::is_control) => {
            Some(kid.clone())
        }
        Some(_) => return Err(Refusal::KeyIdMalformed),
    };
    Ok((algorithm, kid))
}

/// A proof of another kind (a logout token, a DPoP proof) must not pass for an identity token of the same issuer.
fn check_type(header: &Map<String, Value>) -> Result<(), Refusal> {
    if let Some(media_type) = header.get("typ") {
        let media_type = media_type.as_str().ok_or(Refusal::WrongType)?.to_ascii_lowercase();
        let short = media_type.strip_prefix("application/").unwrap_or(&media_type);
        if !["jwt", "jose", "at+jwt"].contains(&short) {
            return Err(Refusal::WrongType);
        }
    }
    if let Some(content) = header.get("cty") {
        let content = content.as_str().ok_or(Refusal::Nested)?.to_ascii_lowercase();
        if content.contains("jwt") || content.contains("jose") {
            return Err(Refusal::Nested);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_reach_into_claims() {
        let claims = Claims(json::object(br#"{"a":{"b":["x",{"c/d":1}]},"/a":2,"e~f":3}"#).unwrap());
        assert_eq!(claims.find("/a/b/0"), Some(&Value::from("x")));
        assert_eq!(claims.find("/a/b/1/c~1d"), Some(&Value::from(1)));
        assert_eq!(claims.find("/e~0f"), Some(&Value::from(3)));
        assert_eq!(claims.find("/a/b/7"), None);
        assert_eq!(claims.find("/a/"), None);
        assert_eq!(claims.find("a/b"), None);
        assert_eq!(claims.get("/a"), Some(&Value::from(2)));
    }
}
