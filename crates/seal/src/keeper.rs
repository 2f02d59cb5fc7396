//! Seals that open by themselves: something outside keeps a key for us.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use data_encoding::BASE64;
use secret::{SecretBytes, SecretString};
use serde::{Deserialize, Serialize};

use crate::{RootKey, SealKey, Stored};

/// Wraps and unwraps a key of 32 bytes with the help of something outside: a key management service, a file.
pub trait Keeper: Send + Sync {
    /// The name of the kind, such as `awskms`.
    fn kind(&self) -> &'static str;

    /// Tells several seals of a server apart.
    fn name(&self) -> &str;

    /// Encrypts `key`, so that only this seal can decrypt it.
    fn wrap<'a>(&'a self, key: &'a SecretBytes) -> Kept<'a, Wrapped>;

    /// Decrypts what [`Keeper::wrap`] gave, perhaps with an older key of the seal.
    fn unwrap<'a>(&'a self, wrapped: &'a Wrapped) -> Kept<'a, SecretBytes>;

    /// Whether it was wrapped with the key that is used now; if not, it is wrapped anew.
    fn is_current(&self, wrapped: &Wrapped) -> bool {
        let _ = wrapped;
        true
    }

    /// Keeps the way to the seal open, such as by renewing a token. Called every few minutes while unsealed.
    fn tend(&self) -> Kept<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a seal answers, once it does.
pub type Kept<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeeperError>> + Send + 'a>>;

/// A key as a seal gave it back encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// Names the key of the seal; may be empty.
    pub key_id: String,
    /// What the seal needs to decrypt it, as a text.
    pub text: String,
}

/// Why a seal did not do what it was asked for. The texts name no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// It said no, or cannot decrypt this: trying again is of no use until something is changed.
    #[error("{0}")]
    Refused(String),
    /// It could not be reached or is too busy.
    #[error("{0}")]
    Unavailable(String),
}

/// The root key, wrapped for one seal: under a key of its own, which the seal wraps. So what the seal sees opens nothing
/// without what is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    wrapped: Wrapped,
    root_key: String,
}

impl Copy {
    /// The name of the seal that it is for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of the seal that it is for.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Wraps `root_key` for `keeper`.
    pub async fn make(keeper: &dyn Keeper, root_key: &RootKey) -> Result<Self, KeeperError> {
        let key = SealKey::make();
        let wrapped = keeper.wrap(&SecretBytes::new(key.0.to_vec())).await?;
        // EXPOSE: encrypted on the spot.
        let sealed = key.cipher().seal(&purpose(keeper.kind(), keeper.name()), root_key.expose());
        let (kind, name) = (keeper.kind().to_owned(), keeper.name().to_owned());
        Ok(Self { kind, name, wrapped, root_key: BASE64.encode(&sealed) })
    }

    /// The root key, with the help of `keeper`.
    async fn open(&self, keeper: &dyn Keeper) -> Result<RootKey, KeeperError> {
        let key = keeper.unwrap(&self.wrapped).await?;
        let refused = || KeeperError::Refused("what it decrypted does not open the root key".to_owned());
        // EXPOSE: turned into the key that it is.
        let key = SealKey::from_slice(key.expose()).ok_or_else(refused)?;
        let sealed = BASE64.decode(self.root_key.as_bytes()).map_err(|_| refused())?;
        let opened = key.cipher().open(&purpose(&self.kind, &self.name), &sealed).map_err(|_| refused())?;
        opened.as_slice().try_into().map(RootKey::from_bytes).map_err(|_| refused())
    }

    fn is_for(&self, keeper: &dyn Keeper) -> bool {
        self.kind == keeper.kind() && self.name == keeper.name()
    }
}

/// Opens the root key with whichever of `keepers` can. The error tells what each of them said.
pub async fn open_by(keepers: &[Arc<dyn Keeper>], stored: &Stored) -> Result<RootKey, KeeperError> {
    let mut said = Vec::new();
    let mut passing = false;
    for keeper in keepers {
        let Some(copy) = stored.copies().iter().find(|copy| copy.is_for(&**keeper)) else {
            said.push(format!("{}: no key was wrapped for it", keeper.name()));
            continue;
        };
        match copy.open(&**keeper).await {
            Ok(root_key) => return Ok(root_key),
            Err(error) => {
                passing |= matches!(error, KeeperError::Unavailable(_));
                said.push(format!("{}: {error}", keeper.name()));
            }
        }
    }
    let said = said.join("; ");
    Err(if passing { KeeperError::Unavailable(said) } else { KeeperError::Refused(said) })
}

/// The copies that `keepers` should have, if they are not those that are stored: a seal was added, left out, or has a new
/// key. A seal that cannot be asked keeps the copy it has; the errors are told beside.
pub async fn copies_anew(
    keepers: &[Arc<dyn Keeper>],
    stored: &Stored,
    root_key: &RootKey,
) -> (Option<Vec<Copy>>, Vec<KeeperError>) {
    let (mut copies, mut errors) = (Vec::new(), Vec::new());
    for keeper in keepers {
        let known = stored.copies().iter().find(|copy| copy.is_for(&**keeper)).cloned();
        if let Some(known) = known.clone().filter(|known| keeper.is_current(&known.wrapped)) {
            copies.push(known);
            continue;
        }
        match Copy::make(&**keeper, root_key).await {
            Ok(copy) => copies.push(copy),
            Err(error) => {
                copies.extend(known);
                errors.push(error);
            }
        }
    }
    let changed = !copies.is_empty() && copies != stored.copies();
    (changed.then_some(copies), errors)
}

fn purpose(kind: &str, name: &str) -> Vec<u8> {
    format!("strongroom seal 2: root key, {kind} {name}").into_bytes()
}

/// A kind of seal, for the list of all kinds.
#[derive(Clone, Copy)]
pub struct KeeperKind {
    /// The name in `seal "<name>"`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Makes one out of its options. The error names the option and the remedy.
    pub make: fn(Options) -> Result<Arc<dyn Keeper>, String>,
}

impl fmt::Debug for KeeperKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a seal is told in the configuration. What it does not take was not known.
pub struct Options {
    /// Tells it apart from others.
    pub name: String,
    values: BTreeMap<String, SecretString>,
}

impl Options {
    /// The options of the seal `name`.
    pub fn new(name: impl Into<String>, values: BTreeMap<String, SecretString>) -> Self {
        Self { name: name.into(), values }
    }

    /// An option that may hold a secret, or a variable of the environment that stands for it.
    pub fn secret(&mut self, option: &str, variables: &[&str]) -> Option<SecretString> {
        let given = self.values.remove(option).filter(|value| !value.is_empty());
        let set = || variables.iter().find_map(|name| std::env::var(name).ok()).filter(|value| !value.is_empty());
        given.or_else(|| set().map(SecretString::new))
    }

    /// An option that is no secret.
    pub fn text(&mut self, option: &str, variables: &[&str]) -> Option<String> {
        // EXPOSE: the option is no secret.
        self.secret(option, variables).map(|value| value.expose().clone())
    }

    /// An option that has to be there.
    pub fn needed(&mut self, option: &str, variables: &[&str]) -> Result<String, String> {
        self.text(option, variables).ok_or_else(|| missing(option, variables))
    }

    /// An option that is on or off.
    pub fn flag(&mut self, option: &str, variables: &[&str]) -> Result<bool, String> {
        match self.text(option, variables).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(format!("{option}: use true or false")),
        }
    }

    /// An error if options are left that nobody took.
    pub fn end(self) -> Result<(), String> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(option) => Err(format!("{option}: this seal has no such option")),
        }
    }
}

/// The error for an option that has to be there.
pub fn missing(option: &str, variables: &[&str]) -> String {
    match variables.first() {
        None => format!("{option} is missing"),
        Some(variable) => format!("{option} is missing; it may also be in the variable {variable}"),
    }
}
