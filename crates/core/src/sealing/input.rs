//! What the routes of the seal take.

use api::{Count, Flag};
use gate::Error;
use seal::NewShares;
use secret::SecretString;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InitInput {
    pub(super) secret_shares: Option<Count>,
    pub(super) secret_threshold: Option<Count>,
    pub(super) pgp_keys: Option<Vec<String>>,
    pub(super) root_token_pgp_key: Option<String>,
    pub(super) recovery_shares: Option<Count>,
    pub(super) recovery_threshold: Option<Count>,
    pub(super) recovery_pgp_keys: Option<Vec<String>>,
    pub(super) break_glass: Option<Flag>,
}

impl InitInput {
    /// The set of shares that goes with the seal: `kept` is the kind of one that opens by itself.
    pub(super) fn shares(&self, kept: Option<&str>) -> Result<NewShares, Error> {
        let given = |count: Option<Count>| count.map_or(0, |count| count.0);
        let secret = (given(self.secret_shares), given(self.secret_threshold));
        let recovery = (given(self.recovery_shares), given(self.recovery_threshold));
        let (numbers, keys) = match kept {
            None if recovery != (0, 0) => {
                return Err(Error::invalid(
                    "parameters recovery_shares and recovery_threshold not applicable to seal type shamir; use secret_shares and secret_threshold",
                ));
            }
            None if self.break_glass.is_some_and(|flag| flag.0) => {
                return Err(Error::invalid("break_glass not applicable to seal type shamir: its shares open anyway"));
            }
            None => (secret, &self.pgp_keys),
            Some(kind) if secret != (0, 0) => {
                return Err(Error::invalid(format!(
                    "parameters secret_shares and secret_threshold not applicable to seal type {kind}; use recovery_shares and recovery_threshold"
                )));
            }
            Some(_) => (recovery, &self.recovery_pgp_keys),
        };
        let pgp_keys = keys.clone().unwrap_or_default();
        Ok(NewShares { secret_shares: numbers.0, secret_threshold: numbers.1, pgp_keys })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UnsealInput {
    pub(super) key: Option<SecretString>,
    pub(super) reset: Option<Flag>,
    pub(super) migrate: Option<Flag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RekeyInput {
    pub(super) secret_shares: Option<Count>,
    pub(super) secret_threshold: Option<Count>,
    pub(super) pgp_keys: Option<Vec<String>>,
    pub(super) backup: Option<Flag>,
    pub(super) require_verification: Option<Flag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RootInput {
    pub(super) otp: Option<SecretString>,
    pub(super) pgp_key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NonceInput {
    pub(super) nonce: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ShareInput {
    pub(super) key: Option<SecretString>,
    pub(super) nonce: String,
}

impl ShareInput {
    pub(super) fn key(&self) -> Result<SecretString, Error> {
        let key = self.key.as_ref().ok_or_else(|| Error::invalid("'key' must be given: a share in hex or base64"))?;
        // EXPOSE: handed on to the ballot in custody.
        Ok(SecretString::new(key.expose().clone()))
    }
}
