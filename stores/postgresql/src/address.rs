//! Where PostgreSQL is, out of `connection_url`.

use std::{fmt, time::Duration};

use postgres_tls::{Connector, Invalid, Mode, Trust};
use secret::{SecretString, Zeroizing};
use tokio_postgres::{
    Config,
    config::{Host, TargetSessionAttrs},
};

use crate::OpenError;

/// The servers, the login, and how to encrypt.
pub(crate) struct Address {
    /// Without the password.
    config: Config,
    password: Option<SecretString>,
    mode: Mode,
    pub(crate) connector: Connector,
}

impl Address {
    pub(crate) fn new(url: &SecretString) -> Result<Self, OpenError> {
        // EXPOSE: parsed into the parts that the driver needs; errors quote nothing of it.
        let text = url.expose();
        if text.trim().is_empty() {
            return Err(invalid("is missing: use postgresql://USER:PASSWORD@HOST:5432/DATABASE"));
        }
        let (text, files) = Files::take(text)?;
        let mut config: Config = text.parse().map_err(|_| {
            invalid("is not understood: use postgresql://USER:PASSWORD@HOST:5432/DATABASE, or host=… user=… dbname=…")
        })?;
        if config.get_hosts().is_empty() {
            config.host("localhost");
        }
        let mode = match &files.mode {
            Some(mode) => Mode::parse(mode).map_err(|Invalid(text)| invalid(&text))?,
            None if !files.ca.is_empty() => Mode::VerifyFull,
            None if config.get_hosts().iter().all(is_local) => Mode::Prefer,
            None => Mode::Require,
        };
        let trust = Trust {
            ca: &files.ca,
            certificate: &files.certificate,
            key: &files.key,
            server_name: "",
            names: ["sslrootcert", "sslcert", "sslkey"],
        };
        let connector = Connector::new(mode, &trust).map_err(|Invalid(text)| invalid(&text))?;
        let password =
            config.get_password().map(|bytes| SecretString::new(String::from_utf8_lossy(bytes).into_owned()));
        if password.is_some() {
            config.password("");
        }
        prepare(&mut config, mode);
        Ok(Self { config, password, mode, connector })
    }

    /// What the driver needs to log in.
    pub(crate) fn config(&self) -> Config {
        let mut config = self.config.clone();
        if let Some(password) = &self.password {
            // EXPOSE: the driver logs in with it.
            config.password(password.expose());
        }
        config
    }

    /// How long a connection may take to be made, whichever of the hosts answers.
    pub(crate) fn patience(&self) -> Duration {
        let limit = self.config.get_connect_timeout().copied().unwrap_or_default().max(Duration::from_secs(1));
        limit.saturating_mul(u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(1))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.config.get_hosts())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The parameters that the driver does not know, with what is in the files that they name.
struct Files {
    mode: Option<String>,
    ca: String,
    certificate: String,
    key: SecretString,
}

impl Files {
    /// The address without these parameters, and what they say.
    fn take(text: &str) -> Result<(Zeroizing<String>, Self), OpenError> {
        let mut files =
            Self { mode: None, ca: String::new(), certificate: String::new(), key: SecretString::new(String::new()) };
        let (separator, head, tail) = match (text.contains("://"), text.split_once('?')) {
            (true, Some((head, query))) => ('&', head, query),
            (true, None) => return Ok((Zeroizing::new(text.to_owned()), files)),
            (false, _) => (' ', "", text),
        };
        let mut kept = Zeroizing::new(String::with_capacity(text.len() + 1));
        for part in tail.split(separator) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('\'');
            match name.trim() {
                "sslmode" => files.mode = Some(value.to_owned()),
                "sslrootcert" => files.ca = read("sslrootcert", value)?,
                "sslcert" => files.certificate = read("sslcert", value)?,
                "sslkey" => files.key = SecretString::new(read("sslkey", value)?),
                _ => {
                    if !kept.is_empty() {
                        kept.push(separator);
                    }
                    kept.push_str(part);
                }
            }
        }
        let join = if head.is_empty() || kept.is_empty() { "" } else { "?" };
        Ok((Zeroizing::new([head, join, &kept].concat()), files))
    }
}

fn read(field: &str, path: &str) -> Result<String, OpenError> {
    let path = path.replace("%2F", "/");
    std::fs::read_to_string(&path).map_err(|error| invalid(&format!("{field}: cannot read {path}: {error}")))
}

/// Sets what a server needs that runs unattended, where the URL does not say otherwise.
fn prepare(config: &mut Config, mode: Mode) {
    config.ssl_mode(mode.driver());
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(USER_TIMEOUT);
    }
    if config.get_application_name().is_none() {
        config.application_name("strongroom");
    }
    // A standby would show old values, and takes no writes.
    if config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

fn invalid(text: &str) -> OpenError {
    OpenError::Invalid(format!("connection_url: {text}"))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const USER_TIMEOUT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, OpenError> {
        Address::new(&SecretString::new(url.to_owned()))
    }

    #[test]
    fn an_address_has_its_login_and_shows_it_to_nobody() {
        let found =
            address("postgres://vault:p%40ss@db-1:6432,db-2/secrets?sslmode=require&connect_timeout=7").unwrap();
        let config = found.config();
        assert_eq!((config.get_user(), config.get_password()), (Some("vault"), Some(b"p@ss".as_slice())));
        assert_eq!((config.get_hosts().len(), config.get_dbname()), (2, Some("secrets")));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!((found.mode, found.patience()), (Mode::Require, Duration::from_secs(14)));
        assert!(!format!("{found:?}").contains("p@ss"));
        let found = address("host=/run/postgresql user=vault dbname=secrets sslmode='disable'").unwrap();
        assert_eq!((found.mode, found.config().get_dbname()), (Mode::Disable, Some("secrets")));
    }

    #[test]
    fn a_server_elsewhere_is_talked_to_in_cipher() {
        let mode = |url| address(url).unwrap().mode;
        assert_eq!(mode("postgres://a:b@localhost/x"), Mode::Prefer);
        assert_eq!(mode("postgres://a:b@127.0.0.1/x"), Mode::Prefer);
        assert_eq!(mode("postgres://a:b@db.example/x"), Mode::Require);
        assert_eq!(mode("postgres://a:b@db.example/x?sslmode=disable"), Mode::Disable);
    }

    #[test]
    fn a_wrong_address_is_refused_without_being_quoted() {
        let cases = [
            ("", "is missing"),
            ("mysql://hunter2@db/x", "is not understood"),
            ("postgres://a:hunter2@db:port/x", "is not understood"),
            ("postgres://a:hunter2@db/x?sslmode=maybe", "sslmode must be"),
            ("postgres://a:hunter2@db/x?sslrootcert=/nowhere/ca.pem", "sslrootcert: cannot read /nowhere/ca.pem"),
            ("postgres://a:hunter2@db/x?sslrootcert=/etc/hostname", "sslrootcert"),
        ];
        for (url, wanted) in cases {
            let error = address(url).err().unwrap_or_else(|| panic!("{url}")).to_string();
            assert!(error.starts_with("connection_url: ") && error.contains(wanted), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
