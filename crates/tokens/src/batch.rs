//! Batch tokens: the record itself, encrypted, in the hands of the bearer. Making one writes nothing.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gate::{Caller, Error, Refusal};
use secret::{SecretString, Zeroizing};

use crate::{Record, Tokens, format};

const PURPOSE: &[u8] = b"strongroom batch token v1";

impl Tokens {
    pub(crate) fn seal_batch(&self, record: &Record) -> Result<SecretString, Error> {
        let plain = Zeroizing::new(
            serde_json::to_vec(record).map_err(|_| Error::internal("a batch token cannot be written as JSON"))?,
        );
        let sealed = self.batch.seal(PURPOSE, &plain);
        Ok(SecretString::new(format!("{}{}", format::BATCH, URL_SAFE_NO_PAD.encode(sealed))))
    }

    pub(crate) fn open_batch(&self, token: &SecretString) -> Result<Record, Error> {
        let invalid = || Error::Denied(Refusal::InvalidToken);
        // EXPOSE: decrypted to find out what it grants.
        let text = token.expose().strip_prefix(format::BATCH).ok_or_else(invalid)?;
        if text.len() > LONGEST {
            return Err(invalid());
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let plain = self.batch.open(PURPOSE, &sealed).map_err(|_| invalid())?;
        serde_json::from_slice(&plain).map_err(|_| invalid())
    }

    pub(crate) async fn batch_holder(
        &self,
        token: &SecretString,
        remote: Option<IpAddr>,
    ) -> Result<Arc<Caller>, Error> {
        let record = self.open_batch(token)?;
        if !record.in_force(self.clock.now()) {
            return Err(Error::Denied(Refusal::InvalidToken));
        }
        record.check_address(remote)?;
        // A batch token with a parent ends with it.
        if let Some(parent) = &record.parent
            && self.find(parent).await?.is_none()
        {
            return Err(Error::Denied(Refusal::InvalidToken));
        }
        Ok(record.caller(&self.id(token), None))
    }
}

/// Longer texts are no batch tokens of ours; metadata and policy lists are bounded by the body limit of their request.
const LONGEST: usize = 64 * 1024;
