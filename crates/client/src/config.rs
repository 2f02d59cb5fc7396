//! Where the server is and who asks.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use api::parse_duration;
use secret::SecretString;

use crate::{Error, Result};

/// What a [`crate::Client`] is made from.
#[derive(Debug)]
pub struct Config {
    /// The server, as `https://host:port`, optionally with a path prefix; or a socket, as `unix:///path`.
    pub address: String,
    /// The token to send.
    pub token: Option<SecretString>,
    /// The namespace to send.
    pub namespace: Option<String>,
    /// A file of PEM certificates that replaces the system's trusted ones.
    pub ca_cert: Option<PathBuf>,
    /// PEM certificates that replace the system's trusted ones; wins over `ca_cert`.
    pub ca_bytes: Option<Vec<u8>>,
    /// A folder of such files; used when `ca_cert` is not given.
    pub ca_path: Option<PathBuf>,
    /// A PEM file with the client's certificate chain.
    pub client_cert: Option<PathBuf>,
    /// A PEM file with the client's private key.
    pub client_key: Option<PathBuf>,
    /// Whether the server's certificate is accepted unseen.
    pub skip_verify: bool,
    /// The name to ask and check the server's certificate for, if not the address's.
    pub tls_server_name: Option<String>,
    /// How long one try may take; zero is without limit.
    pub timeout: Duration,
    /// How often a request is tried again.
    pub max_retries: u32,
    /// The first wait between tries; it doubles from one to the next, up to six times itself.
    pub retry_wait: Duration,
    /// A duration such as `5m`: the server answers with a single-use token to fetch the reply with.
    pub wrap_ttl: Option<String>,
    /// More headers to send.
    pub headers: Vec<(String, String)>,
    /// The preferred output format of a command line.
    pub format: Option<String>,
}

/// Where a server is by default.
pub const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

impl Default for Config {
    fn default() -> Self {
        Self {
            address: DEFAULT_ADDRESS.to_owned(),
            token: None,
            namespace: None,
            ca_cert: None,
            ca_bytes: None,
            ca_path: None,
            client_cert: None,
            client_key: None,
            skip_verify: false,
            tls_server_name: None,
            timeout: Duration::from_secs(60),
            max_retries: 2,
            retry_wait: Duration::from_millis(250),
            wrap_ttl: None,
            headers: Vec::new(),
            format: None,
        }
    }
}

impl Config {
    /// Reads the environment through `lookup`: each name with `STRONGROOM_` before it, then with `VAULT_`. Without a
    /// `…_TOKEN`, the token file ([`token_file`]) is read. An agent's address (`…_AGENT_ADDR`) wins over the server's.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| {
            ["STRONGROOM_", "VAULT_"]
                .iter()
                .find_map(|prefix| lookup(&format!("{prefix}{name}")).filter(|value| !value.is_empty()))
        };
        let mut config = Self::default();
        if let Some(address) = get("AGENT_ADDR").or_else(|| get("ADDR")) {
            config.address = address;
        }
        config.token = match get("TOKEN") {
            Some(token) => Some(SecretString::new(token)),
            None => read_token_file(&lookup)?,
        };
        config.namespace = get("NAMESPACE");
        config.ca_cert = get("CACERT").map(PathBuf::from);
        config.ca_bytes = get("CACERT_BYTES").map(String::into_bytes);
        config.ca_path = get("CAPATH").map(PathBuf::from);
        config.client_cert = get("CLIENT_CERT").map(PathBuf::from);
        config.client_key = get("CLIENT_KEY").map(PathBuf::from);
        if let Some(text) = get("SKIP_VERIFY") {
            config.skip_verify = truth("SKIP_VERIFY", &text)?;
        }
        config.tls_server_name = get("TLS_SERVER_NAME");
        if let Some(text) = get("CLIENT_TIMEOUT") {
            config.timeout = parse_duration(&text).map_err(|message| invalid("CLIENT_TIMEOUT", &message))?;
        }
        if let Some(text) = get("MAX_RETRIES") {
            let retries: u32 = text.trim().parse().map_err(|_| invalid("MAX_RETRIES", "it must be a whole number"))?;
            config.max_retries = retries.min(MAX_RETRIES);
        }
        config.wrap_ttl = get("WRAP_TTL");
        config.format = get("FORMAT");
        Ok(config)
    }
}

/// The file that `login` keeps the token in: `.vault-token` in the home folder, shared with other tools of the API.
pub fn token_file(lookup: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    lookup("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".vault-token"))
}

/// More tries than this help nobody.
const MAX_RETRIES: u32 = 100;

fn read_token_file(lookup: &impl Fn(&str) -> Option<String>) -> Result<Option<SecretString>> {
    let Some(path) = token_file(lookup) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let text = secret::Zeroizing::new(text);
            Ok(Some(text.trim()).filter(|token| !token.is_empty()).map(|token| SecretString::new(token.to_owned())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Config {
            message: format!(
                "cannot read the token file {}: {error}; make it readable, or set STRONGROOM_TOKEN",
                path.display()
            ),
        }),
    }
}

fn truth(name: &str, text: &str) -> Result<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(invalid(name, "it must be true or false")),
    }
}

fn invalid(name: &str, message: &str) -> Error {
    Error::Config { message: format!("STRONGROOM_{name} (or VAULT_{name}) is not valid: {message}") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let map: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        move |name| map.get(name).cloned()
    }

    #[test]
    fn our_names_win_over_those_of_vault() {
        let config = Config::from_env(env(&[
            ("VAULT_ADDR", "http://vault:8200"),
            ("STRONGROOM_ADDR", "http://strongroom:8200"),
            ("VAULT_TOKEN", "hvs.a"),
            ("VAULT_NAMESPACE", "team"),
            ("VAULT_SKIP_VERIFY", "true"),
            ("VAULT_CLIENT_TIMEOUT", "1m30s"),
            ("VAULT_MAX_RETRIES", "5"),
        ]))
        .unwrap();
        assert_eq!(config.address, "http://strongroom:8200");
        assert!(config.token.unwrap().matches("hvs.a"));
        assert_eq!(config.namespace.as_deref(), Some("team"));
        assert!(config.skip_verify);
        assert_eq!(config.timeout, Duration::from_secs(90));
        assert_eq!(config.max_retries, 5);
    }

    #[test]
    fn an_agent_wins_over_the_server_and_empty_is_unset() {
        let config = Config::from_env(env(&[
            ("VAULT_ADDR", "http://vault:8200"),
            ("VAULT_AGENT_ADDR", "http://127.0.0.1:8100"),
            ("STRONGROOM_NAMESPACE", ""),
        ]))
        .unwrap();
        assert_eq!(config.address, "http://127.0.0.1:8100");
        assert_eq!(config.namespace, None);
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        for (name, value) in
            [("VAULT_SKIP_VERIFY", "maybe"), ("VAULT_CLIENT_TIMEOUT", "soon"), ("STRONGROOM_MAX_RETRIES", "-1")]
        {
            let error = Config::from_env(env(&[(name, value)])).unwrap_err();
            let rest = name.split_once('_').unwrap().1;
            assert!(error.to_string().contains(&format!("STRONGROOM_{rest}")), "{error}");
        }
    }

    #[test]
    fn the_token_file_is_the_last_resort() {
        let home = std::env::temp_dir().join(format!("strongroom-client-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(".vault-token"), "hvs.file\n").unwrap();
        let home_text = home.to_str().unwrap();
        let config = Config::from_env(env(&[("HOME", home_text)])).unwrap();
        assert!(config.token.unwrap().matches("hvs.file"));
        let config = Config::from_env(env(&[("HOME", home_text), ("VAULT_TOKEN", "hvs.env")])).unwrap();
        assert!(config.token.unwrap().matches("hvs.env"));
        std::fs::remove_dir_all(home).unwrap();
    }
}
