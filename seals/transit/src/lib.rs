//! The seal `transit`: another server of the Vault API encrypts with a key of its transit engine.

use std::sync::Arc;

use client::{Client, Config};
use data_encoding::BASE64;
use seal::{Keeper, KeeperError, KeeperKind, Kept, Options, Wrapped};
use secret::{SecretBytes, Zeroizing};
use serde_json::{Value, json};

/// The kind, for the list of seals.
pub const KIND: KeeperKind =
    KeeperKind { name: "transit", summary: "A key of the transit engine of another server.", make };

struct Transit {
    name: String,
    client: Client,
    mount: String,
    key: String,
    renews: bool,
}

fn make(mut options: Options) -> Result<Arc<dyn Keeper>, String> {
    let path = |option: Option<String>| option.map(std::path::PathBuf::from);
    let config = Config {
        address: options.needed("address", &["STRONGROOM_TRANSIT_SEAL_ADDRESS", "VAULT_TRANSIT_SEAL_ADDRESS"])?,
        token: Some(
            options
                .secret("token", &["STRONGROOM_TRANSIT_SEAL_TOKEN", "VAULT_TRANSIT_SEAL_TOKEN"])
                .ok_or_else(|| seal::missing("token", &["STRONGROOM_TRANSIT_SEAL_TOKEN"]))?,
        ),
        namespace: options.text("namespace", &["VAULT_TRANSIT_SEAL_NAMESPACE"]),
        ca_cert: path(options.text("tls_ca_cert", &["VAULT_TRANSIT_SEAL_CACERT"])),
        client_cert: path(options.text("tls_client_cert", &[])),
        client_key: path(options.text("tls_client_key", &[])),
        tls_server_name: options.text("tls_server_name", &[]),
        skip_verify: options.flag("tls_skip_verify", &[])?,
        // The server tries again itself, and tells of it.
        max_retries: 0,
        ..Config::default()
    };
    let mount = options.needed("mount_path", &["VAULT_TRANSIT_SEAL_MOUNT_PATH"])?;
    let key = options.needed("key_name", &["VAULT_TRANSIT_SEAL_KEY_NAME"])?;
    let renews = !options.flag("disable_renewal", &[])?;
    let client = Client::new(config).map_err(|error| error.to_string())?;
    let name = std::mem::take(&mut options.name);
    options.end()?;
    Ok(Arc::new(Transit { name, client, mount: mount.trim_matches('/').to_owned(), key, renews }))
}

impl Keeper for Transit {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(&'a self, key: &'a SecretBytes) -> Kept<'a, Wrapped> {
        Box::pin(async move {
            // EXPOSE: sent to the server that encrypts it.
            let body = json!({ "plaintext": BASE64.encode(key.expose()) });
            let text = self.ask("encrypt", &body, "ciphertext").await?;
            Ok(Wrapped { key_id: format!("{}/{}", self.mount, self.key), text: text.to_string() })
        })
    }

    fn unwrap<'a>(&'a self, wrapped: &'a Wrapped) -> Kept<'a, SecretBytes> {
        Box::pin(async move {
            let text = self.ask("decrypt", &json!({ "ciphertext": wrapped.text }), "plaintext").await?;
            let key = BASE64.decode(text.as_bytes());
            key.map(SecretBytes::new).map_err(|_| KeeperError::Refused("its answer is no base64".to_owned()))
        })
    }

    /// Renews the token.
    fn tend(&self) -> Kept<'_, ()> {
        Box::pin(async move {
            if !self.renews {
                return Ok(());
            }
            match self.client.write("auth/token/renew-self", &json!({})).await {
                Ok(_) => Ok(()),
                // A token that never ends, or that must not be renewed, is used as it is.
                Err(client::Error::Api { status: 400, .. }) => Ok(()),
                Err(error) => Err(kept(&error)),
            }
        })
    }
}

impl Transit {
    async fn ask(&self, act: &str, body: &Value, field: &str) -> Result<Zeroizing<String>, KeeperError> {
        let path = format!("{}/{act}/{}", self.mount, self.key);
        let answer = self.client.write(&path, body).await.map_err(|error| kept(&error))?;
        let data: Value = answer.data().map_err(|error| kept(&error))?;
        let text = data.get(field).and_then(Value::as_str).map(|text| Zeroizing::new(text.to_owned()));
        text.ok_or_else(|| KeeperError::Refused(format!("its answer has no {field}")))
    }
}

fn kept(error: &client::Error) -> KeeperError {
    match error {
        client::Error::Api { status: 400..=499, .. } | client::Error::Config { .. } | client::Error::Path { .. } => {
            KeeperError::Refused(error.to_string())
        }
        _ => KeeperError::Unavailable(error.to_string()),
    }
}
