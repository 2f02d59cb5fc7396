//! What the engine asks of a database: the trait that every member of `databases/` implements.
//!
//! A target never decides when something is done and keeps no records; it does one thing in the database, completely
//! or not at all, and says in a typed error what went wrong.

use std::{fmt, sync::Arc, time::Duration};

use clock::Timestamp;
pub use futures::future::BoxFuture;
use secret::SecretString;

use crate::statements::Statements;

/// A connected database. Each configured connection has one; all its resources (connections, timers) are its own, so
/// that a database that hangs holds up nobody else.
pub trait Database: Send + Sync + 'static {
    /// Logs in as the administrator and does something harmless.
    fn verify(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Makes a user by the role's creation statements, all of them in one transaction. After an error nothing is left
    /// behind, except where [`Error::outcome_unknown`] says so.
    fn create_user<'a>(&'a self, user: NewUser<'a>) -> BoxFuture<'a, Result<(), Error>>;

    /// Lets a user live until `expiration`. No statements: the target's own way.
    fn renew_user<'a>(
        &'a self,
        username: &'a str,
        expiration: Timestamp,
        statements: &'a Statements,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes a user. A user that is not there is a success. No statements: the target's own way, which leaves the
    /// objects that the user made to the administrator.
    fn drop_user<'a>(&'a self, username: &'a str, statements: &'a Statements) -> BoxFuture<'a, Result<Removed, Error>>;

    /// Changes the password of an existing user. No statements: the target's own way. What was sent and not answered
    /// takes effect within a minute or never.
    fn set_password<'a>(
        &'a self,
        username: &'a str,
        password: &'a SecretString,
        statements: &'a Statements,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether the database accepts this name and password now, tried on a connection of its own.
    fn login_works<'a>(&'a self, username: &'a str, password: &'a SecretString) -> BoxFuture<'a, Result<bool, Error>>;

    /// The names of the users that begin with `prefix`, ascending.
    fn list_users<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// A URL that a driver understands, with this name and password in it.
    fn connection_url(&self, username: &str, password: &SecretString) -> SecretString;

    /// Closes all connections, as soon as the work on them has ended.
    fn close(&self);
}

impl fmt::Debug for dyn Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database(..)")
    }
}

/// A kind of database: a line in the catalogue's list.
#[derive(Clone, Copy)]
pub struct DatabaseKind {
    /// The name in `plugin_name`, such as `postgresql-database-plugin`.
    pub name: &'static str,
    /// The username template of connections that set none.
    pub username_template: &'static str,
    /// The greatest length of a user name, in bytes.
    pub max_username: usize,
    /// Prepares a connection. Connects nowhere yet; the error says what is wrong with the configuration.
    pub open: fn(&ConnectionConfig) -> Result<Opened, Error>,
    /// Checks statements when a role is written. Gives what its author should know although they are accepted.
    pub check: fn(&Statements, Purpose) -> Result<Vec<String>, Error>,
}

/// A target as the engine holds it.
pub type Opened = Arc<dyn Database>;

impl fmt::Debug for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseKind({})", self.name)
    }
}

/// What statements are for: which placeholders they may and must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Making a user.
    Create,
    /// Cleaning up after a user could not be made.
    Rollback,
    /// Making a user live longer.
    Renew,
    /// Removing a user.
    Revoke,
    /// Changing a password.
    Rotate,
}

/// How to reach a database and log in to it.
#[derive(Debug)]
pub struct ConnectionConfig {
    /// Where the database is, with `{{username}}` and `{{password}}` in it.
    pub connection_url: String,
    /// The administrator's name.
    pub username: String,
    /// The administrator's password.
    pub password: SecretString,
    /// The most connections open at once; at least 1.
    pub max_open_connections: usize,
    /// The most connections kept while nobody uses them.
    pub max_idle_connections: usize,
    /// How long a connection is used at most; zero is for ever.
    pub max_connection_lifetime: Duration,
    /// The certificate authorities to trust, PEM; empty for those of the system.
    pub tls_ca: String,
    /// Our own certificate chain, PEM; empty for none.
    pub tls_certificate: String,
    /// The key of our own certificate, PEM; empty for none.
    pub tls_key: SecretString,
    /// The name the server's certificate must have; empty for the host name.
    pub tls_server_name: String,
    /// Puts name and password into `connection_url` as they are, instead of escaped.
    pub disable_escaping: bool,
    /// How passwords are sent to the database when users are made or changed.
    pub password_authentication: PasswordAuthentication,
    /// Whether removing a user also ends its open sessions.
    pub terminate_sessions: bool,
}

/// How a password travels in statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PasswordAuthentication {
    /// Only a SCRAM-SHA-256 verifier is sent, so that neither the database nor its log ever sees the password.
    #[default]
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// In clear; the database does with it what it does.
    #[serde(rename = "password")]
    Password,
}

/// A user to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// Its name.
    pub username: &'a str,
    /// Its password.
    pub password: &'a SecretString,
    /// When it ends, for databases that can be told.
    pub expiration: Timestamp,
    /// The statements that make it.
    pub statements: &'a Statements,
    /// The statements that clean up if those fail; mostly none are needed.
    pub rollback: &'a Statements,
}

/// What removing a user came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was there and is no more.
    Dropped,
    /// It was not there.
    AlreadyGone,
}

/// Why a target did not do what was asked. The texts come from the database with the values that were sent to it taken
/// out, and may be shown to the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's fault: a statement that the database does not understand, or that we refuse to send.
    #[error("{0}")]
    BadStatement(String),
    /// The operator's fault: a connection setting is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The database does not accept the administrator's name and password.
    #[error("the database refused the login of the connection: {0}")]
    LoginRefused(String),
    /// The administrator of the connection lacks a right in the database.
    #[error("the database does not permit it: {0}")]
    NotPermitted(String),
    /// The database answered, and said no.
    #[error("the database refused: {0}")]
    Refused(String),
    /// The database does not answer. It may be tried again.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke while the database was at work: it may have done it or not.
    #[error("the connection broke before the database answered: {0}")]
    Unknown(String),
}

impl Error {
    /// Whether the database may have done what was asked all the same.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// Whether the same may work later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unknown(_))
    }
}
