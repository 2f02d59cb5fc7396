//! Access tokens: sealed with a key of ours and stored nowhere. They open `userinfo` and nothing else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use crypto::{aead, random};
use engine::{Error, Scope};
use secret::{SecretString, Zeroizing};
use serde::{Deserialize, Serialize};
use storage::Key;

use crate::Identity;

/// What an access token says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) provider: String,
    pub(crate) client_id: String,
    pub(crate) entity: String,
    pub(crate) scopes: Vec<String>,
    /// In seconds since 1970.
    pub(crate) until: i64,
}

const PREFIX: &str = "hvo_access_";
const PURPOSE: &[u8] = b"strongroom oidc access token v1";

impl Access {
    pub(crate) async fn seal(&self, cx: &Scope<Identity>) -> Result<SecretString, Error> {
        let plain = serde_json::to_vec(self).map_err(|_| Error::internal("an access token cannot be written"))?;
        let sealed = key(cx).await?.seal(PURPOSE, &plain);
        Ok(SecretString::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))))
    }

    /// What a token says; `None` if it is none of ours.
    pub(crate) async fn open(cx: &Scope<Identity>, token: &SecretString) -> Result<Option<Self>, Error> {
        // EXPOSE: decrypted to find out what it says.
        let Some(text) = token.expose().strip_prefix(PREFIX) else { return Ok(None) };
        let Ok(sealed) = URL_SAFE_NO_PAD.decode(text) else { return Ok(None) };
        let Ok(plain) = key(cx).await?.open(PURPOSE, &sealed) else { return Ok(None) };
        Ok(serde_json::from_slice(&plain).ok())
    }
}

/// The key, made when it is first needed.
async fn key(cx: &Scope<Identity>) -> Result<aead::Key, Error> {
    let (tx, at) = (cx.view().tx(), Key::new("sys/identity/oidc/access-key"));
    if let Some(stored) = tx.get(&at).await? {
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(
            stored.as_ref().try_into().map_err(|_| Error::internal("the key of access tokens is no key"))?,
        );
        return Ok(aead::Key::new(&bytes));
    }
    let made = Zeroizing::new(random::bytes::<32>());
    tx.put(at, Bytes::from_owner(Zeroizing::new(made.to_vec())));
    Ok(aead::Key::new(&made))
}
