//! Signatures as JSON Web Tokens have them (RFC 7518): RSA with PKCS#1 padding, ECDSA with fixed lengths, Ed25519.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{self, EcdsaKeyPair, KeyPair as _, RsaPublicKeyComponents, UnparsedPublicKey},
};
use secret::Zeroizing;

use crate::{Error, ed25519};

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// ECDSA over P-521 with SHA-512.
    Es512,
    /// RSA with SHA-256.
    Rs256,
    /// RSA with SHA-384.
    Rs384,
    /// RSA with SHA-512.
    Rs512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Es256, Self::Es384, Self::Es512, Self::EdDsa];

    /// The algorithm with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// The name in the header of a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    fn ecdsa(self) -> Option<&'static signature::EcdsaSigningAlgorithm> {
        match self {
            Self::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Self::Es512 => Some(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Self::EdDsa | Self::Rs256 | Self::Rs384 | Self::Rs512 => None,
        }
    }

    fn padding(self) -> &'static dyn signature::RsaEncoding {
        match self {
            Self::Rs384 => &signature::RSA_PKCS1_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_SHA512,
            Self::EdDsa | Self::Es256 | Self::Es384 | Self::Es512 | Self::Rs256 => &signature::RSA_PKCS1_SHA256,
        }
    }
}

/// A private key for one algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    private: Zeroizing<Vec<u8>>,
    pair: Pair,
}

enum Pair {
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<ed25519::KeyPair>),
    Rsa(Box<rsa::KeyPair>),
}

impl SigningKey {
    /// A new random key. For RSA (2048 bits) this takes a good part of a second: not for a thread that must not block.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        let private = match algorithm.ecdsa() {
            Some(curve) => EcdsaKeyPair::generate(curve)
                .and_then(|pair| pair.to_pkcs8v1().map(|der| Zeroizing::new(der.as_ref().to_vec()))),
            None if algorithm == Algorithm::EdDsa => Ok(Zeroizing::new(ed25519::KeyPair::generate().seed().to_vec())),
            None => rsa::KeyPair::generate(KeySize::Rsa2048).and_then(|pair| {
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                Ok(Zeroizing::new(der.as_ref().to_vec()))
            }),
        };
        Self::from_private(algorithm, &private.map_err(|_| Error::Key)?)
    }

    /// The key that [`SigningKey::private`] gave.
    pub fn from_private(algorithm: Algorithm, private: &[u8]) -> Result<Self, Error> {
        let pair = match algorithm.ecdsa() {
            Some(curve) => Pair::Ecdsa(Box::new(EcdsaKeyPair::from_pkcs8(curve, private).map_err(|_| Error::Key)?)),
            None if algorithm == Algorithm::EdDsa => {
                let seed: &[u8; ed25519::SEED] = private.try_into().map_err(|_| Error::Key)?;
                Pair::Ed25519(Box::new(ed25519::KeyPair::from_seed(seed)))
            }
            None => Pair::Rsa(Box::new(rsa::KeyPair::from_pkcs8(private).map_err(|_| Error::Key)?)),
        };
        Ok(Self { algorithm, private: Zeroizing::new(private.to_vec()), pair })
    }

    /// The key to be stored encrypted: PKCS#8, or the seed of Ed25519.
    pub fn private(&self) -> &Zeroizing<Vec<u8>> {
        &self.private
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The signature of `message`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(|_| Error::Key)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).to_vec()),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(self.algorithm.padding(), &random, message, &mut out).map_err(|_| Error::Key)?;
                Ok(out)
            }
        }
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                // A byte that says "not compressed", then both coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                PublicKey::Ec { x: x.to_vec(), y: y.to_vec() }
            }
            Pair::Ed25519(pair) => PublicKey::Ed25519 { x: pair.public_key().to_vec() },
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                PublicKey::Rsa {
                    n: public.modulus().big_endian_without_leading_zero().to_vec(),
                    e: public.exponent().big_endian_without_leading_zero().to_vec(),
                }
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A public key in the numbers that a JSON Web Key has, big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// A point of the algorithm's curve.
    Ec {
        /// The first coordinate.
        x: Vec<u8>,
        /// The second coordinate.
        y: Vec<u8>,
    },
    /// A point of Ed25519.
    Ed25519 {
        /// The point.
        x: Vec<u8>,
    },
    /// RSA.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// Whether `signature` is one of `message` by the holder of this key. A key of another kind than the algorithm asks
    /// for verifies nothing.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (algorithm, self) {
            (Algorithm::Es256, Self::Ec { x, y }) => ec(&signature::ECDSA_P256_SHA256_FIXED, x, y, message, signature),
            (Algorithm::Es384, Self::Ec { x, y }) => ec(&signature::ECDSA_P384_SHA384_FIXED, x, y, message, signature),
            (Algorithm::Es512, Self::Ec { x, y }) => ec(&signature::ECDSA_P521_SHA512_FIXED, x, y, message, signature),
            (Algorithm::EdDsa, Self::Ed25519 { x }) => ed25519::verify(x, message, signature),
            (Algorithm::Rs256, Self::Rsa { n, e }) => RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            (Algorithm::Rs384, Self::Rsa { n, e }) => RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA384, message, signature)
                .is_ok(),
            (Algorithm::Rs512, Self::Rsa { n, e }) => RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA512, message, signature)
                .is_ok(),
            (_, Self::Ec { .. } | Self::Ed25519 { .. } | Self::Rsa { .. }) => false,
        }
    }
}

fn ec(
    algorithm: &'static signature::EcdsaVerificationAlgorithm,
    x: &[u8],
    y: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let point = [&[4], x, y].concat();
    UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_key_algorithm_and_message_alone() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let kept = SigningKey::from_private(algorithm, key.private()).unwrap();
            assert_eq!(kept.public(), key.public(), "{algorithm:?}");
            let signature = kept.sign(b"message").unwrap();
            assert!(key.public().verify(algorithm, b"message", &signature), "{algorithm:?}");
            assert!(!key.public().verify(algorithm, b"messagE", &signature), "{algorithm:?}");
            let other = SigningKey::generate(algorithm).unwrap();
            assert!(!other.public().verify(algorithm, b"message", &signature), "{algorithm:?}");
            for wrong in Algorithm::ALL.into_iter().filter(|wrong| *wrong != algorithm) {
                assert!(!key.public().verify(wrong, b"message", &signature), "{algorithm:?} as {wrong:?}");
            }
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
            assert!(SigningKey::from_private(algorithm, b"no key").is_err());
        }
        assert_eq!(Algorithm::parse("none"), None);
        assert_eq!(Algorithm::parse("HS256"), None);
    }

    #[test]
    fn public_keys_have_the_lengths_that_web_keys_need() {
        let lengths = [(Algorithm::Es256, 32), (Algorithm::Es384, 48), (Algorithm::Es512, 66)];
        for (algorithm, length) in lengths {
            let PublicKey::Ec { x, y } = SigningKey::generate(algorithm).unwrap().public() else { panic!() };
            assert_eq!((x.len(), y.len()), (length, length), "{algorithm:?}");
        }
    }
}
