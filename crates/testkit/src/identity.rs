//! Signed identity tokens, as a platform issues them to its workloads.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};

/// A platform with a signing key (Ed25519).
pub struct Issuer {
    key: KeyPair,
    name: String,
}

impl Issuer {
    /// A platform with a new key; `name` becomes the `iss` of its tokens.
    pub fn new(name: &str) -> Self {
        Self { key: KeyPair::generate_for(&PKCS_ED25519).expect("a key"), name: name.to_owned() }
    }

    /// The public key, PEM.
    pub fn public_pem(&self) -> String {
        self.key.public_key_pem()
    }

    /// A token for `subject` and `audience` that ends ten minutes from now.
    pub fn token(&self, subject: &str, audience: &str) -> String {
        let now = clock::Clock::system().now_seconds();
        self.sign(&json!({
            "iss": self.name, "aud": audience, "sub": subject, "iat": now, "nbf": now, "exp": now + 600,
        }))
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "typ": "JWT" }).to_string());
        let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(text.as_bytes()).expect("a signature");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
