//! Password policies: stored texts from which passwords are made.

use std::sync::Arc;

use gate::Error;
use password_policy::PasswordPolicy;
use secret::SecretString;
use storage::{Key, Store, Tx};

/// Where the texts lie.
pub(crate) const PREFIX: &str = "sys/policy/password/";

/// Makes a password by the named policy.
pub(crate) async fn generate(store: Arc<dyn Store>, name: &str) -> Result<SecretString, Error> {
    let tx = Tx::new(store);
    let text = text(&tx, name).await?;
    let text = text.ok_or_else(|| Error::invalid(format!("no password policy is named \"{name}\"")))?;
    let policy = PasswordPolicy::parse(&text).map_err(|error| Error::invalid(error.to_string()))?;
    policy.generate().map_err(|error| Error::internal(error.to_string()))
}

/// The text of a policy.
pub(crate) async fn text(tx: &Tx, name: &str) -> Result<Option<String>, Error> {
    let value = tx.get(&key(name)).await?;
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

pub(crate) fn key(name: &str) -> Key {
    Key::from(format!("{PREFIX}{}", name.to_lowercase()))
}
