//! Where a database is, out of `connection_url`.
//!
//! Name and password never pass through the text: they are given to the driver as they are, so nothing in them can
//! change where we connect to.

use std::time::Duration;

use api::{UNRESERVED, percent_escape};
use engine_database::target::{ConnectionConfig, Error};
use postgres_tls::{Connector, Invalid, Mode, Trust};
use secret::{SecretString, Zeroizing};
use tokio_postgres::{
    Config,
    config::{Host, TargetSessionAttrs},
};

/// A server, the administrator's login, and how to encrypt.
pub(crate) struct Address {
    config: Config,
    mode: Mode,
    pub(crate) connector: Connector,
    username: String,
    password: SecretString,
}

impl Address {
    pub(crate) fn new(config: &ConnectionConfig) -> Result<Self, Error> {
        if config.connection_url.trim().is_empty() {
            return Err(invalid("is missing: use postgresql://{{username}}:{{password}}@host:5432/database"));
        }
        let (text, given_mode) = Parameters::take(&config.connection_url)?;
        let text = text.replace("{{username}}", MARK_USER).replace("{{password}}", MARK_PASSWORD);
        if text.contains("{{") {
            return Err(invalid("has an unknown placeholder: there are {{username}} and {{password}}"));
        }
        let mut driver: Config = text.parse().map_err(|_| {
            invalid("is not understood: use postgresql://{{username}}:{{password}}@host:5432/database, or host=… user={{username}} …")
        })?;
        if driver.get_hosts().is_empty() {
            driver.host("localhost");
        }
        check_marks(&driver)?;
        let username = login(driver.get_user(), MARK_USER, &config.username)?;
        // EXPOSE: the password of the administrator is kept apart until a connection is made.
        let own_password = config.password.expose();
        let url_password = driver.get_password().map(String::from_utf8_lossy);
        let password = Zeroizing::new(match url_password.as_deref() {
            Some(text) if text != MARK_PASSWORD => text.to_owned(),
            _ => own_password.clone(),
        });
        for (field, text) in [("username", &username), ("password", &*password)] {
            if text.contains('\0') {
                return Err(Error::Invalid(format!("{field}: must not have NUL characters")));
            }
        }
        let mode = match given_mode {
            Some(mode) => mode,
            None if !config.tls_ca.is_empty() => Mode::VerifyFull,
            None if driver.get_hosts().iter().all(is_local) => Mode::Prefer,
            None => Mode::Require,
        };
        prepare(&mut driver, mode);
        let trust = Trust {
            ca: &config.tls_ca,
            certificate: &config.tls_certificate,
            key: &config.tls_key,
            server_name: &config.tls_server_name,
            names: ["tls_ca", "tls_certificate", "tls_key"],
        };
        let connector = Connector::new(mode, &trust).map_err(|Invalid(text)| Error::Invalid(text))?;
        Ok(Self { config: driver, mode, connector, username, password: SecretString::new(password.to_string()) })
    }

    /// What the driver needs to log in as the administrator.
    pub(crate) fn admin(&self) -> Config {
        self.login(&self.username, &self.password)
    }

    /// What the driver needs to log in as the administrator to another database of the same server.
    pub(crate) fn admin_of(&self, database: &str) -> Config {
        let mut config = self.admin();
        config.dbname(database);
        config
    }

    /// What the driver needs to log in as somebody.
    pub(crate) fn login(&self, username: &str, password: &SecretString) -> Config {
        let mut config = self.config.clone();
        // EXPOSE: the driver logs in with it.
        config.user(username).password(password.expose());
        config
    }

    /// The administrator's password, to be taken out of error texts.
    pub(crate) fn password(&self) -> &SecretString {
        &self.password
    }

    /// A URL for applications.
    pub(crate) fn url(&self, username: &str, password: &SecretString) -> SecretString {
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let (mut hosts, mut query) = (Vec::new(), vec![format!("sslmode={}", self.mode.as_str())]);
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            match host {
                Host::Tcp(name) if name.contains(':') => hosts.push(format!("[{name}]:{}", port(index))),
                Host::Tcp(name) => hosts.push(format!("{name}:{}", port(index))),
                Host::Unix(path) => {
                    query.push(format!("host={}", percent_escape(&path.to_string_lossy(), UNRESERVED)));
                    query.push(format!("port={}", port(index)));
                }
            }
        }
        let database = self.config.get_dbname().unwrap_or(&self.username);
        SecretString::init_with(|url| {
            // EXPOSE: the URL is made for the one who may have the password.
            let password = Zeroizing::new(percent_escape(password.expose(), UNRESERVED));
            let (user, hosts, database) =
                (percent_escape(username, UNRESERVED), hosts.join(","), percent_escape(database, UNRESERVED));
            let parts = ["postgresql://", &user, ":", &password, "@", &hosts, "/", &database, "?", &query.join("&")];
            url.reserve_exact(parts.iter().map(|part| part.len()).sum());
            parts.iter().for_each(|part| url.push_str(part));
        })
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.config.get_hosts())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The parameters that the driver does not know.
struct Parameters;

impl Parameters {
    /// The address without `sslmode`, and the mode.
    fn take(text: &str) -> Result<(String, Option<Mode>), Error> {
        let (separator, head, tail) = match text.split_once("://") {
            Some(_) => match text.split_once('?') {
                Some((head, query)) => ('&', head, query),
                None => return Ok((text.to_owned(), None)),
            },
            None => (' ', "", text),
        };
        let (mut kept, mut mode) = (Vec::new(), None);
        for part in tail.split(separator) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim() {
                "sslmode" => mode = Some(sslmode(value)?),
                "sslrootcert" | "sslcert" | "sslkey" => {
                    return Err(invalid(
                        "sslrootcert, sslcert and sslkey name files: use tls_ca, tls_certificate and tls_key",
                    ));
                }
                _ => kept.push(part),
            }
        }
        let kept = kept.join(&separator.to_string());
        let text = if head.is_empty() || kept.is_empty() { format!("{head}{kept}") } else { format!("{head}?{kept}") };
        Ok((text, mode))
    }
}

fn sslmode(value: &str) -> Result<Mode, Error> {
    Mode::parse(value.trim().trim_matches('\'')).map_err(|Invalid(text)| invalid(&text))
}

/// Sets what a server needs that runs unattended, where the URL does not say otherwise.
fn prepare(driver: &mut Config, mode: Mode) {
    driver.ssl_mode(mode.driver());
    if driver.get_connect_timeout().is_none() {
        driver.connect_timeout(CONNECT_TIMEOUT);
    }
    if driver.get_tcp_user_timeout().is_none() {
        driver.tcp_user_timeout(USER_TIMEOUT);
    }
    if driver.get_application_name().is_none() {
        driver.application_name("strongroom");
    }
    if driver.get_hosts().len() > 1 && driver.get_target_session_attrs() == TargetSessionAttrs::Any {
        driver.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

/// The marks may stand for the login only.
fn check_marks(driver: &Config) -> Result<(), Error> {
    let marked = |text: &str| text.contains(MARK);
    let host = |host: &Host| match host {
        Host::Tcp(name) => marked(name),
        Host::Unix(path) => marked(&path.to_string_lossy()),
    };
    let elsewhere = driver.get_hosts().iter().any(host)
        || [driver.get_dbname(), driver.get_options(), driver.get_application_name()].into_iter().flatten().any(marked);
    match elsewhere {
        true => Err(invalid("{{username}} and {{password}} can stand only where the login stands")),
        false => Ok(()),
    }
}

fn login(in_url: Option<&str>, mark: &str, given: &str) -> Result<String, Error> {
    match in_url {
        Some(text) if text != mark => Ok(text.to_owned()),
        _ if given.is_empty() => Err(Error::Invalid("username: is missing".to_owned())),
        _ => Ok(given.to_owned()),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

fn invalid(text: &str) -> Error {
    Error::Invalid(format!("connection_url: {text}"))
}

const MARK: &str = "strongroom-mark-";
const MARK_USER: &str = "strongroom-mark-user";
const MARK_PASSWORD: &str = "strongroom-mark-password";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use engine_database::target::PasswordAuthentication;

    use super::*;

    pub(crate) fn config(connection_url: &str) -> ConnectionConfig {
        ConnectionConfig {
            connection_url: connection_url.to_owned(),
            username: "ad@min".to_owned(),
            password: SecretString::new("p/w:'\\".to_owned()),
            max_open_connections: 4,
            max_idle_connections: 4,
            max_connection_lifetime: Duration::ZERO,
            tls_ca: String::new(),
            tls_certificate: String::new(),
            tls_key: SecretString::new(String::new()),
            tls_server_name: String::new(),
            disable_escaping: false,
            password_authentication: PasswordAuthentication::ScramSha256,
            terminate_sessions: true,
        }
    }

    fn url(connection_url: &str) -> String {
        let address = Address::new(&config(connection_url)).unwrap_or_else(|error| panic!("{connection_url}: {error}"));
        // EXPOSE: made for this test.
        address.url("v-a", &SecretString::new("s@e/c".to_owned())).expose().clone()
    }

    #[test]
    fn an_application_gets_a_url_of_the_same_place() {
        let cases = [
            (
                "postgresql://{{username}}:{{password}}@db.example:6432/app?sslmode=verify-full",
                "db.example:6432/app?sslmode=verify-full",
            ),
            ("postgres://{{username}}:{{password}}@db.example/app", "db.example:5432/app?sslmode=require"),
            ("postgresql://{{username}}:{{password}}@127.0.0.1:5433/app", "127.0.0.1:5433/app?sslmode=prefer"),
            (
                "postgresql://{{username}}:{{password}}@[::1]/a%20b?connect_timeout=3&sslmode=disable",
                "[::1]:5432/a%20b?sslmode=disable",
            ),
            ("postgresql://{{username}}:{{password}}@a:1,b:2/app?sslmode=require", "a:1,b:2/app?sslmode=require"),
            (
                "host=db.example port=77 user={{username}} password={{password}} dbname=app sslmode=require",
                "db.example:77/app?sslmode=require",
            ),
            ("postgresql://db.example/", "db.example:5432/ad%40min?sslmode=require"),
        ];
        for (connection_url, wanted) in cases {
            assert_eq!(url(connection_url), format!("postgresql://v-a:s%40e%2Fc@{wanted}"), "{connection_url}");
        }
        assert_eq!(
            url("host=/run/pg user={{username}} password={{password}} dbname=app"),
            "postgresql://v-a:s%40e%2Fc@/app?sslmode=prefer&host=%2Frun%2Fpg&port=5432"
        );
    }

    #[test]
    fn the_login_is_given_as_it_is() {
        let address = Address::new(&config("postgresql://{{username}}:{{password}}@db/app")).unwrap();
        assert_eq!(address.admin().get_user(), Some("ad@min"));
        assert_eq!(address.admin().get_password(), Some("p/w:'\\".as_bytes()));
        let address = Address::new(&config("postgresql://root:inline@db/app")).unwrap();
        assert_eq!(address.admin().get_user(), Some("root"));
        assert_eq!(address.admin().get_password(), Some(b"inline".as_slice()));
    }

    #[test]
    fn a_wrong_address_is_refused() {
        let cases = [
            ("", "is missing"),
            ("mysql://a", "is not understood"),
            ("postgresql://{{username}}:{{password}}@db:port/app", "is not understood"),
            ("postgresql://{{username}}:{{password}}@db/app?sslmode=maybe", "sslmode must be"),
            ("postgresql://{{username}}:{{password}}@db/app?sslrootcert=/x", "use tls_ca"),
            ("postgresql://{{username}}:{{password}}@db/{{username}}", "can stand only"),
            ("postgresql://{{user}}:{{password}}@db/app", "unknown placeholder"),
            ("postgresql://{{username}}:{{password}}@{{username}}/app", "can stand only"),
        ];
        for (connection_url, wanted) in cases {
            let error = Address::new(&config(connection_url)).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("p/w"), "{connection_url}: {error}");
        }
        for field in ["username", "password"] {
            let mut nul = config("postgresql://db/app");
            match field {
                "username" => nul.username = "a\0b".to_owned(),
                _ => nul.password = SecretString::new("a\0b".to_owned()),
            }
            assert!(Address::new(&nul).unwrap_err().to_string().starts_with(field));
        }
        let mut half = config("postgresql://db/app");
        half.tls_certificate = "x".to_owned();
        assert!(Address::new(&half).unwrap_err().to_string().contains("give both"));
        half.tls_certificate = String::new();
        half.tls_ca = "x".to_owned();
        assert!(Address::new(&half).unwrap_err().to_string().contains("tls_ca"));
    }
}
