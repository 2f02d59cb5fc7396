//! A public key that may have signed a token, out of a PEM text or a JSON Web Key.
//!
//! The type of the key decides which algorithms it is used with, never the token alone: an RSA key checks no ECDSA
//! signature, and no public key is ever taken for an HMAC secret.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;

use crate::{algorithm::Algorithm, der};

/// A public key, checked for type and size.
#[derive(Clone)]
pub(crate) struct Key {
    kind: KeyType,
    material: DecodingKey,
    kid: Option<String>,
    /// The only algorithm the key's publisher wants it used with, if it said so.
    only: Option<Algorithm>,
    /// Whether the key was configured by hand, where it has no id.
    configured: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyType {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl Key {
    /// The id under which the key was published.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether the key has no id because it was configured by hand, so that a token's `kid` says nothing about it.
    pub(crate) fn answers_any_id(&self) -> bool {
        self.configured
    }

    /// Whether the key can have made a signature with `algorithm`.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let by_type = match self.kind {
            KeyType::Ed25519 => algorithm == EdDSA,
            KeyType::P256 => algorithm == ES256,
            KeyType::P384 => algorithm == ES384,
            KeyType::Rsa => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
        };
        by_type && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether the key made `signature` (base64url) over `message` with `algorithm`.
    pub(crate) fn verify(&self, message: &[u8], signature: &str, algorithm: Algorithm) -> bool {
        self.fits(algorithm)
            && jsonwebtoken::crypto::verify(signature, message, &self.material, algorithm.backend()).unwrap_or(false)
    }

    /// The keys in a PEM text: public keys or certificates.
    pub(crate) fn from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            let (kind, der) = section.map_err(|_| KeyError::NotPem)?;
            let info = match kind {
                SectionKind::PublicKey => der::public_key(&der),
                SectionKind::Certificate => der::certificate_key(&der),
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                    return Err(KeyError::Private);
                }
                _ => return Err(KeyError::NotPem),
            };
            keys.push(Self::from_info(info.ok_or(KeyError::Malformed)?)?);
        }
        if keys.is_empty() { Err(KeyError::NotPem) } else { Ok(keys) }
    }

    fn from_info(info: der::KeyInfo<'_>) -> Result<Self, KeyError> {
        let configured = |kind, material| Self { kind, material, kid: None, only: None, configured: true };
        match info {
            der::KeyInfo::Ed25519(point) => Ok(configured(KeyType::Ed25519, ed25519(point)?)),
            der::KeyInfo::P256(point) => Ok(configured(KeyType::P256, curve_point(point, 32)?)),
            der::KeyInfo::P384(point) => Ok(configured(KeyType::P384, curve_point(point, 48)?)),
            der::KeyInfo::Rsa { modulus, exponent } => Ok(configured(KeyType::Rsa, rsa(modulus, exponent)?)),
            der::KeyInfo::Other => Err(KeyError::Unsupported),
        }
    }

    /// The usable keys of a JSON Web Key Set. Keys of unknown types, for encryption, or too weak are left out, as the
    /// set may serve others too.
    pub(crate) fn from_jwks(body: &[u8]) -> Result<Vec<Self>, KeyError> {
        let set: JwkSet = serde_json::from_slice(body).map_err(|_| KeyError::NotAKeySet)?;
        if set.keys.len() > MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let keys: Vec<Self> = set.keys.iter().filter_map(Self::from_jwk).collect();
        if keys.is_empty() { Err(KeyError::NoUsableKey) } else { Ok(keys) }
    }

    fn from_jwk(jwk: &serde_json::Value) -> Option<Self> {
        let jwk = Jwk::deserialize(jwk).ok()?;
        let signs = jwk.usage.as_deref().is_none_or(|usage| matches!(usage, "sig" | "jwt-svid"));
        let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let only = jwk.alg.as_deref().map(str::parse).transpose().ok()?;
        if !signs || !verifies {
            return None;
        }
        let part = |text: &Option<String>| text.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let point = |size| Some([&[4_u8][..], &sized(part(&jwk.x)?, size)?, &sized(part(&jwk.y)?, size)?].concat());
        let (kind, material) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (KeyType::Rsa, rsa(&part(&jwk.n)?, &part(&jwk.e)?).ok()?),
            ("EC", Some("P-256")) => (KeyType::P256, curve_point(&point(32)?, 32).ok()?),
            ("EC", Some("P-384")) => (KeyType::P384, curve_point(&point(48)?, 48).ok()?),
            ("OKP", Some("Ed25519")) => (KeyType::Ed25519, ed25519(&part(&jwk.x)?).ok()?),
            _ => return None,
        };
        let kid = jwk.kid.filter(|kid| !kid.is_empty());
        Some(Self { kind, material, kid, only, configured: false })
    }
}

/// Why no key could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// The key's bytes are damaged.
    #[error("the public key is damaged")]
    Malformed,
    /// The document is no JSON Web Key Set.
    #[error("the answer is no JSON Web Key Set")]
    NotAKeySet,
    /// Not PEM, or without a public key in it.
    #[error("expected a public key or a certificate in PEM form")]
    NotPem,
    /// The set holds no key that can be used here.
    #[error("the key set holds no usable signature key")]
    NoUsableKey,
    /// A private key was given.
    #[error("a private key was given: give the public key only, and replace the private one, which is now known here")]
    Private,
    /// More keys than taken.
    #[error("the key set holds more than {MAX_KEYS} keys")]
    TooMany,
    /// Another type of key.
    #[error("unsupported key type: use RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519")]
    Unsupported,
}

/// The most keys in a set.
const MAX_KEYS: usize = 100;

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn sized(bytes: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    (bytes.len() == size).then_some(bytes)
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, KeyError> {
    let strip = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    let (modulus, exponent) = (strip(modulus), strip(exponent));
    let top = modulus.first().map_or(8, |byte| byte.leading_zeros() as usize);
    let bits = (modulus.len() * 8).saturating_sub(top);
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    let exponent_fits = odd && exponent.len() <= 4 && exponent != [1];
    if !(2048..=8192).contains(&bits) || !exponent_fits {
        return Err(KeyError::Unsupported);
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn curve_point(point: &[u8], size: usize) -> Result<DecodingKey, KeyError> {
    match point.first() {
        Some(4) if point.len() == 1 + 2 * size => Ok(DecodingKey::from_ec_der(point)),
        _ => Err(KeyError::Malformed),
    }
}

fn ed25519(point: &[u8]) -> Result<DecodingKey, KeyError> {
    if point.len() == 32 { Ok(DecodingKey::from_ed_der(point)) } else { Err(KeyError::Malformed) }
}
