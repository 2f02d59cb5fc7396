//! What an entity's authenticator knows.

use gate::Error;
use secret::{SecretBytes, SecretString, Zeroize};
use serde::{Deserialize, Serialize};

use super::{Method, guard_key, secret_key, secrets};
use crate::{Directory, Entity};

/// A key that an authenticator shares, with the settings that it was told: a later change of the method does not reach it.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) codes: totp::Settings,
    key: Vec<u8>,
}

impl Kept {
    pub(super) fn key(&self) -> SecretBytes {
        SecretBytes::new(self.key.clone())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// What the holder of an authenticator is shown, once.
pub struct Enrolled {
    /// The address that an authenticator takes.
    pub url: SecretString,
    /// The same as a QR code, a PNG picture in base64; `None` if the method makes none.
    pub barcode: Option<SecretString>,
}

impl Directory<'_> {
    /// Makes the secret of an entity for a method. `None` if it has one: it is not shown again.
    pub async fn enrol_mfa(&self, entity: &Entity, method: &Method) -> Result<Option<Enrolled>, Error> {
        let at = secret_key(&entity.id, &method.id);
        if self.tx.get(&at).await?.is_some() {
            return Ok(None);
        }
        let key = totp::make_key(method.key_size);
        let url = method.codes.url(&key, &method.issuer, &entity.name);
        let barcode = match method.qr_size {
            0 => None,
            size => Some(totp::barcode(&url, size).map_err(|why| Error::invalid(why.to_string()))?),
        };
        // EXPOSE: copied into the record, which the barrier encrypts.
        let kept = Kept { codes: method.codes.clone(), key: key.expose().clone() };
        self.tx.put_json(at, &kept)?;
        self.tx.delete(guard_key(&entity.id, &method.id));
        Ok(Some(Enrolled { url, barcode }))
    }

    /// Removes the secret of an entity for a method, if there is one.
    pub fn destroy_mfa(&self, entity: &str, method: &str) {
        self.tx.delete(secret_key(entity, method));
        self.tx.delete(guard_key(entity, method));
    }

    /// Whether an entity has a secret for a method.
    pub async fn has_mfa(&self, entity: &str, method: &str) -> Result<bool, Error> {
        Ok(self.tx.get(&secret_key(entity, method)).await?.is_some())
    }

    /// Removes all secrets of an entity that goes.
    pub(crate) async fn drop_mfa(&self, entity: &str) -> Result<(), Error> {
        for method in self.mfa_of(entity).await? {
            self.destroy_mfa(entity, &method);
        }
        Ok(())
    }

    /// Hands the secrets of an entity on to the one that it becomes a part of; where both have one, that one keeps its own.
    pub(crate) async fn hand_on_mfa(&self, from: &str, to: &str) -> Result<(), Error> {
        for method in self.mfa_of(from).await? {
            let kept = self.tx.get(&secret_key(from, &method)).await?;
            if let Some(kept) = kept
                && !self.has_mfa(to, &method).await?
            {
                self.tx.put(secret_key(to, &method), kept);
                if let Some(guard) = self.tx.get(&guard_key(from, &method)).await? {
                    self.tx.put(guard_key(to, &method), guard);
                }
            }
            self.destroy_mfa(from, &method);
        }
        Ok(())
    }

    /// The ids of the methods for which an entity has a secret.
    async fn mfa_of(&self, entity: &str) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        self.each(&secrets(entity), |method, _| found.push(method.to_owned())).await?;
        Ok(found)
    }
}
