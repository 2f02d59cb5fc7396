//! What the files of a folder ask for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use policy::Policy;
use serde::Deserialize;

use super::reference::Reference;
use crate::{failure::Failure, input};

/// All that a folder asks for, in the order in which it is done.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Policies: name and text.
    pub(super) policies: Vec<(String, String)>,
    /// Secrets engines.
    pub(super) secrets: Vec<Mount>,
    /// Auth methods.
    pub(super) auth: Vec<Mount>,
    /// Whatever else is written.
    pub(super) writes: Vec<Write>,
}

/// A secrets engine or auth method.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mount {
    /// Its path.
    pub(super) path: String,
    /// Its kind, such as `kv`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// A text for people.
    pub(super) description: Option<String>,
    /// Options of the kind.
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
    /// What `tune` sets.
    #[serde(default)]
    pub(super) config: toml::Table,
}

/// An object that is written to a path, and can be read there.
#[derive(Debug)]
pub(super) struct Write {
    /// The path.
    pub(super) path: String,
    /// The file that asks for it.
    pub(super) file: PathBuf,
    /// The object.
    pub(super) data: BTreeMap<String, Value>,
}

/// A value in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A value as it stands.
    Plain(serde_json::Value),
    /// A list.
    List(Vec<Value>),
    /// An object.
    Map(BTreeMap<String, Value>),
    /// A value that stands elsewhere.
    Reference(Reference),
}

/// A TOML file of the folder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    secrets: Vec<Mount>,
    #[serde(default)]
    auth: Vec<Mount>,
    #[serde(default)]
    write: Vec<RawWrite>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWrite {
    path: String,
    data: toml::Table,
}

impl Wanted {
    /// Reads all files in and below `folder`, in the order of their paths.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        for file in files(folder)? {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("hcl") => wanted.read_policy(&file)?,
                Some("toml") if !is_test(&file) => wanted.read_file(&file)?,
                _ => {}
            }
        }
        wanted.check(folder)?;
        Ok(wanted)
    }

    fn read_policy(&mut self, file: &Path) -> Result<(), Failure> {
        let text = input::read_file(&file.to_string_lossy())?;
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_lowercase();
        Policy::parse(&name, &text).map_err(|why| Failure::local(format!("{}: {why}", file.display())))?;
        self.policies.push((name, text));
        Ok(())
    }

    fn read_file(&mut self, file: &Path) -> Result<(), Failure> {
        let text = input::read_file(&file.to_string_lossy())?;
        let wrong = |why: String| Failure::local(format!("{}: {why}", file.display()));
        // The text of a fault would quote the line, which may hold a secret in the wrong place.
        let read: File = toml::from_str(&text).map_err(|fault| {
            let line =
                fault.span().map_or(0, |span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
            wrong(format!("line {line}: {}", fault.message()))
        })?;
        self.secrets.extend(read.secrets.into_iter().map(Mount::cleaned));
        self.auth.extend(read.auth.into_iter().map(Mount::cleaned));
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        for raw in read.write {
            let path = raw.path.trim_matches('/').to_owned();
            let data = object(&raw.data, folder).map_err(|why| wrong(format!("{path}: {why}")))?;
            if let Some(field) = data.iter().find_map(|(name, value)| plain_secret(name, value)) {
                return Err(wrong(format!(
                    "{path}: {field} is a secret and must not stand in a file: write {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"
                )));
            }
            self.writes.push(Write { path, file: file.to_owned(), data });
        }
        Ok(())
    }

    /// Nothing is asked for twice, and something is.
    fn check(&self, folder: &Path) -> Result<(), Failure> {
        let policies = self.policies.iter().map(|(name, _)| format!("the policy {name}"));
        let secrets = self.secrets.iter().map(|mount| format!("the secrets engine at {}/", mount.path));
        let auth = self.auth.iter().map(|mount| format!("the auth method at {}/", mount.path));
        let writes = self.writes.iter().map(|write| write.path.clone());
        let mut all: Vec<String> = policies.chain(secrets).chain(auth).chain(writes).collect();
        all.sort();
        if all.is_empty() {
            return Err(Failure::local(format!("{} holds no *.hcl and no *.toml files", folder.display())));
        }
        let twice = all.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(one),
            _ => None,
        });
        match twice {
            Some(twice) => Err(Failure::local(format!("{}: {twice} is described twice", folder.display()))),
            None => Ok(()),
        }
    }
}

impl Mount {
    /// With its path bare, and a kind that stands for another with options written out.
    fn cleaned(mut self) -> Self {
        self.path = self.path.trim_matches('/').to_owned();
        if self.kind == "kv-v2" {
            self.kind = "kv".to_owned();
            self.options.insert("version".to_owned(), "2".to_owned());
        }
        self
    }
}

/// The files in and below a folder, sorted; what begins with a dot is passed over.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::local(format!("cannot read {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file is a table for `policy test`.
fn is_test(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".tests.toml"))
}

fn object(table: &toml::Table, folder: &Path) -> Result<BTreeMap<String, Value>, String> {
    table.iter().map(|(name, given)| Ok((name.clone(), value(given, folder)?))).collect()
}

fn value(given: &toml::Value, folder: &Path) -> Result<Value, String> {
    Ok(match given {
        toml::Value::Table(table) => match Reference::of(table, folder) {
            Some(reference) => Value::Reference(reference),
            None => Value::Map(object(table, folder)?),
        },
        toml::Value::Array(items) => {
            Value::List(items.iter().map(|item| value(item, folder)).collect::<Result<_, _>>()?)
        }
        toml::Value::String(text) => Value::Plain(text.clone().into()),
        toml::Value::Integer(number) => Value::Plain((*number).into()),
        toml::Value::Float(number) => Value::Plain((*number).into()),
        toml::Value::Boolean(flag) => Value::Plain((*flag).into()),
        toml::Value::Datetime(moment) => Value::Plain(moment.to_string().into()),
    })
}

/// The name of a field that holds a secret in clear, by its name.
fn plain_secret(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Plain(serde_json::Value::String(text)) if !text.is_empty() => is_secret(name).then(|| name.to_owned()),
        Value::Map(entries) => entries.iter().find_map(|(name, value)| plain_secret(name, value)),
        Value::List(items) => items.iter().find_map(|item| plain_secret(name, item)),
        Value::Plain(_) | Value::Reference(_) => None,
    }
}

/// Whether fields of this name hold secrets: by the last word of the name.
fn is_secret(name: &str) -> bool {
    const WHOLE: [&str; 2] = ["token", "secret_id"];
    const LAST: [&str; 8] =
        ["password", "passwd", "secret", "private_key", "secret_key", "api_key", "client_token", "credentials"];
    let name = name.to_lowercase();
    WHOLE.contains(&name.as_str()) || LAST.iter().any(|last| name == *last || name.ends_with(&format!("_{last}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_secrets() {
        for name in ["password", "bind_password", "oidc_client_secret", "token", "api_key", "PRIVATE_KEY"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["password_policy", "token_policies", "token_ttl", "secret_id_ttl", "bound_issuer", "key"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_in_clear_and_repetitions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(folder.path().join("a.toml"), text).unwrap();
            Wanted::read(folder.path()).map_err(|failure| failure.text(false).unwrap())
        };
        let write = |data: &str| read(&format!("[[write]]\npath = \"a/b/\"\ndata = {{ {data} }}\n"));
        let clear = write("password = \"hunter2\"").unwrap_err();
        assert!(clear.contains("a/b: password is a secret") && !clear.contains("hunter2"), "{clear}");
        assert!(write("x = { api_key = \"hunter2\" }").is_err());
        let fine = write("password = { env = \"P\" }, cert = { file = \"c.pem\" }, ttl = 5").unwrap();
        let data = &fine.writes[0].data;
        assert_eq!(fine.writes[0].path, "a/b");
        assert_eq!(data["password"], Value::Reference(Reference::Env("P".to_owned())));
        assert_eq!(data["cert"], Value::Reference(Reference::File(folder.path().join("c.pem"))));
        assert_eq!(data["ttl"], Value::Plain(5.into()));

        let twice = "[[auth]]\npath = \"a\"\ntype = \"jwt\"\n[[auth]]\npath = \"a/\"\ntype = \"jwt\"\n";
        assert!(read(twice).unwrap_err().contains("the auth method at a/ is described twice"));
        assert!(read("").unwrap_err().contains("holds no"));
        let odd = read("[[auth]]\npath = \"a\"\ntype = \"jwt\"\npasword = \"hunter2\"\n").unwrap_err();
        assert!(odd.contains("a.toml: line") && !odd.contains("hunter2"), "{odd}");
    }
}
