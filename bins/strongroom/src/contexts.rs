//! Several servers, each under a name and with a token of its own.
//!
//! ```text
//! ~/.strongroom/contexts.toml    the servers, and which one is used
//! ~/.strongroom/tokens/<name>    the token of a server; only its owner can read it
//! ```
//! A server that is named by a flag or the environment wins, and nothing of a context is used then: a token never goes to
//! another server than the one it was kept for.

use std::{
    collections::BTreeMap,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use secret::Zeroizing;
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, session::env};

/// The servers that are known.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The name of the one that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All of them by name.
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// How a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_server_name: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls_skip_verify: bool,
}

/// The context that a command uses.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    context: Context,
    folder: PathBuf,
}

impl Contexts {
    /// Those of this user; none if there is no home folder or no file.
    pub(crate) fn load() -> Result<Self, Failure> {
        let Ok(path) = folder().map(|folder| folder.join(FILE)) else { return Ok(Self::default()) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::local(format!("cannot read {}: {error}", path.display()))),
        };
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::local(format!("{}, line {line}: {}", path.display(), error.message()))
        })
    }

    /// Keeps them.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let folder = folder()?;
        make_folder(&folder)?;
        let text =
            toml::to_string(self).map_err(|error| Failure::local(format!("cannot write the contexts: {error}")))?;
        replace(&folder.join(FILE), &text)
    }

    /// The one that a command uses: by the name that it was given, else the current one.
    pub(crate) fn choose(self, named: Option<&str>) -> Result<Option<Chosen>, Failure> {
        let Some(name) = named.map(str::to_owned).or(self.current) else { return Ok(None) };
        let known: Vec<_> = self.contexts.keys().cloned().collect();
        let Some((name, context)) = self.contexts.into_iter().find(|(known, _)| *known == name) else {
            let known =
                if known.is_empty() { "none is kept".to_owned() } else { format!("kept are {}", known.join(", ")) };
            return Err(Failure::local(format!("there is no context {name:?}; {known}")));
        };
        Ok(Some(Chosen { name, context, folder: folder()? }))
    }
}

impl Chosen {
    /// The file of the server's token.
    pub(crate) fn token_file(&self) -> PathBuf {
        token_file(&self.folder, &self.name)
    }

    /// What the settings are read from: the environment, and below it the context. There is no home folder in it, and so
    /// no token that was kept for another server.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        if name == "HOME" {
            return None;
        }
        let own = name.strip_prefix("STRONGROOM_");
        if own.is_some() {
            return env(name);
        }
        env(name).or_else(|| self.setting(name.strip_prefix("VAULT_")?))
    }

    /// The same for a context that was asked for by name: how the server is reached, and the token, are the context's
    /// alone; whatever else the environment says still holds.
    pub(crate) fn lookup_first(&self, name: &str) -> Option<String> {
        let bare = name.strip_prefix("STRONGROOM_").or_else(|| name.strip_prefix("VAULT_"));
        match bare {
            Some("AGENT_ADDR" | "CACERT_BYTES") => None,
            Some(bare) if REACHES.contains(&bare) => self.setting(bare),
            _ if name == "HOME" => None,
            _ => env(name),
        }
    }

    fn setting(&self, name: &str) -> Option<String> {
        let context = &self.context;
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        match name {
            "ADDR" => Some(context.address.clone()),
            "NAMESPACE" => context.namespace.clone(),
            "CACERT" => path(&context.ca_cert),
            "CAPATH" => path(&context.ca_path),
            "CLIENT_CERT" => path(&context.client_cert),
            "CLIENT_KEY" => path(&context.client_key),
            "TLS_SERVER_NAME" => context.tls_server_name.clone(),
            "SKIP_VERIFY" => context.tls_skip_verify.then(|| "true".to_owned()),
            "TOKEN" => {
                let text = Zeroizing::new(std::fs::read_to_string(self.token_file()).ok()?);
                Some(text.trim().to_owned()).filter(|token| !token.is_empty())
            }
            _ => None,
        }
    }
}

/// Whether a name can be one of a context: it becomes the name of a file.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(fits) {
        true => Ok(()),
        false => Err(Failure::local(
            "the name of a context has at most 64 letters, digits, dashes, underscores and dots, and no dot in front",
        )),
    }
}

/// Removes the token that is kept for a context. Whether there was one.
pub(crate) fn forget_token(name: &str) -> Result<bool, Failure> {
    let path = token_file(&folder()?, name);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::local(format!("cannot remove {}: {error}", path.display()))),
    }
}

/// Whether a token is kept for a context.
pub(crate) fn has_token(name: &str) -> bool {
    folder().is_ok_and(|folder| token_file(&folder, name).exists())
}

/// Replaces a file in one step; it is readable by its owner alone from its first moment. Its folder is made if need be.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::local(format!("cannot write {}: {error}", path.display()));
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        make_folder(folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!("{name}.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&fresh).and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written.and_then(|()| std::fs::rename(&fresh, path)) {
        // What remains of the attempt is of no use; the first error is the one to tell.
        let _ = std::fs::remove_file(&fresh);
        return Err(failed(error));
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Failure::local(format!("cannot make the folder {}: {error}", folder.display())))
}

fn folder() -> Result<PathBuf, Failure> {
    let home = env("HOME").ok_or_else(|| Failure::local("there is no home folder to keep contexts in: set HOME"))?;
    Ok(Path::new(&home).join(".strongroom"))
}

fn token_file(folder: &Path, name: &str) -> PathBuf {
    folder.join("tokens").join(name)
}

/// The settings that a context has.
const REACHES: [&str; 9] =
    ["ADDR", "CACERT", "CAPATH", "CLIENT_CERT", "CLIENT_KEY", "NAMESPACE", "SKIP_VERIFY", "TLS_SERVER_NAME", "TOKEN"];
const FILE: &str = "contexts.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out_of_the_folder() {
        for name in ["prod", "a-b_c.d", "0"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "ä", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut contexts = Contexts::default();
        let context = Context { address: "https://a".to_owned(), tls_skip_verify: true, ..Context::default() };
        contexts.contexts.insert("prod".to_owned(), context);
        contexts.current = Some("prod".to_owned());
        let text = toml::to_string(&contexts).unwrap();
        assert_eq!(text, "current = \"prod\"\n\n[contexts.prod]\naddress = \"https://a\"\ntls_skip_verify = true\n");
        assert_eq!(toml::from_str::<Contexts>(&text).unwrap(), contexts);
        assert!(toml::from_str::<Contexts>("[contexts.a]\nadress = \"x\"").is_err());
    }
}
