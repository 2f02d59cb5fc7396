//! `strongroom.toml`: what a program wants, and how it wants to be treated.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer};

use crate::{
    deliver::{self, Place},
    reference::{self, Reference},
    supervise::Area,
};

/// The file that is read when none is named.
pub const FILE: &str = "strongroom.toml";

/// The whole file. Every key is optional; an unknown one is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Where the server is; the environment wins.
    pub server: Server,
    /// Who asks.
    pub login: Login,
    /// Variables: references, or plain text.
    pub env: BTreeMap<String, String>,
    /// Files, by name.
    pub files: BTreeMap<String, FileEntry>,
    /// How the program is run.
    pub run: Run,
}

/// `[server]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Its address, as `https://host:port`.
    pub address: Option<String>,
    /// A PEM file with the authorities to trust.
    pub ca_cert: Option<PathBuf>,
    /// The namespace.
    pub namespace: Option<String>,
}

/// `[login]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// The method.
    pub method: Method,
    /// Where it is mounted, if not under its own name.
    pub mount: Option<String>,
    /// The role to log in to (`jwt`).
    pub role: Option<String>,
    /// The file with the signed identity token; it is read anew for every login (`jwt`).
    pub jwt_file: Option<PathBuf>,
    /// The role's id (`approle`).
    pub role_id: Option<String>,
    /// A file with the role's id (`approle`).
    pub role_id_file: Option<PathBuf>,
    /// A file with the secret id (`approle`).
    pub secret_id_file: Option<PathBuf>,
}

/// How to log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// With a role id and a secret id.
    Approle,
    /// With a signed identity token.
    Jwt,
    /// With a token that is there already; the run gets a child of it.
    #[default]
    Token,
}

/// `[files."name"]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// What is in it: a reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its permissions, as in `"0400"`, which is the default.
    #[serde(default = "read_only", deserialize_with = "octal")]
    pub mode: u32,
    /// An absolute path, if it shall not be in the run's own directory.
    pub path: Option<PathBuf>,
    /// Whether a file that is at `path` already may be replaced, and so lost.
    #[serde(default)]
    pub replace: bool,
    /// Sealed memory in place of a file.
    #[serde(default)]
    pub memfd: bool,
    /// The variable that tells the program where the file is.
    pub env: Option<String>,
}

/// `[run]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// What to do when a value has changed.
    pub on_rotation: OnRotation,
    /// The signal that tells the program of it, for `on_rotation = "signal"`.
    #[serde(deserialize_with = "signal")]
    pub signal: i32,
    /// The command that is run at it, for `on_rotation = "hook"`.
    pub hook: Vec<String>,
    /// The signal that asks the program to end, for `on_rotation = "restart"`.
    #[serde(deserialize_with = "signal")]
    pub stop_signal: i32,
    /// How long the program, and what it leaves behind, may take to end before it is killed.
    #[serde(deserialize_with = "duration")]
    pub stop_grace: Duration,
    /// The least time between two restarts or signals.
    #[serde(deserialize_with = "duration")]
    pub min_interval: Duration,
    /// How often secrets without a lease are read again; 0 is never.
    #[serde(deserialize_with = "duration")]
    pub refresh: Duration,
    /// Whether output is masked; without a word, where it does not go to a terminal.
    pub mask: Option<bool>,
    /// Whether the program gets nothing of the caller's environment but `keep_env`.
    pub clean_env: bool,
    /// See `clean_env`.
    pub keep_env: Vec<String>,
    /// Variables to withhold besides the built-in list.
    pub deny_env: Vec<String>,
    /// Where files live.
    #[serde(deserialize_with = "area")]
    pub files_area: Area,
    /// Whether the credentials are tied to this process at the server.
    pub bound: Bound,
    /// For how long the server waits for a lost process before it revokes everything.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            on_rotation: OnRotation::default(),
            signal: libc::SIGHUP,
            hook: Vec::new(),
            stop_signal: libc::SIGTERM,
            stop_grace: Duration::from_secs(10),
            min_interval: Duration::from_secs(30),
            refresh: Duration::from_secs(300),
            mask: None,
            clean_env: false,
            keep_env: Vec::new(),
            deny_env: Vec::new(),
            files_area: Area::Auto,
            bound: Bound::default(),
            grace: Duration::from_secs(5),
        }
    }
}

/// What happens when a value has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRotation {
    /// New files, then a command.
    Hook,
    /// New files, and not a word.
    Ignore,
    /// The program is started anew.
    #[default]
    Restart,
    /// New files, then a signal.
    Signal,
}

/// Whether the credentials are tied to this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Yes if the server can; else it is said on standard error.
    #[default]
    Auto,
    /// No: they live as long as their leases.
    Off,
    /// Yes, or the program does not start.
    Required,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file entry contradicts itself.
    #[error("{}: files.\"{name}\": {why}", file.display())]
    File {
        /// The manifest.
        file: PathBuf,
        /// The entry.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A login lacks something, or has too much.
    #[error("{}: login: {why}", file.display())]
    Login {
        /// The manifest.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file cannot be read.
    #[error("{} cannot be read", file.display())]
    Read {
        /// The manifest.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A reference cannot be understood.
    #[error("{}: {key}", file.display())]
    Reference {
        /// The manifest.
        file: PathBuf,
        /// Where it stands.
        key: String,
        /// What is wrong with it.
        #[source]
        source: reference::Error,
    },
    /// A setting makes no sense.
    #[error("{}: run.{key}: {why}", file.display())]
    Run {
        /// The manifest.
        file: PathBuf,
        /// The setting.
        key: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// It is no TOML, or has an unknown key, or a value of the wrong kind.
    #[error("{}: {message}", file.display())]
    Syntax {
        /// The manifest.
        file: PathBuf,
        /// Line, key and reason.
        message: String,
    },
}

impl Manifest {
    /// Reads and checks `file`.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Read { file: file.to_owned(), source })?;
        Self::parse(file, &text)
    }

    /// Reads the default file if there is one.
    pub fn read_default() -> Result<Self, Error> {
        match Self::read(Path::new(FILE)) {
            Err(Error::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            other => other,
        }
    }

    /// Checks `text`; `file` is for the messages.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Error> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| place(text, span.start)).unwrap_or_default();
            Error::Syntax { file: file.to_owned(), message: format!("{place}{}", error.message()) }
        })?;
        manifest.check(file)?;
        Ok(manifest)
    }

    fn check(&self, file: &Path) -> Result<(), Error> {
        self.login.check().map_err(|why| Error::Login { file: file.to_owned(), why })?;
        for (name, value) in &self.env {
            let mut probe = deliver::Environment::default();
            probe
                .set(name, value.as_str())
                .map_err(|error| Error::Syntax { file: file.to_owned(), message: format!("env: {error}") })?;
            if Reference::is_meant(value) {
                let key = format!("env.{name}");
                Reference::parse(value).map_err(|source| Error::Reference { file: file.to_owned(), key, source })?;
            }
        }
        for (name, entry) in &self.files {
            let key = format!("files.\"{name}\".ref");
            Reference::parse(&entry.reference).map_err(|source| Error::Reference {
                file: file.to_owned(),
                key,
                source,
            })?;
            entry.check(name).map_err(|why| Error::File { file: file.to_owned(), name: name.clone(), why })?;
        }
        let wrong = |key, why| Err(Error::Run { file: file.to_owned(), key, why });
        match self.run.on_rotation {
            OnRotation::Hook if self.run.hook.is_empty() => wrong("hook", "on_rotation = \"hook\" needs a command"),
            _ if self.run.on_rotation != OnRotation::Hook && !self.run.hook.is_empty() => {
                wrong("hook", "it is run only with on_rotation = \"hook\"")
            }
            _ if !self.run.keep_env.is_empty() && !self.run.clean_env => {
                wrong("keep_env", "it has a meaning only with clean_env = true")
            }
            _ if self.run.grace < Duration::from_secs(1) || self.run.grace > Duration::from_secs(3600) => {
                wrong("grace", "it must be from 1s to 1h")
            }
            _ => Ok(()),
        }
    }
}

impl Login {
    /// Whether all is there that the method needs, and nothing that it does not know.
    pub fn check(&self) -> Result<(), String> {
        let given = [
            ("role", self.role.is_some()),
            ("jwt_file", self.jwt_file.is_some()),
            ("role_id", self.role_id.is_some()),
            ("role_id_file", self.role_id_file.is_some()),
            ("secret_id_file", self.secret_id_file.is_some()),
            ("mount", self.mount.is_some()),
        ];
        let (method, known): (_, &[&str]) = match self.method {
            Method::Approle => ("approle", &["role_id", "role_id_file", "secret_id_file", "mount"]),
            Method::Jwt => ("jwt", &["role", "jwt_file", "mount"]),
            Method::Token => ("token", &[]),
        };
        if let Some((key, _)) = given.iter().find(|(key, given)| *given && !known.contains(key)) {
            return Err(format!("`{key}` has no meaning for method \"{method}\""));
        }
        match self.method {
            Method::Jwt if self.jwt_file.is_none() => Err("method \"jwt\" needs `jwt_file`".to_owned()),
            Method::Approle if self.role_id.is_some() == self.role_id_file.is_some() => {
                Err("method \"approle\" needs one of `role_id` and `role_id_file`".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl FileEntry {
    /// Where it goes.
    pub fn place(&self) -> Place {
        match &self.path {
            Some(path) => Place::Path { path: path.clone(), replace: self.replace },
            None if self.memfd => Place::Memfd,
            None => Place::Area,
        }
    }

    fn check(&self, name: &str) -> Result<(), String> {
        deliver::check_name(name).map_err(|error| error.to_string())?;
        if self.path.is_some() && self.memfd {
            return Err("`path` and `memfd` exclude each other".to_owned());
        }
        if self.memfd && self.env.is_none() {
            return Err("with `memfd` the program needs `env` to learn where it is".to_owned());
        }
        if self.path.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err("`path` must be absolute".to_owned());
        }
        if self.replace && self.path.is_none() {
            return Err("`replace` has a meaning only with `path`".to_owned());
        }
        if let Some(variable) = &self.env {
            deliver::Environment::default().set(variable, "").map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// The number of a signal: `HUP`, `SIGHUP`, or the number itself.
pub fn signal_number(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let named = SIGNALS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok().filter(|number| (1..=64).contains(number)))
}

const SIGNALS: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CONT", libc::SIGCONT),
    ("WINCH", libc::SIGWINCH),
];

fn read_only() -> u32 {
    0o400
}

fn octal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Mode {
        Text(String),
        Number(u32),
    }
    let mode = match Mode::deserialize(deserializer)? {
        Mode::Text(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        Mode::Number(number) => Some(number),
    };
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| serde::de::Error::custom("a mode is an octal number up to 0777, such as \"0400\" or 0o400"))
}

fn signal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let name = String::deserialize(deserializer)?;
    signal_number(&name)
        .ok_or_else(|| serde::de::Error::custom(format!("`{name}` is no signal; use HUP, TERM, USR1, …")))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    api::Ttl::deserialize(deserializer).map(|ttl| ttl.0)
}

fn area<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Area, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "auto" => Ok(Area::Auto),
        "private" => Ok(Area::Private),
        "directory" => Ok(Area::Directory),
        other => Err(serde::de::Error::custom(format!("`{other}` is not one of auto, private, directory"))),
    }
}

/// Where in `text` a fault begins: the line, and the key that is set there. No value is repeated: it may be a secret in the
/// wrong place.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let is_key = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-. ".contains(c));
    let key = before.get(start..).and_then(|begun| begun.split_once('=')).map(|(key, _)| key.trim());
    key.filter(is_key).map_or_else(|| format!("line {line}: "), |key| format!("line {line}: {key}: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, Error> {
        Manifest::parse(Path::new("strongroom.toml"), text)
    }

    #[test]
    fn a_whole_manifest_is_read() {
        let manifest = parse(
            r#"
            [server]
            address = "https://127.0.0.1:8200"
            [login]
            method = "jwt"
            role = "app"
            mount = "ci"
            jwt_file = "/run/token"
            [env]
            DATABASE_URL = "sr://database/creds/app#connection_url"
            MODE = "production"
            [files."tls.key"]
            ref = "sr://kv/tls#key"
            mode = "0440"
            env = "TLS_KEY"
            [files.bundle]
            ref = "sr://kv/tls?decode=base64#bundle"
            memfd = true
            env = "BUNDLE"
            [run]
            on_rotation = "signal"
            signal = "SIGUSR1"
            stop_grace = "1m30s"
            refresh = 60
            mask = false
            files_area = "directory"
            bound = "required"
            "#,
        )
        .unwrap();
        assert_eq!(manifest.login.method, Method::Jwt);
        assert_eq!(manifest.files["tls.key"].mode, 0o440);
        assert_eq!(manifest.files["bundle"].place(), Place::Memfd);
        assert_eq!(manifest.run.signal, libc::SIGUSR1);
        assert_eq!(manifest.run.stop_grace, Duration::from_secs(90));
        assert_eq!(manifest.run.refresh, Duration::from_secs(60));
        assert_eq!(manifest.run.bound, Bound::Required);
    }

    #[test]
    fn an_empty_manifest_has_safe_defaults() {
        let manifest = parse("[files.a]\nref = \"sr://kv/a\"").unwrap();
        assert_eq!(manifest.files["a"].mode, 0o400);
        assert_eq!(manifest.run.grace, Duration::from_secs(5));
        assert_eq!(manifest.run.on_rotation, OnRotation::Restart);
    }

    #[test]
    fn faults_name_the_file_and_the_key() {
        let table = [
            ("[run]\nrestart = true", "restart"),
            ("[login]\nmethod = \"ldap\"", "ldap"),
            ("[login]\nmethod = \"jwt\"", "jwt_file"),
            ("[login]\nmethod = \"approle\"", "role_id"),
            ("[login]\nrole = \"x\"", "`role`"),
            ("[env]\nA = 3", "line 2"),
            ("[env]\n\"A=B\" = \"x\"", "A=B"),
            ("[env]\nA = \"sr://kv\"", "env.A"),
            ("[files.a]\nmode = \"0400\"", "ref"),
            ("[files.a]\nref = \"kv/a\"", "files.\"a\".ref"),
            ("[files.a]\nref = \"sr://kv/a\"\nmode = \"0999\"", "mode"),
            ("[files.a]\nref = \"sr://kv/a\"\npath = \"x\"", "absolute"),
            ("[files.a]\nref = \"sr://kv/a\"\nmemfd = true", "env"),
            ("[files.a]\nref = \"sr://kv/a\"\npath = \"/x\"\nmemfd = true", "memfd"),
            ("[files.\"../a\"]\nref = \"sr://kv/a\"", "../a"),
            ("[files.\"..data\"]\nref = \"sr://kv/a\"", "..data"),
            ("[run]\non_rotation = \"hook\"", "run.hook"),
            ("[run]\nkeep_env = [\"PATH\"]", "run.keep_env"),
            ("[run]\nsignal = \"NOPE\"", "NOPE"),
            ("[run]\ngrace = \"0s\"", "run.grace"),
            ("[run]\nstop_grace = \"soon\"", "stop_grace"),
            ("[run]\nfiles_area = \"x\"", "directory"),
            ("[run", "line 1"),
            ("x = 1", "`x`"),
        ];
        for (text, expected) in table {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.starts_with("strongroom.toml"), "{text:?}: {error}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal_number("HUP"), Some(1));
        assert_eq!(signal_number("SIGterm"), Some(15));
        assert_eq!(signal_number("10"), Some(10));
        assert_eq!(signal_number("0"), None);
        assert_eq!(signal_number("65"), None);
    }
}
