//! The start of a server for a first try: initialised, unsealed, with a known root token and key/value secrets.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use gate::{Error, MountClass};
use mounts::NewMount;
use seal::NewShares;
use secret::SecretString;
use storage::{Key, Tx};
use tokens::New;

use crate::{Core, running::Running};

/// What a dev server tells whoever started it.
#[derive(Debug)]
pub struct DevStart {
    /// The one key share, base64.
    pub unseal_key: SecretString,
    /// The root token.
    pub root_token: SecretString,
}

impl Core {
    /// Initialises and unseals an empty server with one key share, and mounts KV version 2 at `secret/` if that kind is
    /// known. `root_token` is the root token's text; a random one otherwise.
    pub async fn start_dev(self: &Arc<Self>, root_token: Option<SecretString>) -> Result<DevStart, Error> {
        let shares = NewShares { secret_shares: 1, secret_threshold: 1, pgp_keys: Vec::new() };
        let issue = seal::init(&shares, self.clock.now()).map_err(|error| Error::internal(error.to_string()))?;
        let record = (Key::new(seal::STORED_AT), Bytes::from(issue.stored.to_json()));
        let barrier = self.barrier();
        let wrong = |error: barrier::Error| Error::internal(error.to_string());
        let format = crate::format::record(self.settings.version);
        barrier.initialize_with(&issue.root_key, vec![record, format]).await.map_err(wrong)?;
        let opened = barrier.open(&issue.root_key).await.map_err(wrong)?;
        let running = Running::start(self, opened).await?;
        let unseal_key = issue.shares.first().map(seal::Issued::base64);
        self.sealing.lock().await.initialized_with(issue.stored);
        self.initialized.store(true, std::sync::atomic::Ordering::Release);
        let root_token = dev_root(&running, root_token).await?;
        if self.settings.kinds.iter().any(|kind| kind.name == "kv") {
            let options = BTreeMap::from([("version".to_owned(), "2".to_owned())]);
            let new = NewMount {
                path: "secret".to_owned(),
                kind: "kv".to_owned(),
                description: "key/value secret storage".to_owned(),
                options,
                ..NewMount::default()
            };
            running.spaces.root().mounts.enable(MountClass::Secret, new).await?;
        }
        self.running.store(Some(running));
        let unseal_key = unseal_key.ok_or_else(|| Error::internal("no key share was made"))?;
        Ok(DevStart { unseal_key, root_token })
    }
}

async fn dev_root(running: &Running, wished: Option<SecretString>) -> Result<SecretString, Error> {
    let tx = Tx::new(running.store());
    let new = New {
        id: wished,
        policies: vec![policy::ROOT_NAME.to_owned()],
        path: "auth/token/root".to_owned(),
        display_name: "root".to_owned(),
        renewable: false,
        ..New::default()
    };
    let issued = running.tokens.issue(&tx, new).await?;
    tx.commit().await?;
    Ok(issued.token)
}
