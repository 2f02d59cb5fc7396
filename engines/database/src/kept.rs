//! Secrets as they lie in storage, which is encrypted.

use secret::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A secret that is stored. It serialises, so it stands in stored records only, never in a reply.
pub(crate) struct Kept(pub(crate) SecretString);

impl Kept {
    /// Another copy, to be used or stored.
    pub(crate) fn copy(&self) -> SecretString {
        // EXPOSE: from custody into custody.
        SecretString::init_with(|text| text.push_str(self.0.expose()))
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self(self.copy())
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self(SecretString::new(String::new()))
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // EXPOSE: into the encrypted store, in a buffer that wipes itself.
        self.0.expose().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SecretString::deserialize(deserializer).map(Self)
    }
}

/// An account and a password that once worked there, or will.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: Kept,
    /// Since when it is what it is: pending, in force, or replaced.
    pub(crate) since: clock::Timestamp,
}
