//! The seal `static`: a key of 32 bytes that the operator keeps in a file, a credential of systemd or a variable, with one
//! before it while keys are exchanged.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use seal::{Keeper, KeeperError, KeeperKind, Kept, Options, Wrapped};
use secret::{SecretBytes, SecretString, Zeroizing};

/// The kind, for the list of seals.
pub const KIND: KeeperKind =
    KeeperKind { name: "static", summary: "A key in a file, a credential of systemd or a variable.", make };

struct Static {
    name: String,
    current: Known,
    previous: Option<Known>,
}

/// A key and the name by which what it wrapped is known.
struct Known {
    id: String,
    key: crypto::aead::Key,
}

fn make(mut options: Options) -> Result<Arc<dyn Keeper>, String> {
    let current = known(&mut options, "current_key")?
        .ok_or_else(|| seal::missing("current_key", &["STRONGROOM_STATIC_SEAL_CURRENT_KEY"]))?;
    let previous = known(&mut options, "previous_key")?;
    if previous.as_ref().is_some_and(|previous| previous.id == current.id) {
        return Err("previous_key_id: the previous key needs another id than the current one".to_owned());
    }
    let name = std::mem::take(&mut options.name);
    options.end()?;
    Ok(Arc::new(Static { name, current, previous }))
}

fn known(options: &mut Options, option: &str) -> Result<Option<Known>, String> {
    let upper = option.to_ascii_uppercase();
    let key =
        options.secret(option, &[&format!("STRONGROOM_STATIC_SEAL_{upper}"), &format!("BAO_STATIC_SEAL_{upper}")]);
    let (id_option, id_variable) = (format!("{option}_id"), format!("STRONGROOM_STATIC_SEAL_{upper}_ID"));
    let id = options.text(&id_option, &[&id_variable, &format!("BAO_STATIC_SEAL_{upper}_ID")]);
    match (key, id) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(format!("{option} is missing, but its id is there")),
        (Some(_), None) => Err(format!(
            "{id_option} is missing: name the key, such as 2026-01; it tells keys apart when they are exchanged"
        )),
        (Some(key), Some(id)) => {
            let bytes = read(&key).map_err(|why| format!("{option}: {why}"))?;
            Ok(Some(Known { id, key: crypto::aead::Key::new(&bytes) }))
        }
    }
}

/// The key: from where it is said to be, in hexadecimal digits, base64, or as it is.
fn read(given: &SecretString) -> Result<Zeroizing<[u8; 32]>, String> {
    // EXPOSE: where it is, or the key itself, which goes into a buffer that wipes itself.
    let text = given.expose();
    let from_file = |path: &std::path::Path| {
        std::fs::read(path).map(Zeroizing::new).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let found = if let Some(path) = text.strip_prefix("file://") {
        from_file(path.as_ref())?
    } else if let Some(name) = text.strip_prefix("env://") {
        let value = std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?;
        Zeroizing::new(value.into_bytes())
    } else if let Some(name) = text.strip_prefix("credential://") {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
            .ok_or("there is no CREDENTIALS_DIRECTORY: set LoadCredential= in the unit of systemd")?;
        if name.is_empty() || name.contains('/') {
            return Err("name a credential, as in credential://seal-key".to_owned());
        }
        from_file(&std::path::Path::new(&folder).join(name))?
    } else {
        Zeroizing::new(text.clone().into_bytes())
    };
    decode(&found).ok_or_else(|| "it must be 32 bytes: raw, in 64 hexadecimal digits, or in base64".to_owned())
}

fn decode(found: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let exact = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().map(Zeroizing::new);
    let text = found.trim_ascii();
    // A raw key may end in what looks like a line end, so its length counts first.
    exact(found)
        .or_else(|| HEXLOWER_PERMISSIVE.decode(text).ok().map(Zeroizing::new).and_then(|bytes| exact(&bytes)))
        .or_else(|| BASE64.decode(text).ok().map(Zeroizing::new).and_then(|bytes| exact(&bytes)))
}

impl Keeper for Static {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(&'a self, key: &'a SecretBytes) -> Kept<'a, Wrapped> {
        // EXPOSE: encrypted on the spot.
        let sealed = self.current.key.seal(&purpose(&self.current.id), key.expose());
        let wrapped = Wrapped { key_id: self.current.id.clone(), text: BASE64.encode(&sealed) };
        Box::pin(std::future::ready(Ok(wrapped)))
    }

    fn unwrap<'a>(&'a self, wrapped: &'a Wrapped) -> Kept<'a, SecretBytes> {
        Box::pin(std::future::ready(self.open(wrapped)))
    }

    fn is_current(&self, wrapped: &Wrapped) -> bool {
        wrapped.key_id == self.current.id
    }
}

impl Static {
    fn open(&self, wrapped: &Wrapped) -> Result<SecretBytes, KeeperError> {
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        let known = keys.find(|known| known.id == wrapped.key_id).ok_or_else(|| {
            KeeperError::Refused(format!(
                "it was wrapped with the key {:?}: give that as current_key or previous_key",
                wrapped.key_id
            ))
        })?;
        let refused = || KeeperError::Refused(format!("the key {:?} is not the one that wrapped it", known.id));
        let sealed = BASE64.decode(wrapped.text.as_bytes()).map_err(|_| refused())?;
        let mut opened = known.key.open(&purpose(&known.id), &sealed).map_err(|_| refused())?;
        Ok(SecretBytes::new(std::mem::take(&mut *opened)))
    }
}

fn purpose(id: &str) -> Vec<u8> {
    format!("strongroom static seal 1: {id}").into_bytes()
}

#[cfg(test)]
mod tests;
