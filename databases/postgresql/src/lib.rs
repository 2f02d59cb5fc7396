//! PostgreSQL as a target: users that come and go, through an administrator who need not be a superuser.
//!
//! Everything that must hold together is sent as one simple query, which PostgreSQL runs as one transaction: one round
//! trip, and nothing to clean up after an error. Statements that change rows shared by all users run one at a time
//! under an advisory lock. Passwords travel as SCRAM verifiers unless the connection says otherwise.

mod address;
mod error;
mod pool;
mod removal;
mod scram;
mod session;
mod users;

use std::sync::Arc;

use clock::Timestamp;
use engine_database::{
    sql::{Placeholder, Template},
    statements::Statements,
    target::{
        BoxFuture, ConnectionConfig, Database, DatabaseKind, Error, NewUser, Opened, PasswordAuthentication, Purpose,
        Removed,
    },
};
use secret::SecretString;

use crate::{address::Address, pool::Pool};

/// PostgreSQL, version 10 and later.
pub const KIND: DatabaseKind = DatabaseKind {
    name: "postgresql-database-plugin",
    username_template: USERNAME_TEMPLATE,
    max_username: MAX_NAME,
    open,
    check,
};

/// A PostgreSQL server and the administrator we are there.
pub struct Postgresql {
    address: Arc<Address>,
    pool: Pool,
    password_authentication: PasswordAuthentication,
    terminate_sessions: bool,
}

fn open(config: &ConnectionConfig) -> Result<Opened, Error> {
    let address = Arc::new(Address::new(config)?);
    let pool = Pool::new(Arc::clone(&address), config);
    let (password_authentication, terminate_sessions) = (config.password_authentication, config.terminate_sessions);
    Ok(Arc::new(Postgresql { address, pool, password_authentication, terminate_sessions }))
}

/// Checks statements as they are written, and warns of grants that every user gets one by one.
fn check(statements: &Statements, purpose: Purpose) -> Result<Vec<String>, Error> {
    let template = error::template(statements, purpose)?;
    let mut warnings = Vec::new();
    if purpose == Purpose::Create && template.grants_on_objects() {
        warnings.push(GRANT_WARNING.to_owned());
    }
    if purpose == Purpose::Create && template.makes_others() {
        warnings.push(OTHERS_WARNING.to_owned());
    }
    if purpose == Purpose::Create && !template.uses(Placeholder::Password) {
        warnings.push("the creation statements do not use {{password}}: the users cannot log in with one".to_owned());
    }
    Ok(warnings)
}

impl Postgresql {
    fn template(&self, statements: &Statements, purpose: Purpose) -> Result<Template, Error> {
        error::template(statements, purpose)
    }
}

impl Database for Postgresql {
    fn verify(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { self.pool.batch("SELECT 1", &[]).await.map_err(|failure| failure.error) })
    }

    fn create_user<'a>(&'a self, user: NewUser<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.create(user))
    }

    fn renew_user<'a>(
        &'a self,
        username: &'a str,
        expiration: Timestamp,
        statements: &'a Statements,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.renew(username, expiration, statements))
    }

    fn drop_user<'a>(&'a self, username: &'a str, statements: &'a Statements) -> BoxFuture<'a, Result<Removed, Error>> {
        Box::pin(self.remove(username, statements))
    }

    fn set_password<'a>(
        &'a self,
        username: &'a str,
        password: &'a SecretString,
        statements: &'a Statements,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.change_password(username, password, statements))
    }

    fn login_works<'a>(&'a self, username: &'a str, password: &'a SecretString) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.try_login(username, password))
    }

    fn list_users<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(self.list(prefix))
    }

    fn connection_url(&self, username: &str, password: &SecretString) -> SecretString {
        self.address.url(username, password)
    }

    fn close(&self) {
        self.pool.close();
    }
}

impl std::fmt::Debug for Postgresql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgresql").field("address", &self.address).finish_non_exhaustive()
    }
}

const USERNAME_TEMPLATE: &str = "{{ printf \"v-%s-%s-%s-%s\" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}";

/// PostgreSQL cuts longer names off without an error.
const MAX_NAME: usize = 63;

const OTHERS_WARNING: &str = "the creation statements make a user that is not named {{name}} alone: without revocation_statements that remove \
     it, it outlives the lease";

const GRANT_WARNING: &str = "the creation statements grant rights on objects to each user: they run one at a time, and every grant makes the \
     list of rights of the object longer, up to a limit of PostgreSQL. Grant the rights to a group role once, and make the \
     users its members: CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE readers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_template_is_valid() {
        engine_database::username::UsernameTemplate::parse(USERNAME_TEMPLATE, MAX_NAME).unwrap();
    }

    #[test]
    fn grants_on_objects_are_warned_of() {
        let warnings = |text: &str| check(&Statements::from(&[text][..]), Purpose::Create).unwrap();
        assert!(warnings("CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' IN ROLE readers").is_empty());
        let both = warnings("CREATE ROLE \"{{name}}\"; GRANT SELECT ON t TO \"{{name}}\"");
        assert!(both.len() == 2 && both[0].contains("IN ROLE readers"), "{both:?}");
    }

    /// Such a user has no undo: the server's own removal knows one name.
    #[test]
    fn users_of_another_name_are_warned_of() {
        let warned = |text: &str| {
            let text = format!("{text} LOGIN PASSWORD '{{{{password}}}}'; COMMENT ON ROLE \"{{{{name}}}}\" IS 'x'");
            check(&Statements::from(&[&*text][..]), Purpose::Create)
                .unwrap()
                .iter()
                .any(|text| text.contains("outlives"))
        };
        for good in ["CREATE ROLE \"{{name}}\"", "create  user {{name}}", "-- a user\nCREATE GROUP \"{{username}}\""] {
            assert!(!warned(good), "{good}");
        }
        for other in
            ["CREATE ROLE \"x{{name}}\"", "CREATE ROLE fixed", "CREATE ROLE \"{{name}}_ro\"", "CREATE USER \"fixed\""]
        {
            assert!(warned(other), "{other}");
        }
    }
}
