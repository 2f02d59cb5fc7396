//! Secrets by reference: `{ env = "NAME" }` or `{ file = "PATH" }`. What lies on a server comes by way of `strongroom run`,
//! which puts it into the environment.

use std::path::{Path, PathBuf};

use secret::SecretString;

use crate::{failure::Failure, input, session::env};

/// Where a value is to be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A variable of the environment.
    Env(String),
    /// A file; a line end at its end is left out.
    File(PathBuf),
}

impl Reference {
    /// Reads a table as a reference, with files relative to `folder`; `None` if it is none.
    pub(super) fn of(table: &toml::Table, folder: &Path) -> Option<Self> {
        let (name, value) = table.iter().next().filter(|_| table.len() == 1)?;
        match (name.as_str(), value.as_str()?) {
            ("env", name) => Some(Self::Env(name.to_owned())),
            ("file", path) => Some(Self::File(folder.join(path))),
            _ => None,
        }
    }

    /// How it is shown in place of its value.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Env(name) => format!("(from the environment: {name})"),
            Self::File(path) => format!("(from {})", path.display()),
        }
    }

    /// The value.
    pub(super) fn resolve(&self) -> Result<SecretString, Failure> {
        let text = match self {
            Self::Env(name) => env(name).ok_or_else(|| {
                Failure::local(format!("the environment has no {name}, to which a file refers: set it, and run again"))
            })?,
            Self::File(path) => input::read_file(&path.to_string_lossy())?,
        };
        Ok(SecretString::new(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
    }
}
